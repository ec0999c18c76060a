// SPDX-License-Identifier: GPL-2.0
/* WRITE: see data.h, rules 4 to 6. */
#include <errno.h>
#include <stdlib.h>

#include "commit.h"
#include "conn.h"
#include "data.h"
#include "deleg.h"
#include "disk.h"
#include "handlers.h"
#include "server.h"
#include "session.h"
#include "space.h"

/* Makes an inode ready to be written to: the commit of rule 4. */
struct prepare {
	struct work work;
	uint64_t ino, session, deleg, root;
	bool bulk, bump;
	bool known;		/* file is what became of it, and it lies inside */
	struct fs_file file;
	int err;		/* 0, or what every WRITE that waits for it is told */
};

/* It is not where the client thinks: to a client that is an inode that went. */
static int outside(int rc)
{
	return rc == -EUCLEAN ? -ESTALE : rc;
}

static int prepare_apply(struct work *work, struct fs_txn *txn)
{
	struct prepare *prep = container_of(work, struct prepare, work);
	int rc = 0;

	/* ended meanwhile: the WRITEs will see it when they are looked at again */
	if (!dlg_find(work->disk, prep->deleg, prep->session))
		return WORK_DONE;
	fs_batch_begin(txn);
	if (prep->bulk)
		rc = fs_bulk_begin(txn, prep->ino, prep->deleg, prep->root);
	if (!rc && prep->bump)
		rc = fs_touch_change(txn, prep->ino);
	if (!rc)
		rc = fs_file(fs_txn_view(txn), prep->ino, &prep->file);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc)
		fs_batch_abort(txn);
	prep->known = prep->bulk && !rc;
	prep->err = outside(rc);
	return WORK_DONE;
}

static struct as_of as_of(const struct disk *disk, const struct dlg *dlg)
{
	return (struct as_of){
		.deleg = dlg->rec.number, .seq = dlg->committed, .shape = disk->data.shape,
	};
}

static bool still(const struct as_of *then, const struct as_of *now)
{
	return then->deleg == now->deleg && then->seq == now->seq && then->shape == now->shape;
}

static void fail_queued(struct inode_io *ii, uint64_t deleg, int err)
{
	struct dio *io, *tmp;

	TAILQ_FOREACH_SAFE(io, &ii->queue, link, tmp) {
		if (io->kind != DIO_WRITE || (deleg && io->dlg->rec.number != deleg))
			continue;
		dio_unlink(io);
		dio_fail(io, err);
	}
}

static void prepare_done(struct work *work, int err)
{
	struct prepare *prep = container_of(work, struct prepare, work);
	struct dlg *dlg = dlg_find(work->disk, prep->deleg, prep->session);
	struct inode_io *ii = inode_io_get(work->disk, prep->ino);

	ii->preparing = false;
	if (err) {
		fail_queued(ii, 0, err);
	} else if (prep->err) {
		fail_queued(ii, prep->deleg, prep->err);
	} else {
		if (prep->bulk)
			ii->ready = prep->deleg;
		if (prep->bump)
			ii->bumped = !ii->read_since;
		ii->known.deleg = 0;	/* its change number has moved, and the log stands */
		if (prep->known && dlg) {
			ii->known = as_of(work->disk, dlg);
			ii->file = prep->file;
		}
	}
	free(prep);
	inode_io_pump(ii);
}

static void prepares_submit(struct disk *disk)
{
	struct data *data = &disk->data;
	struct work *work;

	loop_timer_clear(&disk->server->loop, &data->prepare_timer);
	data->n_prepares = 0;
	while ((work = STAILQ_FIRST(&data->prepares))) {
		STAILQ_REMOVE_HEAD(&data->prepares, next);
		commit_submit(disk, work);
	}
}

void prepares_drop(struct disk *disk)
{
	struct data *data = &disk->data;
	struct work *work;

	while ((work = STAILQ_FIRST(&data->prepares))) {
		STAILQ_REMOVE_HEAD(&data->prepares, next);
		free(container_of(work, struct prepare, work));
	}
}

void prepare_fire(struct loop_timer *timer)
{
	prepares_submit(container_of(timer, struct disk, data.prepare_timer));
}

static void prepare(struct inode_io *ii, const struct dio *io, bool bulk, bool bump)
{
	struct data *data = &ii->disk->data;
	struct prepare *prep = calloc(1, sizeof(*prep));

	if (!prep)
		server_oom();
	prep->work.apply = prepare_apply;
	prep->work.done = prepare_done;
	prep->ino = ii->ino;
	prep->session = io->ses->rec.id;
	prep->deleg = io->dlg->rec.number;
	prep->root = io->dlg->rec.ino;
	prep->bulk = bulk;
	prep->bump = bump;
	ii->preparing = true;
	ii->read_since = false;
	STAILQ_INSERT_TAIL(&data->prepares, &prep->work, next);
	if (++data->n_prepares >= PREPARE_MAX || io->urgent)
		prepares_submit(ii->disk);
	else if (!data->prepare_timer.armed)
		loop_timer_set(&ii->disk->server->loop, &data->prepare_timer,
			       data->n_receiving ? PREPARE_MS : PREPARE_IDLE_MS);
}

/*
 * Does the inode lie in the delegation? Asked once for many WRITEs between changes, and of files
 * that lie together once for all.
 */
static int inside(struct inode_io *ii, const struct fs_deleg *rec, const struct as_of *now,
		  struct fs_view *view)
{
	struct data *data = &ii->disk->data;
	/* of an orphan, and of what is the delegation's root, the directory says nothing */
	bool by_dir = ii->file.parent && ii->ino != rec->ino;
	int rc = 0;

	if (!by_dir || data->dir != ii->file.parent || !still(&data->dir_inside, now))
		rc = fs_inside(view, ii->ino, rec->number, rec->ino);
	if (rc)
		return rc;
	if (by_dir) {
		data->dir = ii->file.parent;
		data->dir_inside = *now;
	}
	return 0;
}

/* Is everything so that it can run? 0, 1: it has to wait, or what to answer. */
static int ready(struct inode_io *ii, const struct dio *io, struct fs_view *view)
{
	const struct as_of now = as_of(ii->disk, io->dlg);
	bool known = still(&ii->known, &now), bulk, bump;
	int rc = known ? 0 : fs_file(view, ii->ino, &ii->file);

	if (rc)
		return rc;
	bulk = !ii->file.bulk || (ii->ready != now.deleg && ii->file.writer != now.deleg);
	if (!bulk)
		ii->ready = now.deleg;
	bump = io->off < ii->file.size && (bulk || !ii->bumped);
	if (bulk || bump) {
		prepare(ii, io, bulk, bump);
		return 1;
	}
	if (known)
		return 0;
	rc = inside(ii, &io->dlg->rec, &now, view);
	if (!rc)
		ii->known = now;
	return rc;
}

static void write_done(struct store_op *op, int64_t result)
{
	struct dio *io = container_of(op, struct dio, op);
	struct inode_io *ii = io->ii;
	struct disk *disk = io->disk;
	bool kick;

	disk->data.ops--;
	TAILQ_REMOVE(&ii->writing, io, link);
	pthread_mutex_lock(&disk->lock);
	kick = !--io->dlg->io && io->dlg->stops;
	pthread_mutex_unlock(&disk->lock);
	if (kick)
		commit_kick(disk);
	session_io_end(io->ses);
	if (result < 0)
		dio_fail(io, result);
	else
		data_written(ii, io);
	inode_io_pump(ii);
}

/* Counts it as data I/O of its delegation, if that is not about to end. */
static bool admit(struct dio *io)
{
	bool ok;

	pthread_mutex_lock(&io->disk->lock);
	ok = !io->dlg->stops;
	if (ok)
		io->dlg->io++;
	pthread_mutex_unlock(&io->disk->lock);
	return ok;
}

bool write_start(struct inode_io *ii, struct dio *io)
{
	struct fs_view *view;
	int rc;

	if (ii->broken)
		rc = -EIO;
	else
		rc = io->dlg->gone;
	if (!rc && store_failed(ii->disk->store))
		rc = -EROFS;
	if (!rc) {
		if (ii->preparing) {
			if (io->urgent)
				prepares_submit(ii->disk);
			return false;
		}
		view = fs_view_get(ii->disk->fs);
		if (!view)
			server_oom();
		rc = data_behind(ii, view) ? 1 : ready(ii, io, view);
		fs_view_put(view);
		if (rc == 1)
			return false;
	}
	dio_unlink(io);
	if (rc) {
		dio_fail(io, outside(rc));
		return true;
	}
	if (!admit(io)) {
		dio_wait(io);
		return true;
	}
	io->where = DIO_RUNNING;
	/* ready() has looked: this is the state up to that record */
	io->grows = io->grows && io->dlg->committed == io->after;
	io->grow.change = ii->file.change;
	io->grow.root = io->dlg->rec.ino;
	io->ses->io++;
	TAILQ_INSERT_TAIL(&ii->writing, io, link);
	io->iov.iov_base = io->req->payload;
	io->iov.iov_len = io->len;
	io->op = (struct store_op){
		.kind = STORE_WRITE,
		.ino = io->ino,
		.off = io->off,
		.iov = &io->iov,
		.iovcnt = 1,
		.done = write_done,
	};
	data_submit(ii->disk, &io->op);
	return true;
}

static void write_answer(struct dio *io, bool grown)
{
	struct archil_write_rep rep = { .flags = cpu_to_le32(grown ? ARCHIL_WRITE_GROWN : 0) };
	uint64_t first = io->off / SPACE_PAGE, last = (io->off + io->len - 1) / SPACE_PAGE;

	rep.credit = cpu_to_le64(space_settle(io->ses, (last - first + 1) * SPACE_PAGE));
	req_reply(io->req, &rep, sizeof(rep), NULL, 0);
	dio_free(io);
}

/* Size and times behind the bytes of a WRITE. */
struct grow_work {
	struct work work;
	struct dio *io;
	uint64_t session;
	bool grown;
};

static int grow_apply(struct work *work, struct fs_txn *txn)
{
	struct grow_work *gw = container_of(work, struct grow_work, work);
	int rc;

	/* ended meanwhile: the record will be told so */
	if (!dlg_find(work->disk, gw->io->grow.deleg, gw->session))
		return WORK_DONE;
	fs_batch_begin(txn);
	rc = fs_bulk_grow(txn, gw->io->ino, &gw->io->grow);
	gw->grown = rc == 1;
	if (rc >= 0)
		rc = fs_batch_end(txn);
	if (rc) {
		fs_batch_abort(txn);
		gw->grown = false;
	}
	return WORK_DONE;
}

static void grow_done(struct work *work, int err)
{
	struct grow_work *gw = container_of(work, struct grow_work, work);
	struct inode_io *ii = inode_io_get(work->disk, gw->io->ino);

	ii->known.deleg = 0;	/* it is larger, and the log stands where it stood */
	if (err)
		dio_fail(gw->io, err);
	else
		write_answer(gw->io, gw->grown);
	free(gw);
	inode_io_pump(ii);
}

void write_flushed(struct dio *io)
{
	struct grow_work *gw;

	if (!io->grows) {
		write_answer(io, false);
		return;
	}
	gw = calloc(1, sizeof(*gw));
	if (!gw)
		server_oom();
	gw->work.apply = grow_apply;
	gw->work.done = grow_done;
	gw->io = io;
	gw->session = io->ses->rec.id;
	commit_submit(io->disk, &gw->work);
}

/* To the inode's queue if its delegation and its log let it, else to wait for them. */
static void place(struct dio *io)
{
	struct inode_io *ii;

	if (io->dlg->gone || store_failed(io->disk->store)) {
		dio_fail(io, io->dlg->gone ? io->dlg->gone : -EROFS);
		return;
	}
	if (dlg_stopped(io->disk, io->dlg) || io->after > io->dlg->committed) {
		dio_wait(io);
		return;
	}
	ii = inode_io_get(io->disk, io->ino);
	inode_io_queue(ii, io);
	inode_io_pump(ii);
}

void data_dlg_moved(struct disk *disk, struct dlg *dlg)
{
	struct dios waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct dio *io;

	dlg_get(dlg);
	TAILQ_CONCAT(&waiting, &dlg->waiting, link);
	while ((io = TAILQ_FIRST(&waiting))) {
		TAILQ_REMOVE(&waiting, io, link);
		place(io);
	}
	dlg_put(dlg);
}

/* A delegation that is none of this session's: closed at a record, or taken, or never was. */
static void fail_unknown(struct req *req, uint64_t number)
{
	struct fs_view *view = fs_view_get(req->conn->disk->fs);
	struct archil_closed closed;
	struct fs_tomb tomb;

	if (!view)
		server_oom();
	if (!fs_tomb_get(view, number, &tomb) && tomb.session == req->conn->session->rec.id &&
	    tomb.how == FS_CLOSED) {
		closed.seq = cpu_to_le64(tomb.applied);
		req_fail_body(req, ARCHIL_ST_CLOSED, &closed, sizeof(closed));
	} else {
		req_fail(req, ARCHIL_ST_TAKEN);
	}
	fs_view_put(view);
}

void handle_write(struct req *req)
{
	struct archil_write_req *msg = (void *)req->body;
	struct session *ses = req->conn->session;
	struct disk *disk = req->conn->disk;
	uint64_t off = le64_to_cpu(msg->off), number = le64_to_cpu(msg->deleg);
	struct dio *io;
	struct dlg *dlg;

	if (!req->payload_len || off > (uint64_t)INT64_MAX - req->payload_len ||
	    !archil_time_ok(&msg->mtime) || !archil_time_ok(&msg->ctime)) {
		req_fail(req, -EINVAL);
		return;
	}
	dlg = dlg_find(disk, number, ses->rec.id);
	if (!dlg) {
		fail_unknown(req, number);
		return;
	}
	io = calloc(1, sizeof(*io));
	if (!io)
		server_oom();
	io->kind = DIO_WRITE;
	io->req = req;
	io->disk = disk;
	io->ses = ses;
	io->dlg = dlg_get(dlg);
	io->ino = le64_to_cpu(msg->ino);
	io->off = off;
	io->len = req->payload_len;
	io->after = le64_to_cpu(msg->after);
	io->urgent = req->flags & ARCHIL_F_URGENT;
	io->grows = le32_to_cpu(msg->flags);
	io->grow.deleg = number;
	if (le32_to_cpu(msg->flags) & ARCHIL_WRITE_SIZE_UP)
		io->grow.size = le64_to_cpu(msg->size);
	io->grow.times = le32_to_cpu(msg->flags) & ARCHIL_WRITE_TIMES;
	io->grow.mtime = msg->mtime;
	io->grow.ctime = msg->ctime;
	io->coming = true;
	disk->data.n_coming++;
	place(io);
}
