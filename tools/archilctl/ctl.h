/* SPDX-License-Identifier: GPL-2.0 */
/* archilctl: what its subcommands share. */
#ifndef ARCHIL_CTL_H
#define ARCHIL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archil.h"

/* Exit statuses; they are in --help, and stay as they are. */
enum ctl_exit {
	CTL_OK			= 0,
	CTL_ERROR		= 1,	/* anything else */
	CTL_USAGE		= 2,
	CTL_OWNED		= 3,	/* another session owns it */
	CTL_NOTHING		= 4,	/* nothing is held there */
	CTL_COVERED		= 5,	/* inside a larger delegation */
	CTL_PERMISSION		= 6,
	CTL_NOT_ARCHIL		= 7,
	CTL_NOT_CONNECTED	= 8,	/* no answer from the server, or no agent */
};

struct ctl_command {
	const char *name;
	const char *args;		/* for the usage line */
	const char *summary;
	const char *help;
	int (*run)(int argc, char **argv);	/* argv[0]: the command; returns enum ctl_exit */
};

extern const struct ctl_command ctl_checkout, ctl_checkin, ctl_delegations, ctl_status, ctl_abort;

/* ---- options: args.c ---- */

struct ctl_args {
	bool json, force, yes;
	int paths;
	char **path;
};

/*
 * allowed: the letters of json, force, yes that this command knows ("jfy"). min, max:
 * how many paths. Returns -1 to go on, or the status to exit with.
 */
int ctl_parse(const struct ctl_command *cmd, int argc, char **argv, const char *allowed,
	      int min, int max, struct ctl_args *args);
void ctl_usage(const struct ctl_command *cmd, bool whole);

/* ---- messages: report.c ---- */

/* "archilctl: ..." on stderr. */
void ctl_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Control characters and the like as \xNN: names come from anywhere. */
void ctl_printable(const char *text, char *out, size_t size);

enum ctl_action { CTL_DO_CHECKOUT, CTL_DO_FORCE, CTL_DO_CHECKIN, CTL_DO_ASK };
/*
 * err: an errno of one of the ioctls. holder: who is in the way, or NULL. The
 * sentence for people goes to text, of size bytes.
 */
enum ctl_exit ctl_explain(enum ctl_action action, const char *path, int err,
			  const char *holder_path, const struct archil_ioc_holder *holder,
			  char *text, size_t size);

/* ---- paths: where.c ---- */

struct where {			/* of an open file */
	char mountpoint[ARCHIL_IOC_PATH_LEN];
	char root[ARCHIL_IOC_PATH_LEN];		/* what of the mounted tree is mounted there: "/" */
	char path[ARCHIL_IOC_PATH_LEN];
};

/* O_WRONLY where it cannot be read, if may_write. -1: told, *status is set. */
int ctl_open(const char *path, bool may_write, enum ctl_exit *status);
/* A mount point, also when the server is gone: nothing is asked of it. */
int ctl_open_mount(const char *path, enum ctl_exit *status);
bool where_is(int fd, struct where *w);
/*
 * The local name of what has this path from the mounted root ("/a"). False: it cannot be
 * seen here; then out is the path itself.
 */
bool where_local(const struct where *w, const char *from_root, char *out, size_t size);
/* The same of a path from the disk's root; subdir: as in the status. */
bool where_on_disk(const struct where *w, const char *subdir, const char *from_disk, char *out,
		   size_t size);
/* One whose name on the disk is holder->path. */
void ctl_holder_path(int fd, const struct archil_ioc_holder *holder, char *out, size_t size);

#endif
