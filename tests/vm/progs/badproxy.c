// SPDX-License-Identifier: GPL-2.0
/*
 * badproxy PORT ADDRESS PORT: passes connections on to a server, frame by frame; at
 * SIGUSR1 the next frame that the server sends on a connection that has carried at least
 * five is followed by something wrong (the next of a list), then the connection ends.
 * What comes out of the server whole is passed on whole: what is harmed is the protocol,
 * not data, for which there is TCP's checksum.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"
#include "prog.h"

static struct sockaddr_in server;
static atomic_int due, turn;

enum how {
	NOISE, TOO_LONG, TOO_SHORT, UNKNOWN_TAG, TWICE, UNKNOWN_OP, BAD_FLAGS, A_REQUEST, BAD_PUSH,
	HALF, CLOSES, TO_SERVER, HOWS
};

static const char *const how_name[HOWS] = {
	"noise", "a frame too long", "a frame too short", "a reply to nothing", "a reply twice",
	"an unknown opcode", "unknown flags", "a request from the server", "a push of nonsense",
	"half a frame", "nothing, closes", "noise to the server",
};

struct pipe {
	int client, server;
};

static void on_usr1(int sig)
{
	due = 1;
}

static bool pass(int to, const void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (const char *)data + n) {
		n = send(to, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

static bool take(int from, void *data, size_t len)
{
	/* of TCP, no bytes are waited for like one */
	return !len || recv(from, data, len, MSG_WAITALL) == (ssize_t)len;
}

static void harm(struct pipe *p, unsigned char *frame, size_t len)
{
	struct archil_hdr *hdr = (void *)frame;
	enum how how = turn++ % HOWS;
	size_t i;

	printf("proxy: %s\n", how_name[how]);
	switch (how) {
	case NOISE:
	case TO_SERVER:
		for (i = 0; i < 3000; i++)
			frame[i] = random() >> 5;
		len = 3000;
		break;
	case TOO_LONG:
		hdr->len = cpu_to_le32(0x7ffffff0);
		break;
	case TOO_SHORT:
		hdr->len = cpu_to_le32(16);
		break;
	case UNKNOWN_TAG:
		hdr->tag = cpu_to_le64(0x5555555555555555);
		break;
	case TWICE:
		break;
	case UNKNOWN_OP:
		hdr->op = cpu_to_le16(60);
		break;
	case BAD_FLAGS:
		hdr->flags |= cpu_to_le16(0x40);
		break;
	case A_REQUEST:
		hdr->flags = 0;
		break;
	case BAD_PUSH:
		archil_hdr_fill(hdr, ARCHIL_OP_REVOKE, ARCHIL_F_PUSH, 0, 3, 0);
		len = sizeof(*hdr) + 3;
		break;
	case HALF:
		len /= 2;
		break;
	default:
		len = 0;
	}
	pass(how == TO_SERVER ? p->server : p->client, frame, len);
	/* let it be read before the end comes */
	usleep(200000);
}

static void *down(void *arg)
{
	struct pipe *p = arg;
	unsigned char *frame = malloc(sizeof(struct archil_hdr) + ARCHIL_BODY_MAX +
				      ARCHIL_PAYLOAD_MAX + 4096);
	struct archil_hdr *hdr = (void *)frame;
	unsigned int frames = 0;
	size_t len;

	while (take(p->server, hdr, sizeof(*hdr))) {
		len = le32_to_cpu(hdr->len);
		if (len < sizeof(*hdr) || !take(p->server, hdr + 1, len - sizeof(*hdr)) ||
		    !pass(p->client, frame, len))
			break;
		if (++frames >= 5 && atomic_exchange(&due, 0)) {
			harm(p, frame, len);
			break;
		}
	}
	free(frame);
	shutdown(p->client, SHUT_RDWR);
	shutdown(p->server, SHUT_RDWR);
	return NULL;
}

static void *up(void *arg)
{
	struct pipe *p = arg;
	char *buf = malloc(1 << 16);
	pthread_t thread;
	ssize_t n;

	pthread_create(&thread, NULL, down, p);
	while ((n = recv(p->client, buf, 1 << 16, 0)) > 0 && pass(p->server, buf, n))
		;
	shutdown(p->client, SHUT_RDWR);
	shutdown(p->server, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(p->client);
	close(p->server);
	free(buf);
	free(p);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;
	pthread_t thread;
	struct pipe *p;

	if (argc != 4) {
		fputs("usage: badproxy PORT ADDRESS PORT\n", stderr);
		return 2;
	}
	setlinebuf(stdout);
	sigaction(SIGUSR1, &sa, NULL);
	server.sin_family = AF_INET;
	server.sin_port = htons(atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &server.sin_addr);
	addr.sin_port = htons(atoi(argv[1]));
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&addr, sizeof(addr)) || listen(l, 20))
		die("listen");
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		p = malloc(sizeof(*p));
		p->client = fd;
		p->server = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
		setsockopt(p->server, IPPROTO_TCP, 1, &one, sizeof(one));
		if (connect(p->server, (struct sockaddr *)&server, sizeof(server))) {
			close(fd);
			close(p->server);
			free(p);
			continue;
		}
		pthread_create(&thread, NULL, up, p);
		pthread_detach(thread);
	}
	return 0;
}
