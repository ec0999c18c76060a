// SPDX-License-Identifier: GPL-2.0
/*
 * Log records from a stranger. What is accepted must be inside the buffer and
 * the limits, and must come back the same when it is encoded again.
 */
#include "../../kernel/shared/record.c"

#define FUZZ_ROUNDS	200000
#include "fuzz.h"
#include "../records.h"

static size_t fuzz_valid(struct rnd *r, u8 *buf)
{
	static struct rec_parts parts;
	size_t len = 0, count = rnd_below(r, 4);
	struct archil_record rec;

	do {
		random_record(r, rnd_range(r, 1, ARCHIL_REC_TYPES - 1), &rec, &parts);
		/* most should be short, or all the time goes into copying */
		if (rec.type != ARCHIL_REC_CREATE && rec.data_len > 512 && !rnd_one_in(r, 16))
			rec.data_len = 512;
		FUZZ_CHECK(!archil_record_put(buf, FUZZ_INPUT_MAX, &len, &rec));
	} while (count--);
	return len;
}

static void inside(const void *part, size_t len, const u8 *start, const u8 *end)
{
	FUZZ_CHECK(!len || ((const u8 *)part >= start && (const u8 *)part + len <= end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archil_record rec, again;
	size_t pos = 0, start = 0, len, end, fixed;
	u8 *copy;
	int ret;

	while ((ret = archil_record_next(data, size, &pos, &rec)) == 1) {
		FUZZ_CHECK(pos > start && pos <= size && (pos - start) % 8 == 0);
		inside(rec.name, rec.name_len, data + start, data + pos);
		inside(rec.new_name, rec.new_name_len, data + start, data + pos);
		inside(rec.data, rec.data_len, data + start, data + pos);
		FUZZ_CHECK(rec.ino && rec.ino <= ARCHIL_INO_MAX);
		FUZZ_CHECK(rec.name_len <= ARCHIL_NAME_LEN && rec.data_len <= ARCHIL_XATTR_SIZE);
		FUZZ_CHECK(archil_record_name(rec.type)[0] != '?');
		FUZZ_CHECK(archil_record_charge(&rec) <= 1ull << 63);

		len = archil_record_size(&rec);
		FUZZ_CHECK(len == pos - start && len <= ARCHIL_REC_MAX);
		copy = malloc(len);
		FUZZ_CHECK(copy);
		end = 0;
		FUZZ_CHECK(archil_record_put(copy, len - 1, &end, &rec) == -ENOSPC);
		FUZZ_CHECK(!archil_record_put(copy, len, &end, &rec) && end == len);
		/* names, data and padding have one form only */
		fixed = rec_table[rec.type].size;
		FUZZ_CHECK(!memcmp(copy + fixed, data + start + fixed, len - fixed));
		end = 0;
		FUZZ_CHECK(archil_record_next(copy, len, &end, &again) == 1 && end == len);
		FUZZ_CHECK(same_record(&rec, &again));
		free(copy);
		start = pos;
	}
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	FUZZ_CHECK(ret || pos == size);
	FUZZ_CHECK(pos == start);
	return 0;
}
