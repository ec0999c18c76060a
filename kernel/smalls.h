/* SPDX-License-Identifier: GPL-2.0 */
/* Contents of small files ahead of who reads one after the other; smalls.c has the rules. */
#ifndef ARCHIL_SMALLS_H
#define ARCHIL_SMALLS_H

#include <linux/types.h>

struct archil_mount;
struct file;

/* Of a mount; all without a lock: what is miscounted only asks for more or less. */
struct archil_smalls {
	unsigned int window;		/* files to ask for, or 0 */
	unsigned int given, used;	/* files, since it was changed */
};

/* A page of a small file that is not ours is about to be asked for. */
void archil_smalls_cold(struct file *file);
/* A file that came ahead is read; inode's ARCHIL_I_AHEAD is set. */
void archil_smalls_used(struct file *file);

#endif /* ARCHIL_SMALLS_H */
