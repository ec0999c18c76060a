/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mount's control connection. From control_conn_start() on it is made, kept and made
 * again until control_conn_stop().
 *
 * 1. After AUTH it says OPEN_SESSION while the session is not known, else RESUME;
 *    when the mount is CLOSING, CLOSE_SESSION follows.
 * 2. After CONTROL_PING_MS of silence it asks PING; after CONTROL_DEAD_MS it counts as
 *    lost. The server's PINGs are answered.
 * 3. Between tries it waits, longer each time, with some chance in it, so that a
 *    thousand clients of one server do not come back at one moment.
 */
#ifndef ARCHIL_AGENT_CONTROL_H
#define ARCHIL_AGENT_CONTROL_H

#include "backoff.h"
#include "dial.h"

enum {
	CONTROL_PING_MS		= 10000,
	CONTROL_DEAD_MS		= 20000,
	CONTROL_STABLE_MS	= 5000,	/* up so long: the next wait is short again */
};

struct mount;

struct control {
	struct dial *dial;		/* one of these three, or none */
	struct channel *channel;
	struct loop_timer retry;

	bool started;
	bool up;			/* OPEN_SESSION or RESUME was accepted */
	uint64_t up_since;		/* loop time */
	struct loop_timer alive;
	struct backoff backoff;
	char reported[ERR_TEXT];	/* the last trouble, or "" */
	uint64_t reported_at;
};

void control_conn_init(struct mount *m);
void control_conn_start(struct mount *m);
void control_conn_stop(struct mount *m);
/* The mount became CLOSING: say so to the server, now or when there is a connection. */
void control_conn_close_session(struct mount *m);
/* If it is up; else mount_control_up() is the moment to. */
void control_conn_send(struct mount *m, unsigned int op, uint64_t tag, const void *body,
		       size_t len);

#endif
