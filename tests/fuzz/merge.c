// SPDX-License-Identifier: GPL-2.0
/*
 * Merging records that are right one by one and make no sense together: inodes
 * that are made twice, names removed that never were. No tree is right after
 * that, but no memory may be harmed, what is sent must be records again, and
 * bytes and counts must agree.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static void *fuzz_alloc(size_t size, bool wait);

#define port_alloc(size, wait)	fuzz_alloc(size, wait)
#define port_free(p)		free(p)

#include "../../kernel/shared/record.c"
#include "../../kernel/shared/batch.c"
#include "../../kernel/shared/merge.c"

#define FUZZ_ROUNDS	100000
#include "fuzz.h"
#include "../records.h"

#define INODES	10

static unsigned int alloc_count, alloc_fails;

static void *fuzz_alloc(size_t size, bool wait)
{
	if (!wait && alloc_fails && ++alloc_count % alloc_fails == 0)
		return NULL;
	return malloc(size);
}

static size_t fuzz_valid(struct rnd *r, u8 *buf)
{
	size_t len = 0, count = rnd_len(r, 1, 150);
	static struct rec_parts parts;
	struct archil_record rec;

	while (count--) {
		random_record(r, rnd_range(r, 1, ARCHIL_REC_TYPES - 1), &rec, &parts);
		if (rec.name_len > 4)
			rec.name_len = 4;
		if (rec.new_name_len > 4)
			rec.new_name_len = 4;
		if (rec.data_len > 64 && !rnd_one_in(r, 64))
			rec.data_len = 64;
		if (archil_record_size(&rec) <= FUZZ_INPUT_MAX - len)
			archil_record_put(buf, FUZZ_INPUT_MAX, &len, &rec);
	}
	return len;
}

/* Few inodes and names, so that records meet. */
static u64 fold(u64 ino)
{
	return ino ? 1 + ino % INODES : 0;
}

static u16 fold_name(const char **name, u16 len)
{
	static const char names[] = "abcd";

	if (!len)
		return 0;
	*name = &names[(u8)(*name)[0] % 4];
	return 1;
}

static struct archil_batch_rec *rec_folded(struct archil_record *rec)
{
	struct archil_batch_rec *e;

	rec->ino = fold(rec->ino);
	rec->dir = fold(rec->dir);
	rec->new_dir = fold(rec->new_dir);
	rec->target = fold(rec->target);
	if (rec->target == rec->ino)
		rec->target = rec->ino % INODES + 1;
	rec->name_len = fold_name(&rec->name, rec->name_len);
	rec->new_name_len = fold_name(&rec->new_name, rec->new_name_len);
	e = archil_batch_rec_new(rec);
	FUZZ_CHECK(e);
	return e;
}

static void drain(struct archil_batch *b)
{
	static u8 buf[ARCHIL_REC_MAX];
	size_t len, pos, left;
	struct archil_record rec;
	u64 charge;
	u32 count;
	bool done;

	do {
		left = b->bytes;
		done = archil_batch_drain(b, buf, sizeof(buf), &len, &count, &charge);
		FUZZ_CHECK(len <= sizeof(buf) && b->bytes == left - len);
		FUZZ_CHECK(done || len);
		for (pos = 0; archil_record_next(buf, len, &pos, &rec) == 1; count--)
			charge -= archil_record_charge(&rec);
		FUZZ_CHECK(pos == len && !count && !charge);
	} while (!done);
	FUZZ_CHECK(!b->bytes && !b->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archil_record rec;
	struct archil_batch b;
	size_t pos = 0, bound;
	u64 charge;

	alloc_count = 0;
	alloc_fails = size % 4;
	archil_batch_init(&b, size % 3 ? 1 << 20 : 2048);
	while (archil_record_next(data, size, &pos, &rec) == 1) {
		struct archil_batch_rec *e = rec_folded(&rec);

		bound = b.bytes + archil_record_size(&e->rec);
		if (bound < b.max)
			bound = b.max;
		archil_batch_add(&b, e);
		FUZZ_CHECK(b.bytes <= bound);
		if (rec.type == ARCHIL_REC_CONTENT && pos % 7 == 0)
			archil_batch_withdraw(&b, rec.ino, &charge);
		FUZZ_CHECK(b.bytes <= bound);
		if (pos % 3)
			archil_batch_junk_free(archil_batch_junk(&b));
	}
	if (size % 5)
		drain(&b);
	archil_batch_clear(&b);
	return 0;
}
