/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a record costs in a batch of N. Nothing is asserted: it is to be looked
 * at, best in a build without sanitizers:
 *
 *	gcc -O2 -D_GNU_SOURCE -Ikernel/shared tests/model/merge.c \
 *		kernel/shared/record.c kernel/shared/wire.c && ./a.out -t
 */
#ifndef TESTS_MODEL_MERGE_TIME_H
#define TESTS_MODEL_MERGE_TIME_H

#include <time.h>

#include "merge_batch.h"

static u64 ns_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static u64 ns_new, ns_add, ns_add_most, ns_free;

static void timed(struct archil_record *rec)
{
	u64 start = ns_now(), made, added;
	struct archil_batch_rec *e;

	rec->time.sec = cpu_to_le64(++clock_now);
	rec->mtime = rec->ctime = rec->time;
	e = archil_batch_rec_new(rec);
	MUST(e, "no memory");
	made = ns_now();
	archil_batch_add(&batch, e);
	added = ns_now();
	archil_batch_junk_free(archil_batch_junk(&batch));
	ns_new += made - start;
	ns_add += added - made;
	if (added - made > ns_add_most)
		ns_add_most = added - made;
	ns_free += ns_now() - added;
}

/* A tree is unpacked: a hundred files a directory, contents, attributes. */
static void time_untar(u32 n)
{
	static const u8 data[100];
	u64 ino = 100, dir = 0;
	char name[32];
	u32 i;

	for (i = 0; i < n / 3; i++) {
		struct archil_record rec = {
			.type = ARCHIL_REC_CREATE, .ino = ino++, .dir = ARCHIL_INO_ROOT,
			.cookie = ARCHIL_COOKIE_FIRST + i, .mode = S_IFDIR | 0755, .name = name,
		};

		rec.name_len = snprintf(name, sizeof(name), "file-%u.txt", i);
		if (i % 100 == 0) {
			dir = rec.ino;
			timed(&rec);
			rec.ino = ino++;
		}
		rec.mode = S_IFREG | 0644;
		rec.dir = dir;
		timed(&rec);
		timed(&(struct archil_record){ .type = ARCHIL_REC_CONTENT, .ino = rec.ino,
					       .data = data, .data_len = sizeof(data) });
		timed(&(struct archil_record){ .type = ARCHIL_REC_SETATTR, .ino = rec.ino,
					       .valid = ARCHIL_SET_MTIME | ARCHIL_SET_CTIME });
	}
}

/* A tree that is older goes. */
static void time_rm(u32 n)
{
	char name[32];
	u32 i;

	for (i = 0; i < n / 2; i++) {
		struct archil_record rec = {
			.type = ARCHIL_REC_UNLINK, .flags = ARCHIL_UNLINK_OPEN, .ino = n + i,
			.dir = 2 + i / 100, .name = name,
		};

		rec.name_len = snprintf(name, sizeof(name), "file-%u.txt", i);
		timed(&rec);
		timed(&(struct archil_record){ .type = ARCHIL_REC_RELEASE, .ino = rec.ino });
	}
}

/* New files are written and removed at once. */
static void time_vanish(u32 n)
{
	char name[32];
	u32 i;

	for (i = 0; i < n / 3; i++) {
		struct archil_record rec = {
			.type = ARCHIL_REC_CREATE, .ino = n + i, .dir = 2 + i % 100,
			.cookie = ARCHIL_COOKIE_FIRST + i, .mode = S_IFREG | 0644, .name = name,
		};

		rec.name_len = snprintf(name, sizeof(name), "file-%u.txt", i);
		timed(&rec);
		rec.type = ARCHIL_REC_UNLINK;
		rec.flags = ARCHIL_UNLINK_OPEN;
		timed(&rec);
		timed(&(struct archil_record){ .type = ARCHIL_REC_RELEASE, .ino = rec.ino });
	}
}

static void time_one(const char *what, void (*run)(u32 n), u32 n)
{
	u64 start, charge;
	size_t len;
	u32 count, sent = 0;
	bool done;

	archil_batch_init(&batch, 1ul << 30);
	ns_new = ns_add = ns_add_most = ns_free = 0;
	run(n);
	start = ns_now();
	do {
		done = archil_batch_drain(&batch, sealed_buf, ARCHIL_PAYLOAD_MAX, &len, &count,
					  &charge);
		sent += count;
	} while (!done);
	archil_batch_clear(&batch);
	printf("%-7s %7u records, sent %7u; ns a record: new %4" PRIu64 ", add %4" PRIu64
	       " (most %" PRIu64 "), junk %4" PRIu64 ", drain %4" PRIu64 "\n", what, n, sent,
	       ns_new / n, ns_add / n, ns_add_most, ns_free / n, (ns_now() - start) / n);
}

static void time_all(void)
{
	static const u32 sizes[] = { 1000, 10000, 100000, 200000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		time_one("untar", time_untar, sizes[i]);
		time_one("rm", time_rm, sizes[i]);
		time_one("vanish", time_vanish, sizes[i]);
	}
}

#endif
