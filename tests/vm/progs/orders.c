// SPDX-License-Identifier: GPL-2.0
/*
 * orders DIR: two overlapping writes, a truncation down, one up and a hole, in every order, each
 * on a file of its own, some steps synced and some not, so that what is written and what
 * is cut meet on their way to the server in all ways. Reads each file back.
 *
 * orders -c DIR: are the files as that left them?
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <unistd.h>

#include "prog.h"

#define STEPS	5
#define ORDERS	120
#define MAX	(400 << 10)

static unsigned char want[MAX], got[MAX];
static size_t size;

/* The nth order of 0 to STEPS - 1. */
static void order(unsigned int n, unsigned int *steps)
{
	bool used[STEPS] = { };
	unsigned int i, k, left, each = ORDERS;

	for (i = 0; i < STEPS; i++) {
		each /= STEPS - i;
		left = n / each;
		n %= each;
		for (k = 0; used[k] || left; k++)
			left -= !used[k];
		used[k] = true;
		steps[i] = k;
	}
}

static void cut(size_t to)
{
	if (to < size)
		memset(want + to, 0, size - to);
	size = to;
}

static void put(int fd, unsigned char what, size_t from, size_t to)
{
	memset(want + from, what, to - from);
	if (to > size)
		size = to;
	if (fd >= 0 && pwrite(fd, want + from, to - from, from) != (ssize_t)(to - from))
		wrong("write: %s", errname(errno));
}

/* One step, in memory and, if there is one, in the file. */
static void step(int fd, unsigned int what)
{
	int rc = 0;

	switch (what) {
	case 0:
		put(fd, 'a', 0, 192 << 10);
		break;
	case 1:
		put(fd, 'b', 96 << 10, 288 << 10);
		break;
	case 2:
		cut(60000);
		rc = fd < 0 ? 0 : ftruncate(fd, size);
		break;
	case 3:
		cut(MAX - 1000);
		rc = fd < 0 ? 0 : ftruncate(fd, size);
		break;
	case 4:
		memset(want + (50 << 10), 0, 100 << 10);
		rc = fd < 0 ? 0 : fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50 << 10,
					    100 << 10);
		break;
	}
	if (rc)
		wrong("step %u: %s", what, errname(errno));
}

static void compare(int fd, unsigned int n, const char *when)
{
	ssize_t len = pread(fd, got, MAX, 0);
	size_t i;

	if (len != (ssize_t)size) {
		wrong("file %u %s: %zd bytes, not %zu", n, when, len, size);
		return;
	}
	for (i = 0; i < size; i++) {
		if (got[i] != want[i]) {
			wrong("file %u %s: at %zu it is %#x, not %#x", n, when, i, got[i], want[i]);
			return;
		}
	}
}

static void play(int dir, unsigned int n, bool only_check)
{
	unsigned int steps[STEPS], i;
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "o%u", n);
	fd = openat(dir, name, only_check ? O_RDONLY : O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		die("%s", name);
	memset(want, 0, sizeof(want));
	size = 0;
	order(n, steps);
	for (i = 0; i < STEPS; i++) {
		step(only_check ? -1 : fd, steps[i]);
		/* begun to be written back, durable, or neither, in all combinations */
		if (!only_check && (n * 37 >> i) % 3 == 1)
			sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		if (!only_check && (n * 37 >> i) % 3 == 2 && fsync(fd))
			wrong("fsync: %s", errname(errno));
	}
	compare(fd, n, "at once");
	if (!only_check) {
		if (fsync(fd))
			wrong("fsync: %s", errname(errno));
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		compare(fd, n, "from the server");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	bool only_check = argc == 3 && !strcmp(argv[1], "-c");
	unsigned int n;
	int dir;

	if (argc != 2 + only_check) {
		fputs("usage: orders [-c] DIR\n", stderr);
		return 2;
	}
	dir = open(argv[argc - 1], O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		die("%s", argv[argc - 1]);
	for (n = 0; n < ORDERS; n++)
		play(dir, n, only_check);
	return prog_failed != 0;
}
