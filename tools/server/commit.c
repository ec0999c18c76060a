// SPDX-License-Identifier: GPL-2.0
#include "commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "disk.h"
#include "server.h"
#include "session.h"

enum {
	GROUP_WORKS	= 4096,
	GROUP_BYTES	= 16 << 20,
};

/* A commit's worth of work, on its way to the loop. */
struct group {
	struct loop_call call;
	struct disk *disk;
	struct works works;
	struct fs_intents intents;
	uint64_t *links;	/* inodes whose owners are told of a link count */
	size_t n_links;
	uint64_t commit;
	int err;
};

void commit_init(struct commit *commit)
{
	pthread_mutex_init(&commit->lock, NULL);
	pthread_cond_init(&commit->wake, NULL);
	STAILQ_INIT(&commit->queue);
	STAILQ_INIT(&commit->parked);
}

void commit_destroy(struct commit *commit)
{
	pthread_mutex_destroy(&commit->lock);
	pthread_cond_destroy(&commit->wake);
}

void commit_submit(struct disk *disk, struct work *work)
{
	struct commit *commit = &disk->commit;

	work->disk = disk;
	work->ran = false;
	if (!commit->running) {
		work->done(work, -EROFS);
		return;
	}
	commit->pending++;
	pthread_mutex_lock(&commit->lock);
	if (STAILQ_EMPTY(&commit->queue))
		pthread_cond_signal(&commit->wake);
	STAILQ_INSERT_TAIL(&commit->queue, work, next);
	pthread_mutex_unlock(&commit->lock);
}

void commit_kick(struct disk *disk)
{
	struct commit *commit = &disk->commit;

	pthread_mutex_lock(&commit->lock);
	commit->kicked = true;
	pthread_cond_signal(&commit->wake);
	pthread_mutex_unlock(&commit->lock);
}

/* In the loop: the effects first, then the answers. */
static void group_done(struct loop_call *call)
{
	struct group *group = container_of(call, struct group, call);
	struct disk *disk = group->disk;
	struct work *work;

	data_intents(disk, &group->intents);
	while ((work = STAILQ_FIRST(&group->works))) {
		STAILQ_REMOVE_HEAD(&group->works, next);
		work->commit = group->commit;
		disk->commit.pending--;
		work->done(work, group->err);
	}
	if (group->n_links)
		session_notify_links(disk, group->links, group->n_links);
	/* not before: the state that readers see has all of them, and what we know would be of some */
	if (group->commit > disk->settled)
		disk->settled = group->commit;
	data_settled(disk);
	free(group->links);
	free(group);
}

static struct group *group_new(struct disk *disk)
{
	struct group *group = calloc(1, sizeof(*group));

	if (!group)
		server_oom();
	group->call.run = group_done;
	group->disk = disk;
	STAILQ_INIT(&group->works);
	STAILQ_INIT(&group->intents);
	return group;
}

/* Applies what is on works to group; what is put aside goes to parked and again. */
static void apply_all(struct group *group, struct works *works, struct fs_txn *txn,
		      struct works *parked, struct works *again)
{
	unsigned int n = 0;
	struct work *work;

	while ((work = STAILQ_FIRST(works))) {
		if (n++ >= GROUP_WORKS || fs_txn_bytes(txn) >= GROUP_BYTES)
			return;
		STAILQ_REMOVE_HEAD(works, next);
		switch (work->apply(work, txn)) {
		case WORK_PARK:
			STAILQ_INSERT_TAIL(parked, work, next);
			break;
		case WORK_AGAIN:
			STAILQ_INSERT_TAIL(again, work, next);
			break;
		default:
			work->ran = true;
			STAILQ_INSERT_TAIL(&group->works, work, next);
		}
	}
}

/* The last commit. */
static uint64_t newest(struct disk *disk)
{
	struct fs_view *view = fs_view_get(disk->fs);
	uint64_t nr;

	if (!view)
		server_oom();
	nr = fs_view_commit(view);
	fs_view_put(view);
	return nr;
}

static int commit_group(struct group *group, struct fs_txn *txn)
{
	struct disk *disk = group->disk;
	const uint64_t *links;
	uint64_t nr = fs_txn_nr(txn);
	int rc = fs_txn_commit(txn);

	if (rc)
		return rc;
	fs_txn_intents(txn, &group->intents);
	links = fs_txn_links(txn, &group->n_links);
	if (group->n_links) {
		group->links = malloc(group->n_links * sizeof(*links));
		if (!group->links)
			server_oom();
		memcpy(group->links, links, group->n_links * sizeof(*links));
	}
	/* one that changed nothing was no commit: its number is yet to come */
	group->commit = newest(disk);
	if (group->commit == nr)
		disk->stats.commits++;
	return 0;
}

/* A disk that has failed answers everything that was asked, with nothing done. */
static void fail_all(struct group *group, struct works *works, int err)
{
	struct work *work;

	while ((work = STAILQ_FIRST(works))) {
		STAILQ_REMOVE_HEAD(works, next);
		work->ran = false;
		STAILQ_INSERT_TAIL(&group->works, work, next);
	}
	group->err = err;
}

static void run_group(struct disk *disk, struct works *works)
{
	struct works parked = STAILQ_HEAD_INITIALIZER(parked);
	struct works again = STAILQ_HEAD_INITIALIZER(again);
	struct commit *commit = &disk->commit;
	struct group *group = group_new(disk);
	struct fs_txn *txn;

	if (store_failed(disk->store)) {
		fail_all(group, works, -EROFS);
		goto post;
	}
	txn = fs_txn_begin(disk->fs, realtime_ns());
	if (!txn)
		server_oom();
	apply_all(group, works, txn, &parked, &again);
	group->err = commit_group(group, txn);
	if (group->err) {
		fail_all(group, &parked, -EIO);
		fail_all(group, &again, -EIO);
	}
post:
	pthread_mutex_lock(&commit->lock);
	STAILQ_CONCAT(&commit->parked, &parked);
	STAILQ_CONCAT(&again, works);
	STAILQ_CONCAT(&again, &commit->queue);
	STAILQ_CONCAT(&commit->queue, &again);
	pthread_mutex_unlock(&commit->lock);
	loop_post(&disk->server->loop, &group->call);
}

/* Takes what is to be done next; false: stopped, and nothing is left. */
static bool next_works(struct disk *disk, struct works *works, bool *last_try)
{
	struct commit *commit = &disk->commit;

	for (;;) {
		bool stopping = commit->stop && STAILQ_EMPTY(&commit->queue);

		if (stopping && (*last_try || STAILQ_EMPTY(&commit->parked)))
			return false;
		if (commit->kicked || stopping || store_failed(disk->store)) {
			/* in front: they came before what is queued */
			commit->kicked = false;
			*last_try = stopping;
			STAILQ_CONCAT(&commit->parked, &commit->queue);
			STAILQ_CONCAT(&commit->queue, &commit->parked);
		}
		if (!STAILQ_EMPTY(&commit->queue))
			break;
		pthread_cond_wait(&commit->wake, &commit->lock);
	}
	STAILQ_INIT(works);
	STAILQ_CONCAT(works, &commit->queue);
	return true;
}

static void *committer(void *arg)
{
	struct disk *disk = arg;
	struct commit *commit = &disk->commit;
	struct group *group;
	struct works works;
	bool last_try = false;

	prctl(PR_SET_NAME, "commit");
	store_thread();
	pthread_mutex_lock(&commit->lock);
	while (next_works(disk, &works, &last_try)) {
		pthread_mutex_unlock(&commit->lock);
		run_group(disk, &works);
		fs_settle(disk->fs);
		pthread_mutex_lock(&commit->lock);
	}
	pthread_mutex_unlock(&commit->lock);

	group = group_new(disk);
	fail_all(group, &commit->parked, -EROFS);
	loop_post(&disk->server->loop, &group->call);
	return NULL;
}

int commit_start(struct disk *disk)
{
	int rc = pthread_create(&disk->commit.thread, NULL, committer, disk);

	disk->commit.running = !rc;
	return -rc;
}

void commit_stop(struct disk *disk)
{
	struct commit *commit = &disk->commit;

	if (!commit->running)
		return;
	pthread_mutex_lock(&commit->lock);
	commit->stop = true;
	pthread_cond_signal(&commit->wake);
	pthread_mutex_unlock(&commit->lock);
	pthread_join(commit->thread, NULL);
	commit->running = false;
}

bool commit_idle(struct disk *disk)
{
	return !disk->commit.pending;
}

int commit_now(struct disk *disk, struct work *work)
{
	struct fs_txn *txn;
	int again, rc;

	work->disk = disk;
	do {
		if (store_failed(disk->store))
			return -EROFS;
		txn = fs_txn_begin(disk->fs, realtime_ns());
		if (!txn)
			return -ENOMEM;
		again = work->apply(work, txn);
		rc = fs_txn_commit(txn);
		disk->settled = newest(disk);
	} while (!rc && again == WORK_AGAIN);
	return rc;
}
