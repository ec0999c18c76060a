// SPDX-License-Identifier: GPL-2.0
/*
 * Data operations for the event loop. An operation passes these stages:
 *
 *	submit -> [thread: open] -> ring -> [thread: directories] -> done
 *	submit -> [thread: all of it] -> done
 *
 * Many flushes at the same time are one sync of the whole filesystem, by a thread: for the
 * filesystem that is one commit and not one for each.
 *
 * Reads, writes and flushes of an open file go straight to the ring. What could
 * block the loop (making and opening files, cutting, syncing directories) goes
 * through a few threads, started when first needed.
 */
#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "datafile.h"
#include "store_local.h"

#define RING_SQ		256u
#define RING_CQ		2048u	/* most operations in the ring */
#define THREADS		4u
#define STACK_BYTES	(256u << 10)
#define POLL_ROUNDS	8
#define GROUP_FLUSHES	8u	/* so many and more are done together */
#define GROW_BYTES	(64u << 10)	/* so much and more is written into a file that has grown */

enum stage {
	STAGE_RUN,		/* thread: store_run() */
	STAGE_OPEN,		/* thread: open the file, then the ring */
	STAGE_DIRS,		/* thread: sync the directories of a flush */
	STAGE_SYNC,		/* thread: sync the filesystem for a group of flushes */
	STAGE_RING,
	STAGE_ENDED,
};

struct op_list {
	struct store_op *first, **last;
};

struct dataring {
	struct datastore *ds;
	struct io_uring ring;		/* all of these: the event loop's */
	unsigned int in_ring;
	struct op_list waiting;		/* for room in the ring */
	struct op_list flushes;		/* to be begun, alone or as a group */
	unsigned int nflushes;
	bool syncing;			/* a group is on its way */
	struct op_list ended;		/* for done() */
	int efd;			/* the ring and the threads signal it */

	pthread_mutex_t lock;
	pthread_cond_t work;
	struct op_list jobs;		/* protected by lock, as all below */
	struct op_list back;		/* from the threads */
	unsigned int njobs;
	unsigned int nidle;		/* threads waiting for jobs */
	unsigned int nthreads;
	bool stop;
	pthread_t threads[THREADS];
};

static void list_init(struct op_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct op_list *list, struct store_op *op)
{
	op->next = NULL;
	*list->last = op;
	list->last = &op->next;
}

static struct store_op *list_take(struct op_list *list)
{
	struct store_op *op = list->first;

	if (!op)
		return NULL;
	list->first = op->next;
	if (!list->first)
		list->last = &list->first;
	return op;
}

static void signal_loop(struct dataring *dr)
{
	uint64_t one = 1;

	/* fails only when it is readable anyway */
	if (write(dr->efd, &one, sizeof(one)) < 0)
		return;
}

/* ---- threads ---------------------------------------------------------------- */

static void work_on(struct dataring *dr, struct store_op *op)
{
	struct datafile *file = NULL;

	switch (op->stage) {
	case STAGE_OPEN:
		op->result = datafile_get(dr->ds, op->ino, op->kind == STORE_WRITE, &file);
		op->file = file;
		op->stage = op->result ? STAGE_ENDED : STAGE_RING;
		if (op->result == -ENOENT)
			op->result = 0;		/* nothing to read */
		break;
	case STAGE_SYNC:
		op->result = datafile_sync_all(dr->ds);
		break;
	case STAGE_DIRS:
		op->result = datafile_sync_dirs(dr->ds, op->ino);
		op->stage = STAGE_ENDED;
		break;
	default:
		op->result = store_run(dr->ds->store, op);
		op->stage = STAGE_ENDED;
	}
}

static void *thread_main(void *arg)
{
	struct dataring *dr = arg;
	struct store_op *op;
	bool first;

	prctl(PR_SET_NAME, "data");
	pthread_mutex_lock(&dr->lock);
	for (;;) {
		while (!dr->stop && !dr->jobs.first) {
			dr->nidle++;
			pthread_cond_wait(&dr->work, &dr->lock);
			dr->nidle--;
		}
		op = list_take(&dr->jobs);
		if (!op)
			break;
		dr->njobs--;
		pthread_mutex_unlock(&dr->lock);
		work_on(dr, op);
		pthread_mutex_lock(&dr->lock);
		first = !dr->back.first;
		list_add(&dr->back, op);
		if (first)
			signal_loop(dr);
	}
	pthread_mutex_unlock(&dr->lock);
	return NULL;
}

/* With dr->lock held. */
static void start_thread(struct dataring *dr)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&dr->threads[dr->nthreads], &attr, thread_main, dr))
		dr->nthreads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

static void give_to_thread(struct dataring *dr, struct store_op *op, enum stage stage)
{
	bool alone;

	op->stage = stage;
	pthread_mutex_lock(&dr->lock);
	if (dr->njobs >= dr->nidle && dr->nthreads < THREADS)
		start_thread(dr);
	alone = !dr->nthreads;
	if (!alone) {
		list_add(&dr->jobs, op);
		dr->njobs++;
		pthread_cond_signal(&dr->work);
	}
	pthread_mutex_unlock(&dr->lock);
	if (!alone)
		return;
	/* no thread could be started: better late than never */
	work_on(dr, op);
	pthread_mutex_lock(&dr->lock);
	list_add(&dr->back, op);
	signal_loop(dr);
	pthread_mutex_unlock(&dr->lock);
}

/* ---- the ring --------------------------------------------------------------- */

static void end(struct dataring *dr, struct store_op *op, int64_t result)
{
	if (result == -ENOSPC && op->kind != STORE_ALLOCATE)
		store_fail(dr->ds->store, result, "data of inode %" PRIu64 ": %s", op->ino,
			   strerror(ENOSPC));
	op->result = result;
	op->stage = STAGE_ENDED;
	list_add(&dr->ended, op);
}

static void to_ring(struct dataring *dr, struct store_op *op)
{
	op->stage = STAGE_RING;
	list_add(&dr->waiting, op);
}

static void end_rw(struct dataring *dr, struct store_op *op, int64_t result)
{
	if (op->kind == STORE_WRITE)
		datafile_changed(dr->ds, op->file, false);
	datafile_put(dr->ds, op->file);
	free(op->rest);
	end(dr, op, result);
}

static void rw_moved(struct dataring *dr, struct store_op *op, int res)
{
	uint64_t want = datafile_bytes(op->iov, op->iovcnt);

	if (res == -EINTR || res == -EAGAIN || res == -ECANCELED) {
		to_ring(dr, op);
		return;
	}
	if (res < 0) {
		end_rw(dr, op, res);
		return;
	}
	op->moved += res;
	if (op->moved == want || (!res && op->kind == STORE_READ)) {
		end_rw(dr, op, op->moved);
		return;
	}
	if (!res) {
		end_rw(dr, op, -EIO);
		return;
	}
	free(op->rest);
	op->rest = datafile_rest(op->iov, op->iovcnt, op->moved, &op->restcnt);
	if (op->rest)
		to_ring(dr, op);
	else
		end_rw(dr, op, -ENOMEM);
}

static void flushed(struct dataring *dr, struct store_op *op, int res)
{
	struct dataflush flush = { op->file, op->mark, op->full };
	int err;

	if (res == -EINTR || res == -EAGAIN) {
		to_ring(dr, op);
		return;
	}
	err = datafile_flush_end(dr->ds, &flush, res);
	if (!err && datafile_dirs_unsynced(dr->ds, op->ino))
		give_to_thread(dr, op, STAGE_DIRS);
	else
		end(dr, op, err);
}

/*
 * A filesystem that grows a file page by page pays for each: the last byte of a large write goes
 * before the rest. That one failing ends the link, and the write comes back to be done by itself
 * (rw_moved(), ECANCELED).
 */
static void prepare_last_byte(struct dataring *dr, const struct datafile *file,
			      const struct iovec *iov, int n, uint64_t end)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&dr->ring);

	while (!iov[n - 1].iov_len)
		n--;
	io_uring_prep_write(sqe, file->fd, (char *)iov[n - 1].iov_base + iov[n - 1].iov_len - 1, 1,
			    end - 1);
	io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
	io_uring_sqe_set_data(sqe, NULL);
	dr->in_ring++;
}

static bool prepare(struct dataring *dr, struct store_op *op)
{
	const struct iovec *iov = op->rest ? op->rest : op->iov;
	int n = op->rest ? op->restcnt : op->iovcnt;
	uint64_t bytes = op->kind == STORE_WRITE ? datafile_bytes(iov, n) : 0;
	uint64_t end = op->off + op->moved + bytes;
	struct datafile *file = op->file;
	struct io_uring_sqe *sqe;

	if (io_uring_sq_space_left(&dr->ring) < 2)
		return false;
	if (bytes && end > file->reach) {
		if (bytes >= GROW_BYTES)
			prepare_last_byte(dr, file, iov, n, end);
		file->reach = end;
	}
	sqe = io_uring_get_sqe(&dr->ring);
	switch (op->kind) {
	case STORE_READ:
		io_uring_prep_readv(sqe, file->fd, iov, n, op->off + op->moved);
		break;
	case STORE_WRITE:
		io_uring_prep_writev(sqe, file->fd, iov, n, op->off + op->moved);
		break;
	default:
		io_uring_prep_fsync(sqe, file->fd, op->full ? 0 : IORING_FSYNC_DATASYNC);
	}
	io_uring_sqe_set_data(sqe, op);
	dr->in_ring++;
	return true;
}

static void fill_ring(struct dataring *dr)
{
	bool any = false;

	/* each may be two */
	while (dr->waiting.first && dr->in_ring + 1 < RING_CQ) {
		if (!prepare(dr, dr->waiting.first)) {
			if (!any)
				break;
			/* the queue is full: pass it on and go on */
			io_uring_submit(&dr->ring);
			any = false;
			continue;
		}
		list_take(&dr->waiting);
		any = true;
	}
	if (any || io_uring_sq_ready(&dr->ring))
		io_uring_submit(&dr->ring);
}

static void reap_ring(struct dataring *dr)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&dr->ring, &cqe)) {
		struct store_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&dr->ring, cqe);
		dr->in_ring--;
		if (!op)
			continue;	/* prepare_last_byte() */
		if (op->kind == STORE_FLUSH)
			flushed(dr, op, res);
		else
			rw_moved(dr, op, res);
	}
}

/* A group's filesystem is synced. */
static void group_synced(struct dataring *dr, struct store_op *op)
{
	struct store_op *next;
	int err = op->result;

	dr->syncing = false;
	for (; op; op = next) {
		struct dataflush flush = { op->file, op->mark, op->full };

		next = op->group;
		if (!err)
			datafile_dirs_end(dr->ds, op->ino, op->dirs);
		if (op->file)
			datafile_flush_end(dr->ds, &flush, err);
		end(dr, op, err);
	}
}

static void reap_threads(struct dataring *dr)
{
	struct store_op *op, *next;

	pthread_mutex_lock(&dr->lock);
	op = dr->back.first;
	list_init(&dr->back);
	pthread_mutex_unlock(&dr->lock);
	for (; op; op = next) {
		next = op->next;
		if (op->stage == STAGE_RING)
			to_ring(dr, op);
		else if (op->stage == STAGE_SYNC)
			group_synced(dr, op);
		else
			end(dr, op, op->result);
	}
}

/* ---- what the loop calls ------------------------------------------------------ */

static void start_rw(struct dataring *dr, struct store_op *op)
{
	if (!datafile_bytes(op->iov, op->iovcnt)) {
		end(dr, op, 0);
		return;
	}
	op->file = datafile_find(dr->ds, op->ino);
	if (op->file)
		to_ring(dr, op);
	else
		give_to_thread(dr, op, STAGE_OPEN);
}

static void begin_flush(struct dataring *dr, struct store_op *op)
{
	struct dataflush flush;

	datafile_flush_begin(dr->ds, op->ino, &flush);
	op->file = flush.file;
	op->mark = flush.upto;
	op->full = flush.full;
}

static void start_flush(struct dataring *dr, struct store_op *op)
{
	begin_flush(dr, op);
	if (op->file)
		to_ring(dr, op);
	else if (datafile_dirs_unsynced(dr->ds, op->ino))
		give_to_thread(dr, op, STAGE_DIRS);
	else
		end(dr, op, 0);
}

static void start_group(struct dataring *dr)
{
	struct store_op *op, *group = NULL;

	while ((op = list_take(&dr->flushes))) {
		datafile_dirs_begin(dr->ds, op->ino, op->dirs);
		begin_flush(dr, op);
		op->group = group;
		group = op;
	}
	if (!group)
		return;
	dr->syncing = true;
	give_to_thread(dr, group, STAGE_SYNC);
}

static void start_flushes(struct dataring *dr)
{
	struct store_op *op;

	/* one group at a time: what comes meanwhile is the next */
	if (dr->nflushes >= GROUP_FLUSHES && dr->syncing)
		return;
	if (dr->nflushes >= GROUP_FLUSHES)
		start_group(dr);
	while ((op = list_take(&dr->flushes)))
		start_flush(dr, op);
	dr->nflushes = 0;
}

static void add_flush(struct dataring *dr, struct store_op *op)
{
	list_add(&dr->flushes, op);
	if (!dr->nflushes++)
		signal_loop(dr);
}

void store_submit(struct store *store, struct store_op *op)
{
	struct dataring *dr = store->data->ring;
	int err = datafile_check(store->data, op);
	bool quiet = !dr->ended.first;

	op->next = NULL;
	op->file = NULL;
	op->rest = NULL;
	op->moved = 0;
	if (err)
		end(dr, op, err);
	else if (op->kind == STORE_READ || op->kind == STORE_WRITE)
		start_rw(dr, op);
	else if (op->kind == STORE_FLUSH)
		add_flush(dr, op);
	else
		give_to_thread(dr, op, STAGE_RUN);
	/* the operation may be a thread's by now: not to be looked at */
	if (quiet && dr->ended.first)
		signal_loop(dr);
}

unsigned int store_poll(struct store *store)
{
	struct dataring *dr = store->data->ring;
	struct store_op *op, *next;
	unsigned int n = 0;
	uint64_t count;

	if (read(dr->efd, &count, sizeof(count)) < 0)
		count = 0;	/* nobody has signalled; looking costs little */
	for (int round = 0; round < POLL_ROUNDS; round++) {
		reap_threads(dr);
		start_flushes(dr);
		fill_ring(dr);
		reap_ring(dr);
		op = dr->ended.first;
		list_init(&dr->ended);
		if (!op)
			break;
		for (; op; op = next) {
			next = op->next;
			n++;
			op->done(op, op->result);	/* may free it */
		}
	}
	start_flushes(dr);
	fill_ring(dr);
	if (dr->ended.first)
		signal_loop(dr);
	return n;
}

int store_fd(const struct store *store)
{
	return store->data->ring->efd;
}

int dataring_open(struct datastore *ds, char **errmsg)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CQSIZE, .cq_entries = RING_CQ };
	struct dataring *dr = calloc(1, sizeof(*dr));
	int err;

	if (!dr)
		return store_say(errmsg, -ENOMEM, "out of memory");
	dr->ds = ds;
	list_init(&dr->waiting);
	list_init(&dr->flushes);
	list_init(&dr->ended);
	list_init(&dr->jobs);
	list_init(&dr->back);
	dr->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dr->efd < 0) {
		err = store_say(errmsg, -errno, "cannot make an eventfd: %m");
		goto out_free;
	}
	err = io_uring_queue_init_params(RING_SQ, &dr->ring, &params);
	if (err) {
		store_say(errmsg, err, "cannot use io_uring: %s", strerror(-err));
		goto out_close;
	}
	err = io_uring_register_eventfd(&dr->ring, dr->efd);
	if (err) {
		store_say(errmsg, err, "cannot use io_uring: %s", strerror(-err));
		goto out_ring;
	}
	pthread_mutex_init(&dr->lock, NULL);
	pthread_cond_init(&dr->work, NULL);
	ds->ring = dr;
	return 0;
out_ring:
	io_uring_queue_exit(&dr->ring);
out_close:
	close(dr->efd);
out_free:
	free(dr);
	return err;
}

void dataring_close(struct datastore *ds)
{
	struct dataring *dr = ds->ring;

	pthread_mutex_lock(&dr->lock);
	dr->stop = true;
	pthread_cond_broadcast(&dr->work);
	pthread_mutex_unlock(&dr->lock);
	for (unsigned int i = 0; i < dr->nthreads; i++)
		pthread_join(dr->threads[i], NULL);
	io_uring_queue_exit(&dr->ring);
	close(dr->efd);
	pthread_cond_destroy(&dr->work);
	pthread_mutex_destroy(&dr->lock);
	free(dr);
	ds->ring = NULL;
}
