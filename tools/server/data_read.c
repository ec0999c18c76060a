// SPDX-License-Identifier: GPL-2.0
/* READ and SEEK. Small contents come from the namespace, at once. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "conn.h"
#include "data.h"
#include "disk.h"
#include "handlers.h"
#include "server.h"
#include "session.h"

static struct dio *dio_new(struct req *req, enum dio_kind kind, uint64_t ino)
{
	struct dio *io = calloc(1, sizeof(*io));

	if (!io)
		server_oom();
	io->kind = kind;
	io->req = req;
	io->disk = req->conn->disk;
	io->ses = req->conn->session;
	io->ino = ino;
	return io;
}

static void reply_read(struct req *req, const struct archil_read_rep *rep, void *buf, size_t len)
{
	if (!len) {
		free(buf);
		buf = NULL;
	}
	req_reply(req, rep, sizeof(*rep), buf, len);
}

/*
 * How far data may be read: an owner that asks for it gets what it wrote past the
 * committed size under the delegation that it has.
 */
static uint64_t read_limit(struct inode_io *ii, struct dio *io, struct fs_view *view, uint64_t size)
{
	struct archil_attr_rep rep;
	struct owner_ctx ctx;
	uint64_t writer, own;

	if (!io->owner || io->off + io->len <= size)
		return size;
	if (fs_writer(view, ii->ino, &writer) || !writer || fs_getattr(view, ii->ino, &rep, NULL))
		return size;
	owner_begin(&ctx, ii->disk, view, io->ses->rec.id);
	owner_fill(&ctx, &rep.attr);
	owner_end(&ctx);
	own = le64_to_cpu(rep.attr.deleg);
	return own == writer ? io->off + io->len : size;
}

static bool overlaps(const struct dios *list, const struct dio *read, uint64_t end)
{
	const struct dio *io;

	TAILQ_FOREACH(io, list, link)
		if (io->ses != read->ses && io->off < end && read->off < io->off + io->len)
			return true;
	return false;
}

static void read_done(struct store_op *op, int64_t result)
{
	struct dio *io = container_of(op, struct dio, op);
	struct inode_io *ii = io->ii;
	struct archil_read_rep rep = {
		.change = cpu_to_le64(io->change),
		.size = cpu_to_le64(io->size),
	};

	io->disk->data.ops--;
	TAILQ_REMOVE(&ii->reading, io, link);
	if (result < 0) {
		free(io->iov.iov_base);
		dio_fail(io, result);
	} else {
		io->disk->data.bytes_read += result;
		reply_read(io->req, &rep, io->iov.iov_base, result);
		dio_free(io);
	}
	inode_io_pump(ii);
}

static void reply_seek(struct req *req, uint64_t off)
{
	struct archil_seek_rep rep = { .off = cpu_to_le64(off) };

	req_reply(req, &rep, sizeof(rep), NULL, 0);
}

static void seek_done(struct store_op *op, int64_t result)
{
	struct dio *io = container_of(op, struct dio, op);
	struct inode_io *ii = io->ii;

	io->disk->data.ops--;
	TAILQ_REMOVE(&ii->reading, io, link);
	if (io->whence == SEEK_DATA && result >= 0 && (uint64_t)result >= io->size)
		result = -ENXIO;
	if (io->whence == SEEK_HOLE && result >= 0 && (uint64_t)result > io->size)
		result = io->size;
	if (result < 0) {
		dio_fail(io, result);
	} else {
		reply_seek(io->req, result);
		dio_free(io);
	}
	inode_io_pump(ii);
}

static void run(struct inode_io *ii, struct dio *io)
{
	dio_unlink(io);
	io->where = DIO_RUNNING;
	TAILQ_INSERT_TAIL(&ii->reading, io, link);
	data_submit(ii->disk, &io->op);
}

static bool start_seek(struct inode_io *ii, struct dio *io, struct fs_view *view)
{
	uint64_t out = 0, size = 0;
	int rc = fs_seek(view, io->ino, io->off, io->whence, &out, &size);

	if (rc == 1 && io->off >= size)
		rc = -ENXIO;
	if (rc == 1) {
		if (overlaps(&ii->writing, io, size) || overlaps(&ii->written, io, size) ||
		    overlaps(&ii->flushing, io, size))
			return false;
		io->size = size;
		io->op = (struct store_op){
			.kind = io->whence == SEEK_DATA ? STORE_SEEK_DATA : STORE_SEEK_HOLE,
			.ino = io->ino,
			.off = io->off,
			.done = seek_done,
		};
		run(ii, io);
		return true;
	}
	dio_unlink(io);
	if (rc < 0) {
		dio_fail(io, rc);
	} else {
		reply_seek(io->req, out);
		dio_free(io);
	}
	return true;
}

static bool start_read(struct inode_io *ii, struct dio *io, struct fs_view *view)
{
	struct archil_read_rep rep;
	uint64_t end, limit;
	size_t got = 0;
	void *buf;
	int rc;

	buf = malloc(io->len ? io->len : 1);
	if (!buf)
		server_oom();
	rc = fs_read(view, io->ino, io->off, io->len, buf, &got, &rep);
	if (rc != 1) {
		dio_unlink(io);
		if (rc < 0) {
			free(buf);
			dio_fail(io, rc);
		} else {
			reply_read(io->req, &rep, buf, got);
			dio_free(io);
		}
		return true;
	}
	io->size = le64_to_cpu(rep.size);
	io->change = le64_to_cpu(rep.change);
	limit = read_limit(ii, io, view, io->size);
	end = io->off + io->len < limit ? io->off + io->len : limit;
	if (overlaps(&ii->writing, io, end) || overlaps(&ii->written, io, end) ||
	    overlaps(&ii->flushing, io, end)) {
		free(buf);
		return false;
	}
	ii->bumped = false;
	ii->read_since = true;
	if (end <= io->off) {
		dio_unlink(io);
		reply_read(io->req, &rep, buf, 0);
		dio_free(io);
		return true;
	}
	io->iov.iov_base = buf;
	io->iov.iov_len = end - io->off;
	io->op = (struct store_op){
		.kind = STORE_READ,
		.ino = io->ino,
		.off = io->off,
		.iov = &io->iov,
		.iovcnt = 1,
		.done = read_done,
	};
	run(ii, io);
	return true;
}

bool read_start(struct inode_io *ii, struct dio *io)
{
	struct fs_view *view;
	bool done;

	if (ii->broken) {
		dio_unlink(io);
		dio_fail(io, -EIO);
		return true;
	}
	view = fs_view_get(ii->disk->fs);
	if (!view)
		server_oom();
	io->req->commit = fs_view_commit(view);
	if (data_behind(ii, view))
		done = true;	/* it waits, but WRITEs need not wait for it */
	else if (io->kind == DIO_SEEK)
		done = start_seek(ii, io, view);
	else
		done = start_read(ii, io, view);
	fs_view_put(view);
	return done;
}

void handle_read(struct req *req)
{
	struct archil_read_req *msg = (void *)req->body;
	uint64_t ino = le64_to_cpu(msg->ino), off = le64_to_cpu(msg->off);
	uint32_t len = le32_to_cpu(msg->len);
	struct archil_read_rep rep;
	struct fs_view *view;
	struct inode_io *ii;
	struct dio *io;
	size_t got = 0;
	void *buf;
	int rc;

	if (len > ARCHIL_PAYLOAD_MAX || off > (uint64_t)INT64_MAX - len) {
		req_fail(req, -EINVAL);
		return;
	}
	/* small contents need no more than this */
	view = fs_view_get(req->conn->disk->fs);
	buf = malloc(ARCHIL_INLINE_MAX);
	if (!view || !buf)
		server_oom();
	req->commit = fs_view_commit(view);
	rc = fs_read(view, ino, off, len < ARCHIL_INLINE_MAX ? len : ARCHIL_INLINE_MAX, buf, &got,
		     &rep);
	fs_view_put(view);
	if (rc == 0) {
		reply_read(req, &rep, buf, got);
		return;
	}
	free(buf);
	if (rc < 0) {
		req_fail(req, rc);
		return;
	}
	io = dio_new(req, DIO_READ, ino);
	io->off = off;
	io->len = len;
	io->owner = le32_to_cpu(msg->flags) & ARCHIL_READ_OWNER;
	ii = inode_io_get(io->disk, ino);
	inode_io_queue(ii, io);
	inode_io_pump(ii);
}

void handle_seek(struct req *req)
{
	struct archil_seek_req *msg = (void *)req->body;
	uint64_t off = le64_to_cpu(msg->off);
	uint32_t whence = le32_to_cpu(msg->whence);
	struct inode_io *ii;
	struct dio *io;

	if ((whence != SEEK_DATA && whence != SEEK_HOLE) || off > (uint64_t)INT64_MAX) {
		req_fail(req, -EINVAL);
		return;
	}
	io = dio_new(req, DIO_SEEK, le64_to_cpu(msg->ino));
	io->off = off;
	io->whence = whence;
	ii = inode_io_get(io->disk, io->ino);
	inode_io_queue(ii, io);
	inode_io_pump(ii);
}
