/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Changes that no single log can carry: links, unlinks and renames that concern two
 * delegations, or a file with several links.
 */
#ifndef ARCHIL_ACROSS_H
#define ARCHIL_ACROSS_H

#include "shared/record.h"

struct archil_across;
struct archil_req;
struct dentry;

/*
 * Drain, ask, follow the reply. The VFS's locks on directories and files are
 * held. Killable; errnos of the server, -EIO: a delegation was lost meanwhile.
 */
int archil_link_across(struct dentry *old, struct inode *dir, struct dentry *dentry,
		       struct archil_record *rec);
int archil_unlink_across(struct inode *dir, struct dentry *dentry, struct archil_record *rec);
int archil_rename_across(struct inode *old_dir, struct dentry *old, struct inode *new_dir,
			 struct dentry *new, struct archil_record *rec);

/*
 * For sync.c. The answer is there: take it in, let changes go on. @abandoned:
 * whoever asked was killed. Never blocks.
 */
void archil_across_answered(struct archil_across *ac, struct archil_req *req, bool abandoned);
/* It was not asked: let changes go on, and free. */
void archil_across_drop(struct archil_across *ac);
/* What is left to do, in a work of the mount's; frees. */
void archil_across_finish(struct archil_across *ac);

#endif /* ARCHIL_ACROSS_H */
