/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Data of inodes in the local store: one sparse file per inode, in a directory
 * tree two levels deep (data/xx/yy/INO). Neighbouring inode numbers share a
 * directory: files made together are made durable together.
 *
 * datafile.c: the open files, their names, what is not yet durable.
 * datafile_run.c: each operation as a call that blocks.
 * datafile_io.c: the same without blocking, for the event loop: reads, writes and
 * flushes by io_uring, the rest by a few threads.
 * datafile_fs.c: the filesystem below.
 *
 * Rules:
 *
 *  1. A file with changes that were not flushed stays open: the kernel reports a
 *     failed write-back only through descriptors that were open then.
 *  2. A name that was made or removed is durable when its directory is synced.
 *     A directory counts its changes; while one is on its way (changing) every
 *     flush there syncs it.
 *  3. A flush covers what had ended when it began: counters are read first.
 */
#ifndef ARCHIL_DATAFILE_H
#define ARCHIL_DATAFILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"

#define DATA_TOPS	256u
#define DATA_LEAVES	65536u			/* in all */
#define DATA_PATH_LEN	32	/* of any path below data/ */
#define DATA_DIRS	(DATA_LEAVES + DATA_TOPS + 1)	/* leaves, tops, data/ */

struct datafile {
	uint64_t ino;
	struct datafile *hash_next;	/* protected by datastore.lock, as all below */
	struct datafile *newer, *older;	/* the idle list: no refs, nothing to flush */
	unsigned int refs;
	bool gone;			/* not in the table; closed with the last reference */
	uint64_t changed;		/* changes that have ended */
	uint64_t flushed;		/* of these, durable */
	uint64_t reshaped;		/* the last that needs more than fdatasync */
	int fd;				/* fixed */
	uint64_t reach;			/* the event loop's: about how long it is */
};

struct datadir {
	uint32_t changed;		/* names made or removed; protected by lock */
	uint32_t synced;		/* of these, durable */
	uint32_t changing;		/* on their way */
};

struct dataring;

struct datastore {
	struct store *store;
	int dirfd;			/* data/ */
	uint64_t max_file_size;
	unsigned int max_fds;

	pthread_mutex_t lock;
	struct datafile **table;	/* by ino; protected by lock, as all below */
	unsigned int table_size;	/* a power of 2 */
	unsigned int count;		/* files in the table */
	struct datafile idle;		/* head: newest in .older, oldest in .newer */
	struct datadir *dirs;

	struct dataring *ring;		/* datafile_io.c */
};

/* datafile.c */
int datastore_open(struct store *store, unsigned int max_fds, bool after_crash,
		   struct datastore **dsp, char **errmsg);
/* Return: is everything durable? */
bool datastore_close(struct datastore *ds);
/* The open file if it is open, with a reference; NULL. Never blocks for long. */
struct datafile *datafile_find(struct datastore *ds, uint64_t ino);
/* Opens it; @create: makes it. 0, -ENOENT (no data), or another errno. */
int datafile_get(struct datastore *ds, uint64_t ino, bool create, struct datafile **filep);
void datafile_put(struct datastore *ds, struct datafile *file);
/* Unlinks it; what is open of it goes with the last reference. */
int datafile_remove(struct datastore *ds, uint64_t ino);
/* A change has ended. @reshaped: other than by a write. */
void datafile_changed(struct datastore *ds, struct datafile *file, bool reshaped);

/*
 * A flush in its steps: begin (which file, up to where; @file NULL: nothing to
 * flush), an fdatasync or fsync by the caller, end with its result, then the
 * directories.
 */
struct dataflush {
	struct datafile *file;
	uint64_t upto;
	bool full;			/* fsync, not fdatasync */
};

void datafile_flush_begin(struct datastore *ds, uint64_t ino, struct dataflush *flush);
int datafile_flush_end(struct datastore *ds, struct dataflush *flush, int result);
bool datafile_dirs_unsynced(struct datastore *ds, uint64_t ino);
int datafile_sync_dirs(struct datastore *ds, uint64_t ino);
/*
 * The same for many inodes with one sync of the filesystem: what of its directories is to become
 * durable, and that it has.
 */
void datafile_dirs_begin(struct datastore *ds, uint64_t ino, uint32_t upto[3]);
void datafile_dirs_end(struct datastore *ds, uint64_t ino, const uint32_t upto[3]);
int datafile_sync_all(struct datastore *ds);

/* datafile_run.c */

/* Is @op in range? 0, -EINVAL, -EFBIG; -EROFS when the store has failed. */
int datafile_check(struct datastore *ds, const struct store_op *op);
/* fallocate() that keeps the size and is not interrupted; @len 0 is fine. */
int datafile_fallocate(int fd, int mode, uint64_t off, uint64_t len);
/* Segments of @iov after the first @skip bytes, to be freed; NULL: no memory. */
struct iovec *datafile_rest(const struct iovec *iov, int iovcnt, uint64_t skip, int *n);
uint64_t datafile_bytes(const struct iovec *iov, int iovcnt);

/* datafile_fs.c */

/* Sets ds->max_file_size; refuses a filesystem without holes. */
int datastore_probe(struct datastore *ds, char **errmsg);
int datastore_statfs(struct datastore *ds, struct store_statfs *st);

/* datafile_io.c */
int dataring_open(struct datastore *ds, char **errmsg);
void dataring_close(struct datastore *ds);

#endif
