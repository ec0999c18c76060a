// SPDX-License-Identifier: GPL-2.0
/*
 * lossproxy PORT ADDRESS PORT FIFO: passes connections on to a server, frame by frame, and does
 * what lines in a FIFO say:
 *
 *	lose OP		the next reply to OP that says it was done is not passed on, and its
 *			connection ends: the client has to ask again
 *	hold OP N	from the next request OP on, a connection's requests are kept back; when it
 *			has sent N of OP, or nothing for a second, its client sees it end, its server
 *			does not
 *	release		what was kept back goes to the server, on the connections it was sent on
 *
 * It says "lost OP", "held N requests", "released N bytes" when that has happened.
 */
#include <poll.h>
#include <strings.h>

#include "proxy.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static unsigned int lose, hold, hold_n;	/* opcodes, or 0; protected by lock */
static unsigned int releases;		/* protected by lock */

static unsigned int op_of(const struct archil_hdr *frame)
{
	return le16_to_cpu(frame->op);
}

/* Is this what is to be lost? */
static bool to_lose(const struct archil_hdr *frame)
{
	bool is;

	if (!(le16_to_cpu(frame->flags) & ARCHIL_F_REPLY) || frame->status)
		return false;
	pthread_mutex_lock(&lock);
	is = lose && lose == op_of(frame);
	if (is)
		lose = 0;
	pthread_mutex_unlock(&lock);
	return is;
}

static void *down(void *arg)
{
	struct pipe *p = arg;
	struct archil_hdr *frame = proxy_buffer();

	while (proxy_frame(p->server, frame)) {
		if (to_lose(frame)) {
			printf("lost %s\n", archil_op_name(op_of(frame)));
			break;
		}
		if (!proxy_pass(p->client, frame))
			break;
	}
	free(frame);
	proxy_shut(p);
	return NULL;
}

/* Keeps back from this frame on; ends the client's side; sends all when it is told. */
static void keep_back(struct pipe *p, struct archil_hdr *frame, unsigned int op, unsigned int n)
{
	struct pollfd pfd = { .fd = p->client, .events = POLLIN };
	unsigned int was, count = 0;
	size_t len = 0, size;
	char *kept = NULL;

	do {
		size = le32_to_cpu(frame->len);
		kept = realloc(kept, len + size);
		memcpy(kept + len, frame, size);
		len += size;
		count += op_of(frame) == op;
	} while (count < n && poll(&pfd, 1, 1000) == 1 && proxy_frame(p->client, frame));
	pthread_mutex_lock(&lock);
	was = releases;
	shutdown(p->client, SHUT_RDWR);
	printf("held %u requests\n", count);
	while (was == releases)
		pthread_cond_wait(&released, &lock);
	pthread_mutex_unlock(&lock);
	/* the server may have closed it */
	printf("released %zu bytes%s\n", len, proxy_send(p->server, kept, len) ? "" : ", too late");
	usleep(200000);
	free(kept);
}

static void *up(void *arg)
{
	struct pipe *p = arg;
	struct archil_hdr *frame = proxy_buffer();
	unsigned int op = 0, n;
	pthread_t thread;

	pthread_create(&thread, NULL, down, p);
	while (proxy_frame(p->client, frame)) {
		pthread_mutex_lock(&lock);
		if (hold && hold == op_of(frame)) {
			op = hold;
			n = hold_n;
			hold = 0;
		}
		pthread_mutex_unlock(&lock);
		if (op) {
			keep_back(p, frame, op, n);
			break;
		}
		if (!proxy_pass(p->server, frame))
			break;
	}
	proxy_shut(p);
	pthread_join(thread, NULL);
	proxy_free(p);
	free(frame);
	return NULL;
}

static unsigned int op_named(const char *name)
{
	unsigned int op;

	for (op = 1; op < ARCHIL_OP_MAX; op++)
		if (archil_op_name(op) && !strcmp(archil_op_name(op), name))
			return op;
	errno = EINVAL;
	die("%s", name);
}

static void *commands(void *arg)
{
	FILE *in = fopen(arg, "r");
	char line[128], name[32];
	unsigned int n;

	if (!in)
		die("%s", (char *)arg);
	while (fgets(line, sizeof(line), in)) {
		pthread_mutex_lock(&lock);
		if (sscanf(line, "lose %31s", name) == 1) {
			lose = op_named(name);
		} else if (sscanf(line, "hold %31s %u", name, &n) == 2) {
			hold = op_named(name);
			hold_n = n;
		} else {
			releases++;
			pthread_cond_broadcast(&released);
		}
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 5) {
		fputs("usage: lossproxy PORT ADDRESS PORT FIFO\n", stderr);
		return 2;
	}
	setlinebuf(stdout);
	pthread_create(&thread, NULL, commands, argv[4]);
	proxy_run(argv + 1, up);
	return 0;
}
