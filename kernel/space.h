/* SPDX-License-Identifier: GPL-2.0 */
/* What the server hands out in advance: inode numbers, and credit for space. */
#ifndef ARCHIL_SPACE_H
#define ARCHIL_SPACE_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

struct archil_mount;
struct archil_req;

struct archil_inos {
	spinlock_t lock;
	u64 next, end;			/* the range in use; protected by lock */
	u64 next2, end2;		/* the one after it; protected by lock */
	bool fetching;			/* protected by lock */
	u64 answers;			/* to our asking, so far; protected by lock */
	int error;			/* of the last answer; protected by lock */
	wait_queue_head_t wait;
};

struct archil_credit {
	spinlock_t lock;
	s64 avail;			/* unused; protected by lock */
	s64 charged;			/* to changes that are not acknowledged; protected by lock */
	u64 settled;			/* of what was ever charged, what is not any more; protected by lock */
	u64 settles;			/* how often something was acknowledged, and 1; protected by lock */
	u64 stuck;			/* settles, when waiting for one was last in vain; protected by lock */
	bool fetching;			/* protected by lock */
	bool dry;			/* the last answer was 0; protected by lock */
	u64 answers;			/* to our asking, so far; protected by lock */
	wait_queue_head_t wait;
};

void archil_space_init(struct archil_mount *m);

/* An inode number that nobody else has. Killable wait. 0, -EINTR, -EIO, -ENOMEM, -ENOSPC. */
int archil_ino_new(struct archil_mount *m, u64 *ino);

/*
 * Take credit for a change that grows. If there is too little the server is
 * asked and its answer awaited, killably. If it has nothing to give, what is under way is
 * written back first, since until then it counts for more than it takes. -ENOSPC: there is still
 * nothing; -EINTR; -EIO.
 */
int archil_credit_take(struct archil_mount *m, u64 bytes);
/* The same if there is enough here: waits for nothing. Was it taken? */
bool archil_credit_try(struct archil_mount *m, u64 bytes);
/* A change that had credit did not happen. */
void archil_credit_return(struct archil_mount *m, u64 bytes);
/* A change that had credit was acknowledged: it is the server's business now. */
void archil_credit_settle(struct archil_mount *m, u64 bytes);
/* A reply brought more. */
void archil_credit_add(struct archil_mount *m, u64 bytes);
/* The request that opens every data connection; NULL: no memory. */
struct archil_req *archil_credit_hello(struct archil_mount *m);

#endif /* ARCHIL_SPACE_H */
