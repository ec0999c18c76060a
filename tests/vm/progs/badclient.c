// SPDX-License-Identifier: GPL-2.0
/*
 * badclient ADDRESS PORT DISK TOKENFILE SEED ROUNDS: a client that says what no client
 * should: noise, frames too long, too short, cut off, out of turn, of another version;
 * then, authenticated and with a session, requests full of nonsense. The server must answer
 * with an error or close the connection; it is asked again after each round.
 */
/* link: -lcrypto */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake.h"
#include "prog.h"

static struct sockaddr_in server;
static const char *disk;
static struct scram_token token;

struct frame {
	struct archil_hdr hdr;
	unsigned char bytes[ARCHIL_BODY_MAX + ARCHIL_PAYLOAD_MAX];
};

static struct frame in, out;

static int dial(void)
{
	struct timeval patience = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)))
		die("connect: the server is gone");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Broken pipes are what we ask for. */
static void say(int fd, const void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (const char *)data + n) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
	}
}

static bool hear_bytes(int fd, void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (char *)data + n) {
		n = recv(fd, data, len, 0);
		if (n <= 0)
			return false;
	}
	return true;
}

/* One frame to `in`; false: the connection has ended. */
static bool hear(int fd)
{
	size_t len;

	if (!hear_bytes(fd, &in.hdr, sizeof(in.hdr)))
		return false;
	len = le32_to_cpu(in.hdr.len);
	if (len < sizeof(in.hdr) || len > sizeof(in)) {
		wrong("the server sends a frame of %zu bytes", len);
		return false;
	}
	return hear_bytes(fd, in.bytes, len - sizeof(in.hdr));
}

static void closed(int fd, const char *what)
{
	char c[65536];
	ssize_t n;
	int tries;

	shutdown(fd, SHUT_WR);
	for (tries = 0; tries < 1000; tries++) {
		n = recv(fd, c, sizeof(c), 0);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			wrong("%s: the server does not close the connection", what);
			break;
		}
		if (n <= 0)
			break;
	}
	close(fd);
}

static void randomize(void *data, size_t len)
{
	unsigned char *p = data;

	while (len--)
		*p++ = random() >> 7;
}

/* Authenticated, or -1. */
static int enter(enum archil_conn_kind kind)
{
	struct handshake hs;
	int fd = dial(), rc;

	rc = handshake_start(&hs, kind, disk, &token);
	while (!rc || rc == 1) {
		say(fd, hs.out, hs.out_len);
		if (!hear(fd)) {
			rc = -EPIPE;
			break;
		}
		rc = handshake_reply(&hs, &in.hdr, in.bytes);
		if (!rc)
			break;
	}
	handshake_end(&hs);
	if (!rc)
		return fd;
	close(fd);
	errno = -rc;
	return -1;
}

static void alive(const char *after)
{
	int fd = enter(ARCHIL_CONN_CONTROL);

	if (fd < 0)
		die("after %s nobody gets in", after);
	close(fd);
}

static void put(int fd, unsigned int op, unsigned int flags, size_t body, size_t payload)
{
	archil_hdr_fill(&out.hdr, op, flags, random(), body, payload);
	say(fd, &out, sizeof(out.hdr) + body + payload);
}

/* ---- before authentication ---- */

static void noise(int rounds)
{
	size_t len;
	int fd;

	while (rounds--) {
		fd = dial();
		len = random() % 5000;
		randomize(&out, len);
		if (random() & 1)
			out.hdr.len = cpu_to_le32(random() % 100);
		say(fd, &out, len);
		closed(fd, "noise");
	}
}

static void hello(struct archil_hello_req *req, unsigned int min, unsigned int max)
{
	memset(req, 0, sizeof(*req));
	req->magic = cpu_to_le64(ARCHIL_MAGIC);
	req->min_version = cpu_to_le16(min);
	req->max_version = cpu_to_le16(max);
	req->kind = cpu_to_le16(ARCHIL_CONN_CONTROL);
	req->disk_len = cpu_to_le16(strlen(disk));
	memcpy(req + 1, disk, strlen(disk));
}

static void versions(void)
{
	size_t body = sizeof(struct archil_hello_req) + strlen(disk);
	struct wire_error error;
	int fd = dial();

	hello((void *)out.bytes, 90, 99);
	put(fd, ARCHIL_OP_HELLO, 0, body, 0);
	if (!hear(fd) || le32_to_cpu(in.hdr.status) != EPROTO) {
		wrong("another version is not answered with EPROTO");
	} else {
		wire_error_parse(&in.hdr, in.bytes, &error);
		if (!strstr(error.text, "90") || !strstr(error.text, "99") || !strchr(error.text, '1'))
			wrong("both ranges of versions are not in '%s'", error.text);
		else
			printf("of versions: %s\n", error.text);
	}
	close(fd);
	/* a range that holds ours is fine */
	fd = dial();
	hello((void *)out.bytes, ARCHIL_PROTO_MIN, 99);
	put(fd, ARCHIL_OP_HELLO, 0, body, 0);
	if (!hear(fd) || in.hdr.status)
		wrong("versions %d to 99 are refused", ARCHIL_PROTO_MIN);
	close(fd);
	fd = dial();
	hello((void *)out.bytes, 5, 1);
	put(fd, ARCHIL_OP_HELLO, 0, body, 0);
	if (hear(fd) && !in.hdr.status)
		wrong("versions 5 to 1 are admitted");
	close(fd);
	fd = dial();
	hello((void *)out.bytes, 1, 1);
	((struct archil_hello_req *)out.bytes)->magic = 0;
	put(fd, ARCHIL_OP_HELLO, 0, body, 0);
	if (hear(fd) && !in.hdr.status)
		wrong("HELLO without the magic is admitted");
	close(fd);
}

static void lengths(void)
{
	static const uint32_t lens[] = {
		0, 1, 31, 33, 4096, ARCHIL_BODY_MAX + ARCHIL_PAYLOAD_MAX + 33, 0x7fffffff, 0xffffffff
	};
	size_t body = sizeof(struct archil_hello_req) + strlen(disk), i;
	int fd;

	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		fd = dial();
		hello((void *)out.bytes, 1, 1);
		archil_hdr_fill(&out.hdr, ARCHIL_OP_HELLO, 0, 1, body, 0);
		out.hdr.len = cpu_to_le32(lens[i]);
		say(fd, &out, sizeof(out.hdr) + body);
		closed(fd, "a wrong length");
		fd = dial();
		out.hdr.len = cpu_to_le32(sizeof(out.hdr) + body);
		out.hdr.body_len = cpu_to_le32(lens[i]);
		say(fd, &out, sizeof(out.hdr) + body);
		closed(fd, "a wrong length of the body");
	}
	/* cut off anywhere */
	for (i = 1; i < sizeof(out.hdr) + body; i += 7) {
		fd = dial();
		hello((void *)out.bytes, 1, 1);
		archil_hdr_fill(&out.hdr, ARCHIL_OP_HELLO, 0, 1, body, 0);
		say(fd, &out, i);
		closed(fd, "a frame cut off");
	}
}

static void out_of_turn(void)
{
	unsigned int op;
	int fd;

	for (op = 0; op < ARCHIL_OP_MAX; op++) {
		if (op == ARCHIL_OP_HELLO)
			continue;
		fd = dial();
		memset(out.bytes, 0, 64);
		put(fd, op, 0, archil_op_table[op].req_size, 0);
		closed(fd, "a request before HELLO");
	}
}

/* ---- as a client of its own ---- */

static uint64_t open_session(int fd, u8 *mount)
{
	struct archil_open_session_req *req = (void *)out.bytes;

	memset(req, 0, sizeof(*req));
	randomize(req->incarnation, sizeof(req->incarnation));
	randomize(mount, ARCHIL_UUID_LEN);
	memcpy(req->mount, mount, ARCHIL_UUID_LEN);
	req->flags = cpu_to_le32(ARCHIL_OS_SHARED);
	req->client_len = cpu_to_le16(4);
	memcpy(req + 1, "evil", 4);
	put(fd, ARCHIL_OP_OPEN_SESSION, 0, sizeof(*req) + 4, 0);
	if (!hear(fd) || in.hdr.status)
		die("OPEN_SESSION: status %u", le32_to_cpu(in.hdr.status));
	return le64_to_cpu(((struct archil_open_session_rep *)in.bytes)->session);
}

static bool bind_data(int fd, uint64_t session, const u8 *mount)
{
	struct archil_bind_req *req = (void *)out.bytes;

	memset(req, 0, sizeof(*req));
	req->session = cpu_to_le64(session);
	memcpy(req->mount, mount, ARCHIL_UUID_LEN);
	put(fd, ARCHIL_OP_BIND, 0, sizeof(*req), 0);
	return hear(fd) && !in.hdr.status;
}

/* Numbers that somebody might believe. */
static uint64_t likely(void)
{
	switch (random() % 6) {
	case 0: return random() % 40;
	case 1: return 1ull << random() % 64;
	case 2: return -(uint64_t)(random() % 3) - 1;
	case 3: return ARCHIL_INO_MAX + random() % 3 - 1;
	case 4: return random() % (2 << 20);
	default: return random();
	}
}

static void nonsense(int fd)
{
	const struct archil_op_desc *desc;
	unsigned int op, i, body, payload = 0;
	uint64_t word;

	do {
		op = random() % ARCHIL_OP_MAX;
		desc = &archil_op_table[op];
	} while (!desc->name || !(desc->flags & ARCHIL_ON_DATA) || op == ARCHIL_OP_CLOSE_SESSION ||
		 desc->flags & (ARCHIL_SETUP | ARCHIL_IS_PUSH));
	body = desc->req_size;
	for (i = 0; i < body; i += 4) {
		word = likely();
		memcpy(out.bytes + i, &word, body - i < 4 ? body - i : i + 8 <= body ? 8 : 4);
	}
	if (desc->flags_at && random() % 8) {
		__le32 flags = cpu_to_le32(random() & desc->flags_known);

		memcpy(out.bytes + desc->flags_at, &flags, 4);
	}
	if (desc->flags & ARCHIL_SLOTTED && random() % 8)
		memcpy(out.bytes, "\0\0\0\0\1\0\0", 8);
	for (i = 0; i < 2; i++) {
		__le16 len = cpu_to_le16(desc->req_var[i].max ? random() % 20 : 0);

		if (!desc->req_var[i].max)
			continue;
		memcpy(out.bytes + desc->req_var[i].at, &len, 2);
		memset(out.bytes + body, 'x', le16_to_cpu(len));
		body += le16_to_cpu(len);
	}
	if (desc->flags & ARCHIL_REQ_PAYLOAD) {
		payload = random() % 2000;
		randomize(out.bytes + body, payload);
	}
	put(fd, op, random() % 50 ? 0 : random(), body, payload);
}

static int session_rounds(int rounds)
{
	int control = -1, fd = -1, answers = 0, errors = 0, sessions = 0;
	u8 mount[ARCHIL_UUID_LEN];
	uint64_t session = 0;
	struct pollfd p;

	while (rounds--) {
		if (fd < 0) {
			if (control >= 0)
				close(control);
			control = enter(ARCHIL_CONN_CONTROL);
			fd = enter(ARCHIL_CONN_DATA);
			if (control < 0 || fd < 0)
				die("enter");
			session = open_session(control, mount);
			if (!bind_data(fd, session, mount))
				die("BIND");
			sessions++;
		}
		nonsense(fd);
		p = (struct pollfd){ .fd = fd, .events = POLLIN };
		while (fd >= 0 && poll(&p, 1, 30) == 1) {
			if (!hear(fd)) {
				close(fd);
				fd = -1;
				break;
			}
			if (le16_to_cpu(in.hdr.flags) & ARCHIL_F_REPLY) {
				answers++;
				errors += in.hdr.status != 0;
				break;
			}
		}
	}
	if (fd >= 0)
		close(fd);
	close(control);
	printf("%d answers, %d of them errors, %d sessions\n", answers, errors, sessions);
	return answers;
}

/* Many that say nothing must not keep others out. */
static void idlers(void)
{
	int fds[200], i;

	for (i = 0; i < 200; i++)
		fds[i] = dial();
	alive("200 idle connections");
	for (i = 0; i < 200; i++)
		close(fds[i]);
}

int main(int argc, char **argv)
{
	char text[SCRAM_TOKEN_TEXT + 1], err[ERR_TEXT];
	int rounds;

	if (argc != 7) {
		fputs("usage: badclient ADDRESS PORT DISK TOKENFILE SEED ROUNDS\n", stderr);
		return 2;
	}
	server.sin_family = AF_INET;
	server.sin_port = htons(atoi(argv[2]));
	inet_pton(AF_INET, argv[1], &server.sin_addr);
	disk = argv[3];
	if (read_secret_file(argv[4], text, sizeof(text), err) ||
	    scram_token_parse(text, &token, err)) {
		fprintf(stderr, "badclient: %s\n", err);
		return 2;
	}
	srandom(atoi(argv[5]));
	rounds = atoi(argv[6]);

	noise(rounds / 20);
	alive("noise");
	versions();
	lengths();
	alive("wrong lengths");
	out_of_turn();
	alive("requests out of turn");
	idlers();
	if (!session_rounds(rounds))
		wrong("nothing of the nonsense was answered");
	alive("nonsense");
	return prog_failed != 0;
}
