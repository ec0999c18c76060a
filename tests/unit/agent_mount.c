// SPDX-License-Identifier: GPL-2.0
/*
 * The agent between a kernel that is played here, and a server in threads
 * (agent_server.h) that fails in every way at every step.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <time.h>

#include "../../tools/agent/agent.h"
#include "../../tools/agent/mount.h"
#include "agent_server.h"
#include "log.h"

enum { ANSWERS = 64, MOUNT_ID = 3 };

static const uint8_t uuid[ARCHIL_UUID_LEN] = "0123456789abcde";
static const uint8_t incarnation[ARCHIL_UUID_LEN] = "incarnation one";

/* What the kernel has been told. */
struct told {
	uint64_t id;
	int status;
	char message[MESSAGE_TEXT], server[DIAL_ADDR_TEXT];
	uint64_t session, epoch, commit;
	int fd;
	bool wire;
	uint32_t wire_status, body_len;
	uint8_t body[256];
	struct archil_open_session_rep open;
};

static struct fake fake;
static struct loop loop;
static struct agent agent;
static struct told told[ANSWERS];
static int answers, overs;
static int refuse_answer;		/* what the kernel says to the next ones */
static uint64_t revoked;
static char source[64], token_text[SCRAM_TOKEN_TEXT + 1];

static int play_answer(struct agent *a, const struct answer *answer)
{
	struct told *t = &told[answers];

	ck_assert_int_lt(answers, ANSWERS);
	if (refuse_answer)
		return refuse_answer;
	t->id = answer->id;
	t->status = answer->status;
	snprintf(t->message, sizeof(t->message), "%s", answer->message ? answer->message : "");
	snprintf(t->server, sizeof(t->server), "%s", answer->server ? answer->server : "");
	t->session = answer->session;
	t->epoch = answer->epoch;
	t->commit = answer->commit;
	t->fd = answer->fd >= 0 ? dup(answer->fd) : -1;
	t->wire = answer->wire;
	t->wire_status = answer->wire_status;
	t->body_len = answer->body_len;
	if (answer->body_len)
		memcpy(t->body, answer->body, answer->body_len);
	if (answer->open)
		t->open = *answer->open;
	answers++;
	return 0;
}

static void play_revoke(struct agent *a, uint64_t mount, uint64_t number)
{
	ck_assert_uint_eq(mount, MOUNT_ID);
	revoked = number;
}

static void play_over(struct agent *a, uint64_t mount)
{
	ck_assert_uint_eq(mount, MOUNT_ID);
	overs++;
}

static const struct kernel_ops played = { play_answer, play_revoke, play_over };

static void setup(void)
{
	log_init("agent_mount", getenv("V") ? LOG_DEBUG : LOG_CRIT, false);
	fake_start(&fake);
	scram_token_format(&fake.token, token_text);
	snprintf(source, sizeof(source), "127.0.0.1:%u/disk:/sub/dir", fake.port);
	ck_assert_int_eq(loop_init(&loop), 0);
	agent_init(&agent, &loop, &played);
	strcpy(agent.settings.client_id, "web-2");
	agent_registered(&agent, incarnation);
	answers = overs = refuse_answer = 0;
	revoked = 0;
}

static bool always(void)
{
	return false;
}

/* Runs the loop until the condition holds; false: it did not within ms. */
static bool run(bool (*done)(void), int ms)
{
	uint64_t end;

	loop_once(&loop, 0);
	end = loop.now + ms;
	while (!done()) {
		if (loop.now >= end)
			return false;
		ck_assert_int_eq(loop_once(&loop, 5), 0);
	}
	return true;
}

static void teardown(void)
{
	int i;

	agent_destroy(&agent);
	/* what is out comes back */
	run(always, 50);
	ck_assert_uint_eq(dial_lookups(), 0);
	loop_destroy(&loop);
	for (i = 0; i < answers; i++)
		if (told[i].fd >= 0)
			close(told[i].fd);
	fake_crash(&fake);
}

static int wanted;

static bool answered(void)
{
	return answers >= wanted;
}

static bool nothing_left(void)
{
	return TAILQ_EMPTY(&agent.all) && TAILQ_EMPTY(&agent.closing);
}

static bool control_up(void)
{
	struct mount *m = TAILQ_FIRST(&agent.all);

	return m && m->control.up;
}

static bool control_down(void)
{
	return !control_up();
}

static bool over(void)
{
	return overs;
}

static bool was_revoked(void)
{
	return revoked;
}

static void run_until_answered(int n, int ms)
{
	wanted = n;
	ck_assert_msg(run(answered, ms), "only %d answers of %d", answers, n);
}

static struct upcall upcall(uint64_t id, uint32_t type)
{
	struct upcall up = { .id = id, .type = type, .mount = MOUNT_ID, .body = "" };

	return up;
}

static void ask_open(uint64_t id, uint32_t flags, uint32_t timeout_ms)
{
	struct upcall up = upcall(id, ARCHIL_UPCALL_OPEN);

	up.source = source;
	up.token = token_text;
	up.has_uuid = true;
	memcpy(up.uuid, uuid, sizeof(up.uuid));
	up.flags = flags;
	up.timeout_ms = timeout_ms;
	agent_upcall(&agent, &up);
}

static void ask_resume(uint64_t id)
{
	struct upcall up = upcall(id, ARCHIL_UPCALL_RESUME);

	up.source = source;
	up.token = token_text;
	up.has_uuid = true;
	memcpy(up.uuid, uuid, sizeof(up.uuid));
	up.session = FAKE_DISK_SESSION;
	agent_upcall(&agent, &up);
}

static void ask(uint64_t id, uint32_t type)
{
	struct upcall up = upcall(id, type);

	agent_upcall(&agent, &up);
}

static void ask_checkin(uint64_t id, uint32_t seq)
{
	struct archil_checkin_req req = {
		.slot = { .slot = cpu_to_le32(5), .seq = cpu_to_le32(seq) },
		.ino = cpu_to_le64(1234),
	};
	struct upcall up = upcall(id, ARCHIL_UPCALL_FORWARD);

	up.op = ARCHIL_OP_CHECKIN;
	up.body = &req;
	up.body_len = sizeof(req);
	agent_upcall(&agent, &up);
}

static void be_mounted(void)
{
	ask_open(1, 0, 5000);
	run_until_answered(1, 5000);
	ck_assert_msg(!told[0].status, "%s", told[0].message);
}

static bool session_at_server(void)
{
	bool session;

	pthread_mutex_lock(&fake.lock);
	session = fake.session;
	pthread_mutex_unlock(&fake.lock);
	return session;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* ---- opening ---- */

START_TEST(open_succeeds)
{
	uint8_t frame[sizeof(struct archil_hdr) + sizeof(struct archil_revoke)], more;
	char server[64];
	int value = 0;
	socklen_t len = sizeof(value);

	/* the server may speak at once: all of it is the kernel's to read */
	fake.push_after_bind = true;
	ask_open(1, ARCHIL_MOUNT_FORCE, 5000);
	run_until_answered(1, 5000);
	ck_assert_msg(!told[0].status, "%s", told[0].message);
	ck_assert_uint_eq(told[0].id, 1);
	ck_assert_uint_eq(told[0].session, FAKE_DISK_SESSION);
	ck_assert_uint_eq(le64_to_cpu(told[0].open.session), FAKE_DISK_SESSION);
	ck_assert_uint_eq(told[0].epoch, FAKE_EPOCH);
	snprintf(server, sizeof(server), "127.0.0.1:%u", fake.port);
	ck_assert_str_eq(told[0].server, server);
	ck_assert_str_eq(fake.client, "web-2");
	ck_assert_str_eq(fake.path, "sub/dir");
	ck_assert_uint_eq(fake.open_flags, ARCHIL_OS_FORCE);

	ck_assert_int_eq(fcntl(told[0].fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(getsockopt(told[0].fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	ck_assert_int_ne(value, 0);
	ck_assert_int_eq(recv_full(told[0].fd, frame, sizeof(frame)), 0);
	ck_assert_uint_eq(frame[offsetof(struct archil_hdr, op)], ARCHIL_OP_REVOKE);
	ck_assert_int_eq(recv(told[0].fd, &more, 1, MSG_DONTWAIT), -1);
}
END_TEST

START_TEST(open_by_name)
{
	snprintf(source, sizeof(source), "localhost:%u/disk", fake.port);
	be_mounted();
	ck_assert_str_eq(fake.path, "");
}
END_TEST

START_TEST(open_with_kept_token)
{
	struct upcall up = upcall(1, ARCHIL_UPCALL_OPEN);
	struct settings_disk *d = calloc(1, sizeof(*d));

	up.source = source;
	up.has_uuid = true;
	up.timeout_ms = 5000;
	agent_upcall(&agent, &up);
	ck_assert_int_eq(answers, 1);
	ck_assert_int_eq(told[0].status, EACCES);
	ck_assert_ptr_nonnull(strstr(told[0].message, "no token for disk disk"));

	strcpy(d->server.host, "127.0.0.1");
	d->server.port = fake.port;
	strcpy(d->disk, "disk");
	d->token = fake.token;
	d->has_token = true;
	STAILQ_INSERT_TAIL(&agent.settings.disks, d, next);
	up.id = 2;
	agent_upcall(&agent, &up);
	run_until_answered(2, 5000);
	ck_assert_msg(!told[1].status, "%s", told[1].message);
}
END_TEST

START_TEST(open_refused)
{
	static const struct {
		enum archil_conn_kind kind;
		unsigned int op;
		uint32_t status;
		const char *client, *path, *text;
		int errno_of_mount;
		const char *says;
	} cases[] = {
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_HELLO, EPROTO, NULL, NULL,
		  "versions 2 to 3 here, 1 to 1 there", EPROTO,
		  "we speak 1 to 1; the server says: versions 2 to 3 here" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_AUTH, EACCES, NULL, NULL, NULL, EACCES,
		  "wrong token for disk disk" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_AUTH, ENOENT, NULL, NULL, NULL, ENOENT,
		  "the server has no disk disk" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EBUSY, "web-9", "group", NULL, EBUSY,
		  "/group is owned by client web-9 (since " },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EBUSY, "web-9", NULL, NULL, EBUSY,
		  "/ is owned by client web-9 (since " },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EBUSY, NULL, NULL,
		  "client id web-2 is in use by 10.0.0.7", EBUSY,
		  "client id web-2 is in use by 10.0.0.7" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EBUSY, NULL, NULL, NULL, EBUSY,
		  "client id web-2 is in use" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, ENOENT, NULL, NULL, NULL, ENOENT,
		  "no directory /sub/dir" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, ENOTDIR, NULL, NULL, NULL, ENOTDIR,
		  "/sub/dir is not a directory" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EIO, NULL, NULL, "it is\n\x1b[31mon fire",
		  EIO, "it is??[31mon fire" },
		{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, ARCHIL_ST_BAD_SEQ, NULL, NULL, NULL,
		  EPROTO, "protocol status" },
		{ ARCHIL_CONN_DATA, ARCHIL_OP_BIND, ARCHIL_ST_OVER, NULL, NULL, NULL, ESTALE,
		  "ended the session" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.session = false;
		fake_refuse(&fake, cases[i].kind, cases[i].op, cases[i].status, cases[i].client,
			    cases[i].path, cases[i].text);
		ask_open(i + 1, 0, 5000);
		run_until_answered(i + 1, 5000);
		ck_assert_int_eq(told[i].status, cases[i].errno_of_mount);
		ck_assert_msg(strstr(told[i].message, cases[i].says), "'%s' does not say '%s'",
			      told[i].message, cases[i].says);
		ck_assert_int_eq(told[i].fd, -1);
		/* nothing is open there, nothing is kept here */
		ck_assert(nothing_left());
	}
}
END_TEST

START_TEST(open_unknown_server)
{
	fake_do(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_HELLO, WRONG_VERSION, 1);
	ask_open(1, 0, 5000);
	run_until_answered(1, 5000);
	ck_assert_int_eq(told[0].status, EPROTO);
	ck_assert_ptr_nonnull(strstr(told[0].message, "wants protocol version 2, we speak 1 to 1"));

	fake_do(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_AUTH, WRONG_SIGNATURE, 1);
	ask_open(2, 0, 5000);
	run_until_answered(2, 5000);
	ck_assert_int_eq(told[1].status, EACCES);
	ck_assert_ptr_nonnull(strstr(told[1].message, "not be the right server"));

	/* somebody else's token */
	token_text[SCRAM_TOKEN_TEXT - 1] = '\0';
	ask_open(3, 0, 5000);
	ck_assert_int_eq(told[2].status, EINVAL);
	ck_assert(nothing_left());
}
END_TEST

START_TEST(open_wrong_token)
{
	struct scram_token other;

	ck_assert_int_eq(scram_token_generate(&other), 0);
	scram_token_format(&other, token_text);
	ask_open(1, 0, 5000);
	run_until_answered(1, 5000);
	ck_assert_int_eq(told[0].status, EACCES);
	ck_assert_ptr_nonnull(strstr(told[0].message, "wrong token for disk disk"));
}
END_TEST

START_TEST(open_nobody_there)
{
	uint64_t begin = now_ms();
	char says[128];

	fake_crash(&fake);
	ask_open(1, 0, 800);
	run_until_answered(1, 3000);
	ck_assert_int_eq(told[0].status, ETIMEDOUT);
	snprintf(says, sizeof(says), "cannot reach 127.0.0.1:%u: Connection refused", fake.port);
	ck_assert_str_eq(told[0].message, says);
	ck_assert_uint_ge(now_ms() - begin, 600);
	ck_assert_uint_le(now_ms() - begin, 1500);
	ck_assert(nothing_left());

	/* it comes while one waits */
	ask_open(2, 0, 5000);
	run(always, 300);
	ck_assert_int_eq(answers, 1);
	fake_listen(&fake);
	run_until_answered(2, 5000);
	ck_assert_msg(!told[1].status, "%s", told[1].message);
}
END_TEST

/* Every step of a mount. */
static const struct {
	enum archil_conn_kind kind;
	unsigned int op;
} steps[] = {
	{ ARCHIL_CONN_CONTROL, ARCHIL_OP_HELLO },
	{ ARCHIL_CONN_CONTROL, ARCHIL_OP_AUTH },
	{ ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION },
	{ ARCHIL_CONN_DATA, ARCHIL_OP_HELLO },
	{ ARCHIL_CONN_DATA, ARCHIL_OP_AUTH },
	{ ARCHIL_CONN_DATA, ARCHIL_OP_BIND },
};

static const enum deed broken[] = { CLOSE, CLOSE_AFTER, TRUNCATE, HALF_HEADER };
static const enum deed wrong[] = { GARBAGE, TOO_LONG, BAD_BODY, WRONG_OP, WRONG_TAG, WITH_PAYLOAD };

/* Connections that break are made again, and nothing is done twice. */
START_TEST(open_broken_once)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(broken); i++) {
		fake_do(&fake, steps[_i].kind, steps[_i].op, broken[i], 2);
		ask_open(2 * i + 1, 0, 5000);
		run_until_answered(2 * i + 1, 5000);
		ck_assert_msg(!told[2 * i].status, "deed %d: %s", broken[i], told[2 * i].message);
		ck_assert_int_eq(fake.times, 0);
		ask(2 * i + 2, ARCHIL_UPCALL_CLOSED);
		ck_assert(run(nothing_left, 3000));
		ck_assert(!session_at_server());
	}
}
END_TEST

/* A server that breaks the protocol: an error, or another try; never a success of that reply. */
START_TEST(open_wrong_reply)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		fake_do(&fake, steps[_i].kind, steps[_i].op, wrong[i], 1000);
		ask_open(i + 1, 0, 400);
		run_until_answered(i + 1, 3000);
		ck_assert_msg(told[i].status == EPROTO || told[i].status == ETIMEDOUT,
			      "deed %d: %d %s", wrong[i], told[i].status, told[i].message);
		ck_assert_int_ne(told[i].message[0], 0);
		ck_assert_int_eq(told[i].fd, -1);
		fake_do(&fake, ARCHIL_CONN_CONTROL, 0, NOTHING, 0);
		/* what may have been opened is closed */
		ck_assert(run(nothing_left, 5000));
		ck_assert(!session_at_server());
	}
}
END_TEST

START_TEST(open_silence)
{
	uint64_t begin = now_ms();

	fake_do(&fake, steps[_i].kind, steps[_i].op, SILENCE, 1);
	ask_open(1, 0, 500);
	run_until_answered(1, 2000);
	ck_assert_uint_le(now_ms() - begin, 1000);
	ck_assert_int_eq(told[0].status, ETIMEDOUT);
	ck_assert_int_ne(told[0].message[0], 0);
	/* the server played knows one session, which the first one's end would take along */
	if (steps[_i].kind == ARCHIL_CONN_DATA)
		ck_assert(run(nothing_left, 3000));
	/* a mount that waits for nothing else is in nobody's way */
	ask_open(2, 0, 3000);
	if (steps[_i].op != ARCHIL_OP_OPEN_SESSION) {
		run_until_answered(2, 3000);
		ck_assert_msg(!told[1].status, "%s", told[1].message);
	}
}
END_TEST

START_TEST(open_canceled)
{
	fake_do(&fake, steps[_i].kind, steps[_i].op, CLOSE_AFTER, 1000);
	ask_open(1, 0, 5000);
	run(always, 200);
	ck_assert_int_eq(answers, 0);
	agent_cancel(&agent, 1);
	fake_do(&fake, ARCHIL_CONN_CONTROL, 0, NOTHING, 0);
	ck_assert(run(nothing_left, 3000));
	ck_assert_int_eq(answers, 0);
	ck_assert(!session_at_server());
	/* a late cancellation finds nothing */
	agent_cancel(&agent, 1);
}
END_TEST

START_TEST(open_not_taken)
{
	refuse_answer = -ENOENT;
	ask_open(1, 0, 5000);
	run(always, 100);
	ck_assert(run(nothing_left, 3000));
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CLOSE_SESSION), 1);
	ck_assert(!session_at_server());
}
END_TEST

START_TEST(open_bad_upcall)
{
	struct upcall up = upcall(1, ARCHIL_UPCALL_OPEN);

	agent_upcall(&agent, &up);
	ck_assert_int_eq(told[0].status, EINVAL);
	up.id = 2;
	up.source = "nonsense";
	up.has_uuid = true;
	agent_upcall(&agent, &up);
	ck_assert_int_eq(told[1].status, EINVAL);
	up.id = 3;
	up.type = 99;
	agent_upcall(&agent, &up);
	ck_assert_int_eq(told[2].status, EINVAL);
	ck_assert(nothing_left());
}
END_TEST

/* ---- a live mount ---- */

START_TEST(forward)
{
	be_mounted();
	ask_checkin(2, 1);
	run_until_answered(2, 3000);
	ck_assert_uint_eq(told[1].id, 2);
	ck_assert_int_eq(told[1].status, 0);
	ck_assert(told[1].wire);
	ck_assert_uint_eq(told[1].wire_status, 0);
	ck_assert_uint_eq(told[1].commit, 1000 + ARCHIL_OP_CHECKIN);
	ck_assert_uint_eq(told[1].body_len, sizeof(struct archil_checkin_rep));
	ck_assert_uint_eq(told[1].body[0], 3);
	ck_assert_uint_eq(fake.last_slotted[0], 5);

	fake_refuse(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN, EBUSY, "web-9", "a", NULL);
	ask_checkin(3, 2);
	run_until_answered(3, 3000);
	ck_assert_int_eq(told[2].status, 0);
	ck_assert_uint_eq(told[2].wire_status, EBUSY);
	ck_assert_uint_eq(told[2].body_len, sizeof(struct archil_error) + 6);
}
END_TEST

/* The server has done it and dies before it answers: it is asked again, the same. */
START_TEST(forward_again)
{
	size_t i;

	be_mounted();
	for (i = 0; i < ARRAY_SIZE(broken); i++) {
		int before = fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN);

		fake_do(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN, broken[i], 2);
		ask_checkin(10 + 2 * i, 1);
		ask_checkin(11 + 2 * i, 2);
		run_until_answered(3 + 2 * i, 5000);
		ck_assert_uint_eq(told[1 + 2 * i].wire_status, 0);
		ck_assert_uint_eq(told[2 + 2 * i].wire_status, 0);
		ck_assert_int_ge(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN),
				 before + 4);
		ck_assert(run(control_up, 1000));
	}
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION), 1);
	run(always, 100);
	ck_assert_int_eq(answers, 9);
}
END_TEST

START_TEST(forward_canceled)
{
	be_mounted();
	fake_do(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN, CLOSE, 1);
	ask_checkin(2, 1);
	agent_cancel(&agent, 2);
	run(always, 300);
	ck_assert_int_eq(answers, 1);
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_CHECKIN), 1);
	/* a reply that nobody waits for */
	ask_checkin(3, 1);
	agent_cancel(&agent, 3);
	ask_checkin(4, 1);
	run_until_answered(2, 3000);
	ck_assert_uint_eq(told[1].id, 4);
}
END_TEST

START_TEST(forward_nonsense)
{
	struct upcall up = upcall(2, ARCHIL_UPCALL_FORWARD);
	static const unsigned int ops[] = {
		0, ARCHIL_OP_HELLO, ARCHIL_OP_BIND, ARCHIL_OP_LOOKUP, ARCHIL_OP_CLOSE_SESSION,
		ARCHIL_OP_GRANT, ARCHIL_OP_MAX, 1 << 30,
	};
	size_t i;

	be_mounted();
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		up.id = 2 + i;
		up.op = ops[i];
		agent_upcall(&agent, &up);
		ck_assert_int_eq(answers, 2 + i);
		ck_assert_int_eq(told[1 + i].status, EINVAL);
	}
}
END_TEST

START_TEST(reconnect)
{
	be_mounted();
	ask(2, ARCHIL_UPCALL_CONNECT);
	run_until_answered(2, 3000);
	ck_assert_int_eq(told[1].status, 0);
	ck_assert_int_ge(told[1].fd, 0);
	ck_assert_uint_eq(told[1].epoch, FAKE_EPOCH);

	/* as long as it takes */
	fake_crash(&fake);
	ask(3, ARCHIL_UPCALL_CONNECT);
	run(always, 500);
	ck_assert_int_eq(answers, 2);
	fake_listen(&fake);
	run_until_answered(3, 4000);
	ck_assert_int_eq(told[2].status, 0);
	ck_assert_int_ge(told[2].fd, 0);
	ck_assert_int_eq(overs, 0);
}
END_TEST

START_TEST(reconnect_wrong_reply)
{
	size_t i;

	be_mounted();
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		fake_do(&fake, ARCHIL_CONN_DATA, ARCHIL_OP_BIND, wrong[i], 1);
		ask(2 + i, ARCHIL_UPCALL_CONNECT);
		run_until_answered(2 + i, 4000);
		ck_assert_int_eq(told[1 + i].status, 0);
		ck_assert_int_eq(fake.times, 0);
	}
}
END_TEST

START_TEST(reconnect_canceled)
{
	be_mounted();
	fake_do(&fake, ARCHIL_CONN_DATA, ARCHIL_OP_BIND, SILENCE, 1);
	ask(2, ARCHIL_UPCALL_CONNECT);
	run(always, 200);
	agent_cancel(&agent, 2);
	run(always, 100);
	ck_assert_int_eq(answers, 1);
	ask(3, ARCHIL_UPCALL_CONNECT);
	run_until_answered(2, 3000);
	ck_assert_uint_eq(told[1].id, 3);
}
END_TEST

START_TEST(session_over)
{
	be_mounted();
	fake_crash(&fake);
	fake.session = false;
	ask(2, ARCHIL_UPCALL_CONNECT);
	ask_checkin(3, 1);
	run(always, 100);
	ck_assert_int_eq(answers, 1);
	fake_listen(&fake);
	run_until_answered(3, 4000);
	ck_assert_int_eq(overs, 1);
	ck_assert_uint_eq(told[1].id, 3);
	ck_assert_uint_eq(told[1].wire_status, ARCHIL_ST_OVER);
	ck_assert_uint_eq(told[2].id, 2);
	ck_assert_int_eq(told[2].status, ESTALE);

	/* and everything that comes later, without asking the server */
	ask(4, ARCHIL_UPCALL_CONNECT);
	ck_assert_int_eq(told[3].status, ESTALE);
	ask_checkin(5, 1);
	ck_assert_uint_eq(told[4].wire_status, ARCHIL_ST_OVER);
	ask(6, ARCHIL_UPCALL_CLOSED);
	ck_assert_int_eq(told[5].status, 0);
	ck_assert(nothing_left());
}
END_TEST

START_TEST(pushes)
{
	struct archil_revoke revoke = { .number = cpu_to_le64(99) };

	be_mounted();
	fake_push(&fake, ARCHIL_OP_REVOKE, ARCHIL_F_PUSH, 0, &revoke, sizeof(revoke));
	ck_assert(run(was_revoked, 2000));
	ck_assert_uint_eq(revoked, 99);
	fake_push(&fake, ARCHIL_OP_SESSION_OVER, ARCHIL_F_PUSH, 0, NULL, 0);
	ck_assert(run(over, 2000));
	ck_assert_int_eq(overs, 1);
}
END_TEST

START_TEST(server_breaks_protocol)
{
	static const uint64_t tags[] = { 1, 0, 2, MOUNT_TAG_FIRST, UINT64_MAX };
	uint8_t garbage[64];
	size_t i;

	be_mounted();
	memset(garbage, 0xff, sizeof(garbage));
	pthread_mutex_lock(&fake.lock);
	send_full(fake.control->fd, garbage, sizeof(garbage));
	pthread_mutex_unlock(&fake.lock);
	ck_assert(run(control_down, 2000));
	ck_assert(run(control_up, 2000));
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_RESUME), 1);
	/* replies to what was never asked, or was answered already */
	for (i = 0; i < ARRAY_SIZE(tags); i++) {
		fake_push(&fake, i ? ARCHIL_OP_PING : ARCHIL_OP_RESUME, ARCHIL_F_REPLY, tags[i],
			  NULL, 0);
		ck_assert(run(control_down, 2000));
		ck_assert(run(control_up, 3000));
	}
	ck_assert_int_eq(overs, 0);
}
END_TEST

static bool ping_answered(void)
{
	bool yes;

	pthread_mutex_lock(&fake.lock);
	yes = fake.pings_answered;
	pthread_mutex_unlock(&fake.lock);
	return yes;
}

static bool pinged(void)
{
	return fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_PING);
}

START_TEST(alive)
{
	struct mount *m;

	be_mounted();
	fake_push(&fake, ARCHIL_OP_PING, 0, 4711, NULL, 0);
	ck_assert(run(ping_answered, 2000));

	/* the clock is turned */
	m = TAILQ_FIRST(&agent.all);
	m->control.alive.fire(&m->control.alive);
	run(always, 50);
	ck_assert(!pinged());
	m->control.channel->last_rx = loop.now - CONTROL_PING_MS - 1;
	m->control.alive.fire(&m->control.alive);
	ck_assert(run(pinged, 2000));
	run(always, 50);
	ck_assert_uint_lt(loop.now - m->control.channel->last_rx, 2000);
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_RESUME), 0);

	m->control.channel->last_rx = loop.now - CONTROL_DEAD_MS - 1;
	m->control.alive.fire(&m->control.alive);
	ck_assert(!control_up());
	ck_assert(run(control_up, 2000));
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_RESUME), 1);
}
END_TEST

/* ---- coming and going ---- */

START_TEST(closed)
{
	be_mounted();
	ask(2, ARCHIL_UPCALL_CLOSED);
	ck_assert_int_eq(answers, 2);
	ck_assert_int_eq(told[1].status, 0);
	ck_assert(run(nothing_left, 2000));
	ck_assert(!session_at_server());
	ask(3, ARCHIL_UPCALL_CLOSED);
	ck_assert_int_eq(answers, 3);
}
END_TEST

/* The kernel has closed it over the data connection before. */
START_TEST(closed_before)
{
	be_mounted();
	fake.session = false;
	fake_push(&fake, ARCHIL_OP_PING, 0, 1, NULL, 0);
	pthread_mutex_lock(&fake.lock);
	shutdown(fake.control->fd, SHUT_RDWR);
	pthread_mutex_unlock(&fake.lock);
	ask(2, ARCHIL_UPCALL_CLOSED);
	ck_assert(run(nothing_left, 3000));
	ck_assert_int_eq(overs, 0);
}
END_TEST

START_TEST(closed_while_away)
{
	be_mounted();
	fake_crash(&fake);
	ask(2, ARCHIL_UPCALL_CLOSED);
	run(always, 300);
	ck_assert(!nothing_left());
	fake_listen(&fake);
	ck_assert(run(nothing_left, 5000));
	ck_assert(!session_at_server());
}
END_TEST

/* A new agent gets what the old one has left, in any order. */
START_TEST(agent_restarted)
{
	be_mounted();
	agent_destroy(&agent);
	run(always, 50);
	agent_init(&agent, &loop, &played);
	strcpy(agent.settings.client_id, "web-2");
	agent_registered(&agent, incarnation);
	ask_checkin(2, 1);
	ask(3, ARCHIL_UPCALL_CONNECT);
	run(always, 50);
	ck_assert_int_eq(answers, 1);
	ask_resume(4);
	ck_assert_int_eq(answers, 2);
	ck_assert_uint_eq(told[1].id, 4);
	ck_assert_int_eq(told[1].status, 0);
	run_until_answered(4, 3000);
	ck_assert_int_eq(told[2].status | told[3].status, 0);
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_RESUME), 1);
	ck_assert_int_eq(fake_seen(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION), 1);
	/* told twice is no harm */
	ask_resume(5);
	ck_assert_int_eq(answers, 5);
	ck_assert(control_up());
}
END_TEST

START_TEST(resume_wrong_mount)
{
	memset(fake.mount, 0xee, sizeof(fake.mount));
	fake.session = true;
	ask_resume(1);
	ck_assert_int_eq(told[0].status, 0);
	ck_assert(run(over, 3000));
}
END_TEST

START_TEST(module_reloaded)
{
	static const uint8_t next[ARCHIL_UUID_LEN] = "incarnation two";

	be_mounted();
	/* again the same */
	agent_registered(&agent, incarnation);
	ck_assert(!TAILQ_EMPTY(&agent.all));
	agent_registered(&agent, next);
	ck_assert(TAILQ_EMPTY(&agent.all));
	ck_assert(run(nothing_left, 3000));
	ck_assert(!session_at_server());
	/* numbers begin anew */
	ask_open(1, 0, 3000);
	run_until_answered(2, 3000);
	ck_assert_int_eq(told[1].status, 0);
}
END_TEST

START_TEST(many_at_once)
{
	struct upcall up = upcall(0, ARCHIL_UPCALL_OPEN);
	int i;

	/* each its own server name, so that one session a fake is enough */
	fake_refuse(&fake, ARCHIL_CONN_CONTROL, ARCHIL_OP_OPEN_SESSION, EIO, NULL, NULL, "no");
	for (i = 0; i < 40; i++) {
		up.id = i + 1;
		up.mount = i + 1;
		up.source = source;
		up.token = token_text;
		up.has_uuid = true;
		up.timeout_ms = 5000;
		agent_upcall(&agent, &up);
	}
	run_until_answered(40, 10000);
	for (i = 0; i < 40; i++)
		ck_assert_int_eq(told[i].status, EIO);
	ck_assert(nothing_left());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_mount");
	TCase *opening = tcase_create("opening"), *live = tcase_create("live");
	TCase *coming = tcase_create("coming and going");
	SRunner *runner;
	int failed;

	tcase_set_timeout(opening, 60);
	tcase_add_checked_fixture(opening, setup, teardown);
	tcase_add_test(opening, open_succeeds);
	tcase_add_test(opening, open_by_name);
	tcase_add_test(opening, open_with_kept_token);
	tcase_add_test(opening, open_refused);
	tcase_add_test(opening, open_unknown_server);
	tcase_add_test(opening, open_wrong_token);
	tcase_add_test(opening, open_nobody_there);
	tcase_add_loop_test(opening, open_broken_once, 0, ARRAY_SIZE(steps));
	tcase_add_loop_test(opening, open_wrong_reply, 0, ARRAY_SIZE(steps));
	tcase_add_loop_test(opening, open_silence, 0, ARRAY_SIZE(steps));
	tcase_add_loop_test(opening, open_canceled, 0, ARRAY_SIZE(steps));
	tcase_add_test(opening, open_not_taken);
	tcase_add_test(opening, open_bad_upcall);
	suite_add_tcase(suite, opening);

	tcase_set_timeout(live, 60);
	tcase_add_checked_fixture(live, setup, teardown);
	tcase_add_test(live, forward);
	tcase_add_test(live, forward_again);
	tcase_add_test(live, forward_canceled);
	tcase_add_test(live, forward_nonsense);
	tcase_add_test(live, reconnect);
	tcase_add_test(live, reconnect_wrong_reply);
	tcase_add_test(live, reconnect_canceled);
	tcase_add_test(live, session_over);
	tcase_add_test(live, pushes);
	tcase_add_test(live, server_breaks_protocol);
	tcase_add_test(live, alive);
	suite_add_tcase(suite, live);

	tcase_set_timeout(coming, 60);
	tcase_add_checked_fixture(coming, setup, teardown);
	tcase_add_test(coming, closed);
	tcase_add_test(coming, closed_before);
	tcase_add_test(coming, closed_while_away);
	tcase_add_test(coming, agent_restarted);
	tcase_add_test(coming, resume_wrong_mount);
	tcase_add_test(coming, module_reloaded);
	tcase_add_test(coming, many_at_once);
	suite_add_tcase(suite, coming);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
