// SPDX-License-Identifier: GPL-2.0
/*
 * replay-log LOG			how many entries the log has, and of each mark: its place, its name
 * replay-log LOG ENTRIES DISK	makes DISK what the first ENTRIES of the log leave
 *
 * LOG is what dm-log-writes has logged (the kernel's Documentation/admin-guide/
 * device-mapper/log-writes.rst), and DISK a file or device that holds zeros. A write is in the log
 * from the flush on that follows it: the first N entries are what a power cut leaves
 * for certain at that time, and, within the writes of one flush, some more.
 */
#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include "prog.h"

#define MAGIC	0x6a736677736872ull
#define VERSION	1

enum { DISCARD = 4, MARK = 8 };		/* flags of an entry */

/* The device's first sector; entries begin in the next. All is little-endian. */
struct super {
	uint64_t magic, version, entries;
	uint32_t sectorsize;
};

/* A sector of its own; a write's data begin in the next, a mark's name right behind it. */
struct entry {
	uint64_t sector, nr_sectors;	/* of sectorsize bytes each */
	uint64_t flags;
	uint64_t data_len;
};

static int log_fd;
static uint32_t sectorsize;

static void get(void *buf, size_t len, uint64_t at)
{
	ssize_t n = pread(log_fd, buf, len, at);

	if (n != (ssize_t)len)
		die("the log ends at byte %llu", (unsigned long long)at);
}

static void mark(uint64_t place, const struct entry *e, const char *sector)
{
	size_t len = le64toh(e->data_len);

	if (len > sectorsize - sizeof(*e))
		len = sectorsize - sizeof(*e);
	printf("%llu %.*s\n", (unsigned long long)place, (int)len, sector + sizeof(*e));
}

static void copy(int disk, uint64_t from, uint64_t to, uint64_t len)
{
	static char buf[1 << 20];
	size_t n;

	for (; len; from += n, to += n, len -= n) {
		n = len < sizeof(buf) ? len : sizeof(buf);
		get(buf, n, from);
		if (pwrite(disk, buf, n, to) != (ssize_t)n)
			die("write to the disk");
	}
}

int main(int argc, char **argv)
{
	uint64_t place, entries, len, upto, at;
	struct super super;
	char sector[4096];
	struct entry e;
	int disk = -1;

	if (argc != 2 && argc != 4) {
		fputs("usage: replay-log LOG [ENTRIES DISK]\n", stderr);
		return 2;
	}
	log_fd = open(argv[1], O_RDONLY);
	if (log_fd < 0)
		die("%s", argv[1]);
	get(&super, sizeof(super), 0);
	sectorsize = le32toh(super.sectorsize);
	if (le64toh(super.magic) != MAGIC || le64toh(super.version) != VERSION ||
	    sectorsize < 512 || sectorsize > sizeof(sector)) {
		fprintf(stderr, "replay-log: %s is no log\n", argv[1]);
		return 2;
	}
	entries = le64toh(super.entries);
	upto = entries;
	if (argc == 4) {
		upto = strtoull(argv[2], NULL, 10);
		disk = open(argv[3], O_WRONLY);
		if (disk < 0)
			die("%s", argv[3]);
		if (upto > entries) {
			fprintf(stderr, "replay-log: there are %llu entries\n",
				(unsigned long long)entries);
			return 2;
		}
	}
	at = sectorsize;
	for (place = 1; place <= upto; place++) {
		get(sector, sectorsize, at);
		memcpy(&e, sector, sizeof(e));
		at += sectorsize;
		len = le64toh(e.nr_sectors) * sectorsize;
		if (le64toh(e.flags) & MARK) {
			if (disk < 0)
				mark(place, &e, sector);
			continue;
		}
		/* what a discard leaves may be anything: what was there, for one */
		if (le64toh(e.flags) & DISCARD)
			continue;
		if (disk >= 0)
			copy(disk, at, le64toh(e.sector) * sectorsize, len);
		at += len;
	}
	if (disk < 0)
		printf("%llu end\n", (unsigned long long)entries);
	else if (fsync(disk))
		die("fsync");
	return 0;
}
