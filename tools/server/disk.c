// SPDX-License-Identifier: GPL-2.0
#include "disk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log.h"
#include "server.h"
#include "session.h"
#include "space.h"

enum {
	REAP_EVERY_MS	= 5000,
	REAP_STEPS	= 4096,
};

struct disk *disk_get(struct disk *disk)
{
	disk->refs++;
	return disk;
}

void disk_put(struct disk *disk)
{
	disk->refs--;
}

/* ---- loading ---- */

static int load_session(void *ctx, const struct fs_session *rec)
{
	struct session *ses = session_new(ctx, rec);

	ses->granted = UINT64_MAX;
	session_insert(ses);
	return 0;
}

static int load_slot(void *ctx, u32 slot, u32 seq, const void *reply, size_t len)
{
	return slot_load(ctx, slot, seq, reply, len);
}

struct load_delegs {
	struct disk *disk;
	struct fs_view *view;
	struct fs_chain chain;
};

static int load_deleg(void *ctx, const struct fs_deleg *rec)
{
	struct load_delegs *load = ctx;
	struct session *ses = session_find(load->disk, rec->session);
	int rc;

	if (!ses) {
		log_err("disk %s: delegation %llu belongs to no session", load->disk->name,
			(unsigned long long)rec->number);
		return -EBADMSG;
	}
	rc = fs_chain(load->view, rec->ino, &load->chain);
	if (!rc)
		rc = dlg_insert(load->disk, &load->chain, dlg_new(ses, rec));
	if (rc)
		log_err("disk %s: delegation %llu on inode %llu: %s", load->disk->name,
			(unsigned long long)rec->number, (unsigned long long)rec->ino,
			strerror(-rc));
	return rc;
}

static int load_tomb(void *ctx, const struct fs_tomb *tomb)
{
	struct session *ses = session_find(ctx, tomb->session);

	if (!ses)
		return 0;
	numbers_add(&ses->tombs, tomb->number);
	if (tomb->how == FS_TAKEN)
		numbers_add(&ses->taken, tomb->number);
	return 0;
}

static int load(struct disk *disk)
{
	struct fs_view *view = fs_view_get(disk->fs);
	struct load_delegs delegs = { .disk = disk, .view = view };
	struct fs_disk_info info;
	struct session *ses;
	int rc;

	if (!view)
		return -ENOMEM;
	disk->settled = fs_view_commit(view);
	rc = fs_disk_info(view, &info);
	if (rc)
		goto out;
	disk->verifier = info.verifier;
	disk->created = info.created;
	rc = fs_sessions_each(view, load_session, disk);
	if (rc)
		goto out;
	TAILQ_FOREACH(ses, &disk->sessions, all) {
		rc = fs_slots_each(view, ses->rec.id, load_slot, ses);
		if (rc)
			goto out;
	}
	rc = fs_delegs_each(view, load_deleg, &delegs);
	if (!rc)
		rc = fs_tombs_each(view, load_tomb, disk);
out:
	fs_chain_free(&delegs.chain);
	fs_view_put(view);
	return rc;
}

static int open_store(struct disk *disk, const char *dir, char err[static ERR_TEXT])
{
	char *path = store_disk_path(dir, disk->name), *why = NULL;
	struct store_opts opts = { 0 };
	int rc;

	if (!path)
		return -ENOMEM;
	if (disk->server)
		opts.write_buffer_bytes = server_write_buffer(disk->server);
	rc = store_open(path, &opts, &disk->store, &why);
	if (rc == -ENOENT)
		snprintf(err, ERR_TEXT, "there is no disk %s", disk->name);
	else if (rc)
		snprintf(err, ERR_TEXT, "disk %s: %s", disk->name, why ? why : strerror(-rc));
	free(why);
	free(path);
	return rc;
}

int disk_open(struct server *server, const char *dir, const char *name, struct disk **out,
	      char err[static ERR_TEXT])
{
	struct disk *disk = calloc(1, sizeof(*disk));
	uint64_t seed;
	int rc;

	err[0] = 0;
	if (!disk)
		return -ENOMEM;
	disk->server = server;
	disk->refs = 1;
	snprintf(disk->name, sizeof(disk->name), "%s", name);
	pthread_mutex_init(&disk->lock, NULL);
	TAILQ_INIT(&disk->sessions);
	TAILQ_INIT(&disk->openings);
	commit_init(&disk->commit);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = realtime_ns();
	deleg_tree_init(&disk->tree, seed);
	disk->session_bucket = calloc(SESSION_BUCKETS, sizeof(*disk->session_bucket));
	rc = disk->session_bucket ? data_init(disk) : -ENOMEM;
	if (!rc)
		rc = open_store(disk, dir, err);
	if (!rc)
		rc = fs_open(disk->store, &disk->fs);
	if (!rc)
		rc = load(disk);
	if (rc) {
		if (!err[0])
			snprintf(err, ERR_TEXT, "disk %s: %s", name,
				 rc == -EBADMSG ? "the metadata is damaged" :
				 rc == -EPROTONOSUPPORT ? "made by another version of archil" :
				 strerror(-rc));
		disk_close(disk);
		return rc;
	}
	*out = disk;
	return 0;
}

/* ---- serving ---- */

static void watch_done(struct loop_op *op, int res)
{
	struct disk *disk = container_of(op, struct disk, store_op);

	disk->store_armed = false;
	disk->store_ready = true;
}

static void watch(struct disk *disk)
{
	struct io_uring_sqe *sqe;

	if (disk->store_armed || disk->closing)
		return;
	sqe = loop_sqe(&disk->server->loop, &disk->store_op);
	io_uring_prep_poll_add(sqe, store_fd(disk->store), POLLIN);
	disk->store_armed = true;
}

bool disk_watched(struct disk *disk)
{
	if (disk->store_armed)
		loop_cancel(&disk->server->loop, &disk->store_op);
	return disk->store_armed;
}

void disk_turn(struct disk *disk)
{
	if (!disk->failed && store_failed(disk->store)) {
		disk->failed = true;
		disk_wake_all(disk);
	}
	if (disk->data.ops || disk->store_ready) {
		disk->store_ready = false;
		store_poll(disk->store);
	}
	/* level-triggered: asked anew after each time it was polled */
	watch(disk);
}

void disk_wake_all(struct disk *disk)
{
	struct deleg *deleg, *tmp;
	struct dlg **list;
	size_t n = 0, i = 0;

	/* whoever waits for a commit that will not come */
	pthread_mutex_lock(&disk->lock);
	deleg_tree_for_each(deleg, tmp, &disk->tree)
		n++;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		server_oom();
	deleg_tree_for_each(deleg, tmp, &disk->tree)
		list[i++] = dlg_get(deleg->data);
	pthread_mutex_unlock(&disk->lock);
	for (i = 0; i < n; i++) {
		data_dlg_moved(disk, list[i]);
		dlg_put(list[i]);
	}
	free(list);
	commit_kick(disk);
}

/* ---- reaping ---- */

struct reap_work {
	struct work work;
	uint64_t before;
};

static int reap_apply(struct work *work, struct fs_txn *txn)
{
	struct reap_work *reap = container_of(work, struct reap_work, work);
	int rc;

	fs_batch_begin(txn);
	rc = fs_reap(txn, reap->before, REAP_STEPS);
	if (rc < 0 || fs_batch_end(txn)) {
		fs_batch_abort(txn);
		log_warn("disk %s: cannot remove orphans: %s", work->disk->name, strerror(-rc));
		return WORK_DONE;
	}
	return rc ? WORK_AGAIN : WORK_DONE;
}

static void reap_done(struct work *work, int err)
{
	work->disk->reaping = false;
	free(container_of(work, struct reap_work, work));
}

void disk_reap(struct disk *disk)
{
	uint64_t now = realtime_ns(), released, wait = disk->server->opts.reap_ms * 1000000;
	struct reap_work *reap;
	struct fs_view *view;
	int rc;

	if (disk->reaping || store_failed(disk->store))
		return;
	view = fs_view_get(disk->fs);
	if (!view)
		server_oom();
	rc = fs_reap_next(view, &released);
	fs_view_put(view);
	if (rc)
		return;
	if (space_short(disk))
		wait = 0;
	if (released + wait > now)
		return;
	reap = calloc(1, sizeof(*reap));
	if (!reap)
		server_oom();
	reap->work.apply = reap_apply;
	reap->work.done = reap_done;
	reap->before = now - wait;
	disk->reaping = true;
	commit_submit(disk, &reap->work);
}

static void reap_fire(struct loop_timer *timer)
{
	struct disk *disk = container_of(timer, struct disk, reap);

	disk_reap(disk);
	loop_timer_set(&disk->server->loop, timer, REAP_EVERY_MS);
}

int disk_serve(struct disk *disk, char err[static ERR_TEXT])
{
	int rc = data_redo(disk);

	if (!rc)
		rc = commit_start(disk);
	if (rc) {
		snprintf(err, ERR_TEXT, "disk %s: %s", disk->name, strerror(-rc));
		return rc;
	}
	disk->store_op.done = watch_done;
	disk->reap.fire = reap_fire;
	loop_timer_set(&disk->server->loop, &disk->reap, REAP_EVERY_MS);
	return 0;
}

void disk_close(struct disk *disk)
{
	struct deleg *deleg, *tmp;
	struct session *ses;

	disk->closing = true;
	commit_stop(disk);
	if (disk->server) {
		loop_timer_clear(&disk->server->loop, &disk->reap);
		loop_drain(&disk->server->loop);
		space_gone(disk);
	}
	deleg_tree_for_each(deleg, tmp, &disk->tree)
		dlg_put(deleg->data);
	deleg_tree_destroy(&disk->tree);
	while ((ses = TAILQ_FIRST(&disk->sessions))) {
		TAILQ_REMOVE(&disk->sessions, ses, all);
		session_put(ses);
	}
	data_destroy(disk);
	fs_close(disk->fs);
	store_close(disk->store);
	free(disk->session_bucket);
	commit_destroy(&disk->commit);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}
