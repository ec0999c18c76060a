// SPDX-License-Identifier: GPL-2.0
#include "slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"
#include "session.h"

struct slot_reply *slot_reply_new(uint32_t status, const void *body, uint32_t len)
{
	struct slot_reply *reply = malloc(sizeof(*reply) + len);

	if (!reply)
		server_oom();
	reply->status = status;
	reply->body_len = len;
	reply->commit = 0;
	if (len)
		memcpy(reply->body, body, len);
	return reply;
}

int slot_check(const struct session *ses, uint32_t slot, uint32_t seq)
{
	const struct slot *s = &ses->slots[slot];

	if (seq && seq == s->seq)
		return SLOT_REPEATED;
	return seq == s->seq + 1 && seq ? SLOT_NEW : SLOT_BAD;
}

int slot_store(struct session *ses, struct fs_txn *txn, uint32_t slot, uint32_t seq,
	       const struct slot_reply *reply)
{
	struct slot *s = &ses->slots[slot];
	size_t i;
	int rc;

	for (i = 0; i < s->n_closed; i++) {
		rc = fs_tomb_del(txn, s->closed[i]);
		if (rc)
			return rc;
	}
	return fs_slot_put(txn, ses->rec.id, slot, seq, reply, sizeof(*reply) + reply->body_len);
}

void slot_moved(struct session *ses, uint32_t slot, uint32_t seq, struct slot_reply *reply,
		uint64_t *closed, size_t n_closed)
{
	struct slot *s = &ses->slots[slot];

	slot_free(s);
	s->seq = seq;
	s->reply = reply;
	s->closed = closed;
	s->n_closed = n_closed;
}

int slot_load(struct session *ses, uint32_t slot, uint32_t seq, const void *data, size_t len)
{
	struct slot_reply *reply;

	if (slot >= ARCHIL_SLOTS || len < sizeof(*reply))
		return -EBADMSG;
	reply = malloc(len);
	if (!reply)
		return -ENOMEM;
	memcpy(reply, data, len);
	if (reply->body_len != len - sizeof(*reply)) {
		free(reply);
		return -EBADMSG;
	}
	slot_moved(ses, slot, seq, reply, NULL, 0);
	return 0;
}

void slot_free(struct slot *slot)
{
	free(slot->reply);
	free(slot->closed);
	memset(slot, 0, sizeof(*slot));
}
