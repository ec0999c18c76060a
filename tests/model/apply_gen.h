/* SPDX-License-Identifier: GPL-2.0 */
/* Random records as clients make them: most fit the model, some do not. */
#ifndef TESTS_APPLY_GEN_H
#define TESTS_APPLY_GEN_H

#include "apply_disk.h"

static u64 random_dir(struct m_deleg *deleg)
{
	u64 ino = ARCHIL_INO_ROOT;

	for (int i = 0; i < 30; i++) {
		struct m_node *node = &m->node[rnd_below(&rnd, m->nodes)];

		if (!S_ISDIR(node->mode) && !rnd_one_in(&rnd, 40))
			continue;
		ino = node->ino;
		if (!deleg || m_owner(m, ino) == deleg)
			break;
	}
	return rnd_one_in(&rnd, 200) ? m->fresh + 5 : ino;
}

static u64 random_node(struct m_deleg *deleg, bool regular)
{
	u64 ino = ARCHIL_INO_ROOT;

	for (int i = 0; i < 30; i++) {
		struct m_node *node = &m->node[rnd_below(&rnd, m->nodes)];

		if (regular && !S_ISREG(node->mode) && !rnd_one_in(&rnd, 40))
			continue;
		ino = node->ino;
		if (!deleg || m_owner(m, ino) == deleg)
			break;
	}
	return rnd_one_in(&rnd, 200) ? m->fresh + 5 : ino;
}

/* An open one, if there is one. */
static u64 random_orphan(struct m_deleg *deleg)
{
	u64 ino = random_node(deleg, true);
	u32 n = 0;

	for (int i = 0; i < m->nodes; i++)
		if (m->node[i].orphan_of && (!deleg || m_owner(m, m->node[i].ino) == deleg) &&
		    rnd_one_in(&rnd, ++n))
			ino = m->node[i].ino;
	return ino;
}

static struct archil_time a_time(void)
{
	return (struct archil_time){
		.sec = cpu_to_le64(rnd_below(&rnd, 1000)),
		.nsec = cpu_to_le32(rnd_below(&rnd, 1000)),
	};
}

struct parts {
	char name[2][M_NAME];
	u8 data[ARCHIL_INLINE_MAX];
};

/* One of a few names; or, mostly when asked to, one that is there, and its inode. */
static u16 a_name(u64 in, bool existing, char *name, u64 *ino)
{
	struct m_dent *found = NULL;
	int n = 0;

	if (existing && !rnd_one_in(&rnd, 12)) {
		for (int i = 0; i < m->dents; i++)
			if (m->dent[i].dir == in && rnd_one_in(&rnd, ++n))
				found = &m->dent[i];
	}
	if (found) {
		memcpy(name, found->name, found->len);
		if (ino && !rnd_one_in(&rnd, 50))
			*ino = found->ino;
		return found->len;
	}
	n = rnd_one_in(&rnd, 10) ? M_NAME : 1 + rnd_below(&rnd, 2);
	for (int i = 0; i < n; i++)
		name[i] = 'a' + rnd_below(&rnd, n == 1 ? 12 : 4);
	return n;
}

static u64 a_cookie(u64 in)
{
	struct m_node *node = m_node(m, in);
	u64 next = node ? node->next_cookie : ARCHIL_COOKIE_FIRST;

	return rnd_one_in(&rnd, 60) ? rnd_range(&rnd, 0, 1) * ARCHIL_COOKIE_FIRST :
				      next + rnd_below(&rnd, 3);
}

static u64 a_size(void)
{
	switch (rnd_below(&rnd, 8)) {
	case 0:
		return 0;
	case 1:
		return rnd_one_in(&rnd, 20) ? (1ull << 62) : rnd_below(&rnd, 1ull << 40);
	case 2:
		return rnd_below(&rnd, M_DATA);
	default:
		return rnd_below(&rnd, 3000);
	}
}

static void gen_create(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	static const u32 types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFCHR };

	rec->dir = random_dir(deleg);
	rec->ino = rnd_one_in(&rnd, 60) ? random_node(NULL, false) : m->fresh;
	rec->mode = types[rnd_below(&rnd, ARRAY_SIZE(types))] | rnd_below(&rnd, 01000);
	rec->uid = rnd_below(&rnd, 5);
	rec->gid = rnd_below(&rnd, 5);
	rec->atime = a_time();
	rec->mtime = a_time();
	rec->ctime = a_time();
	rec->btime = a_time();
	if (rnd_one_in(&rnd, 10)) {
		rec->flags = ARCHIL_CREATE_TMPFILE;
		if (!rnd_one_in(&rnd, 10))
			rec->mode = S_IFREG | 0600;
	} else {
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, rnd_one_in(&rnd, 20), p->name[0], NULL);
		rec->cookie = a_cookie(rec->dir);
	}
	if (S_ISCHR(rec->mode))
		rec->rdev_major = rec->rdev_minor = 5;
	if (S_ISLNK(rec->mode)) {
		rec->data = memcpy(p->data, "the target", 10);
		rec->data_len = 1 + rnd_below(&rnd, 10);
	}
}

static void gen_rename(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	bool over = rnd_one_in(&rnd, 2);

	rec->dir = random_dir(deleg);
	rec->new_dir = rnd_one_in(&rnd, 3) ? rec->dir : random_dir(deleg);
	rec->ino = random_node(deleg, false);
	rec->name = p->name[0];
	rec->name_len = a_name(rec->dir, true, p->name[0], &rec->ino);
	rec->new_name = p->name[1];
	rec->new_name_len = a_name(rec->new_dir, over, p->name[1], &rec->target);
	if (rec->target == rec->ino)
		rec->target = 0;
	if (rec->target && rnd_one_in(&rnd, 2))
		rec->flags = rnd_one_in(&rnd, 2) ? ARCHIL_RENAME_EXCHANGE : ARCHIL_RENAME_OPEN;
	if (rec->flags != ARCHIL_RENAME_EXCHANGE)
		rec->cookie = a_cookie(rec->new_dir);
}

static void gen_setattr(struct archil_record *rec, struct m_deleg *deleg)
{
	rec->valid = rnd_range(&rnd, 1, ARCHIL_SET_CTIME * 2 - 1);
	rec->mode = rec->valid & ARCHIL_SET_MODE ? rnd_below(&rnd, 010000) : 0;
	rec->uid = rec->valid & ARCHIL_SET_UID ? 7 : 0;
	rec->gid = rec->valid & ARCHIL_SET_GID ? 8 : 0;
	if (rec->valid & ARCHIL_SET_ATIME)
		rec->atime = a_time();
	if (rec->valid & ARCHIL_SET_MTIME)
		rec->mtime = a_time();
	if (rec->valid & ARCHIL_SET_CTIME)
		rec->ctime = a_time();
	if (rnd_one_in(&rnd, 2)) {
		rec->valid |= rnd_one_in(&rnd, 2) ? ARCHIL_SET_SIZE : ARCHIL_SET_SIZE_UP;
		rec->size = a_size();
	}
	rec->ino = random_node(deleg, rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP));
}

static void gen(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	static const u8 types[] = {
		ARCHIL_REC_CREATE, ARCHIL_REC_CREATE, ARCHIL_REC_CREATE, ARCHIL_REC_CREATE,
		ARCHIL_REC_LINK, ARCHIL_REC_LINK, ARCHIL_REC_UNLINK, ARCHIL_REC_UNLINK,
		ARCHIL_REC_UNLINK, ARCHIL_REC_RENAME, ARCHIL_REC_RENAME, ARCHIL_REC_RENAME,
		ARCHIL_REC_SETATTR, ARCHIL_REC_SETATTR, ARCHIL_REC_CONTENT, ARCHIL_REC_CONTENT,
		ARCHIL_REC_PUNCH, ARCHIL_REC_ALLOC, ARCHIL_REC_SETXATTR, ARCHIL_REC_RMXATTR,
		ARCHIL_REC_RELEASE,
	};

	memset(rec, 0, sizeof(*rec));
	rec->type = types[rnd_below(&rnd, ARRAY_SIZE(types))];
	if (rec->type != ARCHIL_REC_SETATTR && rec->type != ARCHIL_REC_RELEASE)
		rec->time = a_time();
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		gen_create(rec, p, deleg);
		break;
	case ARCHIL_REC_LINK:
		rec->dir = random_dir(deleg);
		rec->ino = rnd_one_in(&rnd, 3) ? random_orphan(deleg) : random_node(deleg, true);
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, rnd_one_in(&rnd, 20), p->name[0], NULL);
		rec->cookie = a_cookie(rec->dir);
		break;
	case ARCHIL_REC_UNLINK:
		rec->dir = random_dir(deleg);
		rec->ino = random_node(deleg, false);
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, true, p->name[0], &rec->ino);
		rec->flags = rnd_one_in(&rnd, 3) ? ARCHIL_UNLINK_OPEN : 0;
		break;
	case ARCHIL_REC_RENAME:
		gen_rename(rec, p, deleg);
		break;
	case ARCHIL_REC_SETATTR:
		gen_setattr(rec, deleg);
		break;
	case ARCHIL_REC_CONTENT:
		rec->ino = random_node(deleg, true);
		rec->off = rnd_one_in(&rnd, 2) ? 0 : rnd_below(&rnd, 6000);
		rec->data_len = rnd_range(&rnd, 1, rnd_one_in(&rnd, 8) ? 10000 : 500);
		rnd_bytes(&rnd, p->data, rec->data_len);
		rec->data = p->data;
		break;
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		rec->ino = random_node(deleg, true);
		rec->off = rnd_below(&rnd, 12000);
		rec->length = rnd_range(&rnd, 1, 12000);
		if (rec->type == ARCHIL_REC_ALLOC && rnd_one_in(&rnd, 2))
			rec->flags = ARCHIL_ALLOC_KEEP_SIZE;
		break;
	case ARCHIL_REC_SETXATTR:
	case ARCHIL_REC_RMXATTR:
		rec->ino = random_node(deleg, false);
		memcpy(p->name[0], "user.a", 6);
		p->name[0][5] += rnd_below(&rnd, M_XATTRS);
		rec->name = p->name[0];
		rec->name_len = 6;
		if (rec->type == ARCHIL_REC_SETXATTR) {
			rec->data_len = rnd_below(&rnd, 32);
			rnd_bytes(&rnd, p->data, rec->data_len);
			rec->data = p->data;
		}
		break;
	case ARCHIL_REC_RELEASE:
		rec->ino = random_orphan(deleg);
		break;
	}
}

static bool full(void)
{
	return m->nodes > M_NODES - 40 || m->dents > M_DENTS - 40 || m->delegs > M_DELEGS - 10 ||
	       m->fresh + 40 > m->next_ino;
}

#endif
