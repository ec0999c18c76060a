/* SPDX-License-Identifier: GPL-2.0 */
/* Open files. */
#ifndef ARCHIL_FILE_H
#define ARCHIL_FILE_H

#include "inode.h"

/* What a descriptor remembers. */
struct archil_file {
	int lost;			/* ai->lost when it was opened */
	int given;			/* ai->given then */
};

/* Was ownership forced away since this file was opened? */
static inline bool archil_file_lost(const struct file *file)
{
	const struct archil_file *af = file->private_data;

	return af->lost != atomic_read(&archil_i(file_inode(file))->lost);
}

#endif /* ARCHIL_FILE_H */
