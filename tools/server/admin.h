/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What commands do to a store (control.h), in a running server or without one.
 * Replies are JSON objects, never NULL; a failed one has "error" and "errno".
 */
#ifndef ARCHIL_ADMIN_H
#define ARCHIL_ADMIN_H

#include <jansson.h>
#include <stdint.h>

#include "commit.h"
#include "deleg.h"
#include "scram.h"

struct disk;

json_t *admin_error(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes a disk in dir and a token for it. The disk is not opened. */
json_t *admin_disk_create(const char *dir, const char *name);
/* Deletes what nobody has open. */
json_t *admin_disk_delete(const char *dir, const char *name);

/* Any thread, the disk being kept open. */
json_t *admin_delegations(struct disk *disk);
/*
 * Appends what is damaged to list; adds to counts when nothing is. Returns a negative errno
 * when it could not go on.
 */
int admin_check(struct disk *disk, json_t *list, struct fs_counts *counts);
/* The reply, of all disks. */
json_t *admin_checked(json_t *list, size_t disks, const struct fs_counts *counts);
/* The loop, or without a server. */
json_t *admin_disk_info(struct disk *disk);
json_t *admin_sessions(struct disk *disk);

/* A change of the disk, as work for its committer. */
struct admin_work {
	struct work work;
	enum { ADMIN_TOKEN, ADMIN_END } what;
	uint64_t id;			/* END: the session */
	struct scram_token token;	/* TOKEN: the new one */
	struct scram_verifier verifier;
	struct session *victim;
	struct ended ended;
	int rc;
};

/* 0 or a negative errno. */
int admin_token_begin(struct admin_work *aw);
void admin_end_begin(struct admin_work *aw, uint64_t session);
/* In done(), or after commit_now() (served: false): what follows in memory. The reply. */
json_t *admin_finish(struct admin_work *aw, struct disk *disk, bool served, int err);

#endif
