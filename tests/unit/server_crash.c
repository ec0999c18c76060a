// SPDX-License-Identifier: GPL-2.0
/*
 * The server is killed at random moments while a client has batches, bulk WRITEs
 * and changes in flight. The client does what a client does: it connects again
 * and sends again what was not answered. In the end the disk is what the client
 * believes it to be, each thing applied once.
 */
#include "protoclient.h"

enum { ROUNDS = 12, FILES = 64, FLIGHT = 16, SIZE = 40000 };

/* Something that was sent and is not answered. */
struct sent {
	bool used, is_write;
	uint64_t tag, last_tag;		/* the same but for a batch in parts */
	/* LOG */
	uint64_t first;
	uint32_t n;
	uint32_t parts;			/* that are not answered */
	unsigned char batch[4096];
	size_t len;
	/* WRITE */
	uint64_t ino, after, off;
	unsigned char fill;
};

struct state {
	struct client *cl;
	struct sent sent[FLIGHT];
	uint64_t ino[FILES];		/* 0: no such file */
	uint64_t size[FILES];		/* 0: nothing written */
	unsigned char fill[FILES];
	bool writing[FILES];
	uint64_t cookie;

};

static struct state state;

static uint64_t send_frame(struct pc *pc, unsigned int op, const void *body, size_t body_len,
			   const void *payload, size_t len)
{
	struct archil_hdr hdr;
	struct iovec iov[3] = {
		{ &hdr, sizeof(hdr) }, { (void *)body, body_len }, { (void *)payload, len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };

	archil_hdr_fill(&hdr, op, 0, ++pc->tag, body_len, len);
	/* the peer may be dead: then reading will tell */
	while (sendmsg(pc->fd, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	return pc->tag;
}

/* In one frame, or a record in each. */
static void transmit_log(struct pc *pc, struct sent *s)
{
	struct archil_log_req req = {
		.deleg = cpu_to_le64(state.cl->deleg), .first_seq = cpu_to_le64(s->first),
		.count = cpu_to_le32(s->n),
	};
	size_t pos = 0, from = 0;
	struct archil_record rec;
	uint32_t i;

	s->parts = rand() % 2 ? s->n : 1;
	if (s->parts == 1) {
		s->tag = send_frame(pc, ARCHIL_OP_LOG, &req, sizeof(req), s->batch, s->len);
		s->last_tag = s->tag;
		return;
	}
	req.count = cpu_to_le32(1);
	for (i = 0; i < s->n; i++, from = pos) {
		ck_assert_int_eq(archil_record_next(s->batch, s->len, &pos, &rec), 1);
		req.first_seq = cpu_to_le64(s->first + i);
		req.flags = cpu_to_le32(i < s->n - 1 ? ARCHIL_LOG_MORE : 0);
		s->last_tag = send_frame(pc, ARCHIL_OP_LOG, &req, sizeof(req), s->batch + from,
					 pos - from);
	}
	s->tag = s->last_tag - s->n + 1;
}

static void transmit(struct sent *s)
{
	struct pc *pc = &state.cl->data;
	static unsigned char data[SIZE];

	if (s->is_write) {
		struct archil_write_req req = {
			.deleg = cpu_to_le64(state.cl->deleg), .ino = cpu_to_le64(s->ino),
			.off = cpu_to_le64(s->off), .after = cpu_to_le64(s->after),
		};

		memset(data, s->fill, sizeof(data));
		s->tag = send_frame(pc, ARCHIL_OP_WRITE, &req, sizeof(req), data, SIZE);
		s->last_tag = s->tag;
	} else {
		transmit_log(pc, s);
	}
}

static void reconnect(void)
{
	bool again[FLIGHT] = { 0 };
	unsigned int i;
	int next;

	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(state.cl), 0);
	/* batches in their order, then the WRITEs */
	do {
		next = -1;
		for (i = 0; i < FLIGHT; i++) {
			struct sent *s = &state.sent[i];

			if (s->used && !s->is_write && !again[i] &&
			    (next < 0 || s->first < state.sent[next].first))
				next = i;
		}
		if (next >= 0) {
			again[next] = true;
			transmit(&state.sent[next]);
		}
	} while (next >= 0);
	for (i = 0; i < FLIGHT; i++)
		if (state.sent[i].used && state.sent[i].is_write)
			transmit(&state.sent[i]);
}

static int file_of(uint64_t ino)
{
	int i;

	for (i = 0; i < FILES; i++)
		if (state.ino[i] == ino)
			return i;
	return -1;
}

static void answered(struct sent *s, uint32_t status)
{
	ck_assert_msg(!status, "%s: %s", s->is_write ? "WRITE" : "LOG", strerror(status));
	if (!s->is_write && --s->parts)
		return;
	s->used = false;
	if (s->is_write)
		state.writing[file_of(s->ino)] = false;
}

static bool in_flight(void)
{
	for (int i = 0; i < FLIGHT; i++)
		if (state.sent[i].used)
			return true;
	return false;
}

/* Takes one answer. */
static void take_one(void)
{
	struct pc *pc = &state.cl->data;
	int i;

	while (!pc_next(pc))
		reconnect();
	if (pc_aside(pc))
		return;
	for (i = 0; i < FLIGHT; i++) {
		struct sent *s = &state.sent[i];

		if (s->used && pc->in.tag >= s->tag && pc->in.tag <= s->last_tag) {
			answered(s, pc->in.status);
			return;
		}
	}
	ck_abort_msg("an answer to nothing");
}

static struct sent *room(void)
{
	int i;

	for (;;) {
		for (i = 0; i < FLIGHT; i++) {
			if (!state.sent[i].used) {
				memset(&state.sent[i], 0, sizeof(state.sent[i]));
				return &state.sent[i];
			}
		}
		take_one();
	}
}

static void send_log(const struct archil_record *rec, unsigned int n)
{
	struct sent *s = room();
	unsigned int i;

	for (i = 0; i < n; i++)
		ck_assert_int_eq(archil_record_put(s->batch, sizeof(s->batch), &s->len, &rec[i]), 0);
	s->first = state.cl->seq + 1;
	s->n = n;
	s->used = true;
	state.cl->seq += n;
	transmit(s);
}

static void file_name(char *name, int i)
{
	snprintf(name, 16, "file%d", i);
}

static void do_create(int i)
{
	struct archil_record rec[4];
	char name[16];

	file_name(name, i);
	state.ino[i] = state.cl->inos++;
	rec_create(&rec[0], ARCHIL_INO_ROOT, "new", state.ino[i], state.cookie++, S_IFREG | 0644);
	rec_size(&rec[1], state.ino[i], ARCHIL_SET_SIZE, SIZE);
	rec_size(&rec[2], state.ino[i], ARCHIL_SET_SIZE, 0);
	rec_name(&rec[3], ARCHIL_REC_RENAME, ARCHIL_INO_ROOT, "new", state.ino[i]);
	rec[3].cookie = state.cookie++;
	rec[3].new_dir = ARCHIL_INO_ROOT;
	rec[3].new_name = name;
	rec[3].new_name_len = strlen(name);
	send_log(rec, 4);
}

static void do_unlink(int i)
{
	struct archil_record rec;
	char name[16];

	file_name(name, i);
	rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, name, state.ino[i]);
	send_log(&rec, 1);
	state.ino[i] = 0;
	state.size[i] = 0;
}

/* Two files change names; one record that would show if it were applied twice. */
static void do_exchange(int i, int j)
{
	struct archil_record rec;
	char one[16], two[16];
	uint64_t ino = state.ino[i], size = state.size[i];
	unsigned char fill = state.fill[i];

	file_name(one, i);
	file_name(two, j);
	rec_name(&rec, ARCHIL_REC_RENAME, ARCHIL_INO_ROOT, one, ino);
	rec.flags = ARCHIL_RENAME_EXCHANGE;
	rec.new_dir = ARCHIL_INO_ROOT;
	rec.new_name = two;
	rec.new_name_len = strlen(two);
	rec.target = state.ino[j];
	send_log(&rec, 1);
	state.ino[i] = state.ino[j];
	state.size[i] = state.size[j];
	state.fill[i] = state.fill[j];
	state.ino[j] = ino;
	state.size[j] = size;
	state.fill[j] = fill;
}

static void do_write(int i)
{
	struct archil_record rec;
	struct sent *s = room();

	s->is_write = true;
	s->used = true;
	s->ino = state.ino[i];
	s->after = state.cl->seq;
	s->fill = 1 + rand() % 255;
	state.writing[i] = true;
	state.fill[i] = s->fill;
	state.size[i] = SIZE;
	transmit(s);
	while (state.writing[i])
		take_one();
	rec_size(&rec, state.ino[i], ARCHIL_SET_SIZE_UP, SIZE);
	send_log(&rec, 1);
}

static void do_cut(int i)
{
	struct archil_record rec;

	rec_size(&rec, state.ino[i], ARCHIL_SET_SIZE, 0);
	send_log(&rec, 1);
	state.size[i] = 0;
}

static void step(void)
{
	int i = rand() % FILES, j = rand() % FILES;

	if (!state.ino[i])
		do_create(i);
	else if (rand() % 4 == 0)
		do_unlink(i);
	else if (rand() % 3 == 0)
		do_write(i);
	else if (rand() % 3 == 0)
		do_cut(i);
	else if (i != j && state.ino[j])
		do_exchange(i, j);
}

static void compare(struct client *reader)
{
	static unsigned char want[SIZE];
	struct archil_wattr attr;
	char name[16];
	int i;

	for (i = 0; i < FILES; i++) {
		file_name(name, i);
		if (!state.ino[i]) {
			ck_assert_uint_eq(cl_lookup(reader, ARCHIL_INO_ROOT, name, &attr), ENOENT);
			continue;
		}
		ck_assert_uint_eq(cl_lookup(reader, ARCHIL_INO_ROOT, name, &attr), 0);
		ck_assert_uint_eq(le64_to_cpu(attr.ino), state.ino[i]);
		ck_assert_uint_eq(le32_to_cpu(attr.nlink), 1);
		ck_assert_uint_eq(le64_to_cpu(attr.size), state.size[i]);
		memset(want, state.fill[i], SIZE);
		if (state.size[i])
			cl_expect(reader, state.ino[i], 0, want, SIZE);
	}
}

static void take_inos(uint32_t n)
{
	struct archil_inos_req req = { .want = cpu_to_le32(n) };
	struct archil_inos_rep rep;

	ck_assert_uint_eq(pc_call(&state.cl->data, ARCHIL_OP_INOS, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, state.cl->data.in.body, sizeof(rep));
	state.cl->inos = le64_to_cpu(rep.first);
}

/* Kills the server after a while, from a process of its own: at any moment. */
static pid_t killer(void)
{
	pid_t victim = ps_pid, pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		usleep(1000 + rand() % 300000);
		kill(victim, SIGKILL);
		_exit(0);
	}
	return pid;
}

START_TEST(killed_at_random_moments)
{
	struct client *reader;
	unsigned int seed = getenv("SEED") ? atoi(getenv("SEED")) : time(NULL), steps = 0;

	printf("SEED=%u\n", seed);
	srand(seed);
	memset(&state, 0, sizeof(state));
	state.cl = cl_mount("a", "", 0);
	state.cookie = ARCHIL_COOKIE_FIRST;
	take_inos(65536);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = killer();
		int status;

		for (pid_t old = ps_pid; ps_pid == old; steps++)
			step();
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (round % 4 == 3) {
			while (in_flight())
				take_one();
			reader = cl_mount("b", "", ARCHIL_OS_SHARED);
			compare(reader);
			cl_unmount(reader);
		}
	}
	ck_assert_uint_gt(steps, ROUNDS);
	while (in_flight())
		take_one();
	reader = cl_mount("b", "", ARCHIL_OS_SHARED);
	compare(reader);
	cl_unmount(reader);
	cl_unmount(state.cl);
}
END_TEST

/* Changes by slots, the server killed under each: exactly one link more each time. */
START_TEST(killed_under_slots)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "counter", 3, S_IFREG | 0644);
	struct archil_wattr attr;

	srand(time(NULL));
	for (int i = 0; i < 10; i++) {
		struct archil_record rec;
		struct archil_change_req req = { .slot = cl_slot(a, 3) };
		unsigned char buf[512];
		size_t len = 0;
		char name[16];
		pid_t pid;

		snprintf(name, sizeof(name), "link%d", i);
		rec_name(&rec, ARCHIL_REC_LINK, ARCHIL_INO_ROOT, name, ino);
		ck_assert_int_eq(archil_record_put(buf, sizeof(buf), &len, &rec), 0);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (!pid) {
			usleep(rand() % 3000);
			kill(ps_pid, SIGKILL);
			_exit(0);
		}
		for (;;) {
			send_frame(&a->data, ARCHIL_OP_CHANGE, &req, sizeof(req), buf, len);
			if (pc_next(&a->data))
				break;
			ps_kill();
			ps_start();
			ck_assert_uint_eq(cl_bind(a), 0);
		}
		ck_assert_uint_eq(a->data.in.status, 0);
		waitpid(pid, NULL, 0);
		ps_kill();
		ps_start();
		ck_assert_uint_eq(cl_bind(a), 0);
		ck_assert_uint_eq(cl_getattr(a, ino, &attr), 0);
		ck_assert_uint_eq(le32_to_cpu(attr.nlink), i + 2);
	}
	cl_unmount(a);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(killed_at_random_moments),
		PS_TEST(killed_under_slots),
		{ }
	};

	return ps_run("server: killed", tests);
}
