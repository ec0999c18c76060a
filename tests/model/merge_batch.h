/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A batch under test: what is recorded goes to the plain tree as it is, and into
 * the batch; what the batch sends goes to the merged tree, and the two must be
 * the same. While there is memory, a twin gets the same records and is sent in
 * small parts: it must send the same bytes.
 */
#ifndef TESTS_MODEL_MERGE_BATCH_H
#define TESTS_MODEL_MERGE_BATCH_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void *test_alloc(size_t size, bool wait);
static void test_free(void *p);

#define port_alloc(size, wait)	test_alloc(size, wait)
#define port_free(p)		test_free(p)

#include "../../kernel/shared/batch.c"
#include "../../kernel/shared/merge.c"
#include "../random.h"
#include "merge_tree.h"

static struct rnd rnd;
static u64 seed, clock_now;
static bool verbose;

static struct tree plain, merged;
static struct archil_batch batch, twin;
static bool with_twin;
static u8 log_buf[4 << 20];	/* the plain records of the batch */
static size_t log_len;
static u8 sealed_buf[4 << 20];	/* what was sent for them */
static size_t sealed_len;
static u64 plain_charge, all_plain, all_merged, all_withdrawn;

static void say(const struct archil_record *rec)
{
	printf("  %-8s ino %" PRIu64, archil_record_name(rec->type), rec->ino);
	if (rec->flags)
		printf(" flags %x", rec->flags);
	if (rec->dir)
		printf(" %" PRIu64 "/%.*s", rec->dir, rec->name_len, rec->name_len ? rec->name : "");
	if (rec->new_dir)
		printf(" -> %" PRIu64 "/%.*s over %" PRIu64, rec->new_dir, rec->new_name_len,
		       rec->new_name, rec->target);
	if (rec->cookie)
		printf(" cookie %" PRIu64, rec->cookie);
	if (rec->valid)
		printf(" valid %x size %" PRIu64 " mtime %" PRIu64 " ctime %" PRIu64, rec->valid,
		       rec->size, le64_to_cpu(rec->mtime.sec), le64_to_cpu(rec->ctime.sec));
	if (rec->type >= ARCHIL_REC_CONTENT && rec->type <= ARCHIL_REC_ALLOC)
		printf(" off %" PRIu64 " len %" PRIu64, rec->off, rec->length + rec->data_len);
	if (rec->type == ARCHIL_REC_SETXATTR || rec->type == ARCHIL_REC_RMXATTR)
		printf(" %.*s", rec->name_len, rec->name);
	printf(" time %" PRIu64 "\n", le64_to_cpu(rec->time.sec));
}

static void say_all(const char *what, const u8 *buf, size_t len)
{
	struct archil_record rec;
	size_t pos = 0;

	printf("%s:\n", what);
	while (archil_record_next(buf, len, &pos, &rec) == 1)
		say(&rec);
}

static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	say_all("plain", log_buf, log_len);
	say_all("merged", sealed_buf, sealed_len);
	printf("to see it again: -n 1 -s %" PRIu64 "\n", seed);
	exit(1);
}

#define MUST(cond, ...) do { if (!(cond)) fail(__VA_ARGS__); } while (0)

/* ---- memory that is sometimes not there when one cannot wait for it ---- */

struct block {
	size_t size;
	bool wait;
	u8 mem[] __aligned(16);
};

static unsigned int alloc_fails;	/* one in so many; 0: never */
static int alloc_left = -1;		/* this many succeed, waiting or not; -1: all */
static bool adding;			/* a lock would be held */

static void *test_alloc(size_t size, bool wait)
{
	struct block *block;

	MUST(!wait || !adding, "it waits for memory under a lock");
	if (!wait && alloc_fails && rnd_one_in(&rnd, alloc_fails))
		return NULL;
	if (!alloc_left || (alloc_left > 0 && !alloc_left--))
		return NULL;
	block = malloc(sizeof(*block) + size);
	MUST(block, "no memory");
	block->size = size;
	block->wait = wait;
	return block->mem;
}

static void test_free(void *p)
{
	struct block *block;

	if (!p)
		return;
	block = (struct block *)((u8 *)p - offsetof(struct block, mem));
	MUST(!adding || !block->wait || block->size == sizeof(struct archil_batch_inode),
	     "%zu bytes are freed under a lock", block->size);
	free(block);
}

/* ---- the two trees ---- */

static void compare(void)
{
	u64 ino;
	int i;

	for (ino = 1; ino <= last_ino; ino++) {
		struct inode *a = &plain.inode[ino], *b = &merged.inode[ino];

		MUST(a->there == b->there, "inode %" PRIu64 " is there in one only", ino);
		if (!a->there)
			continue;
#define SAME(field)								\
		MUST(!memcmp(&a->field, &b->field, sizeof(a->field)),		\
		     "inode %" PRIu64 ": " #field " differs", ino)
		SAME(mode);
		SAME(uid);
		SAME(gid);
		SAME(rdev_major);
		SAME(rdev_minor);
		SAME(nlink);
		SAME(atime);
		SAME(mtime);
		SAME(ctime);
		SAME(btime);
		SAME(size);
		SAME(data);
		SAME(target);
		SAME(target_len);
		SAME(home);
		for (i = 0; i < NAMES; i++) {
			SAME(entry[i].ino);
			SAME(entry[i].cookie);
			MUST(b->entry[i].cookie < b->next_cookie || !b->entry[i].ino,
			     "inode %" PRIu64 ": the cookie counter is behind", ino);
		}
		for (i = 0; i < XATTRS; i++) {
			SAME(xattr[i].there);
			SAME(xattr[i].len);
			SAME(xattr[i].value);
		}
		MUST(b->touched || !a->touched, "inode %" PRIu64 " keeps its change number", ino);
	}
}

/* ---- sending ---- */

/* What is left of the batch, in parts of any size that takes the longest record. */
static void drain_in_parts(struct archil_batch *b, u8 *buf, size_t *len, u32 *count, u64 *charge)
{
	size_t cap, got, left = b->bytes;
	u64 part_charge;
	u32 part;
	bool done;

	do {
		cap = rnd_range(&rnd, 256, 1024);
		done = archil_batch_drain(b, buf + *len, cap, &got, &part, &part_charge);
		MUST(got <= cap && got <= left, "a part of %zu bytes", got);
		MUST(done || got > cap - 256, "a part of %zu bytes, though %zu fit", got, cap);
		left -= got;
		MUST(b->bytes == left, "%zu bytes are left", b->bytes);
		*len += got;
		*count += part;
		*charge += part_charge;
	} while (!done);
}

/* The whole batch; the charge of it. */
static u64 drain(u32 *count)
{
	static u8 twin_buf[sizeof(sealed_buf)];
	size_t bytes = batch.bytes, twin_len = 0;
	u64 charge = 0, twin_charge = 0;
	u32 want = batch.count, twin_count = 0;

	MUST(bytes <= sizeof(sealed_buf), "%zu bytes", bytes);
	sealed_len = 0;
	*count = 0;
	if (with_twin)
		MUST(archil_batch_drain(&batch, sealed_buf, bytes, &sealed_len, count, &charge),
		     "it takes more than batch.bytes");
	else
		drain_in_parts(&batch, sealed_buf, &sealed_len, count, &charge);
	MUST(sealed_len == bytes && *count == want, "%zu bytes, %u records instead of %zu, %u",
	     sealed_len, *count, bytes, want);
	MUST(!batch.bytes && !batch.count, "%zu bytes, %u records are left", batch.bytes,
	     batch.count);
	if (!with_twin)
		return charge;
	drain_in_parts(&twin, twin_buf, &twin_len, &twin_count, &twin_charge);
	MUST(twin_len == sealed_len && !memcmp(twin_buf, sealed_buf, twin_len),
	     "in parts it is not the same");
	MUST(twin_count == *count && twin_charge == charge, "the parts' sums are wrong");
	return charge;
}

/* Apply the batch to the merged tree, compare. */
static void seal(void)
{
	struct archil_record rec;
	u64 ino, drained, charge = 0;
	u32 count, n = 0;
	size_t pos = 0;
	int ret;

	drained = drain(&count);
	while ((ret = archil_record_next(sealed_buf, sealed_len, &pos, &rec)) == 1) {
		MUST(apply(&merged, &rec), "record %u cannot be applied", n);
		charge += archil_record_charge(&rec);
		n++;
	}
	MUST(!ret && n == count, "%u records of %u", n, count);
	MUST(charge == drained && charge <= plain_charge, "it charges more");
	compare();
	if (verbose) {
		say_all("plain", log_buf, log_len);
		say_all("merged", sealed_buf, sealed_len);
	}
	all_merged += count;
	archil_batch_clear(&batch);
	archil_batch_clear(&twin);
	log_len = 0;
	plain_charge = 0;
	for (ino = 1; ino <= last_ino; ino++)
		plain.inode[ino].touched = merged.inode[ino].touched = false;
}

/* Forget what is not sent, at any moment: the plain tree does not matter any more. */
static void give_up(struct archil_batch *b)
{
	u8 buf[1024];
	u64 charge;
	size_t len;
	u32 count;

	if (rnd_one_in(&rnd, 2))
		archil_batch_drain(b, buf, sizeof(buf), &len, &count, &charge);
	archil_batch_clear(b);
	MUST(!b->bytes && !b->count && !archil_batch_junk(b), "something is left");
}

/* ---- recording ---- */

/* Sometimes as a writer does that does not have its bytes yet. */
static struct archil_batch_rec *rec_new(const struct archil_record *rec)
{
	struct archil_record room = *rec;
	struct archil_batch_rec *e;

	if (rec->type != ARCHIL_REC_CONTENT || rec->ino % 2)
		return archil_batch_rec_new(rec);
	room.data = NULL;
	room.data_len += rec->off % 8;
	room.time = (struct archil_time){ 0 };
	e = archil_batch_rec_new(&room);
	if (e)
		archil_batch_rec_fill(e, rec->data, rec->data_len, &rec->time);
	return e;
}

static void add(struct archil_batch *b, const struct archil_record *rec)
{
	size_t bound = b->bytes + archil_record_size(rec);
	struct archil_batch_rec *e = rec_new(rec);

	MUST(e, "no memory");
	if (bound < b->max)
		bound = b->max;
	adding = true;
	archil_batch_add(b, e);
	adding = false;
	MUST(b->bytes <= bound, "%zu bytes", b->bytes);
	if (rec->ino % 4)	/* the others' junk is left for clear() */
		archil_batch_junk_free(archil_batch_junk(b));
}

static void record(const struct archil_record *rec)
{
	/* one that does not fit is added all the same now and then */
	if ((!archil_batch_fits(&batch, rec) && !rnd_one_in(&rnd, 8)) ||
	    log_len + archil_record_size(rec) > sizeof(log_buf))
		seal();
	MUST(!archil_record_put(log_buf, sizeof(log_buf), &log_len, rec), "the log is full");
	MUST(apply(&plain, rec), "the test made an impossible operation");
	plain_charge += archil_record_charge(rec);
	all_plain++;
	add(&batch, rec);
	if (with_twin)
		add(&twin, rec);
}

static void start(size_t max)
{
	struct inode *root = &plain.inode[ARCHIL_INO_ROOT];

	memset(plain.inode, 0, sizeof(plain.inode[0]) * (last_ino + 1));
	root->there = true;
	root->mode = S_IFDIR | 0755;
	root->nlink = 1;
	root->next_cookie = ARCHIL_COOKIE_FIRST;
	memcpy(merged.inode, plain.inode, sizeof(plain.inode[0]) * (last_ino + 1));
	last_ino = ARCHIL_INO_ROOT;
	clock_now = 0;
	log_len = 0;
	sealed_len = 0;
	plain_charge = 0;
	archil_batch_init(&batch, max);
	archil_batch_init(&twin, max);
	with_twin = !alloc_fails;
}

#endif
