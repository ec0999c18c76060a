/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Delegations as the server keeps them in memory, beside their place in the tree
 * (deleg_tree.h), and how they end.
 *
 * A delegation that shall end (force, checkin, swallowing, session's end) goes
 * through these steps:
 *
 * 1. It is *stopped*: no data I/O is submitted under it any more, and LOG
 *    batches under it are put aside. Several works may stop one.
 * 2. When the data I/O that was submitted under it has ended (else the work
 *    is parked until then), it is closed in a transaction. A work that was parked looks at
 *    everything again, and may come to nothing: then what it stopped goes on.
 * 3. After the batch has ended well it leaves the tree.
 * 4. After the commit, in the loop, whoever waited for it is told: taken, or closed
 *    at which record; and the old owner of what was taken by a push.
 */
#ifndef ARCHIL_DELEG_H
#define ARCHIL_DELEG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "data.h"
#include "deleg_tree.h"
#include "fs_meta.h"
#include "wire.h"

struct disk;
struct session;

struct dlg {			/* deleg->data */
	struct session *ses;		/* committer's; valid while it is in the tree */
	struct fs_deleg rec;		/* committer's; number, ino, session, origin never change */
	atomic_uint refs;		/* the tree's, each WRITE's, each stop's */
	uint64_t committed;		/* loop's: last record of its log that is durable */
	int gone;			/* loop's: 0, ARCHIL_ST_TAKEN, ARCHIL_ST_CLOSED or -errno */
	uint64_t closed_at;		/* loop's: with ST_CLOSED */
	struct dios waiting;		/* loop's: for a record's commit, or for its end */
	unsigned int io;		/* protected by disk->lock: data I/O submitted */
	/* Protected by disk->lock. */
	unsigned int stops;		/* works that have stopped it */
	bool ended;			/* it has left the tree */
	const struct ended *stopper;	/* the last that has stopped it, if that still does */
};

struct dlg *dlg_new(struct session *ses, const struct fs_deleg *rec);
struct dlg *dlg_get(struct dlg *dlg);
void dlg_put(struct dlg *dlg);
/*
 * By number, if this session holds it; else NULL. The committer or the loop:
 * what it returns stays at least until either returns to what called it.
 */
struct dlg *dlg_find(struct disk *disk, uint64_t number, uint64_t session);
/*
 * Is it about to end? Who is told so is told again when it is not: by a kick, or
 * data_dlg_moved().
 */
bool dlg_stopped(struct disk *disk, const struct dlg *dlg);
void dlg_grant_fill(const struct dlg *dlg, struct archil_grant *grant);

/* Puts it into the tree; committer, or at a start. An orphan's has no chain (n is 0). */
int dlg_insert(struct disk *disk, const struct fs_chain *chain, struct dlg *dlg);

/*
 * The tree, for the committer (disk.h, rule 1). tree_conflicts() and tree_held()
 * return an array of *n, to be freed.
 */
struct deleg *tree_find(struct disk *disk, uint64_t number);
struct deleg *tree_cover(struct disk *disk, const uint64_t *chain, size_t n);
struct deleg **tree_conflicts(struct disk *disk, const struct fs_chain *chain, uint64_t session,
			      size_t *n);
struct deleg **tree_held(struct disk *disk, uint64_t ino, uint64_t session, size_t *n);

/* Delegations that end with one work. Begins as zeros. */
struct ending {
	struct dlg *dlg;
	enum fs_close_how how;
};

struct ended {
	struct ending *v;
	size_t n, cap;
	size_t applied;		/* of these n, done with by ended_apply() */
	struct fs_deleg *orphans;	/* made of open orphans */
	size_t n_orphans, cap_orphans;
	struct dlg **stops;		/* with references: what this work has stopped */
	size_t n_stops, cap_stops;
};

/* Committer: stops these. Returns true when none has data I/O under way. */
bool ended_stop(struct disk *disk, struct ended *ended, struct deleg **list, size_t n);
/* Committer: has a work other than this one stopped any of the session's? */
bool ended_others(struct disk *disk, const struct ended *ended, const struct session *ses);
/* Committer, inside a batch. 0 or a negative errno, after which the batch is aborted. */
int ended_close(struct ended *ended, struct fs_txn *txn, struct deleg *deleg,
		enum fs_close_how how);
/* Committer, after the batch has ended well: the tree follows. */
void ended_apply(struct disk *disk, struct ended *ended);
/* Committer, after the batch was aborted: as if nothing had been closed in it. */
void ended_forget(struct ended *ended);
/* Committer: numbers of those closed whose tombstone the slot shall drop; to be freed. */
uint64_t *ended_closed(const struct ended *ended, size_t *n);
/*
 * Loop, after the commit (err 0) or its failure: what was stopped and is still there goes on;
 * frees what ended holds.
 */
void ended_done(struct disk *disk, struct ended *ended, int err);
/* The same where nobody is served: there is nobody to tell. */
void ended_drop(struct ended *ended);

/* Fills deleg and ARCHIL_AF_OTHER for one who asks. Loop; see owner_* below. */
struct owner_ctx {
	struct disk *disk;
	struct fs_view *view;
	uint64_t session;
	/* the directory that is being listed, and the last other one that was asked for */
	struct owner_dir {
		uint64_t ino;
		bool covered;
		bool leads;		/* what lies in it may have a delegation of its own */
		uint64_t deleg;		/* number, if the session's own */
	} entered, other;
	struct fs_chain chain;
};

void owner_begin(struct owner_ctx *ctx, struct disk *disk, struct fs_view *view,
		 uint64_t session);
void owner_fill(void *ctx, struct archil_wattr *attr);
/* What follows lies in @dir, which was filled in. */
void owner_enter(void *ctx, const struct archil_wattr *dir);
void owner_end(struct owner_ctx *ctx);

/*
 * The body of an EBUSY that names the holder. Returns its length;
 * buf has ERROR_BODY_MAX bytes. In the committer, or with disk->lock held.
 */
#define ERROR_BODY_MAX	(sizeof(struct archil_error) + ARCHIL_CLIENT_LEN + ARCHIL_PATH_LEN + \
			 ARCHIL_TEXT_LEN)
size_t error_holder(struct disk *disk, struct fs_view *view, const struct deleg *holder,
		    const char *text, unsigned char *buf);

#endif
