// SPDX-License-Identifier: GPL-2.0
/* The records of sessions, delegations, slots and tombstones: see fs_meta.h. */
#include "fs_priv.h"

#define REPLY_MAX	65536

/* A value of a fixed size: 0, -ENOENT, -EBADMSG. */
static int get_fixed(struct fs_view *view, const struct fs_key *key, void *buf, size_t len)
{
	struct store_value val;
	int err = fs_get(view, key, &val);

	if (err)
		return err;
	if (val.len == len)
		memcpy(buf, val.data, len);
	else
		err = -EBADMSG;
	store_value_put(&val);
	return err;
}

/* ---- delegations ---- */

static void deleg_decode(u64 number, const struct fs_deleg_val *val, struct fs_deleg *deleg)
{
	deleg->number = number;
	deleg->ino = le64_to_cpu(val->ino);
	deleg->session = le64_to_cpu(val->session);
	deleg->commit = le64_to_cpu(val->commit);
	deleg->since = le64_to_cpu(val->since);
	deleg->applied = le64_to_cpu(val->applied);
	deleg->origin = le32_to_cpu(val->origin);
	deleg->flags = le32_to_cpu(val->flags);
}

int fs_deleg_put(struct fs_txn *txn, const struct fs_deleg *deleg)
{
	struct fs_deleg_val val = {
		.ino = cpu_to_le64(deleg->ino),
		.session = cpu_to_le64(deleg->session),
		.commit = cpu_to_le64(deleg->commit),
		.since = cpu_to_le64(deleg->since),
		.applied = cpu_to_le64(deleg->applied),
		.origin = cpu_to_le32(deleg->origin),
		.flags = cpu_to_le32(deleg->flags),
	};
	struct fs_key key;

	fs_key1(&key, FS_DELEG, deleg->number);
	return fs_put(txn, &key, &val, sizeof(val));
}

int fs_deleg_get(struct fs_view *view, u64 number, struct fs_deleg *deleg)
{
	struct fs_deleg_val val;
	struct fs_key key;
	int err;

	fs_key1(&key, FS_DELEG, number);
	err = get_fixed(view, &key, &val, sizeof(val));
	if (!err)
		deleg_decode(number, &val, deleg);
	return err;
}

/* A delegation of one open orphan, in place of the one that ends. */
static int own_orphan(struct fs_txn *txn, struct fs_node *node, const struct fs_deleg *old,
		      struct fs_deleg *deleg)
{
	int err;

	*deleg = (struct fs_deleg){
		.number = fs_alloc_deleg(txn),
		.ino = node->in.ino,
		.session = old->session,
		.commit = txn->nr,
		.since = txn->now,
		.origin = old->origin,
		.flags = FS_DELEG_ORPHAN,
	};
	err = fs_orphan_move(txn, node, deleg->number);
	return err ? err : fs_deleg_put(txn, deleg);
}

static int end_orphans(struct fs_txn *txn, const struct fs_deleg *old, bool live_on,
		       int (*made)(void *ctx, const struct fs_deleg *deleg), void *ctx)
{
	struct fs_deleg deleg;
	struct fs_node *node;
	struct fs_key prefix;
	struct fs_scan scan;
	int r;

	fs_key1(&prefix, FS_ORPHAN, old->number);
	r = fs_scan_open(&txn->view, &prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		r = fs_node_get(txn, fs_key_nr(scan.key, scan.key_len, 1), &node);
		if (r) {
			r = r == -ESTALE ? -EBADMSG : r;
			break;
		}
		if (node->in.orphan_of != old->number) {
			r = -EBADMSG;
			break;
		}
		if (!live_on) {
			r = fs_orphan_release(txn, node);
		} else {
			r = own_orphan(txn, node, old, &deleg);
			if (!r)
				r = made(ctx, &deleg);
		}
		if (r)
			break;
	}
	fs_scan_close(&scan);
	return r;
}

int fs_deleg_close(struct fs_txn *txn, u64 number, enum fs_close_how how,
		   int (*made)(void *ctx, const struct fs_deleg *deleg), void *ctx)
{
	struct fs_deleg deleg;
	struct fs_tomb_val val;
	struct fs_key key;
	bool live_on;
	int err;

	err = fs_deleg_get(&txn->view, number, &deleg);
	if (err)
		return err;
	live_on = how == FS_CLOSED && !(deleg.flags & FS_DELEG_ORPHAN);
	err = end_orphans(txn, &deleg, live_on, made, ctx);
	if (err)
		return err;
	fs_key1(&key, FS_DELEG, number);
	err = fs_del(txn, &key);
	if (err || how == FS_ENDED)
		return err;
	val.session = cpu_to_le64(deleg.session);
	val.applied = cpu_to_le64(deleg.applied);
	val.how = how;
	fs_key1(&key, FS_TOMB, number);
	return fs_put(txn, &key, &val, sizeof(val));
}

/* ---- tombstones ---- */

static int tomb_decode(u64 number, const struct fs_tomb_val *val, struct fs_tomb *tomb)
{
	tomb->number = number;
	tomb->session = le64_to_cpu(val->session);
	tomb->applied = le64_to_cpu(val->applied);
	tomb->how = val->how;
	return tomb->how == FS_CLOSED || tomb->how == FS_TAKEN ? 0 : -EBADMSG;
}

int fs_tomb_get(struct fs_view *view, u64 number, struct fs_tomb *tomb)
{
	struct fs_tomb_val val;
	struct fs_key key;
	int err;

	fs_key1(&key, FS_TOMB, number);
	err = get_fixed(view, &key, &val, sizeof(val));
	return err ? err : tomb_decode(number, &val, tomb);
}

int fs_tomb_del(struct fs_txn *txn, u64 number)
{
	struct fs_key key;

	fs_key1(&key, FS_TOMB, number);
	return fs_del(txn, &key);
}

/* ---- sessions ---- */

int fs_session_put(struct fs_txn *txn, const struct fs_session *session)
{
	u8 buf[sizeof(struct fs_session_val) + ARCHIL_CLIENT_LEN];
	size_t len = strnlen(session->client, ARCHIL_CLIENT_LEN);
	struct fs_session_val val = {
		.opened = cpu_to_le64(session->opened),
		.root = cpu_to_le64(session->root),
		.flags = cpu_to_le32(session->flags),
	};
	struct fs_key key;

	memcpy(val.incarnation, session->incarnation, sizeof(val.incarnation));
	memcpy(val.mount, session->mount, sizeof(val.mount));
	memcpy(buf, &val, sizeof(val));
	memcpy(buf + sizeof(val), session->client, len);
	fs_key1(&key, FS_SESSION, session->id);
	return fs_put(txn, &key, buf, sizeof(val) + len);
}

static int session_decode(const struct fs_scan *scan, struct fs_session *session)
{
	struct fs_session_val val;
	size_t len;

	if (scan->val_len < sizeof(val) || scan->val_len > sizeof(val) + ARCHIL_CLIENT_LEN)
		return -EBADMSG;
	memcpy(&val, scan->val, sizeof(val));
	len = scan->val_len - sizeof(val);
	memset(session, 0, sizeof(*session));
	session->id = fs_key_nr(scan->key, scan->key_len, 0);
	session->opened = le64_to_cpu(val.opened);
	session->root = le64_to_cpu(val.root);
	session->flags = le32_to_cpu(val.flags);
	memcpy(session->incarnation, val.incarnation, sizeof(val.incarnation));
	memcpy(session->mount, val.mount, sizeof(val.mount));
	memcpy(session->client, scan->val + sizeof(val), len);
	return 0;
}

int fs_session_del(struct fs_txn *txn, u64 id)
{
	struct fs_key key;
	u32 slot;
	int err;

	for (slot = 0; slot < ARCHIL_SLOTS; slot++) {
		fs_key2(&key, FS_SLOT, id, slot);
		err = fs_del(txn, &key);
		if (err)
			return err;
	}
	fs_key1(&key, FS_SESSION, id);
	return fs_del(txn, &key);
}

/* ---- slots ---- */

int fs_slot_put(struct fs_txn *txn, u64 session, u32 slot, u32 seq,
		const void *reply, size_t len)
{
	u8 buf[sizeof(struct fs_slot_val) + REPLY_MAX];
	struct fs_slot_val val = { .seq = cpu_to_le32(seq) };
	struct fs_key key;

	if (len > REPLY_MAX || slot >= ARCHIL_SLOTS)
		return -EINVAL;
	memcpy(buf, &val, sizeof(val));
	if (len)
		memcpy(buf + sizeof(val), reply, len);
	fs_key2(&key, FS_SLOT, session, slot);
	return fs_put(txn, &key, buf, sizeof(val) + len);
}

/* ---- loading ---- */

static int each(struct fs_view *view, const struct fs_key *prefix,
		int (*fn)(void *arg, const struct fs_scan *scan), void *arg)
{
	struct fs_scan scan;
	int r;

	r = fs_scan_open(view, prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		r = fn(arg, &scan);
		if (r)
			break;
	}
	fs_scan_close(&scan);
	return r;
}

struct session_call {
	int (*fn)(void *ctx, const struct fs_session *session);
	void *ctx;
};

static int session_each(void *arg, const struct fs_scan *scan)
{
	struct session_call *call = arg;
	struct fs_session session;
	int err = session_decode(scan, &session);

	return err ? err : call->fn(call->ctx, &session);
}

int fs_sessions_each(struct fs_view *view,
		     int (*fn)(void *ctx, const struct fs_session *session), void *ctx)
{
	struct session_call call = { fn, ctx };
	struct fs_key prefix;

	fs_key0(&prefix, FS_SESSION);
	return each(view, &prefix, session_each, &call);
}

struct deleg_call {
	int (*fn)(void *ctx, const struct fs_deleg *deleg);
	void *ctx;
};

static int deleg_each(void *arg, const struct fs_scan *scan)
{
	struct deleg_call *call = arg;
	struct fs_deleg_val val;
	struct fs_deleg deleg;

	if (scan->val_len != sizeof(val))
		return -EBADMSG;
	memcpy(&val, scan->val, sizeof(val));
	deleg_decode(fs_key_nr(scan->key, scan->key_len, 0), &val, &deleg);
	return call->fn(call->ctx, &deleg);
}

int fs_delegs_each(struct fs_view *view,
		   int (*fn)(void *ctx, const struct fs_deleg *deleg), void *ctx)
{
	struct deleg_call call = { fn, ctx };
	struct fs_key prefix;

	fs_key0(&prefix, FS_DELEG);
	return each(view, &prefix, deleg_each, &call);
}

struct tomb_call {
	int (*fn)(void *ctx, const struct fs_tomb *tomb);
	void *ctx;
};

static int tomb_each(void *arg, const struct fs_scan *scan)
{
	struct tomb_call *call = arg;
	struct fs_tomb_val val;
	struct fs_tomb tomb;
	int err;

	if (scan->val_len != sizeof(val))
		return -EBADMSG;
	memcpy(&val, scan->val, sizeof(val));
	err = tomb_decode(fs_key_nr(scan->key, scan->key_len, 0), &val, &tomb);
	return err ? err : call->fn(call->ctx, &tomb);
}

int fs_tombs_each(struct fs_view *view,
		  int (*fn)(void *ctx, const struct fs_tomb *tomb), void *ctx)
{
	struct tomb_call call = { fn, ctx };
	struct fs_key prefix;

	fs_key0(&prefix, FS_TOMB);
	return each(view, &prefix, tomb_each, &call);
}

struct slot_call {
	int (*fn)(void *ctx, u32 slot, u32 seq, const void *reply, size_t len);
	void *ctx;
};

static int slot_each(void *arg, const struct fs_scan *scan)
{
	struct slot_call *call = arg;
	struct fs_slot_val val;

	if (scan->val_len < sizeof(val))
		return -EBADMSG;
	memcpy(&val, scan->val, sizeof(val));
	return call->fn(call->ctx, fs_key_nr(scan->key, scan->key_len, 1), le32_to_cpu(val.seq),
			scan->val + sizeof(val), scan->val_len - sizeof(val));
}

int fs_slots_each(struct fs_view *view, u64 session,
		  int (*fn)(void *ctx, u32 slot, u32 seq, const void *reply, size_t len),
		  void *ctx)
{
	struct slot_call call = { fn, ctx };
	struct fs_key prefix;

	fs_key1(&prefix, FS_SLOT, session);
	return each(view, &prefix, slot_each, &call);
}
