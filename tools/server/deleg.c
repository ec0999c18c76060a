// SPDX-License-Identifier: GPL-2.0
#include "deleg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "disk.h"
#include "server.h"
#include "session.h"

struct dlg *dlg_new(struct session *ses, const struct fs_deleg *rec)
{
	struct dlg *dlg = calloc(1, sizeof(*dlg));

	if (!dlg)
		server_oom();
	dlg->ses = ses;
	dlg->rec = *rec;
	dlg->refs = 1;
	dlg->committed = rec->applied;
	TAILQ_INIT(&dlg->waiting);
	return dlg;
}

struct dlg *dlg_get(struct dlg *dlg)
{
	dlg->refs++;
	return dlg;
}

void dlg_put(struct dlg *dlg)
{
	if (atomic_fetch_sub(&dlg->refs, 1) == 1)
		free(dlg);
}

struct dlg *dlg_find(struct disk *disk, uint64_t number, uint64_t session)
{
	struct dlg *dlg = NULL;
	struct deleg *deleg;

	pthread_mutex_lock(&disk->lock);
	deleg = deleg_tree_find(&disk->tree, number);
	if (deleg && deleg->grant.session == session)
		dlg = deleg->data;
	pthread_mutex_unlock(&disk->lock);
	return dlg;
}

void dlg_grant_fill(const struct dlg *dlg, struct archil_grant *grant)
{
	memset(grant, 0, sizeof(*grant));
	grant->number = cpu_to_le64(dlg->rec.number);
	grant->ino = cpu_to_le64(dlg->rec.ino);
	grant->commit = cpu_to_le64(dlg->rec.commit);
	grant->since = cpu_to_le64(dlg->rec.since);
	grant->origin = cpu_to_le32(dlg->rec.origin);
}

int dlg_insert(struct disk *disk, const struct fs_chain *chain, struct dlg *dlg)
{
	struct deleg_grant grant = {
		.number = dlg->rec.number,
		.ino = dlg->rec.ino,
		.session = dlg->rec.session,
		.commit = dlg->rec.commit,
		.since = dlg->rec.since,
		.origin = dlg->rec.origin,
	};
	struct deleg *deleg;
	int rc;

	pthread_mutex_lock(&disk->lock);
	if (dlg->rec.flags & FS_DELEG_ORPHAN)
		rc = deleg_tree_insert_orphan(&disk->tree, &grant, &deleg);
	else
		rc = deleg_tree_insert(&disk->tree, chain->ino, chain->n, &grant, &deleg, NULL);
	if (!rc)
		deleg->data = dlg;
	pthread_mutex_unlock(&disk->lock);
	return rc;
}

/* ---- the tree, for the committer ---- */

struct deleg *tree_find(struct disk *disk, uint64_t number)
{
	struct deleg *deleg;

	pthread_mutex_lock(&disk->lock);
	deleg = deleg_tree_find(&disk->tree, number);
	pthread_mutex_unlock(&disk->lock);
	return deleg;
}

struct deleg *tree_cover(struct disk *disk, const uint64_t *chain, size_t n)
{
	struct deleg *deleg;

	pthread_mutex_lock(&disk->lock);
	deleg = deleg_tree_cover(&disk->tree, chain, n);
	pthread_mutex_unlock(&disk->lock);
	return deleg;
}

static struct deleg **list_new(size_t n)
{
	struct deleg **list = calloc(n + 1, sizeof(*list));

	if (!list)
		server_oom();
	return list;
}

struct deleg **tree_conflicts(struct disk *disk, const struct fs_chain *chain, uint64_t session,
			      size_t *n)
{
	struct deleg_tree *tree = &disk->tree;
	struct deleg **list;

	pthread_mutex_lock(&disk->lock);
	*n = deleg_tree_conflicts(tree, chain->ino, chain->n, session, NULL, 0);
	list = list_new(*n);
	deleg_tree_conflicts(tree, chain->ino, chain->n, session, list, *n);
	pthread_mutex_unlock(&disk->lock);
	return list;
}

struct deleg **tree_held(struct disk *disk, uint64_t ino, uint64_t session, size_t *n)
{
	struct deleg **list;

	pthread_mutex_lock(&disk->lock);
	*n = deleg_tree_held(&disk->tree, ino, session, NULL, 0);
	list = list_new(*n);
	deleg_tree_held(&disk->tree, ino, session, list, *n);
	pthread_mutex_unlock(&disk->lock);
	return list;
}

/* ---- ending ---- */

bool dlg_stopped(struct disk *disk, const struct dlg *dlg)
{
	bool stopped;

	pthread_mutex_lock(&disk->lock);
	stopped = dlg->stops;
	pthread_mutex_unlock(&disk->lock);
	return stopped;
}

/* Has this work stopped it already, at an earlier try? */
static bool stops(const struct ended *ended, const struct dlg *dlg)
{
	size_t i;

	if (!dlg->stops || dlg->stopper == ended)
		return dlg->stops;
	for (i = 0; i < ended->n_stops; i++)
		if (ended->stops[i] == dlg)
			return true;
	return false;
}

static void stop(struct ended *ended, struct dlg *dlg)
{
	if (ended->n_stops == ended->cap_stops) {
		size_t cap = ended->cap_stops ? 2 * ended->cap_stops : 4;
		struct dlg **list = reallocarray(ended->stops, cap, sizeof(*list));

		if (!list)
			server_oom();
		ended->stops = list;
		ended->cap_stops = cap;
	}
	ended->stops[ended->n_stops++] = dlg_get(dlg);
	if (!dlg->stops++)
		dlg->ses->n_stopped++;
	dlg->stopper = ended;
}

bool ended_stop(struct disk *disk, struct ended *ended, struct deleg **list, size_t n)
{
	bool idle = true;
	size_t i;

	pthread_mutex_lock(&disk->lock);
	for (i = 0; i < n; i++) {
		struct dlg *dlg = list[i]->data;

		if (!stops(ended, dlg))
			stop(ended, dlg);
		if (dlg->io)
			idle = false;
	}
	pthread_mutex_unlock(&disk->lock);
	return idle;
}

bool ended_others(struct disk *disk, const struct ended *ended, const struct session *ses)
{
	unsigned int mine = 0;
	bool others;
	size_t i;

	pthread_mutex_lock(&disk->lock);
	for (i = 0; i < ended->n_stops; i++) {
		const struct dlg *dlg = ended->stops[i];

		mine += !dlg->ended && dlg->ses == ses && dlg->stops == 1;
	}
	others = ses->n_stopped > mine;
	pthread_mutex_unlock(&disk->lock);
	return others;
}

/* Whoever waited because of it looks again. */
static void unstop(struct disk *disk, struct ended *ended)
{
	bool go_on = false;
	size_t i;

	for (i = 0; i < ended->n_stops; i++) {
		struct dlg *dlg = ended->stops[i];
		bool on;

		pthread_mutex_lock(&disk->lock);
		on = !--dlg->stops && !dlg->ended;
		go_on |= !dlg->ended;
		if (dlg->stopper == ended)
			dlg->stopper = NULL;
		if (on)
			dlg->ses->n_stopped--;
		pthread_mutex_unlock(&disk->lock);
		if (on)
			data_dlg_moved(disk, dlg);
		dlg_put(dlg);
	}
	if (go_on)
		commit_kick(disk);
}

static int orphan_made(void *ctx, const struct fs_deleg *rec)
{
	struct ended *ended = ctx;

	if (ended->n_orphans == ended->cap_orphans) {
		size_t cap = ended->cap_orphans ? 2 * ended->cap_orphans : 16;
		struct fs_deleg *orphans = reallocarray(ended->orphans, cap, sizeof(*orphans));

		if (!orphans)
			return -ENOMEM;
		ended->orphans = orphans;
		ended->cap_orphans = cap;
	}
	ended->orphans[ended->n_orphans++] = *rec;
	return 0;
}

int ended_close(struct ended *ended, struct fs_txn *txn, struct deleg *deleg,
		enum fs_close_how how)
{
	if (ended->n == ended->cap) {
		size_t cap = ended->cap ? 2 * ended->cap : 4;
		struct ending *v = reallocarray(ended->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		ended->v = v;
		ended->cap = cap;
	}
	ended->v[ended->n].dlg = deleg->data;
	ended->v[ended->n++].how = how;
	return fs_deleg_close(txn, deleg->grant.number, how, orphan_made, ended);
}

void ended_apply(struct disk *disk, struct ended *ended)
{
	size_t i;

	pthread_mutex_lock(&disk->lock);
	for (i = ended->applied; i < ended->n; i++) {
		struct dlg *dlg = ended->v[i].dlg;

		if (dlg->stops)
			dlg->ses->n_stopped--;
		dlg->ended = true;
		if (ended->v[i].how == FS_TAKEN)
			numbers_add(&dlg->ses->tombs, dlg->rec.number);
		deleg_tree_remove(&disk->tree, deleg_tree_find(&disk->tree, dlg->rec.number));
	}
	pthread_mutex_unlock(&disk->lock);
	ended->applied = ended->n;
	for (i = 0; i < ended->n_orphans; i++) {
		struct session *ses = session_find(disk, ended->orphans[i].session);
		struct dlg *dlg = dlg_new(ses, &ended->orphans[i]);

		if (dlg_insert(disk, NULL, dlg))
			server_oom();
	}
	ended->n_orphans = 0;
}

void ended_forget(struct ended *ended)
{
	ended->n = ended->applied;
	ended->n_orphans = 0;
}

uint64_t *ended_closed(const struct ended *ended, size_t *n)
{
	uint64_t *closed;
	size_t i;

	*n = 0;
	if (!ended->n)
		return NULL;
	closed = calloc(ended->n, sizeof(*closed));
	if (!closed)
		server_oom();
	for (i = 0; i < ended->n; i++)
		if (ended->v[i].how == FS_CLOSED)
			closed[(*n)++] = ended->v[i].dlg->rec.number;
	return closed;
}

static void end_one(struct disk *disk, struct dlg *dlg, enum fs_close_how how, int err)
{
	struct session *ses;

	if (err) {
		dlg->gone = err;
	} else if (how == FS_CLOSED) {
		dlg->gone = ARCHIL_ST_CLOSED;
		dlg->closed_at = dlg->rec.applied;
	} else {
		dlg->gone = ARCHIL_ST_TAKEN;
	}
	data_dlg_moved(disk, dlg);
	if (how == FS_TAKEN && !err) {
		pthread_mutex_lock(&disk->lock);
		ses = session_find(disk, dlg->rec.session);
		pthread_mutex_unlock(&disk->lock);
		if (ses)
			session_revoke(ses, dlg->rec.number);
	}
	dlg_put(dlg);
}

static void ended_free(struct ended *ended)
{
	free(ended->v);
	free(ended->orphans);
	free(ended->stops);
	memset(ended, 0, sizeof(*ended));
}

void ended_done(struct disk *disk, struct ended *ended, int err)
{
	size_t i;

	for (i = 0; i < ended->n; i++)
		end_one(disk, ended->v[i].dlg, ended->v[i].how, err);
	unstop(disk, ended);
	ended_free(ended);
}

void ended_drop(struct ended *ended)
{
	size_t i;

	for (i = 0; i < ended->n; i++)
		dlg_put(ended->v[i].dlg);
	for (i = 0; i < ended->n_stops; i++)
		dlg_put(ended->stops[i]);
	ended_free(ended);
}

/* ---- who owns what, for those who ask ---- */

void owner_begin(struct owner_ctx *ctx, struct disk *disk, struct fs_view *view,
		 uint64_t session)
{
	memset(ctx, 0, sizeof(*ctx));
	ctx->disk = disk;
	ctx->view = view;
	ctx->session = session;
}

void owner_end(struct owner_ctx *ctx)
{
	fs_chain_free(&ctx->chain);
}

static void say(const struct owner_ctx *ctx, const struct deleg *deleg, struct archil_wattr *attr)
{
	if (!deleg)
		return;
	if (deleg->grant.session == ctx->session)
		attr->deleg = cpu_to_le64(deleg->grant.number);
	else
		attr->flags |= cpu_to_le32(ARCHIL_AF_OTHER);
}

/* What covers the directory, by its chain; lock not held. */
static void cover(struct owner_ctx *ctx, struct owner_dir *dir)
{
	int err = fs_chain(ctx->view, dir->ino, &ctx->chain);
	struct deleg *deleg = NULL;

	pthread_mutex_lock(&ctx->disk->lock);
	if (!err)
		deleg = deleg_tree_cover(&ctx->disk->tree, ctx->chain.ino, ctx->chain.n);
	dir->covered = deleg;
	dir->deleg = deleg && deleg->grant.session == ctx->session ? deleg->grant.number : 0;
	dir->leads = deleg_tree_leads(&ctx->disk->tree, dir->ino);
	pthread_mutex_unlock(&ctx->disk->lock);
}

/* The delegation of an inode that has a name; @none: there are none at all. */
static bool at(struct owner_ctx *ctx, uint64_t ino, struct deleg *out, bool *none)
{
	struct deleg_tree *tree = &ctx->disk->tree;
	struct deleg *deleg;

	pthread_mutex_lock(&ctx->disk->lock);
	*none = !tree->count && !tree->orphans;
	deleg = *none ? NULL : deleg_tree_at(tree, ino);
	/* that of the orphan it was: it ends in the commit that gives the name */
	if (deleg && !deleg->node)
		deleg = NULL;
	if (deleg)
		*out = *deleg;
	pthread_mutex_unlock(&ctx->disk->lock);
	return deleg;
}

static void fill_orphan(struct owner_ctx *ctx, struct archil_wattr *attr)
{
	struct deleg *deleg;
	uint64_t number;

	if (fs_orphan_of(ctx->view, le64_to_cpu(attr->ino), &number) || !number)
		return;
	pthread_mutex_lock(&ctx->disk->lock);
	deleg = deleg_tree_find(&ctx->disk->tree, number);
	say(ctx, deleg, attr);
	pthread_mutex_unlock(&ctx->disk->lock);
}

static const struct owner_dir *known_dir(const struct owner_ctx *ctx, uint64_t ino)
{
	if (ctx->entered.ino == ino)
		return &ctx->entered;
	return ctx->other.ino == ino ? &ctx->other : NULL;
}

/* What is in a directory has no other owner, but by a delegation of its own. */
static const struct owner_dir *owner_dir(struct owner_ctx *ctx, uint64_t ino)
{
	const struct owner_dir *dir = known_dir(ctx, ino);

	if (dir)
		return dir;
	ctx->other.ino = ino;
	cover(ctx, &ctx->other);
	return &ctx->other;
}

void owner_enter(void *arg, const struct archil_wattr *dir)
{
	struct owner_ctx *ctx = arg;

	ctx->entered.ino = le64_to_cpu(dir->ino);
	ctx->entered.deleg = le64_to_cpu(dir->deleg);
	ctx->entered.covered = dir->deleg || le32_to_cpu(dir->flags) & ARCHIL_AF_OTHER;
	pthread_mutex_lock(&ctx->disk->lock);
	ctx->entered.leads = deleg_tree_leads(&ctx->disk->tree, ctx->entered.ino);
	pthread_mutex_unlock(&ctx->disk->lock);
}

void owner_fill(void *arg, struct archil_wattr *attr)
{
	uint64_t ino = le64_to_cpu(attr->ino), parent = le64_to_cpu(attr->parent);
	struct owner_ctx *ctx = arg;
	const struct owner_dir *dir = known_dir(ctx, parent);
	bool none = false;
	struct deleg deleg;

	if (le32_to_cpu(attr->flags) & ARCHIL_AF_ORPHAN) {
		fill_orphan(ctx, attr);
		return;
	}
	if ((!dir || dir->leads) && at(ctx, ino, &deleg, &none)) {
		say(ctx, &deleg, attr);
		return;
	}
	if (none || parent == ino)
		return;
	dir = owner_dir(ctx, parent);
	if (dir->deleg)
		attr->deleg = cpu_to_le64(dir->deleg);
	else if (dir->covered)
		attr->flags |= cpu_to_le32(ARCHIL_AF_OTHER);
}

size_t error_holder(struct disk *disk, struct fs_view *view, const struct deleg *holder,
		    const char *text, unsigned char *buf)
{
	struct session *ses = session_find(disk, holder->grant.session);
	char path[ARCHIL_PATH_LEN + 1];
	const char *client = ses ? ses->rec.client : "";
	size_t client_len = strlen(client), path_len, text_len = text ? strlen(text) : 0;
	struct archil_error err = {
		.since = cpu_to_le64(holder->grant.since),
		.deleg = cpu_to_le64(holder->grant.number),
	};

	if (fs_path(view, holder->grant.ino, path, sizeof(path)))
		path[0] = 0;
	path_len = strlen(path);
	if (text_len > ARCHIL_TEXT_LEN)
		text_len = ARCHIL_TEXT_LEN;
	err.client_len = cpu_to_le16(client_len);
	err.path_len = cpu_to_le16(path_len);
	err.text_len = cpu_to_le16(text_len);
	memcpy(buf, &err, sizeof(err));
	memcpy(buf + sizeof(err), client, client_len);
	memcpy(buf + sizeof(err) + client_len, path, path_len);
	if (text_len)
		memcpy(buf + sizeof(err) + client_len + path_len, text, text_len);
	return sizeof(err) + client_len + path_len + text_len;
}
