/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The committer: the one thread of a disk that changes it.
 *
 * 1. Work is applied in the order in which it was submitted, as much as is
 *    there in one transaction; one durable commit; then done() of each runs in
 *    the loop, in order. While a commit is on its way to storage the next
 *    group gathers.
 * 2. apply() runs in the committer and makes its own batches (fs_txn.h).
 *    What it changes in memory it changes after its batch has ended well.
 * 3. apply() may put the work aside (WORK_PARK) until data I/O has ended, or ask
 *    to be called again in the next commit (WORK_AGAIN) to split something large.
 *    Nothing else that it did may be left half done.
 * 4. When a commit fails, the disk is read-only until a restart: done() gets
 *    -EIO once for what was in it and -EROFS ever after. If it failed for want of
 *    room, no change is answered, and the server starts anew when there is some.
 */
#ifndef ARCHIL_COMMIT_H
#define ARCHIL_COMMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fs_txn.h"
#include "loop.h"

struct disk;
struct work;

enum { WORK_DONE = 0, WORK_PARK = 1, WORK_AGAIN = 2 };

STAILQ_HEAD(works, work);

struct work {
	STAILQ_ENTRY(work) next;
	struct disk *disk;
	/* Returns WORK_*. What went wrong for the client is the work's own to keep. */
	int (*apply)(struct work *work, struct fs_txn *txn);
	/* err: 0, or why nothing was committed. Frees work. */
	void (*done)(struct work *work, int err);
	uint64_t commit;	/* of its group, in done(): what an answer may say it was made at */
	bool ran;		/* apply() returned WORK_DONE */
};

struct commit {
	pthread_t thread;
	bool running;			/* loop's */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct works queue;		/* protected by lock */
	struct works parked;		/* protected by lock */
	bool kicked;			/* protected by lock: data I/O ended */
	bool stop;			/* protected by lock */
	unsigned int pending;		/* loop's: submitted, done() not called */
};

void commit_init(struct commit *commit);
int commit_start(struct disk *disk);
/* Ends the thread when the queue is empty. Parked works are finished with -EROFS. */
void commit_stop(struct disk *disk);
void commit_destroy(struct commit *commit);

/* Loop; takes over work. Without a committer, done() is called with -EROFS. */
void commit_submit(struct disk *disk, struct work *work);
/* Any thread: what is parked is tried again. */
void commit_kick(struct disk *disk);
/* Loop: nothing is queued, parked or on its way. */
bool commit_idle(struct disk *disk);
/* Without a committer: apply and commit here and now. done() is not called. 0 or -errno. */
int commit_now(struct disk *disk, struct work *work);

#endif
