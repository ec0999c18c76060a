#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# probe.sh INCLUDE: what do these kernel headers have?
#
# Version numbers lie, since stable kernels take things back from newer ones;
# so the headers themselves are asked. Each hit is printed as -DCOMPAT_HAVE_...,
# for compat.h alone.

cd "$1" || exit 1

# have NAME REGEX HEADER...: does one line of these headers match?
have()
{
	name=$1
	regex=$2
	shift 2
	if cat "$@" 2>/dev/null | grep -qE -e "$regex"; then
		echo "-DCOMPAT_HAVE_$name"
	fi
}

# linux/fs.h was split up over time
FS="linux/fs.h linux/mnt_idmapping.h linux/fs/*.h"

# shellcheck disable=SC2086 # FS is a list of patterns
{
have MNT_IDMAP			'file_mnt_idmap' $FS
have FILLATTR_MASK		'generic_fillattr\(struct mnt_idmap \*[a-z]*, u32' $FS
have MKDIR_DENTRY		'struct dentry \*\(\*mkdir\)' $FS
have CREATE_EXCL		'umode_t, bool\);' $FS
have INODE_TIMES		'inode_set_mtime_to_ts' $FS
have INODE_STATE_READ		'inode_state_read_once' $FS
have INODE_GENERIC_DROP		'inode_generic_drop' $FS
have FILEMAP_SPLICE_READ	'filemap_splice_read' $FS
have XATTR_HANDLER_CONST	'struct xattr_handler ?\* ?const ?\*s_xattr' $FS
have SET_DEFAULT_D_OP		'set_default_d_op' $FS linux/dcache.h
}
have D_REVALIDATE_NAME		'\(\*d_revalidate\)\(struct inode' linux/dcache.h
have D_SIB			'struct hlist_node d_sib' linux/dcache.h
have FILELOCK_H			'.' linux/filelock.h
have FILE_LOCK_CORE		'struct file_lock_core c;' linux/filelock.h
have KERNEL_SENDPAGE		'\<kernel_sendpage\(' linux/net.h
have FOLIO_BATCH_H		'.' linux/folio_batch.h
have FOLIO_END_READ		'folio_end_read' linux/pagemap.h
have FGF_SET_ORDER		'\<fgf_set_order\(' linux/pagemap.h
have FOLIO_ORDER_RANGE		'\<mapping_set_folio_order_range\(' linux/pagemap.h
have XAS_GET_ORDER		'\<xas_get_order\(' linux/xarray.h
have WRITEBACK_ITER		'\<writeback_iter\(' linux/writeback.h
have WRITEPAGE_FOLIO		'writepage_t\)\(struct folio' linux/writeback.h
have BVEC_SET_FOLIO		'bvec_set_folio' linux/bvec.h
