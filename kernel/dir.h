/* SPDX-License-Identifier: GPL-2.0 */
/* Directories. */
#ifndef ARCHIL_DIR_H
#define ARCHIL_DIR_H

#include <linux/types.h>

struct dentry;
struct inode;

/* Ask the server about a name that is cached: 1 as before, 0 it is not, or an error. */
int archil_name_ask(struct inode *dir, struct dentry *dentry);

/* 0, -ENOTEMPTY, or another error. */
int archil_dir_empty(struct inode *dir);

/* What a directory was found to have under one name, when all of it was read. */
struct archil_around {
	struct inode *inode;		/* a reference, or NULL: nothing */
	u64 cookie;			/* of that entry, or 0 */
	u64 commit;
	u64 deleg;			/* what the directory is about to be complete under, or 0 */
	u32 gen;
};

/*
 * Instead of asking the server for one name in a directory that is ours, where that is worth it: all
 * other names in it come into memory, and what @dentry has is in @around. The directory is
 * locked, @dentry is no name yet. 0, or an error; -EAGAIN: ask for the name.
 */
int archil_dir_read_around(struct dentry *dentry, struct archil_around *around);
/* Now @dentry is a name, too, or it is known that it is none: the directory is complete. */
void archil_dir_read_done(struct inode *dir, struct dentry *dentry,
			  const struct archil_around *around);

#endif /* ARCHIL_DIR_H */
