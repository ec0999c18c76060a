// SPDX-License-Identifier: GPL-2.0
/*
 * Inode numbers and credit.
 *
 * 1. A change that grows is accepted only against credit; -ENOSPC is said then and
 *    never later. What was accepted is written whatever happens.
 * 2. avail + charged is what the server believes to be out. It hears it anew
 *    with the first request of every data connection.
 * 3. -ENOSPC needs an answer of the server to a question asked after the
 *    caller came; an old refusal refuses nobody.
 * 4. What is unused is kept below a bound over connections: the others need it.
 */
#include "super.h"

#define ARCHIL_INOS_LOW		1024
#define ARCHIL_INOS_WANT	4096
#define ARCHIL_CREDIT_LOW	(32ll << 20)
#define ARCHIL_CREDIT_WANT	(128ll << 20)
#define ARCHIL_CREDIT_MAX	(256ll << 20)
/* Writing back takes no longer, or is not what is missing; jiffies. */
#define ARCHIL_CREDIT_PATIENCE	(5 * HZ)

void archil_space_init(struct archil_mount *m)
{
	spin_lock_init(&m->inos.lock);
	init_waitqueue_head(&m->inos.wait);
	spin_lock_init(&m->credit.lock);
	m->credit.settles = 1;
	init_waitqueue_head(&m->credit.wait);
}

/* ---- inode numbers ---- */

static void archil_inos_done(struct archil_req *req)
{
	struct archil_inos *inos = &req->mount->inos;
	const struct archil_inos_rep *rep = req->rep;
	u64 first, count;

	spin_lock(&inos->lock);
	inos->fetching = false;
	inos->error = req->error ?: archil_status_to_errno(req->status);
	if (!inos->error) {
		first = le64_to_cpu(rep->first);
		count = le32_to_cpu(rep->count);
		if (first <= ARCHIL_INO_ROOT || !count || first > ARCHIL_INO_MAX - count) {
			inos->error = -EPROTO;
		} else if (inos->next == inos->end) {
			inos->next = first;
			inos->end = first + count;
		} else {
			inos->next2 = first;
			inos->end2 = first + count;
		}
	}
	inos->answers++;
	spin_unlock(&inos->lock);
	wake_up_all(&inos->wait);
}

static int archil_inos_fetch(struct archil_mount *m)
{
	struct archil_inos *inos = &m->inos;
	struct archil_inos_req *body;
	struct archil_req *req;
	bool due;

	/* First: who finds somebody fetching waits for an answer. */
	req = archil_req_new(m, ARCHIL_OP_INOS, sizeof(*body), sizeof(struct archil_inos_rep),
			     GFP_NOFS);
	if (!req)
		return -ENOMEM;
	spin_lock(&inos->lock);
	due = !inos->fetching;
	inos->fetching = true;
	spin_unlock(&inos->lock);
	if (!due) {
		archil_req_put(req);
		return 0;
	}
	body = req->body;
	body->want = cpu_to_le32(ARCHIL_INOS_WANT);
	req->done = archil_inos_done;
	archil_req_submit(req);
	archil_req_put(req);
	return 0;
}

int archil_ino_new(struct archil_mount *m, u64 *ino)
{
	struct archil_inos *inos = &m->inos;
	u64 answers;
	bool low;
	int err;

	for (;;) {
		spin_lock(&inos->lock);
		if (inos->next == inos->end) {
			inos->next = inos->next2;
			inos->end = inos->end2;
			inos->next2 = inos->end2 = 0;
		}
		if (inos->next < inos->end) {
			*ino = inos->next++;
			low = inos->next2 == inos->end2 &&
			      inos->end - inos->next < ARCHIL_INOS_LOW;
			spin_unlock(&inos->lock);
			if (low)
				archil_inos_fetch(m);
			return 0;
		}
		answers = inos->answers;
		spin_unlock(&inos->lock);

		err = archil_inos_fetch(m);
		if (err)
			return err;
		if (wait_event_killable(inos->wait, READ_ONCE(inos->answers) != answers))
			return -EINTR;
		err = READ_ONCE(inos->error);
		if (err)
			return err;
	}
}

/* ---- credit ---- */

static void archil_credit_done(struct archil_req *req)
{
	struct archil_credit *credit = &req->mount->credit;
	const struct archil_credit_rep *rep = req->rep;
	const struct archil_credit_req *body = req->body;
	u64 more = 0;

	/* only told what we have: no answer to anybody */
	if (!body->want)
		return;
	if (!req->error && !req->status)
		more = min_t(u64, le64_to_cpu(rep->credit), 1ull << 50);
	spin_lock(&credit->lock);
	credit->avail += more;
	credit->fetching = false;
	credit->dry = !more;
	credit->answers++;
	spin_unlock(&credit->lock);
	wake_up_all(&credit->wait);
}

static struct archil_req *archil_credit_req(struct archil_mount *m, u64 want, gfp_t gfp)
{
	struct archil_credit *credit = &m->credit;
	struct archil_credit_req *body;
	struct archil_req *req;

	req = archil_req_new(m, ARCHIL_OP_CREDIT, sizeof(*body), sizeof(struct archil_credit_rep),
			     gfp);
	if (!req)
		return NULL;
	body = req->body;
	spin_lock(&credit->lock);
	body->have = cpu_to_le64(max(credit->avail + credit->charged, 0ll));
	spin_unlock(&credit->lock);
	body->want = cpu_to_le64(want);
	req->done = archil_credit_done;
	return req;
}

/* Of many connections each asks only for what is missing, or it would add up: rule 4. */
struct archil_req *archil_credit_hello(struct archil_mount *m)
{
	struct archil_credit *credit = &m->credit;
	s64 avail;

	spin_lock(&credit->lock);
	avail = credit->avail = min(credit->avail, ARCHIL_CREDIT_MAX);
	spin_unlock(&credit->lock);
	return archil_credit_req(m, max(ARCHIL_CREDIT_WANT - avail, 0ll), GFP_KERNEL);
}

static int archil_credit_fetch(struct archil_mount *m, u64 want)
{
	struct archil_credit *credit = &m->credit;
	struct archil_req *req;
	bool due;

	req = archil_credit_req(m, want, GFP_NOFS);
	if (!req)
		return -ENOMEM;
	spin_lock(&credit->lock);
	due = !credit->fetching;
	credit->fetching = true;
	spin_unlock(&credit->lock);
	if (due)
		archil_req_submit(req);
	archil_req_put(req);
	return 0;
}

static bool archil_credit_settled(struct archil_mount *m, u64 upto)
{
	struct archil_credit *credit = &m->credit;
	bool settled;

	spin_lock(&credit->lock);
	settled = credit->settled >= upto;
	spin_unlock(&credit->lock);
	return settled || archil_transport_is_over(m);
}

/* Under the lock. */
static bool archil_credit_get(struct archil_credit *credit, u64 bytes, bool *low)
{
	if (credit->avail < (s64)bytes)
		return false;
	credit->avail -= bytes;
	credit->charged += bytes;
	*low = credit->avail < ARCHIL_CREDIT_LOW && !credit->dry;
	return true;
}

bool archil_credit_try(struct archil_mount *m, u64 bytes)
{
	struct archil_credit *credit = &m->credit;
	bool low = false, got;

	spin_lock(&credit->lock);
	got = archil_credit_get(credit, bytes, &low);
	spin_unlock(&credit->lock);
	if (low)
		archil_credit_fetch(m, ARCHIL_CREDIT_WANT);
	return got;
}

int archil_credit_take(struct archil_mount *m, u64 bytes)
{
	struct archil_credit *credit = &m->credit;
	bool asked = false, flushed = false, stuck, low;
	u64 answers = 0, upto;
	long left;
	int err;

	if (!bytes)
		return 0;
	for (;;) {
		spin_lock(&credit->lock);
		if (archil_credit_get(credit, bytes, &low)) {
			spin_unlock(&credit->lock);
			if (low)
				archil_credit_fetch(m, ARCHIL_CREDIT_WANT);
			return 0;
		}
		/* An answer to somebody else's earlier question does not count. */
		if (asked && credit->answers != answers && !credit->fetching) {
			upto = credit->settled + max(credit->charged, 0ll);
			stuck = credit->settles == credit->stuck;
			spin_unlock(&credit->lock);
			if (archil_transport_is_over(m))
				return -EIO;
			if (flushed || stuck)
				return -ENOSPC;
			archil_commit_now(m);
			left = wait_event_killable_timeout(credit->wait,
							   archil_credit_settled(m, upto),
							   ARCHIL_CREDIT_PATIENCE);
			if (left < 0)
				return -EINTR;
			if (!left) {
				spin_lock(&credit->lock);
				credit->stuck = credit->settles;
				spin_unlock(&credit->lock);
			}
			flushed = true;
			asked = false;
			continue;
		}
		if (!credit->fetching)
			asked = true;
		answers = credit->answers;
		spin_unlock(&credit->lock);
		err = archil_credit_fetch(m, bytes + ARCHIL_CREDIT_WANT);
		if (err)
			return err;
		if (wait_event_killable(credit->wait, READ_ONCE(credit->answers) != answers))
			return -EINTR;
	}
}

static void archil_credit_uncharge(struct archil_credit *credit, u64 bytes)
{
	credit->charged -= bytes;
	credit->settled += bytes;
	wake_up_all(&credit->wait);
}

void archil_credit_return(struct archil_mount *m, u64 bytes)
{
	struct archil_credit *credit = &m->credit;

	spin_lock(&credit->lock);
	credit->avail += bytes;
	archil_credit_uncharge(credit, bytes);
	spin_unlock(&credit->lock);
}

void archil_credit_settle(struct archil_mount *m, u64 bytes)
{
	struct archil_credit *credit = &m->credit;

	spin_lock(&credit->lock);
	archil_credit_uncharge(credit, bytes);
	credit->settles++;
	spin_unlock(&credit->lock);
}

void archil_credit_add(struct archil_mount *m, u64 bytes)
{
	struct archil_credit *credit = &m->credit;

	if (!bytes)
		return;
	spin_lock(&credit->lock);
	credit->avail += min_t(u64, bytes, 1ull << 50);
	credit->dry = false;
	spin_unlock(&credit->lock);
}
