/* A CGI program in C: says its variables, its arguments and its body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char body[1 << 16];
	const char *length = getenv("CONTENT_LENGTH"), *names[] = {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO",
		"QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_TOKEN", "HTTP_COOKIE", NULL};
	size_t n = 0, want = length ? strtoul(length, NULL, 10) : 0;

	while (n < want && n < sizeof body) {
		size_t m = fread(body + n, 1, want - n < sizeof body - n ? want - n : sizeof body - n, stdin);
		if (m == 0)
			break;
		n += m;
	}
	printf("Content-Type: text/plain\r\nX-Token: %s\r\n\r\n", getenv("HTTP_X_TOKEN") ? getenv("HTTP_X_TOKEN") : "");
	for (const char **name = names; *name; name++)
		if (getenv(*name))
			printf("%s=%s\n", *name, getenv(*name));
	for (int i = 1; i < argc; i++)
		printf("argument %s\n", argv[i]);
	printf("body %zu octets: ", n);
	fwrite(body, 1, n, stdout);
	return 0;
}
