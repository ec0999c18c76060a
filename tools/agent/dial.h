/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One try at an authenticated connection: resolve the name, connect to one
 * address after the other, HELLO, AUTH.
 *
 * 1. done() is called once, from the loop, never from within dial_start().
 * 2. The loop never waits: names are looked up in a thread of their own.
 * 3. A dial frees itself: after done(), or some time after dial_cancel().
 */
#ifndef ARCHIL_AGENT_DIAL_H
#define ARCHIL_AGENT_DIAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "channel.h"
#include "handshake.h"
#include "loop.h"
#include "util.h"

#define DIAL_ADDR_TEXT	80

enum {
	DIAL_ADDRS_MAX		= 8,		/* addresses of one name that are tried */
	DIAL_CONNECT_MS		= 5000,		/* for one address */
	DIAL_HANDSHAKE_MS	= 10000,	/* for HELLO and AUTH */
	DIAL_LOOKUPS_MAX	= 64,		/* threads that look up names */
};

struct dial_addr {
	socklen_t len;
	struct sockaddr_storage sa;
};

/* What to dial; the dial keeps a copy. */
struct dial_target {
	struct host_port server;
	char disk[ARCHIL_DISK_LEN + 1];
	struct scram_token token;
	struct dial_addr last;		/* reached before; used when the name cannot be looked up */
};

struct dial {
	struct loop *loop;
	struct dial_target target;
	enum archil_conn_kind kind;
	struct dial_lookup *lookup;	/* while a thread is at it */
	struct dial_addr addr[DIAL_ADDRS_MAX];
	unsigned int addrs, at;
	int fd;				/* while connecting, else -1 */
	bool connecting;		/* op is out */
	bool timed_out;
	bool canceled;
	struct loop_op op;
	struct loop_timer timer;
	struct handshake hs;

	/* The result, valid in done(). */
	int err;			/* 0 or a negative errno */
	bool final;			/* trying again would change nothing */
	char text[ERR_TEXT];		/* what went wrong, a sentence */
	struct channel *channel;	/* the taker sets it to NULL; then the channel is his */
	struct dial_addr peer;
	char peer_text[DIAL_ADDR_TEXT];	/* "10.0.0.1:7464" */

	void (*done)(struct dial *d);
	void *owner;
};

/* NULL: no memory. */
struct dial *dial_start(struct loop *loop, const struct dial_target *target,
			enum archil_conn_kind kind, void (*done)(struct dial *d), void *owner);
/* done() will not be called. NULL is allowed. */
void dial_cancel(struct dial *d);

/* Threads that still look up a name: wait for 0 before the loop goes away. */
unsigned int dial_lookups(void);

/* HOST:PORT, with brackets where needed. */
void dial_server_text(const struct host_port *server, char *out, size_t size);

#endif
