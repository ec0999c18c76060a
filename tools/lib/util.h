/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Small things that several programs need. Whatever parses text a person
 * wrote says in err, in words for that person, what is wrong with it.
 */
#ifndef ARCHIL_UTIL_H
#define ARCHIL_UTIL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

#define ERR_TEXT	512	/* size of a buffer for an error message */

/*
 * Bytes: digits, then optionally K, M, G, T or P (powers of 1024, either
 * case), then optionally B or iB. Returns 0, -EINVAL, or -ERANGE (2^64 or more).
 */
int parse_size(const char *text, uint64_t *bytes);

/*
 * Digits, optionally a fraction, then ms, s (also when left out), min, h or d.
 * Returns 0, -EINVAL (also for a fraction of a millisecond), or -ERANGE.
 */
int parse_duration(const char *text, uint64_t *ms);

/* A decimal number in min..max and nothing else: 0, -EINVAL, or -ERANGE. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number);

struct host_port {
	char host[256];		/* name or address, without brackets; "": all (listen only) */
	uint16_t port;
};

/*
 * HOST[:PORT], ARCHIL_PORT if left out; an IPv6 address stands in brackets. listen: the host may be
 * missing or "*" (all addresses) and the port 0 (any free one).
 * Returns 0, or -EINVAL and err.
 */
int parse_host_port(const char *text, bool listen, struct host_port *out,
		    char err[static ERR_TEXT]);

/* NULL when name can name a disk, else what is wrong with it. */
const char *disk_name_problem(const char *name);

struct source {			/* of a mount: SERVER[:PORT]/DISK[:/SUBDIR] */
	struct host_port server;
	char disk[ARCHIL_DISK_LEN + 1];
	char subdir[PATH_MAX];	/* begins with '/', no empty, "." or ".." part: "/" or "/a/b" */
};

/* Returns 0, or -EINVAL and err. */
int parse_source(const char *text, struct source *out, char err[static ERR_TEXT]);

/*
 * Reads the one line of a file that only its owner can read, without the
 * white space at its end. size: of out, NUL included. Returns 0, or a negative errno and err:
 * -EPERM (others may read it), -EINVAL (not one line, too long, no regular
 * file), or why it cannot be read. Only out holds what it read.
 */
int read_secret_file(const char *path, char *out, size_t size, char err[static ERR_TEXT]);

/* Bytes read, fewer than n only at the end of the file; or a negative errno. */
ssize_t read_full(int fd, void *buf, size_t n);
/* 0 or a negative errno. */
int write_full(int fd, const void *buf, size_t n);

/* Now, in ns since 1970. */
uint64_t realtime_ns(void);

#define TIME_TEXT	32

/*
 * A moment (ns since 1970) for people, in local time: "12:03:11", or
 * "2026-11-20 12:03:11" when that is another day than now's.
 */
void format_time(uint64_t when, uint64_t now, char out[static TIME_TEXT]);

#endif
