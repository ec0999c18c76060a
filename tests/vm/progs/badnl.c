// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink as no agent should speak it, on raw sockets.
 *
 *	badnl noise SEED ROUNDS		beside a live agent: random messages, then each command
 *					that only the agent may send
 *	badnl agent VARIANT		where there is no agent: be one, wait for a mount,
 *					answer it in all the wrong ways, then once with variant:
 *					an answer that the kernel accepts and must not believe;
 *					0 ends it with an error that people can read
 *	badnl dies			be one, fetch the mount, and go away
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire.h"
#include "archil.h"
#include "prog.h"

static struct {
	struct nlmsghdr nl;
	struct genlmsghdr genl;
	char attrs[32768];
} msg, reply;
static int family;
static uint32_t seq;

static int nl_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("netlink");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return fd;
}

static void begin(int type, int cmd, int flags)
{
	memset(&msg, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	msg.nl.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	msg.nl.nlmsg_type = type;
	msg.nl.nlmsg_flags = NLM_F_REQUEST | flags;
	msg.nl.nlmsg_seq = ++seq;
	msg.genl.cmd = cmd;
	msg.genl.version = 1;
}

static void attr(int type, const void *data, size_t len)
{
	struct nlattr *a = (struct nlattr *)((char *)&msg + msg.nl.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memset(a + 1, 0, NLA_ALIGN(len));
	memcpy(a + 1, data, len);
	msg.nl.nlmsg_len += NLA_HDRLEN + NLA_ALIGN(len);
}

static void attr_u32(int type, uint32_t value) { attr(type, &value, 4); }
static void attr_u64(int type, uint64_t value) { attr(type, &value, 8); }
static void attr_str(int type, const char *text) { attr(type, text, strlen(text) + 1); }

/* Sends what was begun, returns the acknowledgement's errno; 0 is success. */
static int call(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	msg.nl.nlmsg_flags |= NLM_F_ACK;
	if (send(fd, &msg, msg.nl.nlmsg_len, 0) < 0)
		return errno;
	for (;;) {
		if (poll(&p, 1, 5000) != 1)
			return ETIME;
		n = recv(fd, &reply, sizeof(reply), 0);
		if (n < 0)
			return errno;
		if (reply.nl.nlmsg_seq == seq && reply.nl.nlmsg_type == NLMSG_ERROR)
			return -((struct nlmsgerr *)NLMSG_DATA(&reply.nl))->error;
		if (reply.nl.nlmsg_seq == seq && reply.nl.nlmsg_type == NLMSG_DONE)
			return -*(int *)NLMSG_DATA(&reply.nl);
	}
}

static void find_family(int fd)
{
	struct nlattr *a;
	ssize_t n;

	begin(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	attr_str(CTRL_ATTR_FAMILY_NAME, ARCHIL_GENL_NAME);
	if (send(fd, &msg, msg.nl.nlmsg_len, 0) < 0)
		die("send");
	n = recv(fd, &reply, sizeof(reply), 0);
	if (n < 0 || reply.nl.nlmsg_type == NLMSG_ERROR)
		die("there is no family archil");
	for (a = (struct nlattr *)reply.attrs; (char *)a < (char *)&reply + reply.nl.nlmsg_len;
	     a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len)))
		if (a->nla_type == CTRL_ATTR_FAMILY_ID)
			family = *(uint16_t *)(a + 1);
}

static void refused(int fd, const char *what, int err, int err2)
{
	int got = call(fd);

	if (got != err && got != err2)
		wrong("%s: %s, must be %s", what, errname(got), errname(err));
}

/* ---- beside a live agent ---- */

static void noise(int fd, int rounds)
{
	char junk[512];
	int got, i, cmd;

	while (rounds--) {
		cmd = random() % 12;
		begin(family, cmd, random() & 1 ? NLM_F_DUMP : 0);
		msg.genl.version = random();
		for (i = random() % 8; i; i--) {
			size_t len = random() % 200, j;

			for (j = 0; j < len; j++)
				junk[j] = random();
			attr(random() % 40, junk, len);
		}
		if (random() % 4 == 0)
			msg.nl.nlmsg_len -= random() % (msg.nl.nlmsg_len - NLMSG_HDRLEN);
		got = call(fd);
		if (!got)
			wrong("random message for command %d succeeds", cmd);
	}
}

static void beside_agent(int rounds)
{
	int fd = nl_open();

	find_family(fd);
	noise(fd, rounds);
	begin(family, ARCHIL_CMD_REGISTER, 0);
	refused(fd, "REGISTER beside a live agent", EBUSY, EBUSY);
	begin(family, ARCHIL_CMD_UPCALL, NLM_F_DUMP);
	refused(fd, "UPCALL from another", EPERM, EPERM);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, 1);
	attr_u32(ARCHIL_A_STATUS, 0);
	refused(fd, "ANSWER from another", ENOENT, EPERM);
	begin(family, ARCHIL_CMD_OVER, 0);
	attr_u64(ARCHIL_A_MOUNT, 1);
	refused(fd, "OVER from another", EPERM, EPERM);
	begin(family, ARCHIL_CMD_REVOKE, 0);
	attr_u64(ARCHIL_A_MOUNT, 1);
	attr_u64(ARCHIL_A_NUMBER, 1);
	refused(fd, "REVOKE from another", EPERM, EPERM);
	close(fd);
	fd = nl_open();
	if (setegid(65534) || seteuid(65534))
		die("setuid");
	begin(family, ARCHIL_CMD_REGISTER, 0);
	refused(fd, "REGISTER without the right", EPERM, EPERM);
	begin(family, ARCHIL_CMD_UPCALL, NLM_F_DUMP);
	refused(fd, "UPCALL without the right", EPERM, EPERM);
}

/* ---- instead of an agent ---- */

static uint64_t id;		/* of the OPEN that waits */

/* Registers, waits for an OPEN, fetches it. */
static int be_agent(void)
{
	struct pollfd p = { .events = POLLIN };
	struct nlattr *a;
	uint32_t type = 0;
	int fd = nl_open(), err, tries;
	ssize_t n;

	find_family(fd);
	begin(family, ARCHIL_CMD_REGISTER, 0);
	err = call(fd);
	if (err) {
		errno = err;
		die("REGISTER");
	}
	p.fd = fd;
	for (tries = 0; tries < 100; tries++) {
		begin(family, ARCHIL_CMD_UPCALL, NLM_F_DUMP);
		if (send(fd, &msg, msg.nl.nlmsg_len, 0) < 0)
			die("send");
		do {
			if (poll(&p, 1, 1000) != 1)
				break;
			n = recv(fd, &reply, sizeof(reply), 0);
			if (n < 0)
				die("recv");
			if (reply.nl.nlmsg_type != family || reply.genl.cmd != ARCHIL_CMD_UPCALL)
				continue;
			for (a = (struct nlattr *)reply.attrs;
			     (char *)a < (char *)&reply + reply.nl.nlmsg_len;
			     a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len))) {
				if (a->nla_type == ARCHIL_A_ID)
					memcpy(&id, a + 1, 8);
				if (a->nla_type == ARCHIL_A_TYPE)
					type = *(uint32_t *)(a + 1);
			}
		} while (reply.nl.nlmsg_type != NLMSG_DONE);
		if (type == ARCHIL_UPCALL_OPEN)
			return fd;
		usleep(100000);
	}
	errno = ETIME;
	die("no mount came");
}

/* A connection to ourselves that is established, as the kernel wants it. */
static int tcp_pair(int *other)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	socklen_t len = sizeof(addr);
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&addr, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&addr, &len) ||
	    connect(fd, (struct sockaddr *)&addr, len))
		die("tcp");
	*other = accept(l, NULL, NULL);
	close(l);
	return fd;
}

static void open_answer(int sock, const struct archil_open_session_rep *rep, size_t len,
			uint64_t session)
{
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id);
	attr_u32(ARCHIL_A_STATUS, 0);
	attr_str(ARCHIL_A_SERVER, "nowhere:1");
	attr_u64(ARCHIL_A_SESSION, session);
	attr_u64(ARCHIL_A_EPOCH, 1);
	attr_u32(ARCHIL_A_SOCKET, sock);
	attr(ARCHIL_A_OPEN_REPLY, rep, len);
}

static void good_reply(struct archil_open_session_rep *rep)
{
	memset(rep, 0, sizeof(*rep));
	rep->session = htole64(7);
	rep->max_file_size = htole64(1ull << 40);
	rep->inline_max = htole32(16384);
	rep->payload_max = htole32(1 << 20);
	rep->root.ino = htole64(1);
	rep->root.parent = htole64(1);
	rep->root.mode = htole32(S_IFDIR | 0755);
	rep->root.nlink = htole32(2);
}

static void wrong_answers(int fd)
{
	struct archil_open_session_rep rep;
	struct sockaddr_in any = { .sin_family = AF_INET };
	int peer, sock = tcp_pair(&peer), udp = socket(AF_INET, SOCK_DGRAM, 0);
	int listener = socket(AF_INET, SOCK_STREAM, 0), pair[2];
	char text[2000];

	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 1) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("sockets");
	good_reply(&rep);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	refused(fd, "ANSWER without ID", EINVAL, EINVAL);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id + 1000);
	attr_u32(ARCHIL_A_STATUS, 5);
	refused(fd, "ANSWER to what was not asked", ENOENT, ENOENT);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id);
	refused(fd, "ANSWER without STATUS", EINVAL, EINVAL);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id);
	attr_u32(ARCHIL_A_STATUS, 4000000000u);
	refused(fd, "ANSWER with no errno", ERANGE, EINVAL);
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id);
	attr_u32(ARCHIL_A_STATUS, 0);
	refused(fd, "ANSWER with nothing in it", EINVAL, EINVAL);
	memset(text, 'x', sizeof(text));
	begin(family, ARCHIL_CMD_ANSWER, 0);
	attr_u64(ARCHIL_A_ID, id);
	attr_u32(ARCHIL_A_STATUS, 5);
	attr(ARCHIL_A_MESSAGE, text, sizeof(text));
	refused(fd, "ANSWER with an endless MESSAGE", EINVAL, ERANGE);
	open_answer(9999, &rep, sizeof(rep), 7);
	refused(fd, "a socket that is none", EBADF, EINVAL);
	open_answer(open("/dev/null", O_RDWR), &rep, sizeof(rep), 7);
	refused(fd, "a file as socket", EBADF, EINVAL);
	open_answer(udp, &rep, sizeof(rep), 7);
	refused(fd, "a UDP socket", EINVAL, EINVAL);
	open_answer(listener, &rep, sizeof(rep), 7);
	refused(fd, "a listening socket", EINVAL, EINVAL);
	open_answer(pair[0], &rep, sizeof(rep), 7);
	refused(fd, "a Unix socket", EINVAL, EINVAL);
	open_answer(fd, &rep, sizeof(rep), 7);
	refused(fd, "the netlink socket itself", EINVAL, EINVAL);
	open_answer(sock, &rep, sizeof(rep) - 1, 7);
	refused(fd, "OPEN_REPLY too short", EINVAL, ERANGE);
	open_answer(sock, &rep, sizeof(rep), 8);
	refused(fd, "two sessions", EINVAL, EINVAL);
	begin(family, ARCHIL_CMD_OVER, 0);
	attr_u64(ARCHIL_A_MOUNT, 999999);
	refused(fd, "OVER of no mount", ENOENT, ENOENT);
	begin(family, ARCHIL_CMD_REVOKE, 0);
	attr_u64(ARCHIL_A_MOUNT, 999999);
	attr_u64(ARCHIL_A_NUMBER, 0);
	refused(fd, "REVOKE of number 0", ERANGE, EINVAL);
	close(sock);
	close(peer);
}

/* Answers that are well formed and tell nonsense: the mount must fail, or live with it. */
static void last_answer(int fd, int variant)
{
	struct archil_open_session_rep rep;
	int peer, sock = tcp_pair(&peer), got;

	good_reply(&rep);
	switch (variant) {
	case 0:
		begin(family, ARCHIL_CMD_ANSWER, 0);
		attr_u64(ARCHIL_A_ID, id);
		attr_u32(ARCHIL_A_STATUS, EIO);
		attr_str(ARCHIL_A_MESSAGE, "go away");
		refused(fd, "an error for the mount", 0, 0);
		return;
	case 1: rep.payload_max = htole32(0); break;
	case 2: rep.payload_max = htole32(0x80000000); break;
	case 3: rep.root.ino = 0; break;
	case 4: rep.root.ino = htole64(1ull << 60); break;
	case 5: rep.root.mode = htole32(S_IFREG | 0644); break;
	case 6: rep.root.mode = 0; break;
	case 7: rep.root.size = htole64(-1ull); rep.root.mode = htole32(S_IFREG); break;
	}
	open_answer(sock, &rep, sizeof(rep), 7);
	got = call(fd);
	if (got && got != EINVAL)
		wrong("variant %d: %s", variant, errname(got));
	if (got) {
		/* refused at once is as good; the mount is ended with an error */
		begin(family, ARCHIL_CMD_ANSWER, 0);
		attr_u64(ARCHIL_A_ID, id);
		attr_u32(ARCHIL_A_STATUS, EPROTO);
		refused(fd, "an error for the mount", 0, 0);
	}
	/* whoever mounts may want to tell a server that it is over: there is none */
	usleep(300000);
	close(peer);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc == 4 && !strcmp(argv[1], "noise")) {
		srandom(atoi(argv[2]));
		beside_agent(atoi(argv[3]));
	} else if (argc == 3 && !strcmp(argv[1], "agent")) {
		fd = be_agent();
		wrong_answers(fd);
		last_answer(fd, atoi(argv[2]));
	} else if (argc == 2 && !strcmp(argv[1], "dies")) {
		be_agent();
	} else {
		fputs("usage: badnl noise SEED ROUNDS | agent VARIANT | dies\n", stderr);
		return 2;
	}
	return prog_failed != 0;
}
