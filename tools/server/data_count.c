// SPDX-License-Identifier: GPL-2.0
/* Counting the space that data take, after they were flushed: data.h, rule 8. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "data.h"
#include "disk.h"
#include "log.h"
#include "server.h"

struct count_work {
	struct work work;
	struct inode_io *ii;	/* stays: it is counting */
	uint64_t bytes;
};

static int count_apply(struct work *work, struct fs_txn *txn)
{
	struct count_work *count = container_of(work, struct count_work, work);
	int rc;

	fs_batch_begin(txn);
	rc = fs_set_bytes(txn, count->ii->ino, count->bytes);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc)
		fs_batch_abort(txn);
	/* one that was removed meanwhile takes nothing */
	if (rc && rc != -ESTALE)
		log_warn("disk %s: the space of inode %llu cannot be told: %s", work->disk->name,
			 (unsigned long long)count->ii->ino, strerror(-rc));
	return WORK_DONE;
}

static void count_end(struct inode_io *ii)
{
	ii->counting = false;
	inode_io_pump(ii);
}

static void count_done(struct work *work, int err)
{
	struct count_work *count = container_of(work, struct count_work, work);

	count_end(count->ii);
	free(count);
}

static void counted(struct store_op *op, int64_t result)
{
	struct inode_io *ii = container_of(op, struct inode_io, count_op);
	struct count_work *count;

	ii->disk->data.ops--;
	if (result < 0 || store_failed(ii->disk->store)) {
		count_end(ii);
		return;
	}
	count = calloc(1, sizeof(*count));
	if (!count)
		server_oom();
	count->work.apply = count_apply;
	count->work.done = count_done;
	count->ii = ii;
	count->bytes = result;
	commit_submit(ii->disk, &count->work);
}

static void arm(struct disk *disk)
{
	if (!disk->data.count_timer.armed)
		loop_timer_set(&disk->server->loop, &disk->data.count_timer, COUNT_MS);
}

void count_later(struct inode_io *ii)
{
	struct data *data = &ii->disk->data;

	if (ii->to_count)
		return;
	ii->to_count = true;
	TAILQ_INSERT_TAIL(&data->count, ii, count);
	arm(ii->disk);
}

void count_fire(struct loop_timer *timer)
{
	struct data *data = container_of(timer, struct data, count_timer);
	struct inode_io *ii, *tmp;

	TAILQ_FOREACH_SAFE(ii, &data->count, count, tmp) {
		if (ii->counting)
			continue;
		TAILQ_REMOVE(&data->count, ii, count);
		ii->to_count = false;
		ii->counting = true;
		ii->count_op = (struct store_op){
			.kind = STORE_SPACE,
			.ino = ii->ino,
			.done = counted,
		};
		data_submit(ii->disk, &ii->count_op);
	}
	if (!TAILQ_EMPTY(&data->count))
		arm(container_of(data, struct disk, data));
}
