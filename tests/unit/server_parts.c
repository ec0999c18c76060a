// SPDX-License-Identifier: GPL-2.0
/* LOG batches that come in parts: wire.h, struct archil_log_req. */
#include "protoclient.h"

#include "control.h"

static json_int_t stat_of(const char *key)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "session-list", "disk", "d");
	json_t *reply = control_request(ps_dir, request);
	json_int_t n = json_integer_value(json_object_get(json_object_get(reply, "stats"), key));

	json_decref(request);
	json_decref(reply);
	return n;
}

/* What cl_add() gathered, as one part; begins anew. */
static uint64_t part_on(struct client *cl, struct pc *pc, uint64_t first, uint32_t flags)
{
	struct archil_log_req req = {
		.deleg = cpu_to_le64(cl->deleg),
		.first_seq = cpu_to_le64(first),
		.count = cpu_to_le32(cl->batch_n),
		.flags = cpu_to_le32(flags),
	};
	uint64_t tag = pc_send(pc, ARCHIL_OP_LOG, 0, &req, sizeof(req), cl->batch, cl->batch_len);

	cl->batch_len = cl->batch_n = 0;
	return tag;
}

static uint64_t part(struct client *cl, uint64_t first, uint32_t flags)
{
	return part_on(cl, &cl->data, first, flags);
}

/* A file "PREFIXn" in the open part, with the cookie 3 + n. */
static void add_file(struct client *cl, uint64_t dir, const char *prefix, int n, uint64_t ino)
{
	struct archil_record rec;
	char name[32];

	snprintf(name, sizeof(name), "%s%d", prefix, n);
	rec_create(&rec, dir, name, ino, 3 + n, S_IFREG | 0644);
	cl_add(cl, &rec);
}

/* Files 0 .. n - 1, a part each, all of one batch; tags are set. */
static void send_files(struct client *cl, const uint64_t *inos, int n, uint64_t *tags)
{
	for (int i = 0; i < n; i++) {
		add_file(cl, cl->root_ino, "f", i, inos[i]);
		tags[i] = part(cl, cl->seq + 1 + i, i < n - 1 ? ARCHIL_LOG_MORE : 0);
	}
}

/* All of them with this status; the sum of what is granted with the answers. */
static uint64_t wait_all(struct client *cl, const uint64_t *tags, int n, uint32_t status,
			 uint64_t applied)
{
	struct archil_log_rep rep;
	uint64_t credit = 0;

	for (int i = 0; i < n; i++) {
		ck_assert_uint_eq(pc_wait(&cl->data, tags[i]), status);
		if (status == ARCHIL_ST_CLOSED) {
			ck_assert_uint_eq(cl->data.in.body_len, sizeof(struct archil_closed));
			ck_assert_mem_eq(cl->data.in.body, &applied, sizeof(applied));
		}
		if (status)
			continue;
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		ck_assert_uint_eq(le64_to_cpu(rep.applied), applied);
		if (i < n - 1)
			ck_assert_uint_eq(rep.credit, 0);
		credit += le64_to_cpu(rep.credit);
	}
	return credit;
}

static bool is_there(struct client *cl, uint64_t dir, const char *name)
{
	struct archil_wattr attr;
	uint32_t status = cl_lookup(cl, dir, name, &attr);

	ck_assert(!status || status == ENOENT);
	return !status;
}

enum { N = 10 };

static void take_inos(struct client *cl, uint64_t *inos)
{
	for (int i = 0; i < N; i++)
		inos[i] = cl_ino(cl);
}

START_TEST(parts_are_one_batch)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_record rec;
	uint64_t inos[N], tags[N], applied;
	json_int_t batches = stat_of("batches"), records = stat_of("records");

	take_inos(a, inos);
	for (int i = 0; i < N; i++) {
		add_file(a, ARCHIL_INO_ROOT, "f", i, inos[i]);
		/* parts of any number of records: the file's mode, i times */
		rec_size(&rec, inos[i], ARCHIL_SET_MODE, 0);
		rec.mode = 0600;
		for (int j = 0; j < i; j++)
			cl_add(a, &rec);
		applied = a->seq + a->batch_n;
		tags[i] = part(a, a->seq + 1, i < N - 1 ? ARCHIL_LOG_MORE : 0);
		a->seq = applied;
		/* nothing of it is there, or answered, before the last */
		if (i < N - 1)
			ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f0"));
	}
	ck_assert_uint_gt(wait_all(a, tags, N, 0, a->seq), 0);
	ck_assert(is_there(a, ARCHIL_INO_ROOT, "f0") && is_there(a, ARCHIL_INO_ROOT, "f9"));
	ck_assert_int_eq(stat_of("batches"), batches + 1);
	ck_assert_int_eq(stat_of("records"), records + a->seq);
	cl_unmount(a);
}
END_TEST

/* Two delegations' batches in turns, a third one's that is whole. */
START_TEST(batches_of_others_come_between)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t dir[3], deleg[3], tags[3][N];

	for (int d = 0; d < 3; d++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", d);
		dir[d] = cl_make(a, ARCHIL_INO_ROOT, name, 3 + d, S_IFDIR | 0755);
	}
	cl_unmount(a);
	a = cl_mount("a", "", ARCHIL_OS_SHARED);
	for (int d = 0; d < 3; d++) {
		ck_assert_uint_eq(cl_checkout(a, dir[d], 0), 0);
		deleg[d] = a->deleg;
	}
	cl_ino(a);
	for (int i = 0; i < N; i++) {
		for (int d = 0; d < 3; d++) {
			a->deleg = deleg[d];
			add_file(a, dir[d], "f", i, a->inos++);
			tags[d][i] = part(a, 1 + i, d < 2 && i < N - 1 ? ARCHIL_LOG_MORE : 0);
		}
		if (i == N - 1)
			break;
		ck_assert_uint_eq(pc_wait(&a->data, tags[2][i]), 0);
		ck_assert(!is_there(a, dir[0], "f0"));
	}
	wait_all(a, tags[0], N, 0, N);
	wait_all(a, tags[1], N, 0, N);
	ck_assert_uint_eq(pc_wait(&a->data, tags[2][N - 1]), 0);
	for (int d = 0; d < 3; d++)
		ck_assert(is_there(a, dir[d], "f0") && is_there(a, dir[d], "f9"));
	cl_unmount(a);
}
END_TEST

/* A gap, one part twice, no records, another connection: each refuses all that came. */
START_TEST(what_does_not_follow_refuses_the_batch)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t inos[N], tags[N];
	struct pc *other = calloc(1, sizeof(*other));

	take_inos(a, inos);
	ck_assert_uint_eq(cl_bind_on(a, other, a->epoch), 0);
	for (int how = 0; how < 4; how++) {
		for (int i = 0; i < 3; i++) {
			add_file(a, ARCHIL_INO_ROOT, "f", i, inos[i]);
			tags[i] = part(a, 1 + i, ARCHIL_LOG_MORE);
		}
		if (how != 2)
			add_file(a, ARCHIL_INO_ROOT, "f", 3, inos[3]);
		if (how < 3) {
			tags[3] = part(a, how == 0 ? 5 : how == 1 ? 3 : 4, 0);
		} else {
			/* the parts have arrived when this is answered */
			ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f0"));
			tags[3] = part_on(a, other, 4, 0);
			ck_assert_uint_eq(pc_wait(other, tags[3]), EPROTO);
		}
		wait_all(a, tags, how < 3 ? 4 : 3, EPROTO, 0);
		/* what was to follow begins a batch, which has a gap */
		add_file(a, ARCHIL_INO_ROOT, "f", 4, inos[4]);
		ck_assert_uint_eq(pc_wait(&a->data, part(a, 4, 0)), EPROTO);
		ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f0"));
	}
	/* a count that is another part's */
	add_file(a, ARCHIL_INO_ROOT, "f", 0, inos[0]);
	a->batch_n = 2;
	tags[0] = part(a, 1, ARCHIL_LOG_MORE);
	add_file(a, ARCHIL_INO_ROOT, "f", 1, inos[1]);
	add_file(a, ARCHIL_INO_ROOT, "f", 2, inos[2]);
	a->batch_n = 1;
	tags[1] = part(a, 3, 0);
	wait_all(a, tags, 2, EPROTO, 0);
	/* all is well when it is done right, on the other connection too */
	send_files(a, inos, N, tags);
	wait_all(a, tags, N, 0, N);
	ck_assert(is_there(a, ARCHIL_INO_ROOT, "f9"));
	pc_close(other);
	free(other);
	cl_unmount(a);
}
END_TEST

START_TEST(a_refused_batch_answers_every_part)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t inos[N], tags[N], dir = cl_make(a, ARCHIL_INO_ROOT, "dir", 3, S_IFDIR | 0755);
	struct archil_record rec;

	/* one record in the middle does not fit */
	take_inos(a, inos);
	for (int i = 0; i < N; i++) {
		add_file(a, dir, "f", i, inos[i]);
		if (i == 5) {
			rec_name(&rec, ARCHIL_REC_UNLINK, dir, "missing", 77);
			cl_add(a, &rec);
		}
		tags[i] = part(a, 2 + i + (i > 5), i < N - 1 ? ARCHIL_LOG_MORE : 0);
	}
	wait_all(a, tags, N, EUCLEAN, 0);
	ck_assert(!is_there(a, dir, "f0"));
	cl_unmount(a);

	/* closed while half of it was there */
	a = cl_mount("a", "", ARCHIL_OS_SHARED);
	take_inos(a, inos);
	ck_assert_uint_eq(cl_checkout(a, dir, 0), 0);
	cl_make(a, dir, "first", 3 + N, S_IFREG | 0644);
	for (int i = 0; i < N; i++) {
		add_file(a, dir, "f", N + 1 + i, inos[i]);
		tags[i] = part(a, 2 + i, i < N - 1 ? ARCHIL_LOG_MORE : 0);
		if (i == 5)
			ck_assert_uint_eq(cl_checkin(a, dir, NULL), 0);
	}
	wait_all(a, tags, N, ARCHIL_ST_CLOSED, 1);
	/* one that never was ours */
	a->deleg += 1000;
	a->seq = 0;
	send_files(a, inos, N, tags);
	wait_all(a, tags, N, ARCHIL_ST_TAKEN, 0);
	cl_unmount(a);
}
END_TEST

/* What of a batch had arrived goes with its connection, and with the server. */
START_TEST(what_was_lost_in_the_middle_is_sent_again)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t inos[N], tags[N];

	take_inos(a, inos);
	for (int how = 0; how < 3; how++) {
		for (int i = 0; i < N / 2; i++) {
			add_file(a, ARCHIL_INO_ROOT, "f", i, inos[i]);
			part(a, 1 + i, ARCHIL_LOG_MORE);
		}
		ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f0"));
		if (how == 1) {
			ps_kill();
			ps_start();
		} else if (how == 2) {
			ps_stop();
			ps_start();
		}
		ck_assert_uint_eq(cl_bind(a), 0);
		ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f0"));
		/* what followed would be a gap now */
		add_file(a, ARCHIL_INO_ROOT, "f", N / 2, inos[N / 2]);
		ck_assert_uint_eq(pc_wait(&a->data, part(a, 1 + N / 2, 0)), EPROTO);
	}
	send_files(a, inos, N, tags);
	wait_all(a, tags, N, 0, N);

	/* the session's end in the middle */
	add_file(a, ARCHIL_INO_ROOT, "f", N, cl_ino(a));
	part(a, N + 1, ARCHIL_LOG_MORE);
	cl_unmount(a);
	a = cl_mount("a", "", 0);
	ck_assert(is_there(a, ARCHIL_INO_ROOT, "f9"));
	ck_assert(!is_there(a, ARCHIL_INO_ROOT, "f10"));
	cl_unmount(a);
}
END_TEST

/* The batch was applied, the answers are lost: exactly once, however it is cut then. */
START_TEST(parts_sent_again_are_applied_once)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_record rec;
	uint64_t ino = cl_ino(a), tags[N];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			if (i % 2)
				rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, "f", ino + i / 2);
			else
				rec_create(&rec, ARCHIL_INO_ROOT, "f", ino + i / 2, 3 + i / 2,
					   S_IFREG | 0644);
			cl_add(a, &rec);
			if (i < N - 1 && round == 1 && i % 3)
				tags[i] = 0;
			else
				tags[i] = part(a, i + 2 - a->batch_n, i < N - 1 ? ARCHIL_LOG_MORE : 0);
		}
		for (int i = 0; i < N; i++)
			if (tags[i])
				wait_all(a, &tags[i], 1, 0, N);
		if (!round) {
			ps_kill();
			ps_start();
			ck_assert_uint_eq(cl_bind(a), 0);
		}
	}
	ck_assert_int_eq(stat_of("suppressed"), 2 * N);
	ck_assert_int_eq(stat_of("records"), 0);
	ck_assert_int_eq(stat_of("batches"), 2);
	cl_unmount(a);
}
END_TEST

/* ---- how much ---- */

/* Nearly a payload of contents. */
static void add_contents(struct client *cl, uint64_t ino)
{
	static char data[ARCHIL_INLINE_MAX];
	struct archil_record rec;

	memset(data, 'x', sizeof(data));
	rec_content(&rec, ino, 0, data, sizeof(data));
	while (cl->batch_len + archil_record_size(&rec) <= sizeof(cl->batch))
		cl_add(cl, &rec);
}

/* Two batches of 80 MiB at once, and other requests are answered meanwhile. */
START_TEST(large_batches)
{
	enum { PARTS = (82 << 20) / ARCHIL_PAYLOAD_MAX };
	struct client *a = cl_mount("a", "", 0);
	uint64_t dir[2], ino[2], deleg[2], seq[2] = { 0 }, tags[2][PARTS];
	struct archil_wattr attr;

	for (int d = 0; d < 2; d++) {
		dir[d] = cl_make(a, ARCHIL_INO_ROOT, d ? "y" : "x", 3 + d, S_IFDIR | 0755);
		ino[d] = cl_make(a, dir[d], "f", 3, S_IFREG | 0644);
	}
	cl_unmount(a);
	a = cl_mount("a", "", ARCHIL_OS_SHARED);
	for (int d = 0; d < 2; d++) {
		ck_assert_uint_eq(cl_checkout(a, dir[d], 0), 0);
		deleg[d] = a->deleg;
	}
	for (int i = 0; i < PARTS; i++) {
		for (int d = 0; d < 2; d++) {
			a->deleg = deleg[d];
			add_contents(a, ino[d]);
			seq[d] += a->batch_n;
			tags[d][i] = part(a, seq[d] + 1 - a->batch_n,
					  i < PARTS - 1 ? ARCHIL_LOG_MORE : 0);
		}
		if (i == PARTS - 2)
			ck_assert_uint_eq(cl_getattr(a, ino[0], &attr), 0);
	}
	for (int d = 0; d < 2; d++)
		wait_all(a, tags[d], PARTS, 0, seq[d]);
	ck_assert_uint_eq(cl_getattr(a, ino[1], &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.size), ARCHIL_INLINE_MAX);
	cl_unmount(a);
}
END_TEST

/* More parts than a connection may have requests, each of one record. */
START_TEST(many_small_parts)
{
	enum { PARTS = 3 * 1024 };
	struct client *a = cl_mount("a", "", 0);
	uint64_t tags[PARTS], ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	struct archil_record rec;
	struct archil_wattr attr;

	rec_size(&rec, ino, ARCHIL_SET_MODE, 0);
	rec.mode = 0600;
	for (int i = 0; i < PARTS; i++) {
		cl_add(a, &rec);
		tags[i] = part(a, 2 + i, i < PARTS - 1 ? ARCHIL_LOG_MORE : 0);
		if (i == PARTS - 2)
			ck_assert_uint_eq(cl_getattr(a, ino, &attr), 0);
	}
	wait_all(a, tags, PARTS, 0, PARTS + 1);

	/* one more than there may be */
	for (int i = 0; i <= PARTS; i++) {
		cl_add(a, &rec);
		part(a, PARTS + 2 + i, ARCHIL_LOG_MORE);
	}
	pc_expect_end(&a->data);
	ck_assert_uint_eq(cl_bind(a), 0);
	a->seq = PARTS + 1;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_unmount(a);
}
END_TEST

START_TEST(too_many_bytes_end_the_connection)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), seq = 1;
	size_t sent = 0;
	struct archil_wattr attr;

	for (int again = 0; again < 2; again++) {
		for (sent = 0, seq = 1;;) {
			add_contents(a, ino);
			if (sent + a->batch_len > ARCHIL_BATCH_MAX)
				break;
			sent += a->batch_len;
			seq += a->batch_n;
			part(a, seq + 1 - a->batch_n, ARCHIL_LOG_MORE);
		}
		/* up to there all is well */
		ck_assert_uint_eq(cl_getattr(a, ino, &attr), 0);
		ck_assert_uint_eq(le64_to_cpu(attr.size), 0);
		part(a, seq + 1, ARCHIL_LOG_MORE);
		pc_expect_end(&a->data);
		ck_assert_uint_eq(cl_bind(a), 0);
	}
	a->seq = 1;
	add_contents(a, ino);
	ck_assert_uint_eq(cl_log(a), 0);
	cl_unmount(a);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(parts_are_one_batch),
		PS_TEST(batches_of_others_come_between),
		PS_TEST(what_does_not_follow_refuses_the_batch),
		PS_TEST(a_refused_batch_answers_every_part),
		PS_TEST(what_was_lost_in_the_middle_is_sent_again),
		PS_TEST(parts_sent_again_are_applied_once),
		PS_TEST(large_batches),
		PS_TEST(many_small_parts),
		PS_TEST(too_many_bytes_end_the_connection),
		{ }
	};

	return ps_run("server: batches in parts", tests);
}
