/* SPDX-License-Identifier: GPL-2.0 */
/* /sys/kernel/debug/archil/<mount id>/: status and delegations, as text for people. */
#ifndef ARCHIL_DEBUGFS_H
#define ARCHIL_DEBUGFS_H

struct archil_mount;

void archil_debugfs_init(void);
void archil_debugfs_exit(void);

/* Once the superblock is there. */
void archil_debugfs_add(struct archil_mount *m);
/* While it is still there. Waits for readers; nobody reads afterwards. */
void archil_debugfs_remove(struct archil_mount *m);

#endif /* ARCHIL_DEBUGFS_H */
