// SPDX-License-Identifier: GPL-2.0
/* link: -lnl-genl-3 -lnl-3 */
/*
 * An agent and a server that mean harm. nltest DIR plays both to the kernel,
 * in a network namespace without an agent. ARCHIL_MOUNT_TOKEN must be some token.
 *
 *	1. strangers and unprivileged processes are turned away
 *	2. answers to a mount that are not as they must be are refused
 *	3. sessions that no good server opens are refused, and the mount with them
 *	4. a mounted disk's server that breaks the protocol is hung up on, each time
 *	5. random messages, from a stranger and from the agent
 *
 * Prints what was wrong; the exit status says whether anything was.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"
#include "wire.h"

enum { SESSION = 77, PATIENCE_MS = 30000 };

struct nl {
	struct nl_sock *sock;
	int family;
	int error;		/* of the last message, negative */
	bool done;
};

struct upcall {
	uint64_t id, mount;
	uint32_t type, op, flags;
	char source[256];
	bool uuid, timeout;
	struct archil_slot slot;	/* FORWARD: the request's */
};

static const char *dir;
static struct upcall got[64];
static int n_got;
static int passed;

static void expect(const char *what, int error, int one, int other)
{
	if (error == one || error == other)
		passed++;
	else
		wrong("%s: %s, not %s", what, strerror(-error), strerror(-one));
}

static void section(const char *name)
{
	printf("%s\n", name);
	fflush(stdout);
}

static void expect_true(const char *what, bool holds)
{
	if (holds)
		passed++;
	else
		wrong("%s", what);
}

/* ---- netlink ---- */

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct nl *nl = arg;

	nl->done = true;
	nl->error = 0;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *err, void *arg)
{
	struct nl *nl = arg;

	nl->done = true;
	nl->error = err->error;
	return NL_OK;
}

static int on_upcall(struct nl_msg *msg, void *arg)
{
	struct nlattr *attr[ARCHIL_A_MAX + 1];
	struct upcall *up = &got[n_got];

	if (genlmsg_hdr(nlmsg_hdr(msg))->cmd != ARCHIL_CMD_UPCALL || n_got == ARRAY_SIZE(got))
		return NL_OK;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, attr, ARCHIL_A_MAX, NULL) < 0)
		die("an upcall cannot be parsed");
	memset(up, 0, sizeof(*up));
	up->id = attr[ARCHIL_A_ID] ? nla_get_u64(attr[ARCHIL_A_ID]) : 0;
	up->type = attr[ARCHIL_A_TYPE] ? nla_get_u32(attr[ARCHIL_A_TYPE]) : 0;
	up->mount = attr[ARCHIL_A_MOUNT] ? nla_get_u64(attr[ARCHIL_A_MOUNT]) : 0;
	up->op = attr[ARCHIL_A_OP] ? nla_get_u32(attr[ARCHIL_A_OP]) : 0;
	up->flags = attr[ARCHIL_A_FLAGS] ? nla_get_u32(attr[ARCHIL_A_FLAGS]) : 0;
	up->uuid = attr[ARCHIL_A_MOUNT_UUID] && nla_len(attr[ARCHIL_A_MOUNT_UUID]) == 16;
	up->timeout = attr[ARCHIL_A_TIMEOUT_MS];
	if (attr[ARCHIL_A_BODY])
		nla_memcpy(&up->slot, attr[ARCHIL_A_BODY], sizeof(up->slot));
	if (attr[ARCHIL_A_SOURCE])
		nla_strlcpy(up->source, attr[ARCHIL_A_SOURCE], sizeof(up->source));
	n_got++;
	return NL_OK;
}

static void nl_open(struct nl *nl)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };

	memset(nl, 0, sizeof(*nl));
	nl->sock = nl_socket_alloc();
	if (!nl->sock || genl_connect(nl->sock))
		die("netlink");
	nl->family = genl_ctrl_resolve(nl->sock, ARCHIL_GENL_NAME);
	if (nl->family < 0)
		die("no family");
	setsockopt(nl_socket_get_fd(nl->sock), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	nl_socket_disable_seq_check(nl->sock);
	nl_socket_set_msg_buf_size(nl->sock, 65536);
	nl_socket_modify_cb(nl->sock, NL_CB_VALID, NL_CB_CUSTOM, on_upcall, nl);
	nl_socket_modify_cb(nl->sock, NL_CB_ACK, NL_CB_CUSTOM, on_ack, nl);
	nl_socket_modify_cb(nl->sock, NL_CB_FINISH, NL_CB_CUSTOM, on_ack, nl);
	nl_socket_modify_err_cb(nl->sock, NL_CB_CUSTOM, on_error, nl);
}

static struct nl_msg *begin(struct nl *nl, uint8_t cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(32768);

	if (!msg || !genlmsg_put(msg, 0, 0, nl->family, 0, flags, cmd, ARCHIL_GENL_VERSION))
		die("no memory");
	return msg;
}

/* Returns what the kernel says. */
static int finish(struct nl *nl, struct nl_msg *msg)
{
	nl->done = false;
	nl->error = -EBADMSG;
	if (nl_send_auto(nl->sock, msg) < 0)
		nl->done = true;
	nlmsg_free(msg);
	while (!nl->done)
		if (nl_recvmsgs_default(nl->sock) < 0 && !nl->done)
			wrong("the kernel does not answer"), nl->done = true;
	return nl->error;
}

static int command(struct nl *nl, uint8_t cmd)
{
	return finish(nl, begin(nl, cmd, 0));
}

static int dump(struct nl *nl)
{
	return finish(nl, begin(nl, ARCHIL_CMD_UPCALL, NLM_F_DUMP));
}

static int about(struct nl *nl, uint8_t cmd, uint64_t mount, uint64_t number)
{
	struct nl_msg *msg = begin(nl, cmd, 0);

	nla_put_u64(msg, ARCHIL_A_MOUNT, mount);
	if (number)
		nla_put_u64(msg, ARCHIL_A_NUMBER, number);
	return finish(nl, msg);
}

/* Waits for an upcall of this type, forgetting others. */
static bool wait_upcall(struct nl *nl, uint32_t type, struct upcall *up)
{
	int i, tries;

	for (tries = 0; tries < PATIENCE_MS / 50; tries++) {
		if (dump(nl))
			die("dump: %d", nl->error);
		for (i = 0; i < n_got; i++) {
			if (got[i].type != type)
				continue;
			*up = got[i];
			n_got = 0;
			return true;
		}
		usleep(50000);
	}
	wrong("no upcall of type %u", type);
	return false;
}

/* ---- answers ---- */

/* All that an answer may have; what is negative or NULL is left out. */
struct answer {
	int64_t status, session, epoch, socket, wire_status, commit;
	const char *server, *message;
	const void *open, *body;
	int open_len, body_len;
};

#define NOTHING { -1, -1, -1, -1, -1, -1, NULL, NULL, NULL, NULL, 0, 0 }

static int answer(struct nl *nl, uint64_t id, const struct answer *a)
{
	struct nl_msg *msg = begin(nl, ARCHIL_CMD_ANSWER, 0);

	nla_put_u64(msg, ARCHIL_A_ID, id);
	if (a->status >= 0)
		nla_put_u32(msg, ARCHIL_A_STATUS, a->status);
	if (a->session >= 0)
		nla_put_u64(msg, ARCHIL_A_SESSION, a->session);
	if (a->epoch >= 0)
		nla_put_u64(msg, ARCHIL_A_EPOCH, a->epoch);
	if (a->socket >= 0)
		nla_put_u32(msg, ARCHIL_A_SOCKET, a->socket);
	if (a->wire_status >= 0)
		nla_put_u32(msg, ARCHIL_A_WIRE_STATUS, a->wire_status);
	if (a->commit >= 0)
		nla_put_u64(msg, ARCHIL_A_COMMIT, a->commit);
	if (a->server)
		nla_put_string(msg, ARCHIL_A_SERVER, a->server);
	if (a->message)
		nla_put_string(msg, ARCHIL_A_MESSAGE, a->message);
	if (a->open)
		nla_put(msg, ARCHIL_A_OPEN_REPLY, a->open_len, a->open);
	if (a->body)
		nla_put(msg, ARCHIL_A_BODY, a->body_len, a->body);
	return finish(nl, msg);
}

static struct archil_open_session_rep good_session(void)
{
	struct archil_open_session_rep rep = {
		.session = cpu_to_le64(SESSION),
		.max_file_size = cpu_to_le64(1ull << 40),
		.inline_max = cpu_to_le32(16384),
		.payload_max = cpu_to_le32(1 << 20),
		.root = {
			.ino = cpu_to_le64(ARCHIL_INO_ROOT),
			.change = cpu_to_le64(1),
			.parent = cpu_to_le64(ARCHIL_INO_ROOT),
			.mode = cpu_to_le32(S_IFDIR | 0755),
			.nlink = cpu_to_le32(2),
		},
	};

	return rep;
}

/* ---- sockets ---- */

static void tcp_pair(int *client, int *server)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(l, (struct sockaddr *)&sa, sizeof(sa)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&sa, &len))
		die("listen");
	*client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(*client, (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	*server = accept(l, NULL, NULL);
	if (*server < 0)
		die("accept");
	close(l);
}

static pid_t spawn(char *const argv[])
{
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	null = open("/dev/null", O_RDWR);
	dup2(null, 1);
	dup2(null, 2);
	execvp(argv[0], argv);
	_exit(127);
}

static pid_t start_mount(void)
{
	char *argv[] = { "mount.archil", "127.0.0.1:7464/disk:/sub", (char *)dir, "-o",
			 "shared,timeo=20,cache_ttl=0", NULL };

	return spawn(argv);
}

static int status_of(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- 1. strangers ---- */

static void strangers(struct nl *agent)
{
	struct answer a = NOTHING;
	struct nl nl;

	a.status = EIO;
	expect("registering twice", command(agent, ARCHIL_CMD_REGISTER), 0, 0);
	nl_open(&nl);
	expect("a second agent", command(&nl, ARCHIL_CMD_REGISTER), -EBUSY, -EBUSY);
	expect("a stranger's dump", dump(&nl), -EPERM, -EPERM);
	expect("a stranger's answer", answer(&nl, 1, &a), -ENOENT, -ENOENT);
	expect("a stranger's REVOKE", about(&nl, ARCHIL_CMD_REVOKE, 1, 1), -EPERM, -EPERM);
	expect("a stranger's OVER", about(&nl, ARCHIL_CMD_OVER, 1, 0), -EPERM, -EPERM);
	expect("the agent, about no mount", about(agent, ARCHIL_CMD_OVER, 4711, 0), -ENOENT, -ENOENT);
	expect("REVOKE of nothing", about(agent, ARCHIL_CMD_REVOKE, 4711, 0), -EINVAL, -EINVAL);
	expect("an unknown command", command(agent, ARCHIL_CMD_MAX + 1), -EOPNOTSUPP, -EOPNOTSUPP);
	expect("a kernel's command", command(agent, ARCHIL_CMD_PENDING), -EOPNOTSUPP, -EOPNOTSUPP);
	expect("an answer to nothing", answer(agent, 999999, &a), -ENOENT, -ENOENT);
	nl_socket_free(nl.sock);
}

static void unprivileged(void)
{
	static const uint8_t cmds[] = { ARCHIL_CMD_REGISTER, ARCHIL_CMD_ANSWER, ARCHIL_CMD_REVOKE,
					ARCHIL_CMD_OVER };
	struct nl nl;
	pid_t pid = fork();
	size_t i;

	if (!pid) {
		if (setuid(65534))
			die("setuid");
		nl_open(&nl);
		for (i = 0; i < ARRAY_SIZE(cmds); i++)
			expect("without CAP_NET_ADMIN", command(&nl, cmds[i]), -EPERM, -EPERM);
		expect("a dump without CAP_NET_ADMIN", dump(&nl), -EPERM, -EPERM);
		_exit(prog_failed ? 1 : 0);
	}
	expect_true("unprivileged", !status_of(pid));
}

/* ---- 2. answers to a mount ---- */

static void bad_answers(struct nl *nl)
{
	struct archil_open_session_rep rep = good_session();
	struct answer none = NOTHING, good = NOTHING, a;
	int client, server, file, pipes[2], other;
	char longest[400];
	struct upcall up;
	pid_t pid = start_mount();

	if (!wait_upcall(nl, ARCHIL_UPCALL_OPEN, &up))
		die("no mount");
	expect_true("its source", !strcmp(up.source, "127.0.0.1:7464/disk:/sub"));
	expect_true("its fields", up.uuid && up.timeout && up.flags == ARCHIL_MOUNT_SHARED);

	tcp_pair(&client, &server);
	good.status = 0;
	good.session = SESSION;
	good.epoch = 1;
	good.server = "127.0.0.1:7464";
	good.open = &rep;
	good.open_len = sizeof(rep);
	good.socket = client;

	expect("without STATUS", answer(nl, up.id, &none), -EINVAL, -EINVAL);
	none.status = 0;
	expect("without anything else", answer(nl, up.id, &none), -EINVAL, -EINVAL);
	none.status = 1000000;
	expect("STATUS of no errno", answer(nl, up.id, &none), -EINVAL, -ERANGE);
	a = good;
	a.session = -1;
	expect("without SESSION", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.session = 0;
	expect("SESSION 0", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.session = SESSION + 1;
	expect("another SESSION", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a = good;
	a.epoch = -1;
	expect("without EPOCH", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a = good;
	a.server = NULL;
	expect("without SERVER", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	a.server = longest;
	expect("a long SERVER", answer(nl, up.id, &a), -EINVAL, -ERANGE);
	a = good;
	a.message = longest;
	expect("a long MESSAGE", answer(nl, up.id, &a), -EINVAL, -ERANGE);
	a = good;
	a.open = NULL;
	expect("without OPEN_REPLY", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.open = &rep;
	a.open_len = sizeof(rep) - 1;
	expect("a short OPEN_REPLY", answer(nl, up.id, &a), -EINVAL, -ERANGE);
	a.open_len = 0;
	expect("an empty OPEN_REPLY", answer(nl, up.id, &a), -EINVAL, -ERANGE);

	a = good;
	a.socket = -1;
	expect("without SOCKET", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.socket = 0xffffffff;
	expect("SOCKET -1", answer(nl, up.id, &a), -EBADF, -EBADF);
	a.socket = 1000;
	expect("a closed SOCKET", answer(nl, up.id, &a), -EBADF, -EBADF);
	a.socket = file = open("/dev/null", O_RDWR);
	expect("a file", answer(nl, up.id, &a), -EBADF, -EINVAL);
	close(file);
	if (pipe(pipes))
		die("pipe");
	a.socket = pipes[0];
	expect("a pipe", answer(nl, up.id, &a), -EBADF, -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	a.socket = nl_socket_get_fd(nl->sock);
	expect("the netlink socket itself", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.socket = other = socket(AF_INET, SOCK_DGRAM, 0);
	expect("UDP", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	close(other);
	a.socket = other = socket(AF_UNIX, SOCK_STREAM, 0);
	expect("a Unix socket", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	close(other);
	a.socket = other = socket(AF_INET, SOCK_STREAM, 0);
	expect("TCP that is not connected", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	if (listen(other, 1))
		die("listen");
	expect("TCP that listens", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	close(other);

	/* the upcall has survived all of it */
	a = (struct answer)NOTHING;
	a.status = EPROTO;
	a.message = "refused by the test";
	expect("an honest refusal", answer(nl, up.id, &a), 0, 0);
	expect("once more", answer(nl, up.id, &a), -ENOENT, -ENOENT);
	expect_true("the mount fails", status_of(pid) == 32);
	close(client);
	close(server);
}

/* ---- 3. sessions that no good server opens ---- */

/* The session is over, whatever is asked, until the process ends. */
static int over_until_end(struct nl *nl, pid_t pid)
{
	int status, i, tries;

	for (tries = 0; tries < PATIENCE_MS / 50; tries++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		dump(nl);
		for (i = 0; i < n_got; i++) {
			struct answer a = NOTHING;

			a.status = got[i].type == ARCHIL_UPCALL_CLOSED ? 0 : ESTALE;
			answer(nl, got[i].id, &a);
		}
		n_got = 0;
		usleep(50000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	wrong("a process hangs");
	return -1;
}

static int try_session(struct nl *nl, const struct archil_open_session_rep *rep)
{
	char *umount[] = { "umount.archil", (char *)dir, NULL };
	struct answer a = NOTHING;
	int client, server, status;
	struct upcall up;
	pid_t pid = start_mount();

	if (!wait_upcall(nl, ARCHIL_UPCALL_OPEN, &up))
		die("no mount");
	tcp_pair(&client, &server);
	a.status = 0;
	a.session = le64_to_cpu(rep->session);
	a.epoch = 1;
	a.server = "127.0.0.1:7464";
	a.open = rep;
	a.open_len = sizeof(*rep);
	a.socket = client;
	answer(nl, up.id, &a);
	close(client);
	shutdown(server, SHUT_RDWR);
	close(server);
	status = over_until_end(nl, pid);
	/* it was mounted: take it away again */
	if (!status)
		over_until_end(nl, spawn(umount));
	return status;
}

static void bad_sessions(struct nl *nl)
{
	struct archil_open_session_rep rep;

#define TRY(what, field, value) do {					\
		rep = good_session();					\
		rep.field = (value);					\
		expect_true(what, try_session(nl, &rep) == 32);	\
	} while (0)

	TRY("a root that is a file", root.mode, cpu_to_le32(S_IFREG | 0644));
	TRY("a root of no type", root.mode, 0);
	TRY("a root of two types", root.mode, cpu_to_le32(0xffffffff));
	TRY("a root without number", root.ino, 0);
	TRY("a number that is too big", root.ino, cpu_to_le64(ARCHIL_INO_MAX + 1));
	TRY("no payload", payload_max, 0);
	TRY("too much payload", payload_max, cpu_to_le32(1u << 31));
	TRY("odd payload", payload_max, cpu_to_le32(65537));
#undef TRY
}

/* ---- 4. a server that breaks the protocol ---- */

struct frame {
	struct archil_hdr hdr;
	uint8_t rest[256];
};

/* What is sent instead of a reply; size: how much of it. */
static const char *attack(int which, const struct archil_hdr *req, struct frame *f, size_t *size)
{
	uint32_t body = sizeof(struct archil_attr_rep);

	memset(f, 0, sizeof(*f));
	archil_hdr_fill(&f->hdr, le16_to_cpu(req->op), ARCHIL_F_REPLY, le64_to_cpu(req->tag), body, 0);
	*size = sizeof(f->hdr) + body;
	switch (which) {
	case 0:
		memset(f, 0xa5, sizeof(*f));
		*size = sizeof(*f);
		return "garbage";
	case 1:
		f->hdr.len = cpu_to_le32(4);
		return "a length shorter than the header";
	case 2:
		f->hdr.len = cpu_to_le32(0xffffffff);
		return "a length of 4 GiB";
	case 3:
		f->hdr.body_len = cpu_to_le32(ARCHIL_BODY_MAX + 1);
		f->hdr.len = cpu_to_le32(sizeof(f->hdr) + ARCHIL_BODY_MAX + 1);
		return "a body that is too long";
	case 4:
		f->hdr.body_len = cpu_to_le32(0xfffffff0);
		return "a body longer than the frame";
	case 5:
		f->hdr.body_len = cpu_to_le32(body - 8);
		f->hdr.len = cpu_to_le32(sizeof(f->hdr) + body - 8);
		*size -= 8;
		return "a body that is too short";
	case 6:
		f->hdr.body_len = cpu_to_le32(body + 8);
		f->hdr.len = cpu_to_le32(sizeof(f->hdr) + body + 8);
		*size += 8;
		return "a body with something left over";
	case 7:
		f->hdr.op = cpu_to_le16(ARCHIL_OP_STATFS);
		f->hdr.body_len = cpu_to_le32(sizeof(struct archil_statfs_rep));
		f->hdr.len = cpu_to_le32(sizeof(f->hdr) + sizeof(struct archil_statfs_rep));
		*size = sizeof(f->hdr) + sizeof(struct archil_statfs_rep);
		return "a reply of another opcode";
	case 8:
		f->hdr.op = cpu_to_le16(ARCHIL_OP_MAX - 1);
		return "an unknown opcode";
	case 9:
		f->hdr.op = cpu_to_le16(ARCHIL_OP_OPEN_SESSION);
		return "an opcode of the other connection";
	case 10:
		f->hdr.flags |= cpu_to_le16(0x80);
		return "a flag that is not known";
	case 11:
		f->hdr.status = cpu_to_le32(9999);
		return "a status that there is not";
	case 12:
		f->hdr.len = cpu_to_le32(*size + 64);
		*size += 64;
		return "a payload where there is none";
	case 13:
		f->hdr.flags = 0;
		return "a request of the server's";
	case 14:
		f->hdr.flags = cpu_to_le16(ARCHIL_F_PUSH);
		return "a push that is none";
	case 15:
		*size = sizeof(f->hdr) / 2;
		return "half a header";
	case 16:
		*size -= 20;
		return "half a body";
	case 17:
		((struct archil_attr_rep *)f->rest)->target_len = cpu_to_le16(4000);
		return "a variable part beyond the body";
	}
	return NULL;
}

/* A process that waits for the server: stat(2). */
static pid_t start_stat(void)
{
	struct stat st;
	pid_t pid = fork();

	if (!pid)
		_exit(stat(dir, &st) ? errno : 0);
	return pid;
}

/* Returns true when a whole GETATTR has come; passes over everything else. */
static bool wait_getattr(int fd, struct archil_hdr *hdr)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t rest[ARCHIL_BODY_MAX];

	while (poll(&p, 1, PATIENCE_MS) == 1) {
		uint32_t left;

		if (recv(fd, hdr, sizeof(*hdr), MSG_WAITALL) != sizeof(*hdr))
			return false;
		if (archil_hdr_check(hdr, ARCHIL_CONN_DATA, false))
			wrong("the kernel sends what it must not");
		left = le32_to_cpu(hdr->len) - sizeof(*hdr);
		if (left > sizeof(rest) || (left && recv(fd, rest, left, MSG_WAITALL) != left))
			return false;
		if (le16_to_cpu(hdr->op) == ARCHIL_OP_GETATTR)
			return true;
	}
	return false;
}

static bool wait_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];

	while (poll(&p, 1, PATIENCE_MS) == 1)
		if (recv(fd, buf, sizeof(buf), 0) <= 0)
			return true;
	return false;
}

static int reconnect(struct nl *nl)
{
	struct answer a = NOTHING;
	int client, server;
	struct upcall up;

	if (!wait_upcall(nl, ARCHIL_UPCALL_CONNECT, &up))
		return -1;
	tcp_pair(&client, &server);
	a.status = 0;
	a.epoch = 2;
	a.socket = client;
	expect("a new connection", answer(nl, up.id, &a), 0, 0);
	close(client);
	return server;
}

static void good_reply(int fd, const struct archil_hdr *req)
{
	struct archil_open_session_rep good = good_session();
	struct archil_attr_rep rep = { .attr = good.root };
	struct frame f;

	archil_hdr_fill(&f.hdr, le16_to_cpu(req->op), ARCHIL_F_REPLY, le64_to_cpu(req->tag),
			sizeof(rep), 0);
	f.hdr.commit = cpu_to_le64(5);
	memcpy(f.rest, &rep, sizeof(rep));
	if (send(fd, &f, sizeof(f.hdr) + sizeof(rep), MSG_NOSIGNAL) < 0)
		wrong("a good reply cannot be sent");
}

/* Returns the connection that there is afterwards. */
static int attacks(struct nl *nl, int server)
{
	struct archil_hdr req;
	const char *what;
	struct frame f;
	size_t size;
	pid_t pid;
	int i;

	for (i = 0; server >= 0; i++) {
		memset(&req, 0, sizeof(req));
		what = attack(i, &req, &f, &size);
		if (!what)
			break;
		pid = start_stat();
		if (!wait_getattr(server, &req)) {
			wrong("%s: the kernel asks for nothing", what);
			kill(pid, SIGKILL);
			status_of(pid);
			break;
		}
		attack(i, &req, &f, &size);
		if (send(server, &f, size, MSG_NOSIGNAL) != (ssize_t)size)
			wrong("%s: cannot be sent", what);
		if (size < sizeof(f.hdr) + le32_to_cpu(f.hdr.body_len) && i >= 15)
			shutdown(server, SHUT_WR);
		expect_true(what, wait_end(server));
		close(server);

		/* the same request again, on a new connection */
		server = reconnect(nl);
		if (server < 0 || !wait_getattr(server, &req)) {
			wrong("%s: it is not asked again", what);
			kill(pid, SIGKILL);
		} else {
			good_reply(server, &req);
		}
		expect_true("and is answered", !status_of(pid));
	}
	return server;
}

/* From now on a good one, as far as it goes: a process of its own. */
static pid_t start_good_server(int fd)
{
	struct archil_hdr hdr;
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(60);
	while (wait_getattr(fd, &hdr))
		good_reply(fd, &hdr);
	_exit(0);
}

static void checkout(struct nl *nl)
{
	char *argv[] = { "archilctl", "checkout", (char *)dir, NULL };
	struct {
		struct archil_error error;
		char text[7];
	} __packed busy = {
		.error = { .client_len = cpu_to_le16(5), .path_len = cpu_to_le16(2) },
		.text = "web-9/x",
	};
	struct answer a = NOTHING;
	uint8_t zeros[512] = { };
	struct upcall up, refused;
	pid_t pid = spawn(argv);

	if (!wait_upcall(nl, ARCHIL_UPCALL_FORWARD, &refused))
		return;
	a.status = ENOMEM;
	expect("a request that is not sent", answer(nl, refused.id, &a), 0, 0);
	expect_true("checkout fails", status_of(pid) == 1);
	pid = spawn(argv);
	if (!wait_upcall(nl, ARCHIL_UPCALL_FORWARD, &up))
		return;
	expect_true("GRANT is forwarded", up.op == ARCHIL_OP_GRANT);
	expect_true("it has the number that was not used",
		    !memcmp(&up.slot, &refused.slot, sizeof(up.slot)));
	a.status = 0;
	expect("a reply without its status", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.wire_status = 0;
	expect("a reply without its commit", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.commit = 9;
	expect("a reply without a body", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.body = zeros;
	a.body_len = sizeof(struct archil_grant_rep) - 1;
	expect("a reply that is too short", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.body_len = sizeof(struct archil_grant_rep) + 1;
	expect("a reply that is too long", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.wire_status = 9999;
	a.body = NULL;
	expect("a status that there is not", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.wire_status = EBUSY;
	a.body = &busy;
	a.body_len = sizeof(busy) - 1;
	expect("an error with a part missing", answer(nl, up.id, &a), -EINVAL, -EINVAL);
	a.body_len = sizeof(busy);
	expect("a good error", answer(nl, up.id, &a), 0, 0);
	expect_true("checkout: owned by another", status_of(pid) == 3);
}

static void bad_server(struct nl *nl)
{
	struct archil_open_session_rep rep = good_session();
	char *umount[] = { "umount.archil", (char *)dir, NULL };
	struct answer a = NOTHING;
	int client, server;
	struct upcall up;
	struct stat st;
	pid_t pid = start_mount(), good;

	if (!wait_upcall(nl, ARCHIL_UPCALL_OPEN, &up))
		die("no mount");
	tcp_pair(&client, &server);
	a.status = 0;
	a.session = SESSION;
	a.epoch = 1;
	a.server = "127.0.0.1:7464";
	a.open = &rep;
	a.open_len = sizeof(rep);
	a.socket = client;
	expect("a good answer", answer(nl, up.id, &a), 0, 0);
	close(client);
	expect_true("mounted", status_of(pid) == 0);

	expect("REVOKE of what is not held", about(nl, ARCHIL_CMD_REVOKE, up.mount, 123), 0, 0);
	server = attacks(nl, server);
	if (server >= 0) {
		good = start_good_server(server);
		close(server);
		checkout(nl);
		kill(good, SIGKILL);
		waitpid(good, NULL, 0);
	}
	expect("OVER", about(nl, ARCHIL_CMD_OVER, up.mount, 0), 0, 0);
	usleep(200000);
	expect_true("then everything is EIO", stat(dir, &st) && errno == EIO);
	expect_true("it can be unmounted", !status_of(spawn(umount)));
}

/* ---- 5. noise ---- */

static void noise(struct nl *nl, int rounds)
{
	uint8_t data[300];
	int i, j, n;

	for (i = 0; i < rounds; i++) {
		uint8_t cmd = random() % (ARCHIL_CMD_MAX + 3);
		struct nl_msg *msg = begin(nl, cmd, random() % 4 ? 0 : NLM_F_DUMP);

		n = random() % 6;
		for (j = 0; j < n; j++) {
			int len = random() % 4 ? 8 >> random() % 4 : random() % (int)sizeof(data);
			int k;

			for (k = 0; k < len; k++)
				data[k] = random() % 3 ? random() : 0;
			nla_put(msg, random() % (ARCHIL_A_MAX + 3), len, data);
		}
		/* an attribute that is longer than the message */
		if (n && !(random() % 8)) {
			struct nlattr *last = nlmsg_attrdata(nlmsg_hdr(msg), sizeof(struct genlmsghdr));

			last->nla_len = random();
		}
		finish(nl, msg);
		n_got = 0;
	}
}

int main(int argc, char **argv)
{
	struct nl agent, stranger;

	if (argc != 2) {
		fprintf(stderr, "usage: nltest DIRECTORY\n");
		return 2;
	}
	dir = argv[1];
	nl_open(&agent);
	nl_open(&stranger);
	if (command(&agent, ARCHIL_CMD_REGISTER))
		die("this namespace has an agent already");
	n_got = 0;
	section("unprivileged");
	unprivileged();
	section("strangers");
	strangers(&agent);
	section("noise");
	noise(&stranger, 3000);
	noise(&agent, 3000);
	section("answers");
	bad_answers(&agent);
	section("sessions");
	bad_sessions(&agent);
	section("a bad server");
	bad_server(&agent);
	noise(&agent, 3000);
	nl_socket_free(stranger.sock);
	nl_socket_free(agent.sock);
	printf("%d as they must be, %d not\n", passed, prog_failed);
	return prog_failed ? 1 : 0;
}
