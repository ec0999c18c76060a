// SPDX-License-Identifier: GPL-2.0
/* Intents: what records do to data files, after their commit. data.h, rule 2. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "data.h"
#include "disk.h"
#include "log.h"
#include "server.h"

/* Forgets intents that were run and flushed, remembers what is left. */
struct cut_work {
	struct work work;
	uint64_t ino;
	struct fs_intents run;
	int64_t bytes;		/* space that it takes, or a negative errno: not known */
	int err;
};

static const char *kind_name(enum fs_intent_kind kind)
{
	static const char *const name[] = {
		[FS_INTENT_FILL] = "fill", [FS_INTENT_TRUNCATE] = "truncate",
		[FS_INTENT_PUNCH] = "punch", [FS_INTENT_ALLOC] = "allocate",
		[FS_INTENT_REMOVE] = "remove",
	};

	return name[kind];
}

/*
 * What an intent is to the store. FILL takes two steps: first emptying, then
 * (when there is something to fill in) writing.
 */
static struct store_op cut_op_of(const struct fs_intent *intent, bool second, struct iovec *iov)
{
	struct store_op op = { .ino = intent->ino, .off = intent->off, .len = intent->len };

	switch (intent->kind) {
	case FS_INTENT_FILL:
		op.off = 0;
		op.len = 0;
		op.kind = STORE_TRUNCATE;
		if (second) {
			iov->iov_base = (void *)intent->data;
			iov->iov_len = intent->len;
			op.kind = STORE_WRITE;
			op.iov = iov;
			op.iovcnt = 1;
		}
		break;
	case FS_INTENT_TRUNCATE:
		op.len = 0;
		op.kind = STORE_TRUNCATE;
		break;
	case FS_INTENT_PUNCH:
		op.kind = STORE_PUNCH;
		break;
	case FS_INTENT_ALLOC:
		op.kind = STORE_ALLOCATE;
		break;
	case FS_INTENT_REMOVE:
		op.off = 0;
		op.len = 0;
		op.kind = STORE_REMOVE;
		break;
	}
	return op;
}

static bool has_second(const struct fs_intent *intent)
{
	return intent->kind == FS_INTENT_FILL && intent->len;
}

/* Setting space aside is a favour: credit was taken for it, and writing may still succeed. */
static int64_t judge(const struct disk *disk, const struct fs_intent *intent, int64_t result)
{
	if (result >= 0 || intent->kind == FS_INTENT_ALLOC)
		return 0;
	log_err("disk %s: cannot %s data of inode %llu: %s", disk->name, kind_name(intent->kind),
		(unsigned long long)intent->ino, strerror(-result));
	return result;
}

static void cut_next(struct inode_io *ii, bool second);

static void intents_free(struct fs_intents *list)
{
	struct fs_intent *intent;

	while ((intent = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(intent);
	}
}

static int forget_apply(struct work *work, struct fs_txn *txn)
{
	struct cut_work *cut = container_of(work, struct cut_work, work);
	struct fs_intent *intent;
	int rc = 0;

	fs_batch_begin(txn);
	STAILQ_FOREACH(intent, &cut->run, link) {
		rc = fs_intent_done(txn, intent->ino, intent->nr);
		if (rc)
			break;
	}
	if (!rc && cut->bytes >= 0)
		rc = fs_set_bytes(txn, cut->ino, cut->bytes);
	if (rc == -ESTALE)
		rc = 0;		/* it was removed */
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc)
		fs_batch_abort(txn);
	cut->err = rc;
	return WORK_DONE;
}

static void forget_done(struct work *work, int err)
{
	struct cut_work *cut = container_of(work, struct cut_work, work);
	struct inode_io *ii = inode_io_get(work->disk, cut->ino);

	ii->cutting = false;
	if (err || cut->err)
		ii->broken = true;
	intents_free(&cut->run);
	free(cut);
	inode_io_pump(ii);
}

static void cut_broken(struct inode_io *ii)
{
	ii->broken = true;
	ii->cutting = false;
	/* they stay in the store, and are tried again at the next start */
	intents_free(&ii->intents);
	intents_free(&ii->run);
	inode_io_pump(ii);
}

static void cut_counted(struct store_op *op, int64_t result)
{
	struct inode_io *ii = container_of(op, struct inode_io, cut_op);
	struct cut_work *cut = calloc(1, sizeof(*cut));

	ii->disk->data.ops--;
	if (!cut)
		server_oom();
	cut->work.apply = forget_apply;
	cut->work.done = forget_done;
	cut->ino = ii->ino;
	cut->bytes = result;
	STAILQ_INIT(&cut->run);
	STAILQ_CONCAT(&cut->run, &ii->run);
	commit_submit(ii->disk, &cut->work);
}

static void cut_flushed(struct store_op *op, int64_t result)
{
	struct inode_io *ii = container_of(op, struct inode_io, cut_op);

	ii->disk->data.ops--;
	if (result < 0) {
		cut_broken(ii);
		return;
	}
	ii->cut_op = (struct store_op){
		.kind = STORE_SPACE,
		.ino = ii->ino,
		.done = cut_counted,
	};
	data_submit(ii->disk, &ii->cut_op);
}

static void cut_done(struct store_op *op, int64_t result)
{
	struct inode_io *ii = container_of(op, struct inode_io, cut_op);
	struct fs_intent *intent = STAILQ_FIRST(&ii->intents);

	ii->disk->data.ops--;
	if (judge(ii->disk, intent, result) < 0) {
		cut_broken(ii);
		return;
	}
	if (has_second(intent) && op->kind == STORE_TRUNCATE) {
		cut_next(ii, true);
		return;
	}
	STAILQ_REMOVE_HEAD(&ii->intents, link);
	STAILQ_INSERT_TAIL(&ii->run, intent, link);
	cut_next(ii, false);
}

static void cut_next(struct inode_io *ii, bool second)
{
	struct fs_intent *intent = STAILQ_FIRST(&ii->intents);

	if (intent) {
		ii->cut_op = cut_op_of(intent, second, &ii->cut_iov);
		ii->cut_op.done = cut_done;
	} else {
		ii->cut_op = (struct store_op){
			.kind = STORE_FLUSH,
			.ino = ii->ino,
			.done = cut_flushed,
		};
	}
	data_submit(ii->disk, &ii->cut_op);
}

void cut_start(struct inode_io *ii)
{
	ii->cutting = true;
	cut_next(ii, false);
}

static int redo_one(struct disk *disk, const struct fs_intent *intent)
{
	struct store_op op;
	struct iovec iov;
	int64_t rc;

	op = cut_op_of(intent, false, &iov);
	rc = judge(disk, intent, store_run(disk->store, &op));
	if (!rc && has_second(intent)) {
		op = cut_op_of(intent, true, &iov);
		rc = judge(disk, intent, store_run(disk->store, &op));
	}
	if (!rc) {
		op = (struct store_op){ .kind = STORE_FLUSH, .ino = intent->ino };
		rc = store_run(disk->store, &op);
	}
	return rc < 0 ? rc : 0;
}

int data_redo(struct disk *disk)
{
	/* of many inodes: what they take is told when they change again */
	struct cut_work cut = { .work.apply = forget_apply, .bytes = -ENODATA };
	struct fs_intent *intent;
	struct fs_view *view;
	int rc;

	STAILQ_INIT(&cut.run);
	view = fs_view_get(disk->fs);
	if (!view)
		return -ENOMEM;
	rc = fs_intents_load(view, &cut.run);
	fs_view_put(view);
	if (rc || STAILQ_EMPTY(&cut.run))
		goto out;
	STAILQ_FOREACH(intent, &cut.run, link) {
		rc = redo_one(disk, intent);
		if (rc)
			goto out;
	}
	rc = commit_now(disk, &cut.work);
	if (!rc)
		rc = cut.err;
out:
	intents_free(&cut.run);
	return rc;
}
