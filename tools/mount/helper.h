/* SPDX-License-Identifier: GPL-2.0 */
/* What mount.archil and umount.archil share. */
#ifndef ARCHIL_MOUNT_HELPER_H
#define ARCHIL_MOUNT_HELPER_H

#include <stdbool.h>

/* Exit statuses, those of mount(8). */
enum {
	EX_OK		= 0,
	EX_USAGE	= 1,	/* wrong usage, or not permitted */
	EX_SYSTEM	= 2,	/* out of memory, cannot fork, ... */
	EX_FAIL		= 32,	/* it could not be (un)mounted */
};

extern const char *helper_name;

/* A line on stderr, with the program's name; control characters are replaced. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* To another mount namespace: a file, or a process's number. Complains. */
bool enter_namespace(const char *which);
/* Is it "archil" or "archil.SOMETHING"? Complains. */
bool type_is_ours(const char *type);

#endif
