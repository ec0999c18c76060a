/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The naive filesystem that the server's namespace is held against: arrays that
 * are searched from end to end, and the rules of record.h and semantics.md in
 * the plainest form. m_apply() changes nothing when it returns an error.
 */
#ifndef TESTS_APPLY_MODEL_H
#define TESTS_APPLY_MODEL_H

#include <stdlib.h>
#include <sys/stat.h>

#include "fs_meta.h"

enum {
	M_NODES		= 400,
	M_DENTS		= 500,
	M_DELEGS	= 60,
	M_XATTRS	= 4,
	M_DATA		= 49152,	/* bytes that a test ever writes to, from 0 */
	M_NAME		= 16,
	M_DEPTH		= 128,
};

struct m_xattr {
	char name[M_NAME];
	size_t name_len, len;
	u8 value[32];
};

struct m_node {
	u64 ino;
	u32 mode, uid, gid, major, minor;
	struct archil_time atime, mtime, ctime, btime;
	u64 change, size;
	u8 *data;		/* M_DATA bytes, or NULL: zeros. Beyond the size: the writer's */
	bool bulk;
	u64 writer;
	char target[M_NAME];
	u64 home_dir, home_cookie;
	bool orphan;
	u64 orphan_of, released;
	u64 next_cookie;
	struct m_xattr xattr[M_XATTRS];
	int n_xattrs;
};

struct m_dent {
	u64 dir, cookie, ino;
	char name[M_NAME];
	size_t len;
};

struct m_deleg {
	struct fs_deleg rec;
	u8 *batch;		/* the last that was applied, to be sent again; not owned */
	size_t len;
	u64 first_seq;
	u32 count;
};

struct model {
	struct m_node node[M_NODES];
	int nodes;
	struct m_dent dent[M_DENTS];
	int dents;
	struct m_deleg deleg[M_DELEGS];
	int delegs;
	u64 next_ino;		/* handed out up to here */
	u64 fresh;		/* next that was not used */
	u64 nr;			/* commit that is being made */
	u64 now;
};

struct m_who {
	u64 deleg, session;	/* LOG: deleg; CHANGE: session */
};

static inline struct m_node *m_node(struct model *m, u64 ino)
{
	for (int i = 0; i < m->nodes; i++)
		if (m->node[i].ino == ino)
			return &m->node[i];
	return NULL;
}

static inline struct m_deleg *m_deleg(struct model *m, u64 number)
{
	for (int i = 0; i < m->delegs; i++)
		if (m->deleg[i].rec.number == number)
			return &m->deleg[i];
	return NULL;
}

static inline struct m_dent *m_find(struct model *m, u64 dir, const char *name, size_t len)
{
	for (int i = 0; i < m->dents; i++)
		if (m->dent[i].dir == dir && m->dent[i].len == len &&
		    !memcmp(m->dent[i].name, name, len))
			return &m->dent[i];
	return NULL;
}

static inline u32 m_links(struct model *m, const struct m_node *node)
{
	u32 n = S_ISDIR(node->mode) && !node->orphan ? 2 : 0;

	for (int i = 0; i < m->dents; i++) {
		if (S_ISDIR(node->mode))
			n += m->dent[i].dir == node->ino &&
			     S_ISDIR(m_node(m, m->dent[i].ino)->mode);
		else
			n += m->dent[i].ino == node->ino;
	}
	return n;
}

static inline int m_entries(struct model *m, u64 dir)
{
	int n = 0;

	for (int i = 0; i < m->dents; i++)
		n += m->dent[i].dir == dir;
	return n;
}

/* From the inode up; returns how many. */
static inline size_t m_chain(struct model *m, u64 ino, u64 chain[M_DEPTH])
{
	struct m_node *node;
	size_t n = 0;

	for (;;) {
		node = m_node(m, ino);
		chain[n++] = ino;
		if (ino == ARCHIL_INO_ROOT || node->orphan || n == M_DEPTH)
			return n;
		ino = node->home_dir;
	}
}

static inline bool m_under(struct model *m, u64 ino, u64 top)
{
	u64 chain[M_DEPTH];
	size_t n = m_chain(m, ino, chain);

	while (n--)
		if (chain[n] == top)
			return true;
	return false;
}

/* The delegation that an inode belongs to. */
static inline struct m_deleg *m_owner(struct model *m, u64 ino)
{
	struct m_node *node = m_node(m, ino);

	if (node->orphan)
		return m_deleg(m, node->orphan_of);
	for (int i = 0; i < m->delegs; i++)
		if (!(m->deleg[i].rec.flags & FS_DELEG_ORPHAN) &&
		    m_under(m, ino, m->deleg[i].rec.ino))
			return &m->deleg[i];
	return NULL;
}

static inline int m_may(struct model *m, u64 session, enum fs_touch what, u64 ino)
{
	struct m_deleg *deleg = m_owner(m, ino);

	if (deleg)
		return deleg->rec.session == session ? 0 : -EBUSY;
	return what == FS_TOUCH_CREATE ? 0 : -EROFS;
}

static inline u64 m_cover(struct model *m, u64 session, u64 ino)
{
	struct m_deleg *deleg = m_owner(m, ino);

	return deleg && deleg->rec.session == session ? deleg->rec.number : 0;
}

/* For each inode that a record touches; the worst answer is kept. */
static inline void m_touch(struct model *m, const struct m_who *who, enum fs_touch what, u64 ino,
			   int *refused)
{
	struct m_deleg *deleg = m_owner(m, ino);
	int err;

	if (who->deleg)
		err = deleg && deleg->rec.number == who->deleg ? 0 : -EUCLEAN;
	else
		err = m_may(m, who->session, what, ino);
	if (err == -EUCLEAN || err == -EBUSY || (err == -EROFS && !*refused))
		*refused = err;
}

/* ---- changing ---- */

static inline void m_dir_changed(struct model *m, u64 dir, struct archil_time time)
{
	struct m_node *node = m_node(m, dir);

	node->mtime = time;
	node->ctime = time;
	node->change = m->nr;
}

static inline int m_cookie(struct model *m, const struct m_who *who, u64 dir, u64 *cookie)
{
	u64 next = m_node(m, dir)->next_cookie;

	if (*cookie >= next)
		return 0;
	if (who->deleg)
		return -EUCLEAN;
	*cookie = next;
	return 0;
}

static inline void m_enter(struct model *m, u64 dir, const char *name, size_t len, u64 cookie,
			   u64 ino, struct archil_time time)
{
	struct m_dent *dent = &m->dent[m->dents++];

	dent->dir = dir;
	dent->cookie = cookie;
	dent->ino = ino;
	dent->len = len;
	memcpy(dent->name, name, len);
	m_node(m, dir)->next_cookie = cookie + 1;
	m_dir_changed(m, dir, time);
}

/* The last link went. */
static inline void m_orphan(struct model *m, struct m_node *node, u64 deleg)
{
	node->orphan = true;
	node->home_dir = 0;
	node->home_cookie = 0;
	node->orphan_of = deleg;
	node->released = deleg ? 0 : m->now;
}

/* The home link went: the lowest of the others is home. */
static inline void m_new_home(struct model *m, struct m_node *node)
{
	struct m_dent *best = NULL, *d;

	for (int i = 0; i < m->dents; i++) {
		d = &m->dent[i];
		if (d->ino == node->ino && (!best || d->dir < best->dir ||
					    (d->dir == best->dir && d->cookie < best->cookie)))
			best = d;
	}
	node->home_dir = best->dir;
	node->home_cookie = best->cookie;
}

static inline void m_leave(struct model *m, struct m_dent *dent, struct archil_time time,
			   u64 keeper)
{
	struct m_node *node = m_node(m, dent->ino);
	bool home = node->home_dir == dent->dir && node->home_cookie == dent->cookie;
	u64 dir = dent->dir;

	*dent = m->dent[--m->dents];
	m_dir_changed(m, dir, time);
	node->ctime = time;
	node->change = m->nr;
	if (S_ISDIR(node->mode) || !m_links(m, node))
		m_orphan(m, node, keeper);
	else if (home)
		m_new_home(m, node);
}

static inline u64 m_keeper(struct model *m, const struct m_who *who, bool open, u64 ino)
{
	if (!open)
		return 0;
	return who->deleg ? who->deleg : m_cover(m, who->session, ino);
}

static inline u8 *m_data(struct m_node *node)
{
	if (!node->data)
		node->data = calloc(1, M_DATA);
	return node->data;
}

static inline void m_zero(struct m_node *node, u64 from, u64 to)
{
	if (to > M_DATA)
		to = M_DATA;
	if (node->data && from < to)
		memset(node->data + from, 0, to - from);
}

/* ---- the records ---- */

static inline int m_create(struct model *m, const struct m_who *who,
			   const struct archil_record *rec)
{
	struct m_node *dir = m_node(m, rec->dir), *node;
	bool tmp = rec->flags & ARCHIL_CREATE_TMPFILE;
	u64 cookie = rec->cookie;
	int refused = 0;

	if (!dir)
		return -ESTALE;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (tmp && !S_ISREG(rec->mode))
		return -EINVAL;
	if (!tmp && m_find(m, rec->dir, rec->name, rec->name_len))
		return -EEXIST;
	if (dir->orphan)
		return -ENOENT;
	m_touch(m, who, FS_TOUCH_CREATE, rec->dir, &refused);
	if (refused)
		return refused;
	if (rec->ino <= 1 || rec->ino >= m->next_ino || m_node(m, rec->ino))
		return -EUCLEAN;
	if (!tmp && m_cookie(m, who, rec->dir, &cookie))
		return -EUCLEAN;

	node = &m->node[m->nodes++];
	memset(node, 0, sizeof(*node));
	node->ino = rec->ino;
	node->mode = rec->mode;
	node->uid = rec->uid;
	node->gid = rec->gid;
	node->major = rec->rdev_major;
	node->minor = rec->rdev_minor;
	node->atime = rec->atime;
	node->mtime = rec->mtime;
	node->ctime = rec->ctime;
	node->btime = rec->btime;
	node->change = m->nr;
	node->size = rec->data_len;
	if (rec->data_len)
		memcpy(node->target, rec->data, rec->data_len);
	node->next_cookie = ARCHIL_COOKIE_FIRST;
	node->home_dir = rec->dir;
	node->home_cookie = cookie;
	if (tmp)
		m_orphan(m, node, m_keeper(m, who, true, rec->dir));
	else
		m_enter(m, rec->dir, rec->name, rec->name_len, cookie, rec->ino, rec->time);
	if (rec->ino >= m->fresh)
		m->fresh = rec->ino + 1;
	return 0;
}

static inline int m_link(struct model *m, const struct m_who *who, const struct archil_record *rec)
{
	struct m_node *node = m_node(m, rec->ino), *dir = m_node(m, rec->dir);
	u64 cookie = rec->cookie;
	struct m_deleg *deleg;
	int refused = 0;

	if (!node || !dir)
		return -ESTALE;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (m_find(m, rec->dir, rec->name, rec->name_len))
		return -EEXIST;
	if (dir->orphan)
		return -ENOENT;
	if (S_ISDIR(node->mode))
		return -EPERM;
	if (node->orphan && !node->orphan_of)
		return -ENOENT;
	m_touch(m, who, FS_TOUCH_ENTRIES, rec->dir, &refused);
	m_touch(m, who, FS_TOUCH_INODE, rec->ino, &refused);
	if (refused)
		return refused;
	if (m_cookie(m, who, rec->dir, &cookie))
		return -EUCLEAN;

	m_enter(m, rec->dir, rec->name, rec->name_len, cookie, rec->ino, rec->time);
	node->ctime = rec->time;
	node->change = m->nr;
	if (!node->orphan)
		return 0;
	deleg = m_deleg(m, node->orphan_of);
	if (deleg->rec.flags & FS_DELEG_ORPHAN)
		*deleg = m->deleg[--m->delegs];
	node->orphan = false;
	node->orphan_of = 0;
	node->home_dir = rec->dir;
	node->home_cookie = cookie;
	return 0;
}

static inline int m_unlink(struct model *m, const struct m_who *who,
			   const struct archil_record *rec)
{
	struct m_node *dir = m_node(m, rec->dir), *node;
	struct m_dent *dent;
	int refused = 0;

	if (!dir)
		return -ESTALE;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	dent = m_find(m, rec->dir, rec->name, rec->name_len);
	if (!dent)
		return -ENOENT;
	if (dent->ino != rec->ino)
		return -ESTALE;
	node = m_node(m, rec->ino);
	m_touch(m, who, FS_TOUCH_ENTRIES, rec->dir, &refused);
	if (refused)
		return refused;
	if (S_ISDIR(node->mode) && m_entries(m, node->ino))
		return -ENOTEMPTY;
	m_leave(m, dent, rec->time, m_keeper(m, who, rec->flags & ARCHIL_UNLINK_OPEN, rec->ino));
	return 0;
}

static inline void m_moved(struct m_node *node, u64 from, u64 from_cookie, u64 to, u64 to_cookie)
{
	if (node->home_dir == from && node->home_cookie == from_cookie) {
		node->home_dir = to;
		node->home_cookie = to_cookie;
	}
}

static inline int m_rename(struct model *m, const struct m_who *who,
			   const struct archil_record *rec)
{
	struct m_node *old_dir = m_node(m, rec->dir), *new_dir = m_node(m, rec->new_dir);
	bool exchange = rec->flags & ARCHIL_RENAME_EXCHANGE;
	struct m_node *node, *target = NULL;
	u64 cookie = rec->cookie, was;
	struct m_dent *from, *to;
	int refused = 0;

	if (!old_dir)
		return -ESTALE;
	if (!S_ISDIR(old_dir->mode))
		return -ENOTDIR;
	if (!new_dir)
		return -ESTALE;
	if (!S_ISDIR(new_dir->mode))
		return -ENOTDIR;
	from = m_find(m, rec->dir, rec->name, rec->name_len);
	if (!from)
		return -ENOENT;
	if (from->ino != rec->ino)
		return -ESTALE;
	if (new_dir->orphan)
		return -ENOENT;
	to = m_find(m, rec->new_dir, rec->new_name, rec->new_name_len);
	if (!to && exchange)
		return -ENOENT;
	if (!to && rec->target)
		return -ESTALE;
	if (to && !rec->target)
		return -EEXIST;
	if (to && to->ino != rec->target)
		return -ESTALE;
	node = m_node(m, rec->ino);
	if (to)
		target = m_node(m, to->ino);
	if (S_ISDIR(node->mode) && m_under(m, rec->new_dir, rec->ino))
		return -EINVAL;
	if (target && S_ISDIR(target->mode) && m_under(m, rec->dir, rec->target))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (target && !exchange && S_ISDIR(node->mode) && !S_ISDIR(target->mode))
		return -ENOTDIR;
	if (target && !exchange && !S_ISDIR(node->mode) && S_ISDIR(target->mode))
		return -EISDIR;
	m_touch(m, who, FS_TOUCH_ENTRIES, rec->dir, &refused);
	m_touch(m, who, FS_TOUCH_ENTRIES, rec->new_dir, &refused);
	if (refused)
		return refused;
	if (target && !exchange && S_ISDIR(target->mode) && m_entries(m, rec->target))
		return -ENOTEMPTY;
	if (!exchange && m_cookie(m, who, rec->new_dir, &cookie))
		return -EUCLEAN;

	node->ctime = rec->time;
	node->change = m->nr;
	if (exchange) {
		target->ctime = rec->time;
		target->change = m->nr;
		m_moved(node, from->dir, from->cookie, to->dir, to->cookie);
		m_moved(target, to->dir, to->cookie, from->dir, from->cookie);
		from->ino = rec->target;
		to->ino = rec->ino;
		m_dir_changed(m, rec->dir, rec->time);
		m_dir_changed(m, rec->new_dir, rec->time);
		return 0;
	}
	if (target) {
		m_leave(m, to, rec->time,
			m_keeper(m, who, rec->flags & ARCHIL_RENAME_OPEN, rec->target));
		from = m_find(m, rec->dir, rec->name, rec->name_len);
	}
	was = from->cookie;
	*from = m->dent[--m->dents];
	m_dir_changed(m, rec->dir, rec->time);
	m_enter(m, rec->new_dir, rec->new_name, rec->new_name_len, cookie, rec->ino, rec->time);
	m_moved(node, rec->dir, was, rec->new_dir, cookie);
	return 0;
}

/* The bytes beyond the size are this delegation's from now on. */
static inline void m_take_over(struct m_node *node, u64 deleg)
{
	if (node->bulk && node->writer != deleg) {
		m_zero(node, node->size, M_DATA);
		node->writer = deleg;
	}
}

static inline int m_file(struct model *m, const struct m_who *who,
			 const struct archil_record *rec, u64 max)
{
	struct m_node *node = m_node(m, rec->ino);
	u64 end = rec->off + rec->length;
	u8 *data;

	switch (rec->type) {
	case ARCHIL_REC_SETATTR:
		if (rec->size > max && (rec->valid & ARCHIL_SET_SIZE || rec->size > node->size))
			return -EFBIG;
		if (rec->valid & ARCHIL_SET_SIZE) {
			m_take_over(node, who->deleg);
			m_zero(node, rec->size, M_DATA);
			node->size = rec->size;
		} else if (rec->size > node->size) {
			m_take_over(node, who->deleg);
			node->size = rec->size;
		}
		return 0;
	case ARCHIL_REC_CONTENT:
		if (node->bulk)
			return -EINVAL;
		data = m_data(node);
		memcpy(data + rec->off, rec->data, rec->data_len);
		if (rec->off + rec->data_len > node->size)
			node->size = rec->off + rec->data_len;
		break;
	case ARCHIL_REC_PUNCH:
		m_zero(node, rec->off, end);
		break;
	case ARCHIL_REC_ALLOC:
		if (end > max)
			return -EFBIG;
		if (node->bulk || end > ARCHIL_INLINE_MAX) {
			m_take_over(node, who->deleg);
			node->bulk = true;
			node->writer = who->deleg;
		}
		if (!(rec->flags & ARCHIL_ALLOC_KEEP_SIZE) && end > node->size)
			node->size = end;
		break;
	}
	node->mtime = rec->time;
	node->ctime = rec->time;
	return 0;
}

static inline int m_xattr(struct m_node *node, const struct archil_record *rec)
{
	struct m_xattr *x = NULL;

	for (int i = 0; i < node->n_xattrs; i++)
		if (node->xattr[i].name_len == rec->name_len &&
		    !memcmp(node->xattr[i].name, rec->name, rec->name_len))
			x = &node->xattr[i];
	if (rec->type == ARCHIL_REC_RMXATTR) {
		if (!x)
			return -ENODATA;
		*x = node->xattr[--node->n_xattrs];
	} else {
		if (!x)
			x = &node->xattr[node->n_xattrs++];
		memcpy(x->name, rec->name, rec->name_len);
		x->name_len = rec->name_len;
		x->len = rec->data_len;
		if (rec->data_len)
			memcpy(x->value, rec->data, rec->data_len);
	}
	node->ctime = rec->time;
	return 0;
}

static inline int m_inode(struct model *m, const struct m_who *who,
			  const struct archil_record *rec, u64 max)
{
	struct m_node *node = m_node(m, rec->ino);
	bool sized = rec->type == ARCHIL_REC_SETATTR ?
		     rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP) :
		     rec->type == ARCHIL_REC_CONTENT || rec->type == ARCHIL_REC_PUNCH ||
		     rec->type == ARCHIL_REC_ALLOC;
	struct m_deleg *deleg;
	int refused = 0, err = 0;

	if (!node)
		return -ESTALE;
	if (sized && !S_ISREG(node->mode))
		return S_ISDIR(node->mode) ? -EISDIR : -EINVAL;
	m_touch(m, who, FS_TOUCH_INODE, rec->ino, &refused);
	if (refused)
		return refused;
	if (rec->type == ARCHIL_REC_RELEASE) {
		if (!node->orphan_of)
			return -EINVAL;
		deleg = m_deleg(m, node->orphan_of);
		if (deleg->rec.flags & FS_DELEG_ORPHAN)
			*deleg = m->deleg[--m->delegs];
		m_orphan(m, node, 0);
		return 0;
	}
	if (sized)
		err = m_file(m, who, rec, max);
	else if (rec->type != ARCHIL_REC_SETATTR)
		err = m_xattr(node, rec);
	if (err)
		return err;
	node->change = m->nr;
	if (rec->type != ARCHIL_REC_SETATTR)
		return 0;
	if (rec->valid & ARCHIL_SET_MODE)
		node->mode = (node->mode & S_IFMT) | rec->mode;
	if (rec->valid & ARCHIL_SET_UID)
		node->uid = rec->uid;
	if (rec->valid & ARCHIL_SET_GID)
		node->gid = rec->gid;
	if (rec->valid & ARCHIL_SET_ATIME)
		node->atime = rec->atime;
	if (rec->valid & ARCHIL_SET_MTIME)
		node->mtime = rec->mtime;
	if (rec->valid & ARCHIL_SET_CTIME)
		node->ctime = rec->ctime;
	return 0;
}

/* max: the greatest size of a file. */
static inline int m_apply(struct model *m, const struct m_who *who,
			  const struct archil_record *rec, u64 max)
{
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		return m_create(m, who, rec);
	case ARCHIL_REC_LINK:
		return m_link(m, who, rec);
	case ARCHIL_REC_UNLINK:
		return m_unlink(m, who, rec);
	case ARCHIL_REC_RENAME:
		return m_rename(m, who, rec);
	default:
		return m_inode(m, who, rec, max);
	}
}

/* ---- the whole ---- */

static inline void m_init(struct model *m, u64 now)
{
	struct m_node *root = &m->node[m->nodes++];
	struct archil_time time = {
		.sec = cpu_to_le64(now / 1000000000),
		.nsec = cpu_to_le32(now % 1000000000),
	};

	root->ino = ARCHIL_INO_ROOT;
	root->mode = S_IFDIR | 0755;
	root->home_dir = ARCHIL_INO_ROOT;
	root->next_cookie = ARCHIL_COOKIE_FIRST;
	root->atime = root->mtime = root->ctime = root->btime = time;
	root->change = 1;
	m->next_ino = m->fresh = 2;
	m->now = now;
}

static inline void m_drop(struct model *m)
{
	for (int i = 0; i < m->nodes; i++)
		free(m->node[i].data);
	free(m);
}

static inline struct model *m_copy(const struct model *from)
{
	struct model *m = malloc(sizeof(*m));

	*m = *from;
	for (int i = 0; i < m->nodes; i++) {
		if (!m->node[i].data)
			continue;
		m->node[i].data = malloc(M_DATA);
		memcpy(m->node[i].data, from->node[i].data, M_DATA);
	}
	return m;
}

static inline void m_remove(struct model *m, int i)
{
	free(m->node[i].data);
	m->node[i] = m->node[--m->nodes];
}

#endif
