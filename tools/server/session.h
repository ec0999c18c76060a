/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sessions: one a mount. They live in the store until they are closed, ended by
 * a command, or displaced by a new incarnation of their client.
 *
 * 1. A session does not depend on connections: a client that is silent keeps it
 *    and all that it owns.
 * 2. A session's data connections are of one epoch. A new epoch is answered when
 *    the older connections are closed and the data I/O submitted from them ended.
 * 3. Ending one: its delegations are stopped, then closed (in several commits if
 *    they are many), then its record goes.
 */
#ifndef ARCHIL_SESSION_H
#define ARCHIL_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "commit.h"
#include "conn.h"
#include "fs_meta.h"
#include "slot.h"

struct disk;

struct numbers {		/* a growing list */
	uint64_t *nr;
	size_t n, cap;
};

enum {
	SESSION_BUCKETS		= 1024,
	SESSION_CONNS_MAX	= 64,
	SESSION_NOTIFIED_MAX	= 8192,
	SESSION_BATCHES		= 64,	/* buckets */
};

void numbers_add(struct numbers *list, uint64_t nr);
void numbers_clear(struct numbers *list);

struct session {
	TAILQ_ENTRY(session) all;	/* disk->sessions; see disk.h, rule 1 */
	struct session *next;		/* in its bucket; the same */
	struct disk *disk;
	unsigned int refs;		/* loop's: the table's, each connection's */
	struct fs_session rec;		/* never changes */

	/* committer's */
	struct slot slots[ARCHIL_SLOTS];
	struct numbers tombs;		/* of what was taken, or closed before a restart */
	struct numbers released;	/* of orphans that were released, see oplog.c */
	unsigned int n_stopped;		/* delegations of it that are about to end */
	unsigned int n_parked;		/* works of it that have stopped some and are parked */
	bool ending;			/* all that comes is answered ST_OVER */

	/* loop's */
	TAILQ_HEAD(, conn) conns;	/* live ones */
	bool over;
	uint64_t epoch;			/* of the data connections, 0: none yet */
	uint64_t budget;		/* bytes kept for it: conn.h, rule 4 */
	uint64_t held;			/* bytes of held requests: the same */
	LIST_HEAD(, log_work) batches[SESSION_BATCHES];	/* incomplete ones: oplog.c */
	uint64_t credit;		/* space that it may use: space.h */
	uint64_t granted;		/* of it, ever; UINT64_MAX: before a restart, unknown */
	uint64_t credit_epoch;		/* in which it said last what it holds */
	uint64_t io;			/* data I/O submitted and not ended */
	struct req *binding;		/* BIND that waits for io to end */
	struct numbers taken;		/* taken by force: said again on new connections */
	struct numbers notified;	/* NOTIFY was due for these, the last ones: the same */
};

/* Loop. */
struct session *session_get(struct session *ses);
void session_put(struct session *ses);
/* Data I/O of it has ended. */
void session_io_end(struct session *ses);
void session_push(struct session *ses, unsigned int op, const void *body, uint32_t len);
/* Tells it of delegations that were taken from it. */
void session_revoke(struct session *ses, uint64_t number);
/* Tells the owners of these inodes their links. */
void session_notify_links(struct disk *disk, const uint64_t *inos, size_t n);
/* open.c: a PING was answered; a connection of a session is gone. */
void open_ping_answered(struct conn *conn);
void open_conn_lost(struct conn *conn);
/*
 * It is over, its record is gone: says so on its connections unless it asked for
 * that, drops them, and gives back the table's reference.
 */
void session_finish(struct session *ses, const char *why);
/* It has a new connection. */
void session_attach(struct session *ses, struct conn *conn);

/* With disk->lock held, or in the committer. NULL: none. */
struct session *session_find(struct disk *disk, uint64_t id);
/* Committer, or at a start. session_put() frees it, session_free() if it never was in the table. */
struct session *session_new(struct disk *disk, const struct fs_session *rec);
void session_insert(struct session *ses);
void session_free(struct session *ses);

struct ended;

/*
 * Committer: one step of ending it; makes its own batch. WORK_DONE: it is out of
 * the table, and session_finish() is due in done(). WORK_PARK, WORK_AGAIN: as in
 * commit.h. A negative errno: the server's own trouble, nothing happened in this step.
 */
int session_end_step(struct session *ses, struct fs_txn *txn, struct ended *ended);

#endif
