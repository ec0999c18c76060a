/* SPDX-License-Identifier: GPL-2.0 */
/* The options of mount.archil, as they stand after -o. */
#ifndef ARCHIL_MOUNT_OPTS_H
#define ARCHIL_MOUNT_OPTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

enum { MOUNT_PARAMS_MAX = 64 };

struct mount_param {		/* for fsconfig(2) */
	char *key;
	char *value;		/* NULL: a flag */
};

struct mount_opts {
	uint64_t attr_set;	/* MOUNT_ATTR_*, asked for */
	uint64_t attr_clear;	/* asked not to be, by their opposites */
	bool ro;
	bool shared, force;
	bool remount;
	char tokenfile[PATH_MAX];	/* or "" */
	struct mount_param param[MOUNT_PARAMS_MAX];
	unsigned int params;
};

/*
 * text: options, separated by commas; a comma within double quotes does not
 * separate. sloppy: unknown ones are passed over. The last one counts. May be
 * called again for more. Returns 0, or -EINVAL (-ENOMEM) and err.
 */
int mount_opts_parse(struct mount_opts *opts, const char *text, bool sloppy,
		     char err[static ERR_TEXT]);
/* Do they go together? When all are parsed. Returns 0, or -EINVAL and err. */
int mount_opts_check(const struct mount_opts *opts, char err[static ERR_TEXT]);
void mount_opts_free(struct mount_opts *opts);

#endif
