/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A new data connection for a mount: dial, BIND with epoch 0, and the plain
 * socket is the result. Tried again until it succeeds, the session is over, or
 * bind_stop().
 */
#ifndef ARCHIL_AGENT_BIND_H
#define ARCHIL_AGENT_BIND_H

#include "backoff.h"
#include "dial.h"

enum {
	/* the server first ends what the older epoch has submitted */
	BIND_REPLY_MS	= 30000,
};

struct mount;

struct bind {
	struct mount *mount;
	struct dial *dial;
	struct channel *channel;
	struct loop_timer timer;	/* the next try; or the end of patience with a reply */
	struct backoff backoff;
	char server[DIAL_ADDR_TEXT];	/* whom the socket is connected to */
	/* fd is the taker's. The bind is idle again. */
	void (*done)(struct bind *b, int fd, uint64_t epoch);
	/* final: trying again changes nothing. Returns whether to try again. */
	bool (*failed)(struct bind *b, int err, bool final, const char *text);
};

void bind_start(struct bind *b, struct mount *m,
		void (*done)(struct bind *b, int fd, uint64_t epoch),
		bool (*failed)(struct bind *b, int err, bool final, const char *text));
/* Also when it is idle, or was never started (zeroed). */
void bind_stop(struct bind *b);

#endif
