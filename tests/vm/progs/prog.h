/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs of the VM cases share: dying with a reason, counting what went wrong. */
#ifndef PROG_H
#define PROG_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int prog_failed;

/* The test cannot go on. */
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

/* Something was not as it must be; the program's status will say so. */
__attribute__((unused, format(printf, 1, 2)))
static void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("wrong: ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	va_end(ap);
	prog_failed++;
}

/* "EBUSY"; 0 is "ok". */
__attribute__((unused))
static const char *errname(int err)
{
	const char *name = err ? strerrorname_np(err) : "ok";

	return name ? name : "?";
}

/* FNV-1a, over more bytes. Start with FNV_INIT. */
#define FNV_INIT 0xcbf29ce484222325ull

__attribute__((unused))
static uint64_t fnv(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3ull;
	return hash;
}

#endif
