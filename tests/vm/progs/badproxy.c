// SPDX-License-Identifier: GPL-2.0
/*
 * badproxy PORT ADDRESS PORT: passes connections on to a server, frame by frame; at
 * SIGUSR1 the next frame that the server sends on a connection that has carried at least
 * five is followed by something wrong (the next of a list), then the connection ends.
 * What comes out of the server whole is passed on whole: what is harmed is the protocol,
 * not data, for which there is TCP's checksum.
 */
#include <signal.h>
#include <stdatomic.h>

#include "proxy.h"

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

static void on_usr1(int sig)
{
	due = 1;
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
	proxy_send(how == TO_SERVER ? p->server : p->client, frame, len);
	/* let it be read before the end comes */
	usleep(200000);
}

static void *down(void *arg)
{
	struct pipe *p = arg;
	struct archil_hdr *frame = proxy_buffer();
	unsigned int frames = 0;

	while (proxy_frame(p->server, frame) && proxy_pass(p->client, frame)) {
		if (++frames >= 5 && atomic_exchange(&due, 0)) {
			harm(p, (unsigned char *)frame, le32_to_cpu(frame->len));
			break;
		}
	}
	free(frame);
	proxy_shut(p);
	return NULL;
}

static void *up(void *arg)
{
	struct pipe *p = arg;
	char *buf = malloc(1 << 16);
	pthread_t thread;
	ssize_t n;

	pthread_create(&thread, NULL, down, p);
	while ((n = recv(p->client, buf, 1 << 16, 0)) > 0 && proxy_send(p->server, buf, n))
		;
	proxy_shut(p);
	pthread_join(thread, NULL);
	proxy_free(p);
	free(buf);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };

	if (argc != 4) {
		fputs("usage: badproxy PORT ADDRESS PORT\n", stderr);
		return 2;
	}
	setlinebuf(stdout);
	sigaction(SIGUSR1, &sa, NULL);
	proxy_run(argv + 1, up);
	return 0;
}
