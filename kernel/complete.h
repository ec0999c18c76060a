/* SPDX-License-Identifier: GPL-2.0 */
/* Complete directories: memory knows what is in them, and what is not. complete.c has the rules. */
#ifndef ARCHIL_COMPLETE_H
#define ARCHIL_COMPLETE_H

#include <linux/rbtree.h>
#include <linux/types.h>

#define ARCHIL_DIR_PRIME	16384	/* entries of a listing that become names in memory */

struct archil_inode;
struct archil_name;
struct dentry;
struct inode;

/* Of a directory. Protected by lock, but for tests of `deleg` without it. */
struct archil_listing {
	spinlock_t lock;
	u64 deleg;			/* it is complete under this delegation, or 0 */
	struct rb_root names;		/* archil_name.by_cookie */
	struct rb_node *last;
	u32 gen;			/* moves when a reading that began before can not make it complete */
	u32 asked;			/* names that the server was asked for since it was last read around */
	u32 failed;			/* how often reading around has, one after the other */
	bool reading_around;		/* somebody is in archil_dir_read_around() */
};

/* In a name (names.h). */
struct archil_listed {
	struct rb_node by_cookie;	/* protected by the listing's lock */
	u64 cookie;			/* same */
	struct archil_inode *dir;	/* in whose listing it is, or NULL; changed under its lock */
};

void archil_listing_init(struct archil_listing *l);
/* The directory goes. */
void archil_listing_exit(struct inode *dir);

/* Is it complete? It is locked. *@commit: what memory says of it is as good as read then. */
bool archil_dir_complete(struct inode *dir, u64 *commit);
/* Made just now, under this delegation. */
void archil_dir_begins(struct inode *dir, u64 number);
/* Not any more, or memory can not tell. Never blocks. */
void archil_dir_incomplete(struct inode *dir);

/* 1: there are names in it; 0: none; -EAGAIN: it is not complete any more. It is locked. */
int archil_dir_lists(struct inode *dir);

/*
 * Reading it from its beginning, under delegation @number or 0: every entry is listed, and if
 * nothing came between it is complete at the end. Several may read at the same time.
 */
u32 archil_dir_reading(struct inode *dir, u64 number);
void archil_dir_read(struct inode *dir, u32 gen, u64 number);
/* Can the reading that began with @gen still make it complete? */
bool archil_dir_undisturbed(struct inode *dir, u32 gen);

/*
 * The server is to be asked for a name in it. true: it shall be asked for all of them instead
 * (rule 6), by this caller, who then says archil_dir_around_end(). The directory is locked.
 */
bool archil_dir_around_begin(struct inode *dir);
void archil_dir_around_end(struct inode *dir, bool failed);

/*
 * An entry of a complete directory came or went; the directory is locked. A name that is in another
 * listing leaves that. In one that is not complete nothing is listed.
 */
void archil_dir_list(struct inode *dir, struct dentry *dentry, u64 cookie);
/* Found in the reading that began with @gen: whether it is complete or not. */
void archil_dir_list_read(struct inode *dir, struct dentry *dentry, u64 cookie, u32 gen);
/* Not listed any more; from any context. */
void archil_dir_unlist(struct dentry *dentry);
/* The cookie under which it is listed, or 0. The directory is locked. */
u64 archil_dir_cookie_of(struct dentry *dentry);

/**
 * archil_dir_next - what is listed behind a cookie
 * @dir: complete, and locked
 * @found, @cookies: up to @max entries, in order; with a reference each
 *
 * How many, 0 at the end; -EAGAIN: memory is letting go of one, it is not complete.
 */
int archil_dir_next(struct inode *dir, u64 after, struct dentry **found, u64 *cookies,
		    unsigned int max);

#endif /* ARCHIL_COMPLETE_H */
