/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A disk that is open: its store, its namespace, who owns what, its committer.
 *
 * Two threads work on it: the loop and the committer (commit.h).
 *
 * 1. The delegation tree and the table of sessions are changed by the committer
 *    only. Every call on the tree is made with `lock` held; what it returns stays
 *    for the committer, for others while they hold the lock. The committer reads
 *    the table of sessions without.
 * 2. They show the state of the open transaction: a little ahead of what readers
 *    of the store see, never behind. A commit that fails ends the disk.
 * 3. struct session and struct dlg are freed by the loop only. The committer
 *    takes one out of its table and hands it to the loop with the finished work.
 * 4. `lock` is held for lookups and list changes, never across store calls.
 */
#ifndef ARCHIL_DISK_H
#define ARCHIL_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "commit.h"
#include "data.h"
#include "deleg.h"
#include "fs.h"
#include "fs_meta.h"
#include "scram.h"
#include "store.h"
#include "util.h"

struct server;
struct session;

struct disk_stats {			/* committer's; read by anybody, roughly */
	uint64_t commits;		/* that wrote something */
	uint64_t batches;		/* LOG requests applied */
	uint64_t records;		/* of them */
	uint64_t suppressed;		/* records sent again that were applied before */
	uint64_t changes;		/* slotted operations carried out */
	uint64_t repeated;		/* slotted operations answered from the slot */
	uint64_t refused;		/* LOG requests refused: taken, closed, damaged */
};

struct disk {
	TAILQ_ENTRY(disk) all;		/* server->disks */
	struct server *server;		/* NULL: opened by a command, not served */
	unsigned int refs;		/* loop's */
	char name[ARCHIL_DISK_LEN + 1];
	struct store *store;
	struct fs *fs;
	struct scram_verifier verifier;	/* loop's */
	uint64_t created;

	pthread_mutex_t lock;
	struct deleg_tree tree;		/* rule 1 */
	TAILQ_HEAD(, session) sessions;	/* rule 1; oldest first */
	struct session **session_bucket;
	unsigned int n_sessions;

	struct commit commit;
	struct disk_stats stats;
	uint64_t settled;		/* loop's: last commit whose effects the loop knows */
	bool failed;			/* loop's: it has seen that the store failed */
	struct data data;		/* loop's */
	TAILQ_HEAD(, opening) openings;	/* loop's: waiting for PINGs, see open.c */
	struct loop_timer reap;
	bool reaping;			/* loop's: the work is queued */
	struct loop_op store_op;	/* watches store_fd() */
	bool store_armed, store_ready;
	struct store_statfs space;	/* loop's: as it was at space_at; see space.c */
	uint64_t space_at;		/* ms, loop time */
	bool closing;			/* loop's */
};

/*
 * Opens the disk and loads who owns what. server may be NULL: then nothing
 * runs but commit_now(). Returns 0, or a negative errno and err.
 */
int disk_open(struct server *server, const char *dir, const char *name, struct disk **out,
	      char err[static ERR_TEXT]);
/* Redoes what a crash interrupted, then starts the committer. The same returns. */
int disk_serve(struct disk *disk, char err[static ERR_TEXT]);
/*
 * Ends the committer and closes everything. Nothing may refer to it any more
 * but works that were queued: they are finished first.
 */
void disk_close(struct disk *disk);

/* Loop. */
struct disk *disk_get(struct disk *disk);
void disk_put(struct disk *disk);

/* Does the ring watch its store? Only a disk that is closing is let go in the end. */
bool disk_watched(struct disk *disk);
/* Once a turn of the loop: what the store has finished, what it shall begin. */
void disk_turn(struct disk *disk);
/* The disk has failed: whoever waits for a commit is told. */
void disk_wake_all(struct disk *disk);
/* Removes orphans that are due; called by its timer and when space is short. */
void disk_reap(struct disk *disk);

#endif
