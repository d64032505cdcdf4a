#include <fcgi_stdio.h>
int main(void) {
	while (FCGI_Accept() >= 0) fputs("Content-Type: text/plain\n\nHello, world\n", stdout);
	return 0;
}
