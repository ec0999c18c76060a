/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The namespace of one disk: inodes, names, small contents, xattrs, and what
 * guards them (delegations, sessions, slots), all of it keys in the store.
 * fs.h opens a disk and reads it; fs_txn.h changes it; fs_meta.h is the
 * records of sessions and delegations; fs_keys.h is how it is laid out.
 *
 * Rules:
 *
 *  1. Readers look at a view: one committed, synced state, with the number of
 *     its commit. Views are cheap (no store call but after a commit), may be
 *     used by any thread, and are kept for a request, not for a client.
 *  2. Changes are made by one thread, in transactions (fs_txn.h). Its view,
 *     fs_txn_view(), shows the state with everything changed so far.
 *  3. Every inode carries the number of the commit that last changed it, its
 *     change number; readers see commits only, so two states that a reader can
 *     tell apart have two numbers.
 *  4. Damage gives -EBADMSG, whether the store found it (store_failure() says
 *     where) or a value contradicts another; it is never guessed around.
 *     -ENOMEM and -EIO as usual.
 *
 * Directories have size 4096 for whoever asks. Times and owners are what the
 * records said; the server makes up none of them.
 */
#ifndef ARCHIL_FS_H
#define ARCHIL_FS_H

#include "record.h"
#include "scram.h"
#include "store.h"
#include "wire.h"

struct fs;
struct fs_txn;
struct fs_view;

#define FS_FORMAT_VERSION	3
#define FS_LINK_MAX		65000	/* links of one file; EMLINK */

/* ---- a disk ---- */

/*
 * fs_format() - write the first state of a disk into an empty store: the root
 * directory (mode 0755, uid 0), counters, and the verifier of its token.
 * @now: ns since 1970.
 * Return: 0, -EEXIST when there is one already, or the store's error.
 */
int fs_format(struct store *store, const struct scram_verifier *verifier, u64 now);

/*
 * fs_open() - the namespace in @store, which must outlive it.
 * Return: 0 and *@fsp; -ENOENT (not formatted), -EPROTONOSUPPORT (another
 * format version), -EBADMSG, or the store's error.
 */
int fs_open(struct store *store, struct fs **fsp);
void fs_close(struct fs *fs);		/* no view, no transaction may be left; NULL is fine */

struct fs_disk_info {
	struct scram_verifier verifier;
	u64 created;			/* ns since 1970 */
	u64 inodes;			/* in use, orphans included */
	u64 next_ino, next_deleg, next_session;
};

int fs_disk_info(struct fs_view *view, struct fs_disk_info *info);

/* ---- views ---- */

/* fs_view_get() - the newest committed state; NULL when out of memory. */
struct fs_view *fs_view_get(struct fs *fs);
void fs_view_put(struct fs_view *view);
/* The commit that @view shows: what goes into archil_hdr.commit. */
u64 fs_view_commit(const struct fs_view *view);

/* ---- reading; every function takes a view or fs_txn_view() ---- */

/*
 * fs_getattr() - attributes of an inode.
 * @rep: attr is filled but for deleg and ARCHIL_AF_OTHER, which are 0 here:
 * the caller knows who asks. dir_change is 0. attr.parent is 0 for an orphan.
 * @target: ARCHIL_PATH_LEN bytes for a symlink's target, or NULL: not wanted.
 * Return: 0, -ESTALE (no such inode).
 */
int fs_getattr(struct fs_view *view, u64 ino, struct archil_attr_rep *rep, char *target);

/*
 * fs_lookup() - the same for a name; dir_change is the directory's.
 * Return: 0, -ENOENT (no such name), -ESTALE (no such directory), -ENOTDIR.
 * With -ENOENT, rep->dir_change is set too.
 */
int fs_lookup(struct fs_view *view, u64 dir, const char *name, size_t len,
	      struct archil_attr_rep *rep, char *target);

/* Where a listing goes. */
struct fs_list {
	void *buf;
	size_t cap, len;	/* of the payload: room, and what it became */
	/* called for each entry to fill in deleg and ARCHIL_AF_OTHER; may be NULL */
	void (*owner)(void *ctx, struct archil_wattr *attr);
	/* with owner: what follows are the entries of a directory that was filled in by it */
	void (*enter)(void *ctx, const struct archil_wattr *dir);
	void *ctx;
};

/*
 * fs_readdir() - entries of req->dir with cookies above req->cookie, and what a walk
 * would list next (struct archil_readdir_req; req->max is list->cap, filled in by the caller).
 * Return: 0 (an empty page only with ARCHIL_RD_EOF), -ESTALE, -ENOTDIR, or
 * -EINVAL: not even one entry fits into list->cap.
 */
int fs_readdir(struct fs_view *view, const struct archil_readdir_req *req, struct fs_list *list,
	       struct archil_readdir_rep *rep);

/*
 * fs_read() - contents of a regular file, as far as they are small.
 * @got: bytes put into @buf, to where data ends; the rest up to rep->size is zeros.
 * Return: 0; 1: the contents are in the data file (ARCHIL_AF_BULK), only @rep is
 * filled; -ESTALE, -EISDIR, -EINVAL (another type).
 */
int fs_read(struct fs_view *view, u64 ino, u64 off, size_t len, void *buf, size_t *got,
	    struct archil_read_rep *rep);

/* What a WRITE has to know of a regular file. */
struct fs_file {
	u64 size;
	u64 writer;		/* see fs_writer() */
	u64 parent;		/* of its home link; 0 of an orphan */
	u64 change;
	bool bulk;
};

/* fs_file() - Return: 0, -ESTALE, -EISDIR, -EINVAL (another type). */
int fs_file(struct fs_view *view, u64 ino, struct fs_file *file);

/*
 * fs_seek() - SEEK_DATA (3) or SEEK_HOLE (4) in a small file.
 * @size: set to the file's size.
 * Return: 0 and *@out; 1: it is a bulk file, only @size is set; -ENXIO, -ESTALE, -EINVAL.
 */
int fs_seek(struct fs_view *view, u64 ino, u64 off, u32 whence, u64 *out, u64 *size);

/* fs_getxattr() - Return: 0 and *@len; -ENODATA, -ERANGE (longer than @cap), -ESTALE. */
int fs_getxattr(struct fs_view *view, u64 ino, const char *name, size_t name_len,
		void *buf, size_t cap, size_t *len);
/* fs_listxattr() - names, each ended by NUL. -E2BIG: more than @cap; -ESTALE. */
int fs_listxattr(struct fs_view *view, u64 ino, char *buf, size_t cap, size_t *len);

/*
 * fs_resolve() - walk @path ("a/b", "/a/b"; empty: the root) down from the root.
 * Symlinks are not followed. Return: 0, -ENOENT, -ENOTDIR, -EINVAL ("." or "..").
 */
int fs_resolve(struct fs_view *view, const char *path, size_t len, u64 *ino);

/*
 * fs_path() - where an inode's home link is, from the disk's root: "/a/b", for
 * people. An orphan is "(removed)". Too long a path loses its beginning ("...").
 */
int fs_path(struct fs_view *view, u64 ino, char *buf, size_t cap);

/* Inode numbers from the root of the disk down to an inode, both included. */
struct fs_chain {
	u64 *ino;
	size_t n, cap;
};

/*
 * fs_chain() - the chain of an inode, by home links. @chain begins as zeros and
 * can be used again; fs_chain_free() in the end. An orphan's chain is itself alone.
 * Return: 0, -ESTALE, -ENOMEM.
 */
int fs_chain(struct fs_view *view, u64 ino, struct fs_chain *chain);
void fs_chain_free(struct fs_chain *chain);

/*
 * fs_orphan_of() - number of the delegation that keeps an orphan open.
 * Return: 0 and *@deleg (0: no orphan, or released); -ESTALE.
 */
int fs_orphan_of(struct fs_view *view, u64 ino, u64 *deleg);

/*
 * fs_writer() - the delegation under which an inode's data file was last
 * written; see fs_bulk_begin(). 0: none. -ESTALE.
 */
int fs_writer(struct fs_view *view, u64 ino, u64 *deleg);

/* ---- checking ---- */

/* What a disk keeps beside what has a name. */
struct fs_counts {
	u64 orphans;			/* kept open by a delegation */
	u64 released;			/* released, to be reaped */
	u64 intents;			/* of data files that are to be cut or removed */
	u64 data_files;
};

/*
 * fs_count() - add what @view has to @counts. Data files are those of this moment.
 * Return: 0 or an error.
 */
int fs_count(struct fs_view *view, struct fs_counts *counts);

/*
 * fs_check() - verify the whole tree of @view against itself.
 * @line: called with one line for each thing that is wrong.
 * Reads everything, in order; its memory grows with the delegations alone.
 * Runs beside everything else. Not for fs_txn_view().
 * Return: the number of lines, or a negative errno that ended it.
 */
int fs_check(struct fs_view *view, void (*line)(void *arg, const char *text), void *arg);

#endif
