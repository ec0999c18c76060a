// SPDX-License-Identifier: GPL-2.0
#include "admin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk.h"
#include "session.h"
#include "util.h"

json_t *admin_error(int err, const char *fmt, ...)
{
	char text[ERR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{s:s, s:i}", "error", text, "errno", err < 0 ? -err : err);
}

static json_t *json_time(uint64_t ns)
{
	time_t sec = ns / 1000000000;
	char text[TIME_TEXT];
	struct tm tm;

	gmtime_r(&sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

/* Names come from outside and need not be UTF-8, which JSON has to be. */
static json_t *json_bytes(const char *text)
{
	json_t *json = json_string(text);
	char *out, *pos;

	if (json)
		return json;
	out = pos = malloc(4 * strlen(text) + 1);
	if (!out)
		return json_null();
	for (; *text; text++) {
		if ((unsigned char)*text < 0x80)
			*pos++ = *text;
		else
			pos += sprintf(pos, "\\x%02x", (unsigned char)*text);
	}
	*pos = 0;
	json = json_string(out);
	free(out);
	return json;
}

/* ---- disks ---- */

static json_t *token_reply(struct scram_token *token)
{
	char text[SCRAM_TOKEN_TEXT + 1];
	json_t *reply;

	scram_token_format(token, text);
	reply = json_pack("{s:s}", "token", text);
	explicit_bzero(text, sizeof(text));
	scram_token_wipe(token);
	return reply;
}

static json_t *create_at(const char *path, const char *name)
{
	struct scram_verifier verifier;
	struct scram_token token;
	struct store *store;
	char *why = NULL;
	json_t *reply;
	int rc;

	rc = scram_token_generate(&token);
	if (!rc)
		rc = scram_verifier_make(&token, &verifier);
	if (rc)
		return admin_error(rc, "cannot make a token: %s", strerror(-rc));
	rc = store_create(path, &why);
	if (rc == -EEXIST) {
		free(why);
		return admin_error(rc, "there is a disk %s already", name);
	}
	if (!rc)
		rc = store_open(path, NULL, &store, &why);
	if (!rc) {
		rc = fs_format(store, &verifier, realtime_ns());
		store_close(store);
		if (rc)
			store_destroy(path, NULL);
	}
	reply = rc ? admin_error(rc, "cannot make disk %s: %s", name, why ? why : strerror(-rc)) :
		     token_reply(&token);
	free(why);
	return reply;
}

json_t *admin_disk_create(const char *dir, const char *name)
{
	const char *problem = disk_name_problem(name);
	json_t *reply;
	char *path;

	if (problem)
		return admin_error(EINVAL, "'%s' cannot name a disk: %s", name, problem);
	path = store_disk_path(dir, name);
	if (!path)
		return admin_error(ENOMEM, "out of memory");
	reply = create_at(path, name);
	free(path);
	return reply;
}

json_t *admin_disk_delete(const char *dir, const char *name)
{
	char *path = store_disk_path(dir, name), *why = NULL;
	json_t *reply;
	int rc;

	if (!path)
		return admin_error(ENOMEM, "out of memory");
	rc = store_destroy(path, &why);
	if (rc == -ENOENT)
		reply = admin_error(rc, "there is no disk %s", name);
	else if (rc)
		reply = admin_error(rc, "disk %s: %s", name, why ? why : strerror(-rc));
	else
		reply = json_object();
	free(why);
	free(path);
	return reply;
}

json_t *admin_disk_info(struct disk *disk)
{
	struct fs_view *view = fs_view_get(disk->fs);
	struct fs_disk_info info = { 0 };
	struct store_statfs st = { 0 };
	uint64_t delegations;

	if (view) {
		fs_disk_info(view, &info);
		fs_view_put(view);
	}
	store_statfs(disk->store, &st);
	pthread_mutex_lock(&disk->lock);
	delegations = disk->tree.count;
	pthread_mutex_unlock(&disk->lock);
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:b}",
			 "name", disk->name,
			 "created", json_time(disk->created),
			 "inodes", (json_int_t)info.inodes,
			 "sessions", (json_int_t)disk->n_sessions,
			 "delegations", (json_int_t)delegations,
			 "available", (json_int_t)st.avail,
			 "read_only", store_failed(disk->store) != 0);
}

/* ---- delegations ---- */

struct listed {
	struct deleg_grant grant;
	bool stopped;
	char client[ARCHIL_CLIENT_LEN + 1];
};

static const char *origin_name(uint32_t origin)
{
	switch (origin) {
	case ARCHIL_ORIGIN_MOUNT:
		return "mount";
	case ARCHIL_ORIGIN_CHECKOUT:
		return "checkout";
	default:
		return "dynamic";
	}
}

/* A copy, so that paths are found without the lock. Orphans are not listed. */
static struct listed *copy_list(struct disk *disk, size_t *n)
{
	struct deleg *deleg, *tmp;
	struct session *ses;
	struct listed *list;

	*n = 0;
	pthread_mutex_lock(&disk->lock);
	list = calloc(disk->tree.count + 1, sizeof(*list));
	if (!list)
		goto out;
	deleg_tree_for_each(deleg, tmp, &disk->tree) {
		struct dlg *dlg = deleg->data;

		if (dlg->rec.flags & FS_DELEG_ORPHAN)
			continue;
		list[*n].grant = deleg->grant;
		list[*n].stopped = dlg->stops;
		ses = session_find(disk, deleg->grant.session);
		if (ses)
			memcpy(list[*n].client, ses->rec.client, sizeof(list[*n].client));
		(*n)++;
	}
out:
	pthread_mutex_unlock(&disk->lock);
	return list;
}

json_t *admin_delegations(struct disk *disk)
{
	struct fs_view *view = fs_view_get(disk->fs);
	char path[ARCHIL_PATH_LEN + 1];
	json_t *array = json_array();
	struct listed *list;
	size_t n, i;

	list = copy_list(disk, &n);
	if (!view || !list) {
		json_decref(array);
		free(list);
		if (view)
			fs_view_put(view);
		return admin_error(ENOMEM, "out of memory");
	}
	for (i = 0; i < n; i++) {
		const struct deleg_grant *grant = &list[i].grant;

		if (fs_path(view, grant->ino, path, sizeof(path)))
			snprintf(path, sizeof(path), "?");
		json_array_append_new(array, json_pack("{s:o, s:I, s:I, s:I, s:o, s:s, s:s, s:o}",
			"path", json_bytes(path),
			"inode", (json_int_t)grant->ino,
			"number", (json_int_t)grant->number,
			"session", (json_int_t)grant->session,
			"client", json_bytes(list[i].client),
			"origin", origin_name(grant->origin),
			"state", list[i].stopped ? "ending" : "held",
			"since", json_time(grant->since)));
	}
	free(list);
	fs_view_put(view);
	return json_pack("{s:o}", "delegations", array);
}

/* ---- sessions ---- */

static json_t *session_info(struct session *ses, struct fs_view *view)
{
	char root[ARCHIL_PATH_LEN + 1] = "?";
	struct conn *conn;
	unsigned int n = 0;
	const char *peer = NULL;
	uint64_t held;

	TAILQ_FOREACH(conn, &ses->conns, of_session) {
		n++;
		if (!peer || conn->kind == ARCHIL_CONN_CONTROL)
			peer = conn->peer;
	}
	fs_path(view, ses->rec.root, root, sizeof(root));
	pthread_mutex_lock(&ses->disk->lock);
	held = deleg_tree_session_count(&ses->disk->tree, ses->rec.id);
	pthread_mutex_unlock(&ses->disk->lock);
	return json_pack("{s:I, s:o, s:o, s:b, s:b, s:o, s:I, s:I, s:s?, s:I}",
			 "session", (json_int_t)ses->rec.id,
			 "client", json_bytes(ses->rec.client),
			 "root", json_bytes(root),
			 "shared", !!(ses->rec.flags & ARCHIL_OS_SHARED),
			 "read_only", !!(ses->rec.flags & ARCHIL_OS_RO),
			 "opened", json_time(ses->rec.opened),
			 "delegations", (json_int_t)held,
			 "connections", (json_int_t)n,
			 "address", peer,
			 "credit", (json_int_t)ses->credit);
}

static json_t *stats_info(const struct disk *disk)
{
	const struct disk_stats *stats = &disk->stats;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "commits", (json_int_t)stats->commits,
			 "batches", (json_int_t)stats->batches,
			 "records", (json_int_t)stats->records,
			 "suppressed", (json_int_t)stats->suppressed,
			 "changes", (json_int_t)stats->changes,
			 "repeated", (json_int_t)stats->repeated,
			 "refused", (json_int_t)stats->refused,
			 "bytes_read", (json_int_t)disk->data.bytes_read,
			 "bytes_written", (json_int_t)disk->data.bytes_written);
}

json_t *admin_sessions(struct disk *disk)
{
	struct fs_view *view = fs_view_get(disk->fs);
	json_t *array = json_array();
	struct session *ses, **list;
	size_t n = 0, i;

	/* only the loop frees sessions: a copy of the list is good without the lock */
	pthread_mutex_lock(&disk->lock);
	list = calloc(disk->n_sessions + 1, sizeof(*list));
	if (list)
		TAILQ_FOREACH(ses, &disk->sessions, all)
			list[n++] = ses;
	pthread_mutex_unlock(&disk->lock);
	if (view)
		for (i = 0; i < n; i++)
			json_array_append_new(array, session_info(list[i], view));
	if (view)
		fs_view_put(view);
	free(list);
	return json_pack("{s:o, s:o}", "sessions", array, "stats", stats_info(disk));
}

/* ---- changes ---- */

static int token_apply(struct work *work, struct fs_txn *txn)
{
	struct admin_work *aw = container_of(work, struct admin_work, work);

	fs_batch_begin(txn);
	aw->rc = fs_set_verifier(txn, &aw->verifier);
	if (!aw->rc)
		aw->rc = fs_batch_end(txn);
	if (aw->rc)
		fs_batch_abort(txn);
	return WORK_DONE;
}

int admin_token_begin(struct admin_work *aw)
{
	int rc;

	memset(aw, 0, sizeof(*aw));
	aw->what = ADMIN_TOKEN;
	aw->work.apply = token_apply;
	rc = scram_token_generate(&aw->token);
	return rc ? rc : scram_verifier_make(&aw->token, &aw->verifier);
}

static int end_apply(struct work *work, struct fs_txn *txn)
{
	struct admin_work *aw = container_of(work, struct admin_work, work);
	struct session *ses = session_find(work->disk, aw->id);
	int rc;

	if (!ses) {
		aw->rc = -ENOENT;
		return WORK_DONE;
	}
	rc = session_end_step(ses, txn, &aw->ended);
	if (rc > 0)
		return rc;
	aw->rc = rc;
	if (!rc)
		aw->victim = ses;
	return WORK_DONE;
}

void admin_end_begin(struct admin_work *aw, uint64_t session)
{
	memset(aw, 0, sizeof(*aw));
	aw->what = ADMIN_END;
	aw->work.apply = end_apply;
	aw->id = session;
}

json_t *admin_finish(struct admin_work *aw, struct disk *disk, bool served, int err)
{
	if (served)
		ended_done(disk, &aw->ended, err);
	else
		ended_drop(&aw->ended);
	if (aw->victim && served)
		session_finish(aw->victim, "ended by a command");
	else if (aw->victim)
		session_put(aw->victim);
	if (!err)
		err = aw->rc;
	if (err && aw->what == ADMIN_TOKEN)
		scram_token_wipe(&aw->token);
	if (err == -ENOENT)
		return admin_error(err, "disk %s has no session %llu", disk->name,
				   (unsigned long long)aw->id);
	if (err)
		return admin_error(err, "disk %s: %s", disk->name, strerror(-err));
	if (aw->what == ADMIN_END)
		return json_object();
	disk->verifier = aw->verifier;
	return token_reply(&aw->token);
}

/* ---- checking ---- */

struct check_ctx {
	const char *disk;
	json_t *list;
};

static void check_line(void *arg, const char *text)
{
	struct check_ctx *ctx = arg;
	char line[2 * ERR_TEXT];

	snprintf(line, sizeof(line), "disk %s: %s", ctx->disk, text);
	json_array_append_new(ctx->list, json_bytes(line));
}

int admin_check(struct disk *disk, json_t *list, struct fs_counts *counts)
{
	struct check_ctx ctx = { .disk = disk->name, .list = list };
	struct fs_view *view;
	int rc;

	rc = store_check(disk->store, check_line, &ctx);
	if (rc)
		return rc < 0 ? rc : 0;
	view = fs_view_get(disk->fs);
	if (!view)
		return -ENOMEM;
	rc = fs_check(view, check_line, &ctx);
	if (!rc)
		rc = fs_count(view, counts);
	fs_view_put(view);
	return rc < 0 ? rc : 0;
}

json_t *admin_checked(json_t *list, size_t disks, const struct fs_counts *counts)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}",
			 "damage", list,
			 "disks", (json_int_t)disks,
			 "orphans", (json_int_t)counts->orphans,
			 "released", (json_int_t)counts->released,
			 "intents", (json_int_t)counts->intents,
			 "data_files", (json_int_t)counts->data_files);
}
