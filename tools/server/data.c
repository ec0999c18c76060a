// SPDX-License-Identifier: GPL-2.0
#include "data.h"

#include <errno.h>
#include <stdlib.h>

#include "conn.h"
#include "disk.h"
#include "log.h"
#include "server.h"
#include "session.h"

/* ---- the table of inodes ---- */

static struct inode_io **bucket(struct data *data, uint64_t ino)
{
	return &data->buckets[(ino * 0x9e3779b97f4a7c15ull) >> 32 & (INODE_BUCKETS - 1)];
}

static void inode_io_free(struct data *data, struct inode_io *ii)
{
	struct inode_io **pos;

	for (pos = bucket(data, ii->ino); *pos != ii; pos = &(*pos)->next)
		;
	*pos = ii->next;
	free(ii);
}

static void idle_remove(struct data *data, struct inode_io *ii)
{
	if (!ii->idle)
		return;
	TAILQ_REMOVE(&data->idle, ii, lru);
	ii->idle = false;
	data->n_idle--;
}

static bool busy(const struct inode_io *ii)
{
	return ii->n_queue || ii->preparing || ii->cutting || ii->is_behind ||
	       ii->to_count || ii->counting ||
	       !STAILQ_EMPTY(&ii->intents) || !TAILQ_EMPTY(&ii->reading) ||
	       !TAILQ_EMPTY(&ii->writing) || !TAILQ_EMPTY(&ii->written) ||
	       !TAILQ_EMPTY(&ii->flushing);
}

/* ii may be freed by this: the last thing that is done with it. */
static void idle_add(struct inode_io *ii)
{
	struct data *data = &ii->disk->data;
	struct inode_io *oldest;

	if (ii->idle || busy(ii))
		return;
	TAILQ_INSERT_TAIL(&data->idle, ii, lru);
	ii->idle = true;
	if (++data->n_idle <= INODE_IDLE_MAX)
		return;
	oldest = TAILQ_FIRST(&data->idle);
	idle_remove(data, oldest);
	inode_io_free(data, oldest);
}

struct inode_io *inode_io_get(struct disk *disk, uint64_t ino)
{
	struct inode_io **pos = bucket(&disk->data, ino), *ii;

	for (ii = *pos; ii; ii = ii->next)
		if (ii->ino == ino)
			return ii;
	ii = calloc(1, sizeof(*ii));
	if (!ii)
		server_oom();
	ii->disk = disk;
	ii->ino = ino;
	TAILQ_INIT(&ii->queue);
	TAILQ_INIT(&ii->reading);
	TAILQ_INIT(&ii->writing);
	TAILQ_INIT(&ii->written);
	TAILQ_INIT(&ii->flushing);
	STAILQ_INIT(&ii->intents);
	STAILQ_INIT(&ii->run);
	ii->next = *pos;
	*pos = ii;
	return ii;
}

/* ---- requests ---- */

void dio_unlink(struct dio *io)
{
	switch (io->where) {
	case DIO_WAITING:
		TAILQ_REMOVE(&io->dlg->waiting, io, link);
		break;
	case DIO_QUEUED:
		TAILQ_REMOVE(&io->ii->queue, io, link);
		io->ii->n_queue--;
		break;
	default:
		break;
	}
}

/* It is written, or will not be. */
static void dio_came(struct dio *io)
{
	if (io->coming)
		io->disk->data.n_coming--;
	io->coming = false;
}

void dio_free(struct dio *io)
{
	dio_came(io);
	if (io->dlg)
		dlg_put(io->dlg);
	free(io);
}

void dio_fail(struct dio *io, int status)
{
	struct archil_closed closed;

	if (status == ARCHIL_ST_CLOSED) {
		closed.seq = cpu_to_le64(io->dlg->closed_at);
		req_fail_body(io->req, status, &closed, sizeof(closed));
	} else {
		req_fail(io->req, status);
	}
	dio_free(io);
}

/* The connection was lost: what has not begun will not. */
static void dio_lost(struct req *req)
{
	struct dio *io = req->ctx;
	struct inode_io *ii = io->ii;

	req->lost = NULL;
	if (io->where > DIO_QUEUED)
		return;
	dio_unlink(io);
	if (io->where == DIO_WAITING)
		ii = NULL;
	req_drop(req);
	dio_free(io);
	if (ii)
		inode_io_pump(ii);
}

void inode_io_queue(struct inode_io *ii, struct dio *io)
{
	io->ii = ii;
	io->where = DIO_QUEUED;
	io->req->ctx = io;
	io->req->lost = dio_lost;
	idle_remove(&ii->disk->data, ii);
	TAILQ_INSERT_TAIL(&ii->queue, io, link);
	ii->n_queue++;
}

void dio_wait(struct dio *io)
{
	io->where = DIO_WAITING;
	io->req->ctx = io;
	io->req->lost = dio_lost;
	TAILQ_INSERT_TAIL(&io->dlg->waiting, io, link);
}

/* ---- the store ---- */

void data_submit(struct disk *disk, struct store_op *op)
{
	disk->data.ops++;
	store_submit(disk->store, op);
}

bool data_idle(const struct disk *disk)
{
	return !disk->data.ops && STAILQ_EMPTY(&disk->data.prepares) &&
	       TAILQ_EMPTY(&disk->data.count);
}

/* ---- flushing ---- */

static void flush_done(struct store_op *op, int64_t result)
{
	struct inode_io *ii = container_of(op, struct inode_io, flush_op);
	struct disk *disk = ii->disk;
	struct dio *io;

	disk->data.ops--;
	while ((io = TAILQ_FIRST(&ii->flushing))) {
		TAILQ_REMOVE(&ii->flushing, io, link);
		if (result < 0)
			dio_fail(io, -EIO);
		else
			write_flushed(io);
	}
	if (result >= 0)
		count_later(ii);
	if (ii->flush_again) {
		ii->flush_again = false;
		inode_io_flush(ii);
	}
	inode_io_pump(ii);
}

void inode_io_flush(struct inode_io *ii)
{
	struct data *data = &ii->disk->data;
	struct dio *io;

	if (TAILQ_EMPTY(&ii->written))
		return;
	if (!TAILQ_EMPTY(&ii->flushing)) {
		ii->flush_again = true;
		return;
	}
	if (ii->is_dirty) {
		TAILQ_REMOVE(&data->dirty, ii, dirty);
		ii->is_dirty = false;
	}
	TAILQ_CONCAT(&ii->flushing, &ii->written, link);
	TAILQ_FOREACH(io, &ii->flushing, link) {
		io->where = DIO_FLUSHING;
		data->dirty_bytes -= io->len;
	}
	ii->flush_op = (struct store_op){
		.kind = STORE_FLUSH,
		.ino = ii->ino,
		.done = flush_done,
	};
	data_submit(ii->disk, &ii->flush_op);
}

static void flush_all(struct data *data)
{
	struct inode_io *ii, *tmp;

	loop_timer_clear(&container_of(data, struct disk, data)->server->loop, &data->flush_timer);
	TAILQ_FOREACH_SAFE(ii, &data->dirty, dirty, tmp)
		inode_io_flush(ii);
}

/* Is there more on its way that a flush may wait for? */
static bool data_coming(const struct data *data)
{
	return data->n_coming || data->n_receiving;
}

/* When no more comes, but at some time in any case: ms until then. */
static uint64_t flush_in(const struct data *data, const struct loop *loop)
{
	uint64_t at = data->written_at + (data_coming(data) ? FLUSH_QUIET_MS : FLUSH_IDLE_MS);

	if (at > data->flush_latest)
		at = data->flush_latest;
	return at > loop->now ? at - loop->now : 0;
}

static void flush_fire(struct loop_timer *timer)
{
	struct data *data = container_of(timer, struct data, flush_timer);
	struct loop *loop = &container_of(data, struct disk, data)->server->loop;
	uint64_t ms = flush_in(data, loop);

	if (ms)
		loop_timer_set(loop, timer, ms);
	else
		flush_all(data);
}

static void flush_soon(struct data *data, struct loop *loop)
{
	data->written_at = loop->now;
	if (!data->flush_timer.armed)
		data->flush_latest = loop->now + FLUSH_MS;
	loop_timer_set(loop, &data->flush_timer, flush_in(data, loop));
}

/* A WRITE of ii has reached the store's file. */
void data_written(struct inode_io *ii, struct dio *io)
{
	struct data *data = &ii->disk->data;

	dio_came(io);
	io->where = DIO_WRITTEN;
	TAILQ_INSERT_TAIL(&ii->written, io, link);
	data->dirty_bytes += io->len;
	data->bytes_written += io->len;
	if (io->urgent) {
		inode_io_flush(ii);
		return;
	}
	if (!ii->is_dirty) {
		ii->is_dirty = true;
		TAILQ_INSERT_TAIL(&data->dirty, ii, dirty);
	}
	if (data->dirty_bytes >= FLUSH_BYTES)
		flush_all(data);
	else
		flush_soon(data, &ii->disk->server->loop);
}

/* ---- what goes on when ---- */

bool data_behind(struct inode_io *ii, struct fs_view *view)
{
	struct data *data = &ii->disk->data;

	if (fs_view_commit(view) <= ii->disk->settled)
		return false;
	if (!ii->is_behind) {
		ii->is_behind = true;
		TAILQ_INSERT_TAIL(&data->behind, ii, behind);
	}
	return true;
}

/* ii may be freed by this, when there is nothing left to do. */
void inode_io_pump(struct inode_io *ii)
{
	bool reader_waits = false;
	struct dio *io, *tmp;

	if (!STAILQ_EMPTY(&ii->intents) || ii->cutting) {
		idle_remove(&ii->disk->data, ii);
		if (!ii->cutting && TAILQ_EMPTY(&ii->reading) && TAILQ_EMPTY(&ii->writing))
			cut_start(ii);
		return;
	}
	TAILQ_FOREACH_SAFE(io, &ii->queue, link, tmp) {
		if (io->kind == DIO_WRITE && reader_waits)
			continue;
		if (io->kind == DIO_WRITE)
			write_start(ii, io);
		else if (!read_start(ii, io))
			reader_waits = true;
	}
	if (reader_waits)
		inode_io_flush(ii);
	idle_add(ii);
}

void data_intents(struct disk *disk, struct fs_intents *intents)
{
	struct fs_intent *intent;

	/* all of them first, so that those of one inode run together */
	while ((intent = STAILQ_FIRST(intents))) {
		struct inode_io *ii = inode_io_get(disk, intent->ino);

		STAILQ_REMOVE_HEAD(intents, link);
		idle_remove(&disk->data, ii);
		STAILQ_INSERT_TAIL(&ii->intents, intent, link);
		if (!ii->is_behind) {
			ii->is_behind = true;
			TAILQ_INSERT_TAIL(&disk->data.behind, ii, behind);
		}
	}
}

void data_settled(struct disk *disk)
{
	TAILQ_HEAD(, inode_io) behind = TAILQ_HEAD_INITIALIZER(behind);
	struct inode_io *ii;

	TAILQ_CONCAT(&behind, &disk->data.behind, behind);
	while ((ii = TAILQ_FIRST(&behind))) {
		TAILQ_REMOVE(&behind, ii, behind);
		ii->is_behind = false;
		inode_io_pump(ii);
	}
}

int data_init(struct disk *disk)
{
	struct data *data = &disk->data;

	TAILQ_INIT(&data->idle);
	TAILQ_INIT(&data->dirty);
	TAILQ_INIT(&data->behind);
	TAILQ_INIT(&data->count);
	data->count_timer.fire = count_fire;
	data->flush_timer.fire = flush_fire;
	STAILQ_INIT(&data->prepares);
	data->prepare_timer.fire = prepare_fire;
	data->buckets = calloc(INODE_BUCKETS, sizeof(*data->buckets));
	return data->buckets ? 0 : -ENOMEM;
}

void data_destroy(struct disk *disk)
{
	struct data *data = &disk->data;
	struct fs_intent *intent;
	struct inode_io *ii;
	unsigned int i;

	if (disk->server) {
		loop_timer_clear(&disk->server->loop, &data->flush_timer);
		loop_timer_clear(&disk->server->loop, &data->prepare_timer);
		loop_timer_clear(&disk->server->loop, &data->count_timer);
	}
	if (data->buckets)
		prepares_drop(disk);
	for (i = 0; data->buckets && i < INODE_BUCKETS; i++) {
		while ((ii = data->buckets[i])) {
			data->buckets[i] = ii->next;
			STAILQ_CONCAT(&ii->intents, &ii->run);
			while ((intent = STAILQ_FIRST(&ii->intents))) {
				STAILQ_REMOVE_HEAD(&ii->intents, link);
				free(intent);
			}
			free(ii);
		}
	}
	free(data->buckets);
	data->buckets = NULL;
}
