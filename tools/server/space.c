// SPDX-License-Identifier: GPL-2.0
#include "space.h"

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "server.h"
#include "session.h"

enum {
	TARGET_MAX	= 256 << 20,	/* of one session */
	RESERVE_MAX	= 1 << 30,
	RESERVE_MIN	= 64 << 20,
	STALE_BYTES	= 1 << 20,
};

/* 1 % of the filesystem, within bounds; never more than an eighth of a small one. */
static uint64_t reserve(const struct store_statfs *st)
{
	uint64_t bytes = st->total / 100;

	if (bytes < RESERVE_MIN)
		bytes = RESERVE_MIN;
	if (bytes > RESERVE_MAX)
		bytes = RESERVE_MAX;
	return bytes < st->total / 8 ? bytes : st->total / 8;
}

/* Of what the store has, what nobody needs: @others is what other disks keep. */
static uint64_t spare(const struct disk *disk, const struct store_statfs *st, uint64_t others)
{
	/* the disks share a file system: what others keep, this one must not fill */
	uint64_t needed = reserve(st) + 2 * disk->server->credit + others;

	return st->avail > needed ? st->avail - needed : 0;
}

/* The store is asked once a millisecond; NULL: nothing can be written to it. */
static const struct store_statfs *space_now(struct disk *disk)
{
	uint64_t now = disk->server->loop.now, others = disk->server->kept - disk->space.kept, kept;
	struct store_statfs *st = &disk->space;

	if (store_failed(disk->store))
		return NULL;
	if (disk->space_at != now) {
		if (store_statfs(disk->store, st))
			return NULL;
		kept = store_collect(disk->store, spare(disk, st, others));
		st->avail -= st->avail < kept ? st->avail : kept;
		st->kept += kept;
		disk->server->kept = others + st->kept;
	}
	disk->space_at = now;
	return st;
}

void space_look(struct disk *disk)
{
	space_now(disk);
}

void space_gone(struct disk *disk)
{
	disk->server->kept -= disk->space.kept;
	disk->space.kept = 0;
}

/* What can still be promised to anybody. */
static uint64_t room(struct disk *disk)
{
	const struct store_statfs *st = space_now(disk);

	return st ? spare(disk, st, disk->server->kept - st->kept) : 0;
}

static void set_credit(struct session *ses, uint64_t have)
{
	struct server *server = ses->disk->server;

	server->credit -= ses->credit;
	server->credit += have;
	ses->credit = have;
}

void space_end(struct session *ses)
{
	set_credit(ses, 0);
}

uint64_t space_grant(struct session *ses, uint64_t want)
{
	uint64_t left = room(ses->disk), most = left / 4;

	/* requests may be answered after its end: what it had then nobody gives back */
	if (ses->over)
		return 0;
	if (most > TARGET_MAX)
		most = TARGET_MAX;
	if (want > most)
		want = most;
	/* the last bit of space comes in small change */
	if (want < SPACE_PAGE && left >= 16 * SPACE_PAGE)
		want = SPACE_PAGE;
	want &= ~(SPACE_PAGE - 1);
	if (want > left)
		return 0;
	set_credit(ses, ses->credit + want);
	ses->granted = ses->granted < UINT64_MAX - want ? ses->granted + want : UINT64_MAX;
	return want;
}

uint64_t space_settle(struct session *ses, uint64_t bytes)
{
	uint64_t target;

	/* what was known of the store is from before so large a commit */
	if (bytes >= STALE_BYTES)
		ses->disk->space_at = 0;
	target = room(ses->disk) / 8;
	set_credit(ses, ses->credit > bytes ? ses->credit - bytes : 0);
	if (target > TARGET_MAX)
		target = TARGET_MAX;
	if (ses->credit >= target)
		return 0;
	return space_grant(ses, target - ses->credit);
}

bool space_short(struct disk *disk)
{
	struct store_statfs st;

	return !store_statfs(disk->store, &st) && st.avail < 2 * reserve(&st);
}

bool space_again(struct disk *disk)
{
	struct store_statfs st;

	return !store_statfs(disk->store, &st) && st.avail >= reserve(&st) / 2;
}

/* The first CREDIT of an epoch: rule 4. */
static void believe(struct session *ses, uint64_t have)
{
	const struct store_statfs *st = space_now(ses->disk);

	if (have > ses->granted)
		have = ses->granted;
	if (st && have > st->avail)
		have = st->avail;
	set_credit(ses, have);
}

void handle_credit(struct req *req)
{
	struct archil_credit_req *msg = (void *)req->body;
	struct session *ses = req->conn->session;
	struct archil_credit_rep rep;
	uint64_t want = le64_to_cpu(msg->want), granted = 0;

	if (ses->credit_epoch != ses->epoch) {
		ses->credit_epoch = ses->epoch;
		believe(ses, le64_to_cpu(msg->have));
	}
	if (want && !(ses->rec.flags & ARCHIL_OS_RO))
		granted = space_grant(ses, want);
	if (want && !granted)
		disk_reap(ses->disk);
	rep.credit = cpu_to_le64(granted);
	req_reply(req, &rep, sizeof(rep), NULL, 0);
}

void handle_statfs(struct req *req)
{
	struct disk *disk = req->conn->disk;
	struct archil_statfs_rep rep = { 0 };
	struct fs_disk_info info;
	struct store_statfs st;
	struct fs_view *view;
	uint64_t kept;
	int rc;

	view = fs_view_get(disk->fs);
	if (!view)
		server_oom();
	req->commit = fs_view_commit(view);
	rc = fs_disk_info(view, &info);
	fs_view_put(view);
	if (!rc)
		rc = store_statfs(disk->store, &st);
	if (rc) {
		req_fail(req, rc);
		return;
	}
	kept = reserve(&st);
	rep.total = cpu_to_le64(st.total);
	rep.free = cpu_to_le64(st.free);
	rep.avail = cpu_to_le64(st.avail > kept ? st.avail - kept : 0);
	rep.files = cpu_to_le64(info.inodes);
	req_reply(req, &rep, sizeof(rep), NULL, 0);
}
