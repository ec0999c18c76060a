// SPDX-License-Identifier: GPL-2.0
/* Log records: what is accepted, what is refused, and the way there and back. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../records.h"

#define ROUNDS	64

/* ck_assert() tells the parent process of each one: too slow for a million of them. */
#define must(cond) do {								\
	if (!(cond))								\
		ck_abort_msg("not true: %s", #cond);				\
} while (0)

static struct rnd rnd;
static struct rec_parts parts;
static u8 wire[ARCHIL_REC_MAX + 264];	/* room to break the limits */
static size_t wire_len;

/* Encodes rec into wire. */
static void encode(const struct archil_record *rec)
{
	wire_len = 0;
	ck_assert_int_eq(archil_record_put(wire, sizeof(wire), &wire_len, rec), 0);
	ck_assert_uint_eq(wire_len, archil_record_size(rec));
	ck_assert_uint_eq(wire_len % 8, 0);
}

/* Decodes the first len bytes of wire, at an odd address, with nothing behind them. */
static int decode(size_t len, struct archil_record *rec)
{
	u8 *block = malloc(len + 1);
	size_t pos = 0;
	int ret;

	must(block);
	memcpy(block + 1, wire, len);
	ret = archil_record_next(block + 1, len, &pos, rec);
	must(pos == (ret == 1 ? len : 0));
	free(block);
	return ret;
}

static int verdict(const struct archil_record *rec)
{
	struct archil_record out;

	encode(rec);
	return decode(wire_len, &out);
}

#define accepted(rec)	ck_assert_int_eq(verdict(rec), 1)
#define refused(rec)	ck_assert_int_eq(verdict(rec), -EPROTO)

/* Random records of each type; in a loop test, _i is the type. */
START_TEST(round_trip)
{
	struct archil_record rec, out;
	size_t pos;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		random_record(&rnd, _i, &rec, &parts);
		encode(&rec);
		pos = 0;
		ck_assert_int_eq(archil_record_next(wire, wire_len, &pos, &out), 1);
		ck_assert_uint_eq(pos, wire_len);
		ck_assert(same_record(&rec, &out));
		ck_assert_int_eq(archil_record_next(wire, wire_len, &pos, &out), 0);
	}
}
END_TEST

/* All shorter lengths of a record; of a very long one, every 509th. */
START_TEST(truncated)
{
	struct archil_record rec, out;
	size_t len;
	int i;

	for (i = 0; i < 8; i++) {
		random_record(&rnd, _i, &rec, &parts);
		encode(&rec);
		for (len = 1; len < wire_len; len += wire_len > 8192 ? 509 : 1) {
			__le32 claim = cpu_to_le32(len), whole = cpu_to_le32(wire_len);

			must(decode(len, &out) == -EPROTO);
			/* also when its own length agrees */
			if (len < sizeof(struct archil_rec))
				continue;
			memcpy(wire + offsetof(struct archil_rec, len), &claim, sizeof(claim));
			must(decode(len, &out) == -EPROTO);
			memcpy(wire + offsetof(struct archil_rec, len), &whole, sizeof(whole));
		}
		must(decode(0, &out) == 0);
		must(decode(wire_len, &out) == 1);
	}
}
END_TEST

/* 8 bytes more than the parts need. */
START_TEST(left_over)
{
	struct archil_record rec, out;
	__le32 claim;

	do {
		random_record(&rnd, _i, &rec, &parts);
		encode(&rec);
	} while (wire_len + 8 > sizeof(wire));
	memset(wire + wire_len, 0, 8);
	claim = cpu_to_le32(wire_len + 8);
	memcpy(wire + offsetof(struct archil_rec, len), &claim, sizeof(claim));
	must(decode(wire_len + 8, &out) == -EPROTO);
}
END_TEST

START_TEST(padding_not_zero)
{
	struct archil_record rec, out;

	random_record(&rnd, ARCHIL_REC_RMXATTR, &rec, &parts);
	rec.name_len = (8 - sizeof(struct archil_rec_rmxattr) % 8) % 8 + 1;
	memset(parts.name, 'n', rec.name_len);
	encode(&rec);
	must(decode(wire_len, &out) == 1);
	wire[wire_len - 1] = 1;
	must(decode(wire_len, &out) == -EPROTO);
}
END_TEST

START_TEST(unknown_flags)
{
	static const u16 known[ARCHIL_REC_TYPES] = {
		[ARCHIL_REC_CREATE] = 0x1, [ARCHIL_REC_UNLINK] = 0x1,
		[ARCHIL_REC_RENAME] = 0x3, [ARCHIL_REC_ALLOC] = 0x1,
	};
	struct archil_record rec;
	int bit;

	for (bit = 0; bit < 16; bit++) {
		if (known[_i] & 1 << bit)
			continue;
		random_record(&rnd, _i, &rec, &parts);
		rec.flags |= 1 << bit;
		refused(&rec);
	}
}
END_TEST

START_TEST(unknown_types)
{
	struct archil_record out;
	int type;

	for (type = 0; type < 65536; type++) {
		struct archil_rec h = {
			.type = cpu_to_le16(type), .len = cpu_to_le32(sizeof(h)),
		};

		if (type >= ARCHIL_REC_CREATE && type <= ARCHIL_REC_RELEASE)
			continue;
		memcpy(wire, &h, sizeof(h));
		must(decode(sizeof(h), &out) == -EPROTO);
		ck_assert_str_eq(archil_record_name(type), "?");
	}
}
END_TEST

/* Each number that a record has, at its limits and past them. */
#define LIMITS(type, field, low, high) do {					\
	struct archil_record r_;						\
										\
	do									\
		random_record(&rnd, type, &r_, &parts);				\
	while (r_.flags);							\
	r_.field = (low);							\
	accepted(&r_);								\
	r_.field = (high);							\
	accepted(&r_);								\
	r_.field = (u64)(high) + 1;						\
	refused(&r_);								\
	if (low) {								\
		r_.field = (u64)(low) - 1;					\
		refused(&r_);							\
	}									\
} while (0)

START_TEST(inode_limits)
{
	struct archil_record rec;
	int type;

	for (type = ARCHIL_REC_CREATE; type < ARCHIL_REC_TYPES; type++) {
		if (type != ARCHIL_REC_RENAME)
			LIMITS(type, ino, 1, ARCHIL_INO_MAX);
	}
	LIMITS(ARCHIL_REC_LINK, dir, 1, ARCHIL_INO_MAX);
	LIMITS(ARCHIL_REC_UNLINK, dir, 1, ARCHIL_INO_MAX);

	do
		random_record(&rnd, ARCHIL_REC_RENAME, &rec, &parts);
	while (!rec.target || rec.flags);
	rec.ino = rec.dir = rec.new_dir = ARCHIL_INO_MAX;
	rec.target = 1;
	accepted(&rec);
	rec.ino = ARCHIL_INO_MAX + 1;
	refused(&rec);
	rec.ino = 0;
	refused(&rec);
	rec.ino = 2;
	rec.dir = ARCHIL_INO_MAX + 1;
	refused(&rec);
	rec.dir = 0;
	refused(&rec);
	rec.dir = 2;
	rec.new_dir = ARCHIL_INO_MAX + 1;
	refused(&rec);
	rec.new_dir = 0;
	refused(&rec);
	rec.new_dir = 2;
	rec.target = ARCHIL_INO_MAX + 1;
	refused(&rec);
	rec.target = rec.ino;
	refused(&rec);
	rec.target = 0;
	accepted(&rec);
}
END_TEST

START_TEST(cookie_limits)
{
	LIMITS(ARCHIL_REC_LINK, cookie, ARCHIL_COOKIE_FIRST, ARCHIL_COOKIE_MAX);
	LIMITS(ARCHIL_REC_LINK, cookie, 0, 0);
}
END_TEST

START_TEST(name_limits)
{
	static const unsigned int types[] = {
		ARCHIL_REC_CREATE, ARCHIL_REC_LINK, ARCHIL_REC_UNLINK, ARCHIL_REC_RENAME,
		ARCHIL_REC_SETXATTR, ARCHIL_REC_RMXATTR,
	};
	char name[ARCHIL_NAME_LEN + 1];
	struct archil_record rec;
	size_t i;

	memset(name, 'x', sizeof(name));
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		bool xattr = types[i] == ARCHIL_REC_SETXATTR || types[i] == ARCHIL_REC_RMXATTR;

		do {
			random_record(&rnd, types[i], &rec, &parts);
			rec.name = name;
			rec.name_len = 0;
		} while (rec.flags);
		refused(&rec);
		rec.name_len = ARCHIL_NAME_LEN;
		accepted(&rec);
		rec.name_len = ARCHIL_NAME_LEN + 1;
		refused(&rec);
		rec.name_len = 3;
		rec.name = "a\0b";
		refused(&rec);
		rec.name = "a/b";
		ck_assert_int_eq(verdict(&rec), xattr ? 1 : -EPROTO);
		rec.name = "..";
		rec.name_len = 2;
		ck_assert_int_eq(verdict(&rec), xattr ? 1 : -EPROTO);
		rec.name_len = 1;
		ck_assert_int_eq(verdict(&rec), xattr ? 1 : -EPROTO);
		rec.name = "...";
		rec.name_len = 3;
		accepted(&rec);
		if (types[i] != ARCHIL_REC_RENAME)
			continue;
		rec.new_name_len = 0;
		refused(&rec);
		rec.new_name = name;
		rec.new_name_len = ARCHIL_NAME_LEN;
		accepted(&rec);
		rec.new_name_len++;
		refused(&rec);
		rec.new_name = "a/b";
		rec.new_name_len = 3;
		refused(&rec);
		rec.new_name = "..";
		rec.new_name_len = 2;
		refused(&rec);
	}
}
END_TEST

START_TEST(time_limits)
{
	static const struct {
		unsigned int type;
		size_t at;
	} fields[] = {
		{ ARCHIL_REC_CREATE, offsetof(struct archil_record, atime) },
		{ ARCHIL_REC_CREATE, offsetof(struct archil_record, mtime) },
		{ ARCHIL_REC_CREATE, offsetof(struct archil_record, ctime) },
		{ ARCHIL_REC_CREATE, offsetof(struct archil_record, btime) },
		{ ARCHIL_REC_CREATE, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_LINK, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_UNLINK, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_RENAME, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_SETATTR, offsetof(struct archil_record, atime) },
		{ ARCHIL_REC_SETATTR, offsetof(struct archil_record, mtime) },
		{ ARCHIL_REC_SETATTR, offsetof(struct archil_record, ctime) },
		{ ARCHIL_REC_CONTENT, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_PUNCH, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_ALLOC, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_SETXATTR, offsetof(struct archil_record, time) },
		{ ARCHIL_REC_RMXATTR, offsetof(struct archil_record, time) },
	};
	struct archil_time time = { 0 };
	struct archil_record rec;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		random_record(&rnd, fields[i].type, &rec, &parts);
		if (rec.type == ARCHIL_REC_SETATTR)
			rec.valid = ARCHIL_SET_ATIME | ARCHIL_SET_MTIME | ARCHIL_SET_CTIME;
		time.sec = cpu_to_le64(INT64_MIN);
		time.nsec = cpu_to_le32(999999999);
		memcpy((u8 *)&rec + fields[i].at, &time, sizeof(time));
		accepted(&rec);
		time.nsec = cpu_to_le32(1000000000);
		memcpy((u8 *)&rec + fields[i].at, &time, sizeof(time));
		refused(&rec);
	}
}
END_TEST

START_TEST(create_rules)
{
	struct archil_record rec;
	u32 type;

	random_record(&rnd, ARCHIL_REC_CREATE, &rec, &parts);
	rec.flags = 0;
	rec.name = "n";
	rec.name_len = 1;
	rec.cookie = ARCHIL_COOKIE_FIRST;
	rec.data_len = rec.rdev_major = rec.rdev_minor = 0;
	for (type = 0; type < 16; type++) {
		rec.mode = type << 12 | 0644;
		rec.data_len = S_ISLNK(rec.mode) ? 4 : 0;
		rec.data = "some";
		if (S_ISREG(rec.mode) || S_ISDIR(rec.mode) || S_ISLNK(rec.mode) ||
		    S_ISCHR(rec.mode) || S_ISBLK(rec.mode) || S_ISFIFO(rec.mode) ||
		    S_ISSOCK(rec.mode))
			accepted(&rec);
		else
			refused(&rec);
	}
	rec.data_len = 0;
	rec.mode = S_IFREG | 07777;
	accepted(&rec);
	rec.mode = S_IFREG | 0200000;
	refused(&rec);

	/* a target is a symlink's and nobody else's */
	rec.mode = S_IFREG;
	rec.data_len = 4;
	refused(&rec);
	rec.mode = S_IFLNK;
	accepted(&rec);
	rec.data_len = 0;
	refused(&rec);
	rec.data = parts.data;
	memset(parts.data, 't', ARCHIL_PATH_LEN + 1);
	rec.data_len = ARCHIL_PATH_LEN;
	accepted(&rec);
	rec.data_len = ARCHIL_PATH_LEN + 1;
	refused(&rec);
	rec.data = "a\0b";
	rec.data_len = 3;
	refused(&rec);
	rec.data_len = 0;

	/* device numbers */
	rec.mode = S_IFCHR;
	rec.rdev_major = 4095;
	rec.rdev_minor = (1 << 20) - 1;
	accepted(&rec);
	rec.rdev_major = 4096;
	refused(&rec);
	rec.rdev_major = 1;
	rec.rdev_minor = 1 << 20;
	refused(&rec);
	rec.rdev_minor = 1;
	rec.mode = S_IFREG;
	refused(&rec);
	rec.rdev_major = rec.rdev_minor = 0;
	accepted(&rec);

	/* a temporary file has neither name nor cookie, all others have both */
	rec.flags = ARCHIL_CREATE_TMPFILE;
	refused(&rec);
	rec.name_len = 0;
	refused(&rec);
	rec.cookie = 0;
	accepted(&rec);
	rec.flags = 0;
	refused(&rec);
	rec.name_len = 1;
	accepted(&rec);
	rec.cookie = ARCHIL_COOKIE_FIRST - 1;
	refused(&rec);
	rec.cookie = ARCHIL_COOKIE_MAX + 1;
	refused(&rec);
}
END_TEST

START_TEST(rename_rules)
{
	struct archil_record rec;

	random_record(&rnd, ARCHIL_REC_RENAME, &rec, &parts);
	rec.ino = 5;
	rec.target = 6;
	rec.cookie = 7;
	rec.flags = ARCHIL_RENAME_OPEN;
	accepted(&rec);
	rec.flags = ARCHIL_RENAME_EXCHANGE;
	refused(&rec);		/* entries keep their cookies */
	rec.cookie = 0;
	accepted(&rec);
	rec.flags |= ARCHIL_RENAME_OPEN;
	refused(&rec);
	rec.flags = ARCHIL_RENAME_EXCHANGE;
	rec.target = 0;
	refused(&rec);		/* with what? */
	rec.flags = ARCHIL_RENAME_OPEN;
	rec.cookie = 7;
	refused(&rec);		/* what is open? */
	rec.flags = 0;
	accepted(&rec);
	rec.cookie = 0;
	accepted(&rec);
	rec.cookie = ARCHIL_COOKIE_FIRST - 1;
	refused(&rec);
	rec.cookie = ARCHIL_COOKIE_MAX + 1;
	refused(&rec);
}
END_TEST

START_TEST(setattr_rules)
{
	struct archil_record rec, out;
	int bit;

	random_record(&rnd, ARCHIL_REC_SETATTR, &rec, &parts);
	rec.valid = 0;
	refused(&rec);
	for (bit = 0; bit < 32; bit++) {
		rec.valid = 1u << bit;
		if (rec.valid & ARCHIL_SET_ALL)
			accepted(&rec);
		else
			refused(&rec);
	}
	rec.valid = ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP;
	refused(&rec);
	rec.valid = ARCHIL_SET_SIZE;
	rec.size = INT64_MAX;
	accepted(&rec);
	rec.size++;
	refused(&rec);
	rec.valid = ARCHIL_SET_SIZE_UP;
	refused(&rec);

	/* the type does not travel, what is not named is not there */
	rec.valid = ARCHIL_SET_MODE;
	rec.mode = S_IFREG | 0640;
	rec.uid = 1;
	encode(&rec);
	must(decode(wire_len, &out) == 1);
	ck_assert_uint_eq(out.mode, 0640);
	ck_assert_uint_eq(out.uid, 0);
	ck_assert_uint_eq(out.size, 0);
	wire[offsetof(struct archil_rec_setattr, mode) + 1] |= S_IFREG >> 8;
	must(decode(wire_len, &out) == -EPROTO);
}
END_TEST

START_TEST(content_rules)
{
	struct archil_record rec;

	random_record(&rnd, ARCHIL_REC_CONTENT, &rec, &parts);
	rec.off = 0;
	rec.data_len = 0;
	refused(&rec);
	rec.data_len = ARCHIL_INLINE_MAX;
	accepted(&rec);
	rec.off = 1;
	refused(&rec);
	rec.off = ARCHIL_INLINE_MAX - 1;
	rec.data_len = 1;
	accepted(&rec);
	rec.data_len = 2;
	refused(&rec);
	rec.off = UINT32_MAX;
	refused(&rec);
	rec.off = 0;
	rec.data_len = ARCHIL_INLINE_MAX + 1;
	refused(&rec);
}
END_TEST

START_TEST(range_rules)
{
	static const unsigned int types[] = { ARCHIL_REC_PUNCH, ARCHIL_REC_ALLOC };
	struct archil_record rec;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		random_record(&rnd, types[i], &rec, &parts);
		rec.off = 0;
		rec.length = 0;
		refused(&rec);
		rec.length = INT64_MAX;
		accepted(&rec);
		rec.length++;
		refused(&rec);
		rec.off = 1;
		rec.length = INT64_MAX - 1;
		accepted(&rec);
		rec.length++;
		refused(&rec);
		rec.off = INT64_MAX - 1;
		rec.length = 1;
		accepted(&rec);
		rec.off = UINT64_MAX;
		refused(&rec);
		rec.length = UINT64_MAX;
		refused(&rec);
	}
}
END_TEST

START_TEST(xattr_rules)
{
	struct archil_record rec, out;
	__le32 value_len;

	random_record(&rnd, ARCHIL_REC_SETXATTR, &rec, &parts);
	rec.name = "user.x";
	rec.name_len = 6;
	rec.data = parts.data;
	rec.data_len = 0;
	accepted(&rec);
	rec.data_len = ARCHIL_XATTR_SIZE;
	accepted(&rec);
	rec.data_len++;
	refused(&rec);

	/* a length that would wrap a sum */
	rec.data_len = 8;
	encode(&rec);
	value_len = cpu_to_le32(UINT32_MAX - 7);
	memcpy(wire + offsetof(struct archil_rec_setxattr, value_len), &value_len, 4);
	must(decode(wire_len, &out) == -EPROTO);

	/* the longest record there is */
	memset(parts.name, 'x', ARCHIL_NAME_LEN);
	rec.name = parts.name;
	rec.name_len = ARCHIL_NAME_LEN;
	rec.data_len = ARCHIL_XATTR_SIZE;
	ck_assert_uint_eq(archil_record_size(&rec), ARCHIL_REC_MAX);
	accepted(&rec);
}
END_TEST

START_TEST(no_room)
{
	static u8 before[sizeof(wire)];
	struct archil_record rec;
	size_t cap, pos, size;

	random_record(&rnd, _i, &rec, &parts);
	size = archil_record_size(&rec);
	memset(wire, 0xa5, sizeof(wire));
	memcpy(before, wire, sizeof(wire));
	for (cap = 8; cap < 8 + size; cap += size > 8192 ? 509 : 1) {
		pos = 8;
		ck_assert_int_eq(archil_record_put(wire, cap, &pos, &rec), -ENOSPC);
		ck_assert_uint_eq(pos, 8);
		ck_assert_mem_eq(wire, before, sizeof(wire));
	}
	ck_assert_int_eq(archil_record_put(wire, 8 + size, &pos, &rec), 0);
	ck_assert_uint_eq(pos, 8 + size);
	ck_assert_mem_eq(wire, before, 8);
	ck_assert_mem_eq(wire + pos, before + pos, sizeof(wire) - pos);
}
END_TEST

/* Many in a row, taken off one after the other. */
START_TEST(sequence)
{
	static u8 buf[1 << 20];
	size_t pos = 0, end = 0;
	struct archil_record rec, out;
	struct rnd start = rnd;
	int count = 0, ret;

	do {
		random_record(&rnd, rnd_range(&rnd, 1, ARCHIL_REC_TYPES - 1), &rec, &parts);
		count++;
	} while (!archil_record_put(buf, sizeof(buf), &end, &rec));
	rnd = start;
	while ((ret = archil_record_next(buf, end, &pos, &out)) == 1) {
		random_record(&rnd, rnd_range(&rnd, 1, ARCHIL_REC_TYPES - 1), &rec, &parts);
		ck_assert(same_record(&rec, &out));
		count--;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(count, 1);
}
END_TEST

START_TEST(charge)
{
	struct archil_record rec;

	random_record(&rnd, _i, &rec, &parts);
	switch (_i) {
	case ARCHIL_REC_UNLINK:
	case ARCHIL_REC_SETATTR:
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_RMXATTR:
	case ARCHIL_REC_RELEASE:
		ck_assert_uint_eq(archil_record_charge(&rec), 0);
		break;
	case ARCHIL_REC_CONTENT:
		ck_assert_uint_eq(archil_record_charge(&rec) % 4096, 0);
		ck_assert_uint_ge(archil_record_charge(&rec), rec.off + rec.data_len);
		break;
	case ARCHIL_REC_ALLOC:
		rec.off = 4095;
		rec.length = 2;
		ck_assert_uint_eq(archil_record_charge(&rec), 8192);
		rec.off = 0;
		rec.length = INT64_MAX;
		ck_assert_uint_eq(archil_record_charge(&rec), 1ull << 63);
		break;
	default:
		ck_assert_uint_gt(archil_record_charge(&rec),
				  (u64)rec.data_len + rec.new_name_len +
				  (_i == ARCHIL_REC_RENAME ? 0 : rec.name_len));
	}
}
END_TEST

START_TEST(names)
{
	int type;

	for (type = ARCHIL_REC_CREATE; type < ARCHIL_REC_TYPES; type++)
		ck_assert_str_ne(archil_record_name(type), "?");
	ck_assert_str_eq(archil_record_name(ARCHIL_REC_CREATE), "CREATE");
	ck_assert_str_eq(archil_record_name(ARCHIL_REC_RELEASE), "RELEASE");
}
END_TEST

int main(void)
{
	const int first = ARCHIL_REC_CREATE, types = ARCHIL_REC_TYPES;
	const char *seed = getenv("SEED");
	Suite *suite = suite_create("record");
	TCase *each = tcase_create("each type"), *rules = tcase_create("rules");
	SRunner *runner;
	int failed;

	rnd.state = seed ? strtoull(seed, NULL, 0) : 1;
	printf("SEED=%" PRIu64 "\n", rnd.state);

	tcase_set_timeout(each, 120);
	tcase_set_timeout(rules, 120);
	tcase_add_loop_test(each, round_trip, first, types);
	tcase_add_loop_test(each, truncated, first, types);
	tcase_add_loop_test(each, left_over, first, types);
	tcase_add_loop_test(each, unknown_flags, first, types);
	tcase_add_loop_test(each, no_room, first, types);
	tcase_add_loop_test(each, charge, first, types);
	suite_add_tcase(suite, each);
	tcase_add_test(rules, padding_not_zero);
	tcase_add_test(rules, unknown_types);
	tcase_add_test(rules, inode_limits);
	tcase_add_test(rules, cookie_limits);
	tcase_add_test(rules, name_limits);
	tcase_add_test(rules, time_limits);
	tcase_add_test(rules, create_rules);
	tcase_add_test(rules, rename_rules);
	tcase_add_test(rules, setattr_rules);
	tcase_add_test(rules, content_rules);
	tcase_add_test(rules, range_rules);
	tcase_add_test(rules, xattr_rules);
	tcase_add_test(rules, sequence);
	tcase_add_test(rules, names);
	suite_add_tcase(suite, rules);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
