/* SPDX-License-Identifier: GPL-2.0 */
/* A batch of a log applied, whole or cut into parts between records. */
#ifndef TESTS_LOGPARTS_H
#define TESTS_LOGPARTS_H

#include "fs_txn.h"
#include "random.h"

#define LOG_PARTS_MAX	8

static inline int log_whole(struct fs_txn *txn, struct fs_deleg *deleg, u64 first_seq, u32 count,
			    const void *buf, size_t len, struct fs_log_result *res)
{
	struct fs_log_part part = { .buf = buf, .len = len, .count = count };

	return fs_apply_log(txn, deleg, first_seq, &part, 1, res);
}

/* What count says beyond the records that are there, the last part says. */
static inline int log_split(struct rnd *rnd, struct fs_txn *txn, struct fs_deleg *deleg,
			    u64 first_seq, u32 count, const void *buf, size_t len,
			    struct fs_log_result *res)
{
	struct fs_log_part part[LOG_PARTS_MAX] = { { .buf = buf } };
	struct archil_record rec;
	size_t pos = 0, from = 0, n = 0;
	u32 seen = 0;

	while (archil_record_next(buf, len, &pos, &rec) > 0) {
		if (++seen >= count || n == LOG_PARTS_MAX - 1 || !rnd_one_in(rnd, 3))
			continue;
		part[n].len = pos - from;
		part[n].count = seen;
		count -= seen;
		seen = 0;
		from = pos;
		part[++n].buf = (const u8 *)buf + from;
	}
	part[n].len = len - from;
	part[n++].count = count;
	return fs_apply_log(txn, deleg, first_seq, part, n, res);
}

#endif
