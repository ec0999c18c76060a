// SPDX-License-Identifier: GPL-2.0
#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

struct dial_lookup {
	struct loop_call call;
	struct loop *loop;
	struct dial *dial;		/* NULL: nobody waits any more; the loop's */
	char host[256];
	char port[8];
	int gai;			/* of getaddrinfo() */
	int sys_errno;
	struct addrinfo *list;
};

static unsigned int lookups;		/* the loop's */

static void next_address(struct dial *d);

void dial_server_text(const struct host_port *server, char *out, size_t size)
{
	bool v6 = strchr(server->host, ':');

	snprintf(out, size, "%s%s%s:%u", v6 ? "[" : "", server->host, v6 ? "]" : "",
		 server->port);
}

static void addr_text(const struct dial_addr *addr, char *out, size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo((const struct sockaddr *)&addr->sa, addr->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(out, size, "?");
	else
		snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void dial_free(struct dial *d)
{
	loop_timer_clear(d->loop, &d->timer);
	handshake_end(&d->hs);
	scram_token_wipe(&d->target.token);
	free(d);
}

/* Everything that was out has come back. */
static void finish(struct dial *d, int err)
{
	loop_timer_clear(d->loop, &d->timer);
	d->err = err;
	d->done(d);
	channel_close(d->channel);
	dial_free(d);
}

static void __attribute__((format(printf, 4, 5)))
fail(struct dial *d, int err, bool final, const char *fmt, ...)
{
	char server[300];
	va_list ap;
	int n;

	dial_server_text(&d->target.server, server, sizeof(server));
	n = snprintf(d->text, sizeof(d->text), "%s: ", server);
	va_start(ap, fmt);
	if (n > 0 && (size_t)n < sizeof(d->text))
		vsnprintf(d->text + n, sizeof(d->text) - n, fmt, ap);
	va_end(ap);
	d->final = final;
	finish(d, err);
}

static void cannot_reach(struct dial *d, int err, const char *why)
{
	char server[300];

	dial_server_text(&d->target.server, server, sizeof(server));
	snprintf(d->text, sizeof(d->text), "cannot reach %s: %s", server, why);
	d->final = false;
	finish(d, err);
}

/* ---- HELLO and AUTH ---- */

static void hs_lost(struct channel *ch, int err)
{
	struct dial *d = ch->owner;

	if (err == -EPROTO)
		fail(d, -EPROTO, true, "this server does not speak archil's protocol");
	else if (err == -ECONNRESET)
		fail(d, err, false, "the server closed the connection");
	else
		fail(d, err, false, "%s", strerror(-err));
}

static int hs_send(struct dial *d)
{
	int rc = channel_send_raw(d->channel, d->hs.out, d->hs.out_len);

	OPENSSL_cleanse(d->hs.out, sizeof(d->hs.out));
	if (!rc)
		channel_receive(d->channel);
	return rc;
}

static void hs_frame(struct channel *ch, const struct archil_hdr *hdr, const void *body)
{
	struct dial *d = ch->owner;
	int rc = handshake_reply(&d->hs, hdr, body);

	if (rc == 1)
		rc = hs_send(d);
	else if (!rc) {
		finish(d, 0);
		return;
	}
	if (rc)
		fail(d, rc, d->hs.final, "%s", d->hs.err[0] ? d->hs.err : strerror(-rc));
}

static void hs_begin(struct dial *d)
{
	int rc = handshake_start(&d->hs, d->kind, d->target.disk, &d->target.token);

	if (rc) {
		fail(d, rc, true, "%s", d->hs.err);
		return;
	}
	d->channel = channel_new(d->loop, d->fd, d->kind);
	d->fd = -1;
	if (!d->channel) {
		fail(d, -ENOMEM, false, "out of memory");
		return;
	}
	d->channel->owner = d;
	d->channel->frame = hs_frame;
	d->channel->lost = hs_lost;
	loop_timer_set(d->loop, &d->timer, DIAL_HANDSHAKE_MS);
	rc = hs_send(d);
	if (rc)
		fail(d, rc, false, "%s", strerror(-rc));
}

/* ---- connecting ---- */

/* A peer that is gone is noticed by the kernel within seconds, also on a data connection. */
static void set_options(int fd)
{
	unsigned int user_timeout = 10000;	/* ms */
	int one = 1, idle = 10, interval = 3, count = 3;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

static void connect_done(struct loop_op *op, int res)
{
	struct dial *d = container_of(op, struct dial, op);

	d->connecting = false;
	loop_timer_clear(d->loop, &d->timer);
	if (d->canceled) {
		close(d->fd);
		dial_free(d);
		return;
	}
	if (!res) {
		d->peer = d->addr[d->at];
		addr_text(&d->peer, d->peer_text, sizeof(d->peer_text));
		hs_begin(d);
		return;
	}
	close(d->fd);
	d->fd = -1;
	if (d->timed_out)
		res = -ETIMEDOUT;
	if (++d->at < d->addrs)
		next_address(d);
	else
		cannot_reach(d, res, d->timed_out ? "no answer" : strerror(-res));
}

static void next_address(struct dial *d)
{
	const struct dial_addr *addr = &d->addr[d->at];

	d->timed_out = false;
	d->fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (d->fd < 0) {
		cannot_reach(d, -errno, strerror(errno));
		return;
	}
	set_options(d->fd);
	io_uring_prep_connect(loop_sqe(d->loop, &d->op), d->fd,
			      (const struct sockaddr *)&addr->sa, addr->len);
	d->connecting = true;
	loop_timer_set(d->loop, &d->timer, DIAL_CONNECT_MS);
}

static void timer_fire(struct loop_timer *timer)
{
	struct dial *d = container_of(timer, struct dial, timer);

	if (d->connecting) {
		d->timed_out = true;
		loop_cancel(d->loop, &d->op);
	} else if (d->channel) {
		fail(d, -ETIMEDOUT, false, "the server does not answer");
	} else if (d->addrs) {
		next_address(d);
	} else {
		fail(d, -EAGAIN, false, "too many names are being looked up");
	}
}

/* ---- the name ---- */

static void take_addresses(struct dial *d, const struct addrinfo *list)
{
	for (; list && d->addrs < DIAL_ADDRS_MAX; list = list->ai_next) {
		struct dial_addr *addr = &d->addr[d->addrs];

		if (list->ai_addrlen > sizeof(addr->sa))
			continue;
		addr->len = list->ai_addrlen;
		memcpy(&addr->sa, list->ai_addr, addr->len);
		d->addrs++;
	}
}

static void looked_up(struct dial *d, int gai, int sys_errno, const struct addrinfo *list)
{
	if (!gai)
		take_addresses(d, list);
	if (!d->addrs && d->target.last.len) {
		d->addr[0] = d->target.last;
		d->addrs = 1;
	}
	if (d->addrs) {
		next_address(d);
		return;
	}
	if (gai == EAI_NONAME)
		fail(d, -EHOSTUNREACH, true, "there is no host of this name");
	else if (gai == EAI_SYSTEM)
		cannot_reach(d, -sys_errno, strerror(sys_errno));
	else
		cannot_reach(d, -EHOSTUNREACH, gai ? gai_strerror(gai) : "no address");
}

static void lookup_run(struct loop_call *call)
{
	struct dial_lookup *l = container_of(call, struct dial_lookup, call);
	struct dial *d = l->dial;

	lookups--;
	if (d) {
		d->lookup = NULL;
		looked_up(d, l->gai, l->sys_errno, l->list);
	}
	if (l->list)
		freeaddrinfo(l->list);
	free(l);
}

static int get_addresses(struct dial_lookup *l, int flags)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};

	return getaddrinfo(l->host, l->port, &hints, &l->list);
}

static void *lookup_thread(void *arg)
{
	struct dial_lookup *l = arg;

	l->gai = get_addresses(l, AI_ADDRCONFIG);
	l->sys_errno = errno;
	loop_post(l->loop, &l->call);
	return NULL;
}

static int lookup_spawn(struct dial_lookup *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	if (lookups >= DIAL_LOOKUPS_MAX)
		return EAGAIN;
	rc = pthread_attr_init(&attr);
	if (rc)
		return rc;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* name services need some, and memory is locked */
	pthread_attr_setstacksize(&attr, 512 << 10);
	rc = pthread_create(&thread, &attr, lookup_thread, l);
	pthread_attr_destroy(&attr);
	if (!rc)
		lookups++;
	return rc;
}

unsigned int dial_lookups(void)
{
	return lookups;
}

/* Addresses in digits need no thread. */
static int lookup_start(struct dial *d)
{
	struct dial_lookup *l = calloc(1, sizeof(*l));
	int gai;

	if (!l)
		return -ENOMEM;
	l->loop = d->loop;
	l->call.run = lookup_run;
	snprintf(l->host, sizeof(l->host), "%s", d->target.server.host);
	snprintf(l->port, sizeof(l->port), "%u", d->target.server.port);
	gai = get_addresses(l, AI_NUMERICHOST);
	if (!gai) {
		take_addresses(d, l->list);
		freeaddrinfo(l->list);
	} else if (!lookup_spawn(l)) {
		l->dial = d;
		d->lookup = l;
		return 0;
	}
	free(l);
	/* the timer goes on with the address, or says that there was no thread */
	loop_timer_set(d->loop, &d->timer, 0);
	return 0;
}

struct dial *dial_start(struct loop *loop, const struct dial_target *target,
			enum archil_conn_kind kind, void (*done)(struct dial *d), void *owner)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->loop = loop;
	d->target = *target;
	d->kind = kind;
	d->fd = -1;
	d->op.done = connect_done;
	d->timer.fire = timer_fire;
	d->done = done;
	d->owner = owner;
	if (lookup_start(d)) {
		dial_free(d);
		return NULL;
	}
	return d;
}

void dial_cancel(struct dial *d)
{
	if (!d)
		return;
	if (d->lookup)
		d->lookup->dial = NULL;
	channel_close(d->channel);
	d->channel = NULL;
	if (d->connecting) {
		d->canceled = true;
		loop_timer_clear(d->loop, &d->timer);
		loop_cancel(d->loop, &d->op);
	} else {
		dial_free(d);
	}
}
