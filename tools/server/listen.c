// SPDX-License-Identifier: GPL-2.0
/* The addresses that a server listens on. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "server.h"

enum { ACCEPT_RETRY_MS = 100 };

struct listener {
	TAILQ_ENTRY(listener) next;
	struct server *server;
	struct loop_op op;
	struct loop_timer retry;
	int fd;
	bool armed, stopped;
	struct sockaddr_storage from;
	socklen_t from_len;
};

static void name_of(const struct sockaddr_storage *sa, socklen_t len, char *out, size_t size)
{
	char host[64], port[16];

	if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(out, size, "?");
	else if (!strncmp(host, "::ffff:", 7))
		snprintf(out, size, "%s:%s", host + 7, port);
	else
		snprintf(out, size, sa->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void arm(struct listener *l)
{
	l->from_len = sizeof(l->from);
	io_uring_prep_accept(loop_sqe(&l->server->loop, &l->op), l->fd,
			     (struct sockaddr *)&l->from, &l->from_len, SOCK_CLOEXEC);
	l->armed = true;
}

static void retry(struct loop_timer *timer)
{
	arm(container_of(timer, struct listener, retry));
}

static void accepted(struct loop_op *op, int res)
{
	struct listener *l = container_of(op, struct listener, op);
	char peer[CONN_PEER_TEXT];

	l->armed = false;
	if (l->stopped) {
		if (res >= 0)
			close(res);
		return;
	}
	if (res >= 0) {
		name_of(&l->from, l->from_len, peer, sizeof(peer));
		conn_new(l->server, res, peer);
	} else if (res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS) {
		log_warn("cannot accept connections for the moment: %s", strerror(-res));
		loop_timer_set(&l->server->loop, &l->retry, ACCEPT_RETRY_MS);
		return;
	}
	arm(l);
}

static int listen_on(struct server *server, const struct addrinfo *ai)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char name[CONN_PEER_TEXT];
	struct listener *l;
	int fd, one = 1, rc;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 1024) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		server_oom();
	l->server = server;
	l->fd = fd;
	l->op.done = accepted;
	l->retry.fire = retry;
	TAILQ_INSERT_TAIL(&server->listeners, l, next);
	if (!server->port)
		server->port = ntohs(sa.ss_family == AF_INET6 ?
				     ((struct sockaddr_in6 *)&sa)->sin6_port :
				     ((struct sockaddr_in *)&sa)->sin_port);
	name_of(&sa, len, name, sizeof(name));
	log_info("listening on %s", name);
	arm(l);
	return 0;
}

static int listen_at(struct server *server, const struct host_port *at)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list, *ai;
	char port[8];
	int rc, done = 0;

	snprintf(port, sizeof(port), "%u", at->port);
	rc = getaddrinfo(at->host[0] ? at->host : NULL, port, &hints, &list);
	if (rc) {
		log_err("cannot listen on %s: %s", at->host, gai_strerror(rc));
		return -EADDRNOTAVAIL;
	}
	for (ai = list; ai; ai = ai->ai_next) {
		rc = listen_on(server, ai);
		/* a machine without IPv6 has no such addresses */
		if (rc == -EAFNOSUPPORT || (rc == -EADDRNOTAVAIL && done))
			continue;
		if (rc) {
			log_err("cannot listen on %s port %u: %s",
				at->host[0] ? at->host : "all addresses", at->port, strerror(-rc));
			break;
		}
		done++;
	}
	freeaddrinfo(list);
	return done && !ai ? 0 : rc ? rc : -EADDRNOTAVAIL;
}

int listen_start(struct server *server)
{
	static const struct host_port everywhere = { .port = ARCHIL_PORT };
	unsigned int i;
	int rc = 0;

	if (!server->opts.n_listen)
		return listen_at(server, &everywhere);
	for (i = 0; i < server->opts.n_listen && !rc; i++)
		rc = listen_at(server, &server->opts.listen[i]);
	return rc;
}

void listen_stop(struct server *server)
{
	struct listener *l;

	TAILQ_FOREACH(l, &server->listeners, next) {
		if (l->stopped)
			continue;
		l->stopped = true;
		loop_timer_clear(&server->loop, &l->retry);
		if (l->armed)
			loop_cancel(&server->loop, &l->op);
	}
}

bool listen_busy(struct server *server)
{
	struct listener *l;

	TAILQ_FOREACH(l, &server->listeners, next)
		if (l->armed)
			return true;
	return false;
}

void listen_destroy(struct server *server)
{
	struct listener *l;

	while ((l = TAILQ_FIRST(&server->listeners))) {
		TAILQ_REMOVE(&server->listeners, l, next);
		close(l->fd);
		free(l);
	}
}
