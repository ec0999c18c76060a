/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A server in a process of its own, and a client that speaks the protocol to
 * it: for the tests of the server. Everything that goes wrong fails the test.
 *
 *	test --- sockets ---> child: server_run() on a store in a new directory
 */
#ifndef TESTS_PROTOCLIENT_H
#define TESTS_PROTOCLIENT_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "log.h"
#include "record.h"
#include "scram.h"
#include "server.h"
#include "wire.h"

#define PC_TIMEOUT_MS	20000

/* ---- the server's side ---- */

static char ps_dir[128], ps_token[SCRAM_TOKEN_TEXT + 1];
static pid_t ps_pid;
static int ps_port;
static uint64_t ps_reap_ms = 600000;

static inline int ps_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Runs a subcommand in a child; its stdout goes to out. Returns its exit status. */
static inline int ps_command(char *out, size_t size, int (*cmd)(int argc, char **argv), ...)
{
	char *argv[8] = { 0 };
	int fds[2], argc = 0, status;
	size_t len = 0;
	va_list ap;
	ssize_t n;
	pid_t pid;

	va_start(ap, cmd);
	while (argc < 7 && (argv[argc] = va_arg(ap, char *)))
		argc++;
	va_end(ap);
	ck_assert_int_eq(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		status = cmd(argc, argv);
		fflush(NULL);
		exit(status);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + len, size - 1 - len)) > 0)
		len += n;
	out[len] = 0;
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "the command died of signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static inline void ps_start(void)
{
	struct server_opts opts = { .dir = ps_dir, .n_listen = 1, .reap_ms = ps_reap_ms };
	static struct server server;
	int fds[2], port = 0;

	snprintf(opts.listen[0].host, sizeof(opts.listen[0].host), "127.0.0.1");
	opts.listen[0].port = ps_port;
	ck_assert_int_eq(pipe(fds), 0);
	fflush(NULL);
	ps_pid = fork();
	ck_assert_int_ge(ps_pid, 0);
	if (!ps_pid) {
		sigset_t set;
		int rc;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		signal(SIGPIPE, SIG_IGN);
		close(fds[0]);
		log_init("server", getenv("VERBOSE") ? LOG_DEBUG : LOG_ERR, true);
		if (server_start(&server, &opts) || server_signals(&server))
			exit(1);
		port = server.port;
		if (write(fds[1], &port, sizeof(port)) != sizeof(port))
			exit(1);
		close(fds[1]);
		rc = server_run(&server);
		server_destroy(&server);
		/* out of room is no failure: `archil-server run` would begin again */
		exit(rc && rc != -EAGAIN ? 1 : 0);
	}
	close(fds[1]);
	ck_assert_msg(read(fds[0], &port, sizeof(port)) == sizeof(port), "the server did not start");
	close(fds[0]);
	/* the same one after a restart */
	ps_port = port;
}

/* Ends it well; leaks and the like make it fail. */
static inline void ps_stop(void)
{
	int status;

	kill(ps_pid, SIGTERM);
	ck_assert_int_eq(waitpid(ps_pid, &status, 0), ps_pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "the server ended with %x", status);
	ps_pid = 0;
}

static inline void ps_kill(void)
{
	kill(ps_pid, SIGKILL);
	waitpid(ps_pid, NULL, 0);
	ps_pid = 0;
}

static inline void ps_setup(void)
{
	const char *tmp = getenv("TMPDIR");
	char out[512], *line;

	ps_port = 0;
	snprintf(ps_dir, sizeof(ps_dir), "%s/archil-server.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(ps_dir));
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_init, "init", ps_dir, NULL), 0);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "create", ps_dir, "d", NULL),
			 0);
	out[strlen(out) - 1] = 0;
	line = strrchr(out, '\n');
	ck_assert_ptr_nonnull(line);
	snprintf(ps_token, sizeof(ps_token), "%s", line + 1);
	ps_start();
}

/* The end of each test: a clean shutdown, and a store without damage. */
static inline void ps_teardown(void)
{
	char out[4096];

	if (ps_pid)
		ps_stop();
	ck_assert_msg(!ps_command(out, sizeof(out), cmd_check, "check", ps_dir, NULL), "%s", out);
	nftw(ps_dir, ps_remove, 64, FTW_DEPTH | FTW_PHYS);
}

/* main() of each of these tests. ONLY=NAME runs one of them. */
struct ps_test {
	const char *name;
	const TTest *test;
};

static inline int ps_run(const char *title, const struct ps_test *tests)
{
	TCase *tc = tcase_create(title);
	Suite *suite = suite_create(title);
	SRunner *runner = srunner_create(suite);
	const char *only = getenv("ONLY");
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, ps_setup, ps_teardown);
	for (; tests->name; tests++)
		if (!only || !strcmp(only, tests->name))
			tcase_add_test(tc, tests->test);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

#define PS_TEST(name) { #name, name }

/* ---- a connection ---- */

struct frame_in {
	struct archil_hdr hdr;
	unsigned int op;
	uint32_t status, body_len, payload_len;
	uint64_t tag, commit;
	unsigned char body[ARCHIL_BODY_MAX];
	unsigned char payload[ARCHIL_PAYLOAD_MAX];
};

struct pc {
	int fd;
	enum archil_conn_kind kind;
	uint64_t tag;
	struct frame_in in;		/* the last reply */
	struct {
		unsigned int op;
		unsigned char body[256];
	} push[64];			/* pushes that came meanwhile */
	unsigned int n_push;
};

static inline int pc_dial(void)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(ps_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* Returns false when the server has closed the connection. */
static inline bool pc_read(int fd, void *buf, size_t len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		ck_assert_msg(poll(&pfd, 1, PC_TIMEOUT_MS) == 1, "no answer");
		n = read(fd, (char *)buf + done, len - done);
		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

static inline void pc_write(int fd, const void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);

		ck_assert_msg(n > 0, "send: %m");
		done += n;
	}
}

static inline uint64_t pc_send(struct pc *pc, unsigned int op, unsigned int flags, const void *body,
			       size_t body_len, const void *payload, size_t payload_len)
{
	unsigned char *buf = malloc(sizeof(struct archil_hdr) + body_len + payload_len);
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, flags, ++pc->tag, body_len, payload_len);
	memcpy(buf, &hdr, sizeof(hdr));
	if (body_len)
		memcpy(buf + sizeof(hdr), body, body_len);
	if (payload_len)
		memcpy(buf + sizeof(hdr) + body_len, payload, payload_len);
	pc_write(pc->fd, buf, sizeof(hdr) + body_len + payload_len);
	free(buf);
	return pc->tag;
}

/* The next frame, whatever it is. Returns false at the connection's end. */
static inline bool pc_next(struct pc *pc)
{
	struct frame_in *in = &pc->in;

	if (!pc_read(pc->fd, &in->hdr, sizeof(in->hdr)))
		return false;
	ck_assert_int_eq(archil_hdr_check(&in->hdr, pc->kind, true), 0);
	in->op = le16_to_cpu(in->hdr.op);
	in->status = le32_to_cpu(in->hdr.status);
	in->tag = le64_to_cpu(in->hdr.tag);
	in->commit = le64_to_cpu(in->hdr.commit);
	in->body_len = le32_to_cpu(in->hdr.body_len);
	in->payload_len = archil_payload_len(&in->hdr);
	if (!pc_read(pc->fd, in->body, in->body_len) ||
	    !pc_read(pc->fd, in->payload, in->payload_len))
		return false;
	ck_assert_int_eq(archil_body_check(&in->hdr, in->body), 0);
	return true;
}

/* Keeps a push, answers a PING; true if it was one. */
static inline bool pc_aside(struct pc *pc)
{
	struct frame_in *in = &pc->in;
	uint16_t flags = le16_to_cpu(in->hdr.flags);
	struct archil_hdr hdr;

	if (flags & ARCHIL_F_PUSH) {
		ck_assert_uint_lt(pc->n_push, 64);
		ck_assert_uint_le(in->body_len, 256);
		pc->push[pc->n_push].op = in->op;
		memcpy(pc->push[pc->n_push++].body, in->body, in->body_len);
		return true;
	}
	if (in->op == ARCHIL_OP_PING && !(flags & ARCHIL_F_REPLY)) {
		archil_hdr_fill(&hdr, ARCHIL_OP_PING, ARCHIL_F_REPLY, in->tag, 0, 0);
		pc_write(pc->fd, &hdr, sizeof(hdr));
		return true;
	}
	return false;
}

/* Waits for the replies to two tags, in any order, and gives their statuses. */
static inline void pc_wait_both(struct pc *pc, uint64_t tag_a, uint32_t *a, uint64_t tag_b,
				uint32_t *b)
{
	int n = 0;

	while (n < 2) {
		ck_assert_msg(pc_next(pc), "the server closed the connection");
		if (pc_aside(pc))
			continue;
		ck_assert(pc->in.tag == tag_a || pc->in.tag == tag_b);
		*(pc->in.tag == tag_a ? a : b) = pc->in.status;
		n++;
	}
}

/* Waits for the reply to tag. Returns its status. */
static inline uint32_t pc_wait(struct pc *pc, uint64_t tag)
{
	for (;;) {
		ck_assert_msg(pc_next(pc), "the server closed the connection");
		if (pc_aside(pc))
			continue;
		ck_assert_uint_eq(pc->in.tag, tag);
		return pc->in.status;
	}
}

static inline uint32_t pc_call(struct pc *pc, unsigned int op, const void *body, size_t body_len,
			       const void *payload, size_t payload_len)
{
	return pc_wait(pc, pc_send(pc, op, 0, body, body_len, payload, payload_len));
}

/* The server closes the connection, whatever it still says. */
static inline void pc_expect_end(struct pc *pc)
{
	while (pc_next(pc))
		;
}

/* Waits for a push of this kind; returns its body. */
static inline const void *pc_expect_push(struct pc *pc, unsigned int op)
{
	unsigned int i = 0;

	for (;;) {
		for (; i < pc->n_push; i++)
			if (pc->push[i].op == op)
				return pc->push[i].body;
		ck_assert_msg(pc_next(pc), "closed, but no %s", archil_op_name(op));
		ck_assert(pc_aside(pc));
	}
}

static inline void pc_close(struct pc *pc)
{
	close(pc->fd);
	pc->fd = -1;
}

/* HELLO and AUTH. Returns the status of what failed, or 0. */
static inline uint32_t pc_auth(struct pc *pc, enum archil_conn_kind kind, const char *disk,
			       const char *token_text)
{
	struct scram_context context = {
		.min_version = ARCHIL_PROTO_MIN,
		.max_version = ARCHIL_PROTO_MAX,
		.version = ARCHIL_PROTO_MAX,
		.kind = kind,
	};
	unsigned char body[sizeof(struct archil_hello_req) + ARCHIL_DISK_LEN];
	struct archil_hello_req req = {
		.magic = cpu_to_le64(ARCHIL_MAGIC),
		.min_version = cpu_to_le16(ARCHIL_PROTO_MIN),
		.max_version = cpu_to_le16(ARCHIL_PROTO_MAX),
		.kind = cpu_to_le16(kind),
		.disk_len = cpu_to_le16(strlen(disk)),
	};
	struct archil_hello_rep rep;
	struct archil_auth_req auth;
	struct scram_client scram;
	struct scram_token token;
	char err[ERR_TEXT];
	uint32_t status;

	memset(pc, 0, sizeof(*pc));
	pc->kind = kind;
	pc->fd = pc_dial();
	snprintf(context.disk, sizeof(context.disk), "%s", disk);
	ck_assert_int_eq(scram_token_parse(token_text, &token, err), 0);
	ck_assert_int_eq(scram_client_first(&scram, &token, req.nonce), 0);
	memcpy(body, &req, sizeof(req));
	memcpy(body + sizeof(req), disk, strlen(disk));
	status = pc_call(pc, ARCHIL_OP_HELLO, body, sizeof(req) + strlen(disk), NULL, 0);
	if (status)
		return status;
	memcpy(&rep, pc->in.body, sizeof(rep));
	ck_assert_uint_eq(le16_to_cpu(rep.version), 1);
	ck_assert_int_eq(scram_client_final(&scram, &context, rep.nonce, rep.salt, auth.proof), 0);
	status = pc_call(pc, ARCHIL_OP_AUTH, &auth, sizeof(auth), NULL, 0);
	if (!status)
		ck_assert_int_eq(scram_client_verify(&scram, pc->in.body), 0);
	return status;
}

/* ---- a session ---- */

struct client {
	char id[32];
	unsigned char incarnation[ARCHIL_UUID_LEN], mount[ARCHIL_UUID_LEN];
	struct pc ctl, data;
	uint64_t session, epoch;
	struct archil_grant grant;	/* of the mount; 0 if none */
	struct archil_wattr root;
	uint64_t deleg, root_ino, seq;	/* the log that cl_log() appends to */
	uint64_t inos, inos_end;
	uint32_t slot_seq[ARCHIL_SLOTS];
	unsigned char batch[ARCHIL_PAYLOAD_MAX];
	size_t batch_len;
	uint32_t batch_n;
};

static inline struct client *cl_new(const char *id)
{
	static _Atomic unsigned int last;
	unsigned int n = ++last;
	struct client *cl = calloc(1, sizeof(*cl));

	snprintf(cl->id, sizeof(cl->id), "%s", id);
	memset(cl->incarnation, 0x11, sizeof(cl->incarnation));
	memcpy(cl->mount, &n, sizeof(n));
	cl->ctl.fd = cl->data.fd = -1;
	return cl;
}

static inline void cl_free(struct client *cl)
{
	if (cl->ctl.fd >= 0)
		close(cl->ctl.fd);
	if (cl->data.fd >= 0)
		close(cl->data.fd);
	free(cl);
}

/* OPEN_SESSION on a new control connection. */
static inline uint32_t cl_open(struct client *cl, const char *path, uint32_t flags)
{
	unsigned char body[sizeof(struct archil_open_session_req) + 256];
	struct archil_open_session_req req = {
		.flags = cpu_to_le32(flags),
		.client_len = cpu_to_le16(strlen(cl->id)),
		.path_len = cpu_to_le16(strlen(path)),
	};
	struct archil_open_session_rep rep;
	size_t id_len = strlen(cl->id), len = sizeof(req);
	uint32_t status;

	memcpy(req.incarnation, cl->incarnation, ARCHIL_UUID_LEN);
	memcpy(req.mount, cl->mount, ARCHIL_UUID_LEN);
	memcpy(body, &req, len);
	memcpy(body + len, cl->id, id_len);
	memcpy(body + len + id_len, path, strlen(path));
	len += id_len + strlen(path);
	if (cl->ctl.fd >= 0)
		pc_close(&cl->ctl);
	ck_assert_uint_eq(pc_auth(&cl->ctl, ARCHIL_CONN_CONTROL, "d", ps_token), 0);
	status = pc_call(&cl->ctl, ARCHIL_OP_OPEN_SESSION, body, len, NULL, 0);
	if (status)
		return status;
	memcpy(&rep, cl->ctl.in.body, sizeof(rep));
	cl->session = le64_to_cpu(rep.session);
	cl->grant = rep.grant;
	cl->root = rep.root;
	cl->deleg = le64_to_cpu(rep.grant.number);
	cl->root_ino = le64_to_cpu(rep.root.ino);
	return 0;
}

static inline uint32_t cl_bind_on(struct client *cl, struct pc *pc, uint64_t epoch)
{
	struct archil_bind_req req = {
		.session = cpu_to_le64(cl->session),
		.epoch = cpu_to_le64(epoch),
	};
	struct archil_bind_rep rep;
	uint32_t status;

	memcpy(req.mount, cl->mount, ARCHIL_UUID_LEN);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", ps_token), 0);
	status = pc_call(pc, ARCHIL_OP_BIND, &req, sizeof(req), NULL, 0);
	if (!status) {
		memcpy(&rep, pc->in.body, sizeof(rep));
		cl->epoch = le64_to_cpu(rep.epoch);
	}
	return status;
}

/* A new epoch, and the first CREDIT. */
static inline uint32_t cl_bind(struct client *cl)
{
	struct archil_credit_req req = { .have = 0, .want = cpu_to_le64(1 << 20) };
	uint32_t status;

	if (cl->data.fd >= 0)
		pc_close(&cl->data);
	status = cl_bind_on(cl, &cl->data, 0);
	if (!status)
		ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	return status;
}

static inline uint32_t cl_resume(struct client *cl)
{
	struct archil_resume_req req = { .session = cpu_to_le64(cl->session) };

	memcpy(req.mount, cl->mount, ARCHIL_UUID_LEN);
	if (cl->ctl.fd >= 0)
		pc_close(&cl->ctl);
	ck_assert_uint_eq(pc_auth(&cl->ctl, ARCHIL_CONN_CONTROL, "d", ps_token), 0);
	return pc_call(&cl->ctl, ARCHIL_OP_RESUME, &req, sizeof(req), NULL, 0);
}

static inline struct client *cl_mount(const char *id, const char *path, uint32_t flags)
{
	struct client *cl = cl_new(id);

	ck_assert_uint_eq(cl_open(cl, path, flags), 0);
	ck_assert_uint_eq(cl_bind(cl), 0);
	return cl;
}

static inline void cl_unmount(struct client *cl)
{
	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_CLOSE_SESSION, NULL, 0, NULL, 0), 0);
	cl_free(cl);
}

static inline uint64_t cl_ino(struct client *cl)
{
	struct archil_inos_req req = { .want = cpu_to_le32(100) };
	struct archil_inos_rep rep;

	if (cl->inos == cl->inos_end) {
		ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_INOS, &req, sizeof(req), NULL, 0), 0);
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		cl->inos = le64_to_cpu(rep.first);
		cl->inos_end = cl->inos + le32_to_cpu(rep.count);
		ck_assert_uint_gt(cl->inos_end, cl->inos);
	}
	return cl->inos++;
}

/* ---- records ---- */

static inline struct archil_time pc_time(uint64_t sec)
{
	struct archil_time t = { .sec = cpu_to_le64(sec) };

	return t;
}

static inline void rec_create(struct archil_record *rec, uint64_t dir, const char *name,
			      uint64_t ino, uint64_t cookie, uint32_t mode)
{
	*rec = (struct archil_record){
		.type = ARCHIL_REC_CREATE,
		.dir = dir, .ino = ino, .cookie = cookie, .mode = mode, .uid = 1000, .gid = 1000,
		.atime = pc_time(1), .mtime = pc_time(1), .ctime = pc_time(1), .btime = pc_time(1),
		.time = pc_time(1), .name = name, .name_len = strlen(name),
	};
}

static inline void rec_name(struct archil_record *rec, unsigned int type, uint64_t dir,
			    const char *name, uint64_t ino)
{
	*rec = (struct archil_record){
		.type = type, .dir = dir, .ino = ino, .time = pc_time(2),
		.name = name, .name_len = strlen(name),
	};
}

static inline void rec_size(struct archil_record *rec, uint64_t ino, uint32_t valid, uint64_t size)
{
	*rec = (struct archil_record){
		.type = ARCHIL_REC_SETATTR, .ino = ino, .valid = valid, .size = size,
	};
}

static inline void rec_content(struct archil_record *rec, uint64_t ino, uint64_t off,
			       const void *data, size_t len)
{
	*rec = (struct archil_record){
		.type = ARCHIL_REC_CONTENT, .ino = ino, .off = off, .data = data, .data_len = len,
		.time = pc_time(3),
	};
}

/* Appends to the open batch. */
static inline void cl_add(struct client *cl, const struct archil_record *rec)
{
	ck_assert_int_eq(archil_record_put(cl->batch, sizeof(cl->batch), &cl->batch_len, rec), 0);
	cl->batch_n++;
}

static inline uint64_t cl_log_send(struct client *cl, uint64_t first)
{
	struct archil_log_req req = {
		.deleg = cpu_to_le64(cl->deleg),
		.first_seq = cpu_to_le64(first),
		.count = cpu_to_le32(cl->batch_n),
	};

	return pc_send(&cl->data, ARCHIL_OP_LOG, 0, &req, sizeof(req), cl->batch, cl->batch_len);
}

/* Sends the open batch as the next records, waits. */
static inline uint32_t cl_log(struct client *cl)
{
	uint64_t tag = cl_log_send(cl, cl->seq + 1);
	struct archil_log_rep rep;
	uint32_t status = pc_wait(&cl->data, tag);

	if (!status) {
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		cl->seq += cl->batch_n;
		ck_assert_uint_eq(le64_to_cpu(rep.applied), cl->seq);
	}
	cl->batch_len = 0;
	cl->batch_n = 0;
	return status;
}

/* One record in a batch of its own. */
static inline uint32_t cl_do(struct client *cl, const struct archil_record *rec)
{
	cl_add(cl, rec);
	return cl_log(cl);
}

/* Makes a file or directory by the log; returns its inode. */
static inline uint64_t cl_make(struct client *cl, uint64_t dir, const char *name, uint64_t cookie,
			       uint32_t mode)
{
	struct archil_record rec;
	uint64_t ino = cl_ino(cl);

	rec_create(&rec, dir, name, ino, cookie, mode);
	ck_assert_uint_eq(cl_do(cl, &rec), 0);
	return ino;
}

/* ---- requests ---- */

static inline uint32_t cl_lookup(struct client *cl, uint64_t dir, const char *name,
				 struct archil_wattr *attr)
{
	unsigned char body[sizeof(struct archil_lookup_req) + 256];
	struct archil_lookup_req req = {
		.dir = cpu_to_le64(dir), .name_len = cpu_to_le16(strlen(name)),
	};
	struct archil_attr_rep rep;
	uint32_t status;

	memcpy(body, &req, sizeof(req));
	memcpy(body + sizeof(req), name, strlen(name));
	status = pc_call(&cl->data, ARCHIL_OP_LOOKUP, body, sizeof(req) + strlen(name), NULL, 0);
	if (!status) {
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		*attr = rep.attr;
	}
	return status;
}

static inline uint32_t cl_getattr(struct client *cl, uint64_t ino, struct archil_wattr *attr)
{
	struct archil_getattr_req req = { .ino = cpu_to_le64(ino) };
	struct archil_attr_rep rep;
	uint32_t status = pc_call(&cl->data, ARCHIL_OP_GETATTR, &req, sizeof(req), NULL, 0);

	if (!status) {
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		*attr = rep.attr;
	}
	return status;
}

/* READ; the payload stays in cl->data.in. */
static inline uint32_t cl_read_flags(struct client *cl, uint64_t ino, uint64_t off, uint32_t len,
				     uint32_t flags, struct archil_read_rep *rep)
{
	struct archil_read_req req = {
		.ino = cpu_to_le64(ino), .off = cpu_to_le64(off), .len = cpu_to_le32(len),
		.flags = cpu_to_le32(flags),
	};
	uint32_t status = pc_call(&cl->data, ARCHIL_OP_READ, &req, sizeof(req), NULL, 0);

	if (!status)
		memcpy(rep, cl->data.in.body, sizeof(*rep));
	return status;
}

static inline uint32_t cl_read(struct client *cl, uint64_t ino, uint64_t off, uint32_t len,
			       struct archil_read_rep *rep)
{
	return cl_read_flags(cl, ino, off, len, 0, rep);
}

/* What a file holds at off, zeros past the end of its data; fails the test if it is not this. */
static inline void cl_expect(struct client *cl, uint64_t ino, uint64_t off, const void *want,
			     size_t len)
{
	struct archil_read_rep rep;
	uint64_t end;

	ck_assert_uint_eq(cl_read(cl, ino, off, len, &rep), 0);
	end = le64_to_cpu(rep.size);
	ck_assert_uint_ge(end, off + len);
	ck_assert_uint_le(cl->data.in.payload_len, len);
	memset(cl->data.in.payload + cl->data.in.payload_len, 0, len - cl->data.in.payload_len);
	ck_assert(!memcmp(cl->data.in.payload, want, len));
}

static inline uint64_t cl_write_send(struct client *cl, unsigned int flags, uint64_t ino,
				     uint64_t off, const void *data, size_t len)
{
	struct archil_write_req req = {
		.deleg = cpu_to_le64(cl->deleg), .ino = cpu_to_le64(ino), .off = cpu_to_le64(off),
		.after = cpu_to_le64(cl->seq),
	};

	return pc_send(&cl->data, ARCHIL_OP_WRITE, flags, &req, sizeof(req), data, len);
}

static inline uint32_t cl_write(struct client *cl, uint64_t ino, uint64_t off, const void *data,
				size_t len)
{
	return pc_wait(&cl->data, cl_write_send(cl, ARCHIL_F_URGENT, ino, off, data, len));
}

/* WRITE, then the record that says so. */
static inline void cl_put(struct client *cl, uint64_t ino, uint64_t off, const void *data,
			  size_t len)
{
	struct archil_record rec;

	ck_assert_uint_eq(cl_write(cl, ino, off, data, len), 0);
	rec_size(&rec, ino, ARCHIL_SET_SIZE_UP, off + len);
	ck_assert_uint_eq(cl_do(cl, &rec), 0);
}

static inline struct archil_slot cl_slot(struct client *cl, unsigned int slot)
{
	struct archil_slot s = {
		.slot = cpu_to_le32(slot), .seq = cpu_to_le32(++cl->slot_seq[slot]),
	};

	return s;
}

static inline uint32_t cl_grant(struct client *cl, uint64_t ino, uint32_t origin, uint32_t flags,
				struct archil_grant_rep *rep)
{
	struct archil_grant_req req = {
		.slot = cl_slot(cl, 0), .ino = cpu_to_le64(ino), .origin = cpu_to_le32(origin),
		.flags = cpu_to_le32(flags), .known = cpu_to_le64(UINT64_MAX),
	};
	uint32_t status = pc_call(&cl->data, ARCHIL_OP_GRANT, &req, sizeof(req), NULL, 0);

	if (!status)
		memcpy(rep, cl->data.in.body, sizeof(*rep));
	return status;
}

/* Checks out, and makes it the log that cl_log() appends to. */
static inline uint32_t cl_checkout(struct client *cl, uint64_t ino, uint32_t flags)
{
	struct archil_grant_rep rep;
	uint32_t status = cl_grant(cl, ino, ARCHIL_ORIGIN_CHECKOUT, flags, &rep);

	if (!status && !le32_to_cpu(rep.grant.flags)) {
		cl->deleg = le64_to_cpu(rep.grant.number);
		cl->root_ino = ino;
		cl->seq = 0;
	}
	return status;
}

static inline uint32_t cl_checkin(struct client *cl, uint64_t ino, uint32_t *released)
{
	struct archil_checkin_req req = {
		.slot = cl_slot(cl, 0), .ino = cpu_to_le64(ino), .known = cpu_to_le64(UINT64_MAX),
	};
	struct archil_checkin_rep rep;
	uint32_t status = pc_call(&cl->data, ARCHIL_OP_CHECKIN, &req, sizeof(req), NULL, 0);

	if (!status) {
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		if (released)
			*released = le32_to_cpu(rep.released);
	}
	return status;
}

static inline uint32_t cl_change(struct client *cl, const struct archil_record *rec, uint32_t flags,
				 struct archil_change_rep *rep)
{
	struct archil_change_req req = { .slot = cl_slot(cl, 0), .flags = cpu_to_le32(flags) };
	unsigned char buf[8192];
	size_t len = 0;
	uint32_t status;

	ck_assert_int_eq(archil_record_put(buf, sizeof(buf), &len, rec), 0);
	status = pc_call(&cl->data, ARCHIL_OP_CHANGE, &req, sizeof(req), buf, len);
	if (!status)
		memcpy(rep, cl->data.in.body, sizeof(*rep));
	return status;
}

/* The holder in the last failed reply: "client:path". */
static inline const char *pc_holder(const struct pc *pc)
{
	static char text[512];
	struct archil_error err;
	unsigned int c, p;

	if (pc->in.body_len < sizeof(err))
		return "";
	memcpy(&err, pc->in.body, sizeof(err));
	c = le16_to_cpu(err.client_len);
	p = le16_to_cpu(err.path_len);
	snprintf(text, sizeof(text), "%.*s:%.*s", (int)c, pc->in.body + sizeof(err), (int)p,
		 pc->in.body + sizeof(err) + c);
	return text;
}

#endif
