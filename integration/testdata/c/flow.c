/* Sends octets (?send=N, with &length it says how many), or takes those of a POST. They come in blocks of 1 MiB
 * that are all alike but for the block's number at the beginning: what is lost, doubled or mixed up shows. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK (1 << 20)
static unsigned char want[BLOCK], got[BLOCK];

static void number(uint64_t n)
{
	for (int i = 0; i < 8; i++)
		want[i] = n >> (8 * i);
}

static void fill(void)
{
	uint64_t x = 88172645463325252ULL;
	for (int i = 0; i < BLOCK; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		want[i] = x >> 32;
	}
}

static void send_octets(uint64_t n)
{
	for (uint64_t i = 0; n > 0; i++) {
		size_t m = n < BLOCK ? n : BLOCK;
		number(i);
		for (size_t at = 0; at < m;) {
			ssize_t w = write(1, want + at, m - at);
			if (w <= 0)
				exit(1);
			at += w;
		}
		n -= m;
	}
}

static void take(void)
{
	uint64_t total = 0, bad = 0;
	for (uint64_t i = 0;; i++) {
		size_t m = 0;
		ssize_t r = 1;
		while (m < BLOCK && (r = read(0, got + m, BLOCK - m)) > 0)
			m += r;
		number(i);
		if (memcmp(want, got, m) != 0)
			bad++;
		total += m;
		if (r <= 0)
			break;
	}
	printf("Content-Type: text/plain\n\ntook %llu of %s octets, %llu blocks wrong\n", (unsigned long long)total,
		getenv("CONTENT_LENGTH") ? getenv("CONTENT_LENGTH") : "?", (unsigned long long)bad);
}

int main(void)
{
	const char *query = getenv("QUERY_STRING");

	fill();
	if (strncmp(query, "send=", 5) != 0) {
		take();
		return 0;
	}
	uint64_t n = strtoull(query + 5, NULL, 10);
	printf("Content-Type: application/octet-stream\n");
	if (strstr(query, "&length"))
		printf("Content-Length: %llu\n", (unsigned long long)n);
	printf("\n");
	fflush(stdout);
	send_octets(n);
	return 0;
}
