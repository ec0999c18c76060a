/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Slots: exactly once for synchronous changes (wire.h). The committer's.
 *
 * 1. The answer is stored in the same commit as the effect, failures too: a
 *    sequence number is used up by its answer, whatever that was.
 * 2. A repetition is answered from what was stored.
 * 3. The next sequence number in a slot says that the last answer has arrived:
 *    tombstones of delegations closed by that operation are no longer needed.
 */
#ifndef ARCHIL_SLOT_H
#define ARCHIL_SLOT_H

#include <stddef.h>
#include <stdint.h>

struct session;
struct fs_txn;
struct req;

struct slot_reply {
	uint32_t status;	/* errno or enum archil_status */
	uint32_t body_len;
	uint64_t commit;
	unsigned char body[];
};

struct slot {
	uint32_t seq;			/* the last one answered; 0: none */
	struct slot_reply *reply;	/* NULL with seq 0 */
	uint64_t *closed;		/* tombstones, see rule 3 */
	size_t n_closed;
};

enum { SLOT_NEW = 0, SLOT_REPEATED = 1, SLOT_BAD = 2 };

/* What is this (slot, seq)? */
int slot_check(const struct session *ses, uint32_t slot, uint32_t seq);
/*
 * Inside a batch: stores the answer, drops older tombstones. Memory is moved by
 * slot_moved(), after the batch has ended well; reply and closed are taken over then.
 * Returns 0 or a negative errno.
 */
int slot_store(struct session *ses, struct fs_txn *txn, uint32_t slot, uint32_t seq,
	       const struct slot_reply *reply);
void slot_moved(struct session *ses, uint32_t slot, uint32_t seq, struct slot_reply *reply,
		uint64_t *closed, size_t n_closed);
/* At a start. 0 or a negative errno. */
int slot_load(struct session *ses, uint32_t slot, uint32_t seq, const void *data, size_t len);
void slot_free(struct slot *slot);

struct slot_reply *slot_reply_new(uint32_t status, const void *body, uint32_t len);

#endif
