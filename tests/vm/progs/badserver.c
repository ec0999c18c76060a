// SPDX-License-Identifier: GPL-2.0
/*
 * badserver PORT: a server that is none. Every connection gets the next wrong answer of a
 * list, over and over; which one, is told on stdout.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"
#include "prog.h"

static unsigned char buf[1 << 16];

enum how {
	CLOSES, SILENT, NOISE, HTTP, CUT_OFF, TOO_LONG, TOO_SHORT, WRONG_TAG, WRONG_OP, BAD_FLAGS,
	LEFT_OVER, OTHER_VERSION, VERSION_99, BAD_STATUS, NO_BODY, ENDLESS, WRONG_SIGNATURE, HOWS
};

static const char *const how_name[HOWS] = {
	"closes", "is silent", "noise", "speaks HTTP", "cuts off its reply", "a frame too long",
	"a frame too short", "a reply to nothing", "a reply to something else", "unknown flags",
	"bytes left over", "speaks another version", "chooses version 99", "an unknown status",
	"no body", "an endless stream", "no proof that it knows the token",
};

static void say(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL) < 0)
		errno = 0;
}

static void error(struct archil_hdr *hdr, int status, const char *text)
{
	struct archil_error e = { .text_len = cpu_to_le16(strlen(text)) };

	archil_hdr_fill(hdr, ARCHIL_OP_HELLO, ARCHIL_F_REPLY, 0, sizeof(e) + strlen(text), 0);
	hdr->status = cpu_to_le32(status);
	memcpy(hdr + 1, &e, sizeof(e));
	memcpy((char *)(hdr + 1) + sizeof(e), text, strlen(text));
}

static void serve(int fd, enum how how)
{
	struct archil_hello_rep rep = { .version = cpu_to_le16(1) };
	struct archil_hdr *hdr = (void *)buf, req;
	size_t i, len;

	if (how == CLOSES || recv(fd, &req, sizeof(req), MSG_WAITALL) != sizeof(req))
		return;
	len = le32_to_cpu(req.len) - sizeof(req);
	if (len > sizeof(buf) || recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len)
		return;
	archil_hdr_fill(hdr, ARCHIL_OP_HELLO, ARCHIL_F_REPLY, 0, sizeof(rep), 0);
	hdr->tag = req.tag;
	memcpy(hdr + 1, &rep, sizeof(rep));
	switch (how) {
	case SILENT:
		/* until the other end has had enough */
		while (recv(fd, buf, sizeof(buf), 0) > 0)
			;
		return;
	case NOISE:
		for (i = 0; i < 5000; i++)
			buf[i] = random() >> 5;
		say(fd, buf, 5000);
		return;
	case HTTP:
		say(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 47);
		return;
	case CUT_OFF:
		say(fd, buf, 40);
		return;
	case TOO_LONG:
		hdr->len = cpu_to_le32(0xfffffff0);
		break;
	case TOO_SHORT:
		hdr->len = cpu_to_le32(8);
		break;
	case WRONG_TAG:
		hdr->tag = cpu_to_le64(0x1234567812345678);
		break;
	case WRONG_OP:
		hdr->op = cpu_to_le16(ARCHIL_OP_OPEN_SESSION);
		break;
	case BAD_FLAGS:
		hdr->flags = cpu_to_le16(ARCHIL_F_REPLY | 0x80);
		break;
	case LEFT_OVER:
		hdr->len = cpu_to_le32(sizeof(*hdr) + sizeof(rep) + 100);
		hdr->body_len = cpu_to_le32(sizeof(rep) + 100);
		break;
	case OTHER_VERSION:
		error(hdr, EPROTO, "this server speaks versions 7 to 8, the client 1 to 1");
		hdr->tag = req.tag;
		break;
	case VERSION_99:
		((struct archil_hello_rep *)(hdr + 1))->version = cpu_to_le16(99);
		break;
	case BAD_STATUS:
		hdr->status = cpu_to_le32(77777);
		hdr->body_len = 0;
		hdr->len = cpu_to_le32(sizeof(*hdr));
		break;
	case NO_BODY:
		hdr->body_len = 0;
		hdr->len = cpu_to_le32(sizeof(*hdr));
		break;
	default:
		break;
	}
	say(fd, buf, le32_to_cpu(hdr->len) < 4096 ? le32_to_cpu(hdr->len) : 4096);
	if (how == ENDLESS)
		for (i = 0; i < 500 && send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0; i++)
			;
	if (how != WRONG_SIGNATURE || recv(fd, &req, sizeof(req), MSG_WAITALL) != sizeof(req))
		return;
	len = le32_to_cpu(req.len) - sizeof(req);
	if (len > sizeof(buf) || recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len)
		return;
	archil_hdr_fill(hdr, ARCHIL_OP_AUTH, ARCHIL_F_REPLY, le64_to_cpu(req.tag),
			sizeof(struct archil_auth_rep), 0);
	memset(hdr + 1, 7, sizeof(struct archil_auth_rep));
	say(fd, buf, le32_to_cpu(hdr->len));
	/* what it would do next, now that it believes us */
	if (recv(fd, buf, sizeof(buf), 0) > 0)
		puts("wrong: the client goes on with a server that proved nothing");
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct timeval patience = { .tv_sec = 20 };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;
	unsigned int n = 0;

	if (argc != 2) {
		fputs("usage: badserver PORT\n", stderr);
		return 2;
	}
	setlinebuf(stdout);
	addr.sin_port = htons(atoi(argv[1]));
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&addr, sizeof(addr)) || listen(l, 20))
		die("listen");
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		puts(how_name[n % HOWS]);
		serve(fd, n++ % HOWS);
		close(fd);
	}
	return 0;
}
