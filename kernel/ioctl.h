/* SPDX-License-Identifier: GPL-2.0 */
/* ioctls on files and directories, and /dev/archil; uapi/archil.h has the interface. */
#ifndef ARCHIL_IOCTL_H
#define ARCHIL_IOCTL_H

struct archil_ioc_status;
struct archil_mount;
struct file;

/* .unlocked_ioctl; .compat_ioctl is compat_ptr_ioctl: the structures are the same. */
long archil_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* What STATUS says. May sleep; the superblock is there. */
void archil_status_fill(struct archil_mount *m, struct archil_ioc_status *st);

int archil_dev_init(void);
void archil_dev_exit(void);

#endif /* ARCHIL_IOCTL_H */
