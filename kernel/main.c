// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading. */
#include <linux/module.h>
#include <linux/random.h>

#include "debugfs.h"
#include "inode.h"
#include "ioctl.h"
#include "netlink.h"
#include "transport.h"

/* This boot, this load of the module: what the server knows a dead client by. */
u8 archil_incarnation[ARCHIL_UUID_LEN] __ro_after_init;

static int __init archil_init(void)
{
	int err;

	get_random_bytes(archil_incarnation, sizeof(archil_incarnation));
	err = archil_inode_cache_init();
	if (err)
		return err;
	err = archil_conn_wq_init();
	if (err)
		goto err_wq;
	err = archil_log_wq_init();
	if (err)
		goto err_log_wq;
	archil_debugfs_init();
	err = archil_netlink_init();
	if (err)
		goto err_netlink;
	err = archil_dev_init();
	if (err)
		goto err_dev;
	err = register_filesystem(&archil_fs_type);
	if (err)
		goto err_fs;
	return 0;

err_fs:
	archil_dev_exit();
err_dev:
	archil_netlink_exit();
err_netlink:
	archil_debugfs_exit();
	archil_log_wq_exit();
err_log_wq:
	archil_conn_wq_exit();
err_wq:
	archil_inode_cache_exit();
	return err;
}

static void __exit archil_exit(void)
{
	unregister_filesystem(&archil_fs_type);
	archil_dev_exit();
	archil_netlink_exit();
	archil_debugfs_exit();
	archil_log_wq_exit();
	archil_conn_wq_exit();
	rcu_barrier();	/* delegations and names that are being freed */
	archil_inode_cache_exit();
}

module_init(archil_init);
module_exit(archil_exit);

MODULE_DESCRIPTION("archil: shared disks at local speed");
MODULE_LICENSE("GPL");
MODULE_VERSION(ARCHIL_VERSION);
