// A download: the file FOLDER/small over and over, 100 MiB of it or, for ?small, once.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE 65537
#define AT_ONCE 65536

int main(void) {
	static char b[2 * PIECE];
	FILE *f = fopen(FOLDER "/small", "rb");
	if (!f || fread(b, 1, PIECE, f) != PIECE) return 1;
	memcpy(b + PIECE, b, PIECE);
	const char *query = getenv("QUERY_STRING");
	long size = query && !strcmp(query, "small") ? PIECE : 100L << 20;
	printf("Content-Type: application/octet-stream\nContent-Length: %ld\n\n", size);
	fflush(stdout);
	for (long at = 0; at < size;) {
		long want = size - at < AT_ONCE ? size - at : AT_ONCE;
		ssize_t n = write(1, b + at % PIECE, want);
		if (n <= 0) return 1;
		at += n;
	}
	return 0;
}
