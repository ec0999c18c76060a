// SPDX-License-Identifier: GPL-2.0
/* Each operation on data as a call that blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datafile.h"
#include "store_local.h"

uint64_t datafile_bytes(const struct iovec *iov, int iovcnt)
{
	uint64_t bytes = 0;

	for (int i = 0; i < iovcnt; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

struct iovec *datafile_rest(const struct iovec *iov, int iovcnt, uint64_t skip, int *n)
{
	struct iovec *rest;

	while (iovcnt && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		iovcnt--;
	}
	rest = calloc(iovcnt ? iovcnt : 1, sizeof(*rest));
	if (!rest)
		return NULL;
	memcpy(rest, iov, iovcnt * sizeof(*rest));
	if (iovcnt) {
		rest->iov_base = (char *)rest->iov_base + skip;
		rest->iov_len -= skip;
	}
	*n = iovcnt;
	return rest;
}

int datafile_check(struct datastore *ds, const struct store_op *op)
{
	bool rw = op->kind == STORE_READ || op->kind == STORE_WRITE;
	bool ranged = rw || op->kind == STORE_PUNCH || op->kind == STORE_ALLOCATE;
	uint64_t len = op->len;

	if (op->kind < STORE_READ || op->kind > STORE_SPACE || op->ino >= STORE_INO_MAX)
		return -EINVAL;
	if (rw && (op->iovcnt < 0 || op->iovcnt > STORE_IOV_MAX))
		return -EINVAL;
	if (rw)
		len = datafile_bytes(op->iov, op->iovcnt);
	if (op->off > INT64_MAX || (ranged && len > INT64_MAX - op->off))
		return -EINVAL;
	if ((op->kind == STORE_WRITE || op->kind == STORE_ALLOCATE) &&
	    op->off + len > ds->max_file_size)
		return -EFBIG;
	if (op->kind != STORE_READ && op->kind < STORE_SEEK_DATA && store_failed(ds->store))
		return -EROFS;
	return 0;
}

static int64_t run_rw(struct store_op *op, int fd)
{
	uint64_t want = datafile_bytes(op->iov, op->iovcnt), moved = 0;
	int64_t err = 0;

	while (moved < want) {
		const struct iovec *iov = op->iov;
		struct iovec *rest = NULL;
		int n = op->iovcnt;
		ssize_t got;

		if (moved)
			iov = rest = datafile_rest(op->iov, op->iovcnt, moved, &n);
		if (!iov)
			return -ENOMEM;
		if (op->kind == STORE_READ)
			got = preadv(fd, iov, n, op->off + moved);
		else
			got = pwritev(fd, iov, n, op->off + moved);
		err = got < 0 ? -errno : 0;
		free(rest);
		if (err == -EINTR)
			continue;
		if (err)
			return err;
		if (!got)
			return op->kind == STORE_READ ? (int64_t)moved : -EIO;
		moved += got;
	}
	return moved;
}

static int cut(int fd, uint64_t off)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size <= off)
		return 0;
	return ftruncate(fd, off) ? -errno : 0;
}

int datafile_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
	int err;

	if (!len)
		return 0;
	do {
		err = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, off, len) ? -errno : 0;
	} while (err == -EINTR);
	return err;
}

static int64_t seek(int fd, uint64_t off, int whence)
{
	off_t at = lseek(fd, off, whence);
	struct stat st;

	if (at >= 0) {
		/* whether what is behind its last byte was ever written as zeros, nobody can tell */
		if (whence == SEEK_HOLE && !fstat(fd, &st) && at == st.st_size)
			at = (at + st.st_blksize - 1) / st.st_blksize * st.st_blksize;
		return at;
	}
	return errno == ENXIO && whence == SEEK_HOLE ? (int64_t)off : -errno;
}

static int64_t space(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : (int64_t)st.st_blocks * 512;
}

static int run_flush(struct datastore *ds, uint64_t ino)
{
	struct dataflush flush;
	int err = 0;

	datafile_flush_begin(ds, ino, &flush);
	if (flush.file) {
		err = flush.full ? fsync(flush.file->fd) : fdatasync(flush.file->fd);
		err = datafile_flush_end(ds, &flush, err ? -errno : 0);
	}
	return err ? err : datafile_sync_dirs(ds, ino);
}

/* What an inode without data answers. */
static int64_t answer_absent(const struct store_op *op)
{
	switch (op->kind) {
	case STORE_SEEK_DATA:
		return -ENXIO;
	case STORE_SEEK_HOLE:
		return op->off;
	default:
		return 0;
	}
}

int64_t store_run(struct store *store, struct store_op *op)
{
	struct datastore *ds = store->data;
	struct datafile *file;
	int64_t result = datafile_check(ds, op);

	if (result)
		return result;
	if (op->kind == STORE_FLUSH)
		return run_flush(ds, op->ino);
	if (op->kind == STORE_REMOVE)
		return datafile_remove(ds, op->ino);
	result = datafile_get(ds, op->ino, op->kind == STORE_WRITE || op->kind == STORE_ALLOCATE,
			      &file);
	if (result == -ENOENT)
		return answer_absent(op);
	if (result)
		return result;
	switch (op->kind) {
	case STORE_READ:
	case STORE_WRITE:
		result = run_rw(op, file->fd);
		break;
	case STORE_TRUNCATE:
		result = cut(file->fd, op->off);
		break;
	case STORE_PUNCH:
		result = datafile_fallocate(file->fd, FALLOC_FL_PUNCH_HOLE, op->off, op->len);
		break;
	case STORE_ALLOCATE:
		result = datafile_fallocate(file->fd, 0, op->off, op->len);
		break;
	case STORE_SEEK_DATA:
		result = seek(file->fd, op->off, SEEK_DATA);
		break;
	case STORE_SEEK_HOLE:
		result = seek(file->fd, op->off, SEEK_HOLE);
		break;
	case STORE_SPACE:
		result = space(file->fd);
		break;
	default:
		result = -EINVAL;
	}
	if (op->kind >= STORE_WRITE && op->kind <= STORE_ALLOCATE)
		datafile_changed(ds, file, op->kind != STORE_WRITE);
	datafile_put(ds, file);
	return result;
}
