/* SPDX-License-Identifier: GPL-2.0 */
/* Directories. */
#ifndef ARCHIL_DIR_H
#define ARCHIL_DIR_H

struct dentry;
struct inode;

/* Ask the server about a name that is cached: 1 as before, 0 it is not, or an error. */
int archil_name_ask(struct inode *dir, struct dentry *dentry);

/* 0, -ENOTEMPTY, or another error. */
int archil_dir_empty(struct inode *dir);

#endif /* ARCHIL_DIR_H */
