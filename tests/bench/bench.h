/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmark's programs share. Each prints one number, the seconds that what it
 * was asked for took: without its own start, and without making what is measured upon.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB	(1u << 20)

__attribute__((unused, noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	exit(2);
}

__attribute__((unused))
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Writes all of it, or dies. */
__attribute__((unused))
static void put(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len) {
		n = write(fd, p, len);
		if (n <= 0)
			die("write");
		p += n;
		len -= n;
	}
}

/* Reads all of it; false if the file or the connection ends before. */
__attribute__((unused))
static bool get(int fd, void *data, size_t len)
{
	char *p = data;
	ssize_t n;

	while (len) {
		n = read(fd, p, len);
		if (n < 0)
			die("read");
		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* Bytes that no two places share, so that nothing can be left out as a hole. */
__attribute__((unused))
static void fill(void *data, size_t len)
{
	uint64_t *word = data, x = 88172645463325252ull;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = x;
	}
}

#endif
