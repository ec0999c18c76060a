// SPDX-License-Identifier: GPL-2.0
/*
 * Entries by name.
 *
 * A directory that is emptied mostly is in the order of its cookies. To find each name by itself
 * is a search in every level of the engine, so the committer reads ahead:
 *
 * 1. When FS_RUN names in a row were found where a walk would come to them, the entries of the
 *    directory's next FS_AHEAD cookies are read, as they are committed.
 * 2. Such an entry is what a search would find while the transaction has not changed that
 *    name, which is looked at first.
 * 3. They are forgotten with the transaction, after which others may be committed.
 */
#include "fs_priv.h"

static int decode(u64 dir, struct store_value *val, struct fs_entry *entry)
{
	int err = fs_name_decode(dir, val->data, val->len, entry);

	store_value_put(val);
	return err;
}

static int find(struct fs_view *view, u64 dir, const struct fs_key *key, struct fs_entry *entry)
{
	struct store_value val;
	int err = fs_get(view, key, &val);

	return err ? err : decode(dir, &val, entry);
}

int fs_entry_find(struct fs_view *view, u64 dir, const char *name, size_t len,
		  struct fs_entry *entry)
{
	struct fs_key key;

	if (!len || len > ARCHIL_NAME_LEN)
		return -ENOENT;
	fs_key_name(&key, FS_NAME, dir, name, len);
	return find(view, dir, &key, entry);
}

/* ---- ahead ---- */

void fs_names_forget(struct fs_names *names)
{
	names->n = 0;
	names->run = 0;
	names->dir = 0;
}

/* What cannot be read is told to who looks for it. */
static void read_ahead(struct fs_names *names, struct fs_view *view)
{
	struct fs_entry_val val;
	struct fs_key from, end;
	struct fs_scan scan;
	struct fs_ahead *at;
	int r;

	names->n = names->pos = 0;
	fs_key2(&from, FS_ENTRY, names->dir, names->cookie + 1);
	fs_key2(&end, FS_ENTRY, names->dir, names->cookie + 1 + FS_AHEAD);
	if (fs_scan_open_range(view, &from, &end, &scan))
		return;
	for (r = fs_scan_first(&scan, NULL); r > 0 && names->n < FS_AHEAD; r = fs_scan_next(&scan)) {
		if (scan.val_len <= sizeof(val) || scan.val_len > sizeof(val) + ARCHIL_NAME_LEN)
			break;
		at = &names->ahead[names->n++];
		memcpy(&val, scan.val, sizeof(val));
		at->entry = (struct fs_entry){
			.dir = names->dir,
			.cookie = fs_key_nr(scan.key, scan.key_len, 1),
			.ino = le64_to_cpu(val.ino),
			.type = val.type,
		};
		at->len = scan.val_len - sizeof(val);
		memcpy(at->name, scan.val + sizeof(val), at->len);
	}
	fs_scan_close(&scan);
}

/* Found: at its place in a run? */
static void found(struct fs_txn *txn, const struct fs_entry *entry)
{
	struct fs_names *names = &txn->names;
	struct fs_view *view;

	if (names->dir == entry->dir && fs_follows(names->cookie, entry->cookie))
		names->run++;
	else
		fs_names_forget(names);
	names->dir = entry->dir;
	names->cookie = entry->cookie;
	if (names->run < FS_RUN || names->pos < names->n)
		return;
	view = fs_view_get(txn->fs);
	if (!view)
		return;
	read_ahead(names, view);
	fs_view_put(view);
}

static bool find_ahead(struct fs_names *names, u64 dir, const char *name, size_t len,
		       struct fs_entry *entry)
{
	const struct fs_ahead *at;
	unsigned int i;

	if (names->dir != dir)
		return false;
	for (i = names->pos; i < names->n; i++) {
		at = &names->ahead[i];
		if (at->len == len && !memcmp(at->name, name, len)) {
			*entry = at->entry;
			names->pos = i + 1;
			names->cookie = entry->cookie;
			return true;
		}
	}
	return false;
}

int fs_node_entry(struct fs_txn *txn, struct fs_node *dir, const char *name, size_t len,
		  struct fs_entry *entry)
{
	u64 ino = dir->in.ino;
	struct store_value val;
	struct fs_key key;
	int err;

	if (!len || len > ARCHIL_NAME_LEN)
		return -ENOENT;
	fs_key_name(&key, FS_NAME, ino, name, len);
	/* empty, and not yet changed in this transaction */
	if (!dir->in.entries && dir->in.change != txn->nr)
		dir->bare = txn->nr;
	err = fs_get_own(txn, &key, &val);
	if (!err)
		return decode(ino, &val, entry);
	if (err != -ENODATA || dir->bare == txn->nr)
		return -ENOENT;
	if (find_ahead(&txn->names, ino, name, len, entry))
		return 0;
	err = find(&txn->view, ino, &key, entry);
	if (!err)
		found(txn, entry);
	return err;
}
