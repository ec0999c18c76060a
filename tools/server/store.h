/* SPDX-License-Identifier: GPL-2.0 */
/*
 * store.h - where a disk is kept: ordered keys with atomic, durable batches,
 * and the bytes of files. Everything above this line of the server knows a
 * disk only through these functions; nothing here says "local file".
 *
 * Rules:
 *
 *  1. What store_get() and an iterator without a batch show is committed and
 *     on stable storage: a power cut takes none of it back.
 *  2. One thread at a time (the committer) holds the batch. Its changes are
 *     seen through the batch at once, by everybody else after the commit.
 *  3. A commit is atomic, and durable when it returns. One that fails is fatal:
 *     the store turns read-only (store_failed()), every later commit gives
 *     -EROFS, and only opening it again ends that.
 *  4. So is a flush of data that fails: what was not flushed may be gone, and
 *     asking again would lie.
 *  5. Damage is never served: a read that meets it gives -EUCLEAN, and the
 *     store turns read-only with a message that names the place.
 *  6. Data of an inode is a sparse array of bytes from 0; what was never
 *     written, or was cut, reads as zeros or as the end. An inode without data
 *     need not exist. The length of a file is metadata: the store keeps none.
 *  7. A data operation is durable after a STORE_FLUSH of its inode that was
 *     submitted after its end. Operations on one inode run in any order: who
 *     needs an order waits for the end of the first.
 *
 * Threads: store_submit() and store_poll() belong to one thread, the event
 * loop; a batch and its iterators to the committer; all else is free for all.
 * A process that has opened a store cannot use one in a child that it forks.
 * Errors are negative errno values.
 */
#ifndef ARCHIL_STORE_H
#define ARCHIL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct store;
struct store_batch;
struct store_iter;
struct store_snap;

/* Longest key and value, in bytes; longer gives -EINVAL. Keys that begin with
 * byte 0 are the store's own.
 */
#define STORE_KEY_MAX	1024
#define STORE_VALUE_MAX	(64u << 20)
/* Data inode numbers are below this. */
#define STORE_INO_MAX	(1ULL << 48)
/* Most segments of one read or write. */
#define STORE_IOV_MAX	1024

/* ---- the directory of all disks (init, run) ------------------------------- */

/*
 * store_root_init() - make an empty store in @dir (made if missing).
 * Return: 0; -EEXIST when it is a store already, -ENOTEMPTY when it holds
 * something else, or another errno. On error *@errmsg is a sentence for the
 * user, to be freed.
 */
int store_root_init(const char *dir, char **errmsg);

/*
 * store_root_check() - is @dir a store of a version that this program reads?
 * Return: 0; -ENOENT (no such directory), -EINVAL (no store),
 * -EPROTONOSUPPORT (another version), or another errno; *@errmsg as above.
 */
int store_root_check(const char *dir, char **errmsg);

/*
 * store_root_sweep() - remove what an interrupted store_create() or
 * store_destroy() left below @dir. For the start of the server.
 * Return: 0 or a negative errno.
 */
int store_root_sweep(const char *dir);

/*
 * store_disk_path() - path of disk @name below the store @dir, to be freed;
 * NULL when out of memory. @name is a good one (disk_name_problem()).
 */
char *store_disk_path(const char *dir, const char *name);

/*
 * store_disk_each() - call @fn for each disk below @dir, in order of names.
 * @fn returns 0 to go on; anything else ends the walk and is returned.
 */
int store_disk_each(const char *dir, int (*fn)(void *arg, const char *name),
		    void *arg);

/* ---- one disk ------------------------------------------------------------- */

/* All sizes in bytes; 0 means the default. */
struct store_opts {
	size_t cache_bytes;	/* cache of metadata read; default 32 MiB */
	size_t write_buffer_bytes; /* each of two, at most; default 64 MiB. Less where the file
				    * system is small
				    */
	unsigned int max_open;	/* engine's open files; default 512 */
	unsigned int max_data_fds; /* open data files; default 4096. Soft: one
				    * with unflushed data stays open. The caller
				    * sees to RLIMIT_NOFILE
				    */
};

/*
 * store_create() - make an empty disk at @path, durably and all or nothing.
 * Return: 0; -EEXIST, or another errno; *@errmsg as in store_root_init().
 */
int store_create(const char *path, char **errmsg);

/*
 * store_open() - open the disk at @path for this process alone.
 * @opts: may be NULL.
 *
 * Return: 0 and *@storep; -ENOENT (no disk), -EBUSY (open elsewhere), -EUCLEAN
 * (damaged: *@errmsg names the file), or another errno.
 */
int store_open(const char *path, const struct store_opts *opts,
	       struct store **storep, char **errmsg);

/*
 * store_close() - close @store (NULL is fine). No operation, batch, iterator
 * or snapshot may be left. Data that was not flushed may or may not survive.
 */
void store_close(struct store *store);

/*
 * store_destroy() - delete the disk at @path and everything in it.
 * Return: 0; -ENOENT, -EBUSY (it is open), or another errno; *@errmsg.
 */
int store_destroy(const char *path, char **errmsg);

/*
 * store_check() - read all metadata of the open @store and verify it.
 * @line: called with one line (no newline) for each damage found.
 *
 * Runs beside everything else, for as long as reading it all takes. Damage
 * found turns the store read-only.
 * Return: the number of lines, or a negative errno.
 */
int store_check(struct store *store, void (*line)(void *arg, const char *text),
		void *arg);

/*
 * store_check_path() - the same for a disk that is not open (-EBUSY if it is).
 * Goes on after damage that makes store_open() refuse, as far as it can.
 * *@errmsg as in store_root_init().
 */
int store_check_path(const char *path,
		     void (*line)(void *arg, const char *text), void *arg,
		     char **errmsg);

/* 0, or the negative errno for which @store turned read-only; -ENOSPC: nothing is wrong with
 * it, and all is well when it is opened again with room around it. Cheap.
 */
int store_failed(const struct store *store);

/* Why: a sentence that lives as long as @store; NULL while all is well. */
const char *store_failure(const struct store *store);

struct store_statfs {
	uint64_t total;		/* bytes below this disk, shared with others */
	uint64_t free;
	uint64_t avail;		/* of these, what may be given out: some is kept
				 * back, so that what was accepted can be committed
				 */
	uint64_t kept;		/* of what is kept back: for changes that are not in tables yet */
	uint64_t max_file_size;	/* highest end of a file's data, in bytes */
};

/* store_statfs() - 0 or a negative errno. Cheap enough for each request. */
int store_statfs(struct store *store, struct store_statfs *st);

/*
 * store_collect() - say what room there is for collecting garbage
 * @spare: bytes of avail that nobody needs otherwise
 *
 * What it may take at a time goes by this. One thread; cheap enough for each request, but once in
 * a while it writes that down, which takes as long as a commit.
 *
 * Return: bytes of it that are not to be given out until the next call.
 */
uint64_t store_collect(struct store *store, uint64_t spare);

/*
 * store_thread() - for each thread that reads or commits much, once: what it does is not
 * counted then. Counting is 7 % of a commit of small files.
 */
void store_thread(void);

/* ---- committed state ------------------------------------------------------ */

/* Result of a get; valid until store_value_put(). */
struct store_value {
	const void *data;
	size_t len;
	void *pin;			/* private */
};

void store_value_put(struct store_value *val);

/*
 * store_snapshot() - the committed state of this moment, to be looked at more
 * than once. Holds old versions in the store: keep it for a request, not for
 * a client. NULL when out of memory.
 */
struct store_snap *store_snapshot(struct store *store);
void store_snap_put(struct store_snap *snap);

/*
 * store_commit_nr() - number of the last commit seen in @snap (NULL: of the last
 * commit). Commits are numbered from 1 without a gap, over restarts too.
 * Return: 0 and *@nr, or a negative errno.
 */
int store_commit_nr(struct store *store, struct store_snap *snap, uint64_t *nr);

/*
 * store_get() - value of @key in @snap (NULL: now).
 * Return: 0 and *@val; -ENOENT, -EUCLEAN (damaged), -EIO, -ENOMEM.
 */
int store_get(struct store *store, struct store_snap *snap,
	      const void *key, size_t klen, struct store_value *val);

/*
 * store_iter_open() - walk the keys of the committed state in byte order.
 * @snap: NULL takes the state of this moment; else it must outlive the iterator.
 * @hi, @hilen: the walk ends before this key; @hilen 0: no end.
 *
 * The iterator stands nowhere until sought. NULL when out of memory.
 */
struct store_iter *store_iter_open(struct store *store, struct store_snap *snap,
				   const void *hi, size_t hilen);

/*
 * store_batch_iter_open() - the same through the open batch, committer only.
 * The batch may be changed while the iterator is open: each step continues
 * after the key last returned in the batch as it then is. Close it before
 * commit, rollback or clear.
 */
struct store_iter *store_batch_iter_open(struct store_batch *batch,
					 const void *hi, size_t hilen);

/*
 * store_iter_seek() - go to the first key at or after @key.
 * store_iter_next() - go to the next.
 *
 * Return: 1 when it stands on a key, 0 at the end, -EUCLEAN, -EIO, -ENOMEM.
 */
int store_iter_seek(struct store_iter *it, const void *key, size_t klen);
int store_iter_next(struct store_iter *it);

/* Where the iterator stands; valid until the next step or change of the batch. */
const void *store_iter_key(const struct store_iter *it, size_t *klen);
const void *store_iter_value(const struct store_iter *it, size_t *vlen);

void store_iter_close(struct store_iter *it);

/* ---- the batch ------------------------------------------------------------ */

/* store_batch_new() - an empty batch, NULL when out of memory. One a store. */
struct store_batch *store_batch_new(struct store *store);
void store_batch_free(struct store_batch *batch);

/* store_batch_get() - as store_get(), with the changes in the batch. */
int store_batch_get(struct store_batch *batch, const void *key, size_t klen,
		    struct store_value *val);

/* store_batch_get_own() - the same, but -ENODATA for what the batch has not changed. */
int store_batch_get_own(struct store_batch *batch, const void *key, size_t klen,
			struct store_value *val);

/*
 * store_batch_put(), store_batch_delete() - change the batch. Deleting what is
 * not there is no error. Return: 0, -EINVAL (length), -ENOMEM.
 */
int store_batch_put(struct store_batch *batch, const void *key, size_t klen,
		    const void *val, size_t vlen);
int store_batch_delete(struct store_batch *batch, const void *key, size_t klen);

/*
 * store_batch_rewrite() - as store_batch_put(), for what is put again and again: it takes no
 * memory each time. Pointers to the key's value in the batch are not good any more. @vlen: not 0.
 */
int store_batch_rewrite(struct store_batch *batch, const void *key, size_t klen,
			const void *val, size_t vlen);

/*
 * store_batch_savepoint() - remember the state of the batch.
 * store_batch_rollback() - return to the last savepoint and forget it; it costs
 * what was done since. 0, or -EINVAL when there is none.
 *
 * Savepoints nest. One that is not rolled back to goes with the commit.
 */
void store_batch_savepoint(struct store_batch *batch);
int store_batch_rollback(struct store_batch *batch);

/*
 * Bytes of keys and values that were put in it, replaced ones too unless they were rewritten: for
 * bounding a group.
 */
size_t store_batch_bytes(const struct store_batch *batch);

/* The number that this batch gets when committed; see store_commit_nr(). */
uint64_t store_batch_nr(const struct store_batch *batch);

/*
 * store_batch_commit() - make the batch durable, atomically, then visible; the
 * batch is empty afterwards. An empty batch is not a commit: no write, no number.
 * Return: 0; -EROFS when the store had failed before; another errno when it
 * failed now (rule 3): what was in it may or may not be there after a restart.
 */
int store_batch_commit(struct store_batch *batch);

/*
 * store_batch_settle() - after a large commit, when it was answered: sees to it that
 * what the store needs for that besides is given back, whether another commit
 * comes or not. May wait for what earlier large commits have left to do.
 */
void store_batch_settle(struct store_batch *batch);

/* store_batch_clear() - forget all changes and savepoints. */
void store_batch_clear(struct store_batch *batch);

/* ---- data ----------------------------------------------------------------- */

enum store_op_kind {
	/* Fill @iov from @off. Result: bytes read, short only at the end of
	 * what was ever written.
	 */
	STORE_READ,
	/* Write all of @iov at @off. Result: bytes, all of them, or an error;
	 * after an error any part may be written.
	 */
	STORE_WRITE,
	/* Make everything that was done to @ino durable, its removal included. */
	STORE_FLUSH,
	/* Forget all bytes from @off on. */
	STORE_TRUNCATE,
	/* Forget @len bytes from @off. */
	STORE_PUNCH,
	/* Set space aside for @len bytes from @off: writing there cannot give
	 * -ENOSPC. -EOPNOTSUPP where the store cannot.
	 */
	STORE_ALLOCATE,
	/* Forget all of @ino. */
	STORE_REMOVE,
	/* Result: first offset at or after @off that holds data, or lies in a
	 * hole; the end of the data's last block counts as hole. SEEK_DATA gives -ENXIO when
	 * there is none; SEEK_HOLE gives @off at or after the end.
	 */
	STORE_SEEK_DATA,
	STORE_SEEK_HOLE,
	/* Result: bytes of space that @ino takes; of what is flushed, exactly. */
	STORE_SPACE,
};

/*
 * One operation on data. Results beside those above: 0, or -EINVAL (range),
 * -EFBIG, -ENOSPC, -EMFILE, -ENOMEM, -EIO, -EROFS (the store has failed; not for
 * reads). The caller fills in the first part and keeps op, iov and buffers
 * until @done.
 */
struct store_op {
	enum store_op_kind kind;
	int iovcnt;
	uint64_t ino;
	uint64_t off;			/* bytes */
	uint64_t len;			/* bytes; not for READ and WRITE */
	const struct iovec *iov;
	void (*done)(struct store_op *op, int64_t result);

	/* private to the store */
	struct store_op *next;
	struct store_op *group;		/* flushes that are done together */
	uint32_t dirs[3];
	int stage;
	bool full;
	void *file;
	struct iovec *rest;
	int restcnt;
	int64_t result;
	uint64_t mark;
	uint64_t moved;
};

/*
 * store_submit() - start @op. Never blocks and never fails: op->done() is called
 * by a later store_poll(), exactly once, in no particular order.
 */
void store_submit(struct store *store, struct store_op *op);

/*
 * store_poll() - pass on what was submitted, and call done() of what has ended;
 * done() may submit again. Call it once per turn of the loop, before sleeping,
 * and whenever store_fd() is readable. Return: number of operations ended.
 */
unsigned int store_poll(struct store *store);

/* store_fd() - readable when store_poll() has something to do. Fixed; not to be
 * read or closed by the caller.
 */
int store_fd(const struct store *store);

/* store_run() - carry out @op (done is not used) and wait for it. Any thread. */
int64_t store_run(struct store *store, struct store_op *op);

/*
 * store_data_each() - call @fn for each inode that has data, in no order;
 * @bytes: space it takes. @fn returns 0 to go on. For checks; it is slow.
 * Return: 0, what @fn returned, or a negative errno.
 */
int store_data_each(struct store *store,
		    int (*fn)(void *arg, uint64_t ino, uint64_t bytes),
		    void *arg);

#endif
