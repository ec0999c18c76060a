/* SPDX-License-Identifier: GPL-2.0 */
/* A TCP proxy between clients and a server that knows where frames begin. */
#ifndef PROXY_H
#define PROXY_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"
#include "prog.h"

struct pipe {
	int client, server;
};

static bool proxy_send(int to, const void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (const char *)data + n) {
		n = send(to, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

static bool proxy_take(int from, void *data, size_t len)
{
	/* of TCP, no bytes are waited for like one */
	return !len || recv(from, data, len, MSG_WAITALL) == (ssize_t)len;
}

/* Enough for any frame, and somewhat more. */
static struct archil_hdr *proxy_buffer(void)
{
	struct archil_hdr *frame = malloc(sizeof(*frame) + ARCHIL_BODY_MAX + ARCHIL_PAYLOAD_MAX +
					  4096);

	if (!frame)
		die("memory");
	return frame;
}

/* The next frame, whole; false: there is none. */
static bool proxy_frame(int from, struct archil_hdr *frame)
{
	if (!proxy_take(from, frame, sizeof(*frame)))
		return false;
	if (le32_to_cpu(frame->len) < sizeof(*frame) ||
	    le32_to_cpu(frame->len) > sizeof(*frame) + ARCHIL_BODY_MAX + ARCHIL_PAYLOAD_MAX)
		return false;
	return proxy_take(from, frame + 1, le32_to_cpu(frame->len) - sizeof(*frame));
}

static bool proxy_pass(int to, const struct archil_hdr *frame)
{
	return proxy_send(to, frame, le32_to_cpu(frame->len));
}

static void proxy_shut(struct pipe *p)
{
	shutdown(p->client, SHUT_RDWR);
	shutdown(p->server, SHUT_RDWR);
}

static void proxy_free(struct pipe *p)
{
	close(p->client);
	close(p->server);
	free(p);
}

/* args: port to listen on, the server's address, its port. serve() has a thread and a pipe. */
static void proxy_run(char **args, void *(*serve)(void *pipe))
{
	struct sockaddr_in server = { .sin_family = AF_INET }, addr = { .sin_family = AF_INET };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;
	pthread_t thread;
	struct pipe *p;

	server.sin_port = htons(atoi(args[2]));
	inet_pton(AF_INET, args[1], &server.sin_addr);
	addr.sin_port = htons(atoi(args[0]));
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
			proxy_free(p);
			continue;
		}
		pthread_create(&thread, NULL, serve, p);
		pthread_detach(thread);
	}
}

#endif
