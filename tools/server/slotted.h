/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A synchronous change with a slot: GRANT, CHECKIN, CHANGE. What they share: the
 * slot's rules (slot.h), parking, delegations that end and one that begins.
 */
#ifndef ARCHIL_SLOTTED_H
#define ARCHIL_SLOTTED_H

#include "commit.h"
#include "deleg.h"
#include "fs_meta.h"
#include "slot.h"

struct slotted {
	struct work work;
	struct req *req;
	struct session *ses;
	uint32_t slot, seq;
	bool parked;
	struct slot_reply *reply;
	struct ended ended;
	struct dlg *granted;		/* new; goes into the tree with its chain */
	struct fs_chain chain;
	/*
	 * In the committer, inside a batch. Returns 0, WORK_PARK, or a negative
	 * errno; sets the answer by slotted_reply(), with an error if it has more to
	 * say than its number. After anything but 0 the batch is aborted.
	 */
	int (*op)(struct slotted *sl, struct fs_txn *txn);
};

void slotted_submit(struct req *req, int (*op)(struct slotted *sl, struct fs_txn *txn));
void slotted_reply(struct slotted *sl, int status, const void *body, uint32_t len);
/* EBUSY with the holder. Returns -EBUSY. */
int slotted_busy(struct slotted *sl, struct fs_txn *txn, const struct deleg *holder,
		 const char *text);

/* Makes a delegation in the open batch; it goes into the tree later. NULL: *rc says why. */
struct dlg *deleg_grant(struct disk *disk, struct fs_txn *txn, struct session *ses, uint64_t number,
			uint64_t ino, uint32_t origin, int *rc);

/* Has any of them a number above this one? */
bool any_above(struct deleg *const *list, size_t n, uint64_t known);

enum take { TAKE_FREE, TAKE_COVERED, TAKE_BUSY, TAKE_PARK };

/*
 * Committer, inside a batch: makes the place at the end of chain free for the
 * session: swallows what it holds beneath, takes what is in the way if force. -EAGAIN:
 * what it holds beneath is not all known to it, see struct archil_grant_req. holder: through what it is covered, or who is in the way. Returns an enum take
 * or a negative errno.
 */
int place_take(struct disk *disk, struct fs_txn *txn, const struct fs_chain *chain, uint64_t known,
	       uint64_t session, bool force, struct ended *ended, struct deleg **holder);

#endif
