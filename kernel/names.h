/* SPDX-License-Identifier: GPL-2.0 */
/* Cached names: how long what a dentry says is believed. */
#ifndef ARCHIL_NAMES_H
#define ARCHIL_NAMES_H

#include <linux/dcache.h>

struct archil_deleg;

/* This dentry, positive or negative, is what the server said at a commit. */
void archil_name_seen(struct dentry *dentry, u64 commit);

extern const struct dentry_operations archil_dentry_ops;

#endif /* ARCHIL_NAMES_H */
