/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packs: what is numbered in a row lies together in one key of the store, whose engine
 * takes time for each key and hardly any for what is in it.
 *
 *  1. The items with numbers from n * FS_PACK on, FS_PACK of them, lie in pack n.
 *  2. Its value has them in the order of their numbers, without a gap between: a byte, number % FS_PACK;
 *     its length in 2 bytes, little-endian, not 0; its bytes. No number comes twice.
 *  3. A pack without items has no key.
 *  4. A pack is read whole and written whole. There is one writer.
 */
#ifndef ARCHIL_FS_PACK_H
#define ARCHIL_FS_PACK_H

#include <stddef.h>

#include "wire.h"

#define FS_PACK		16	/* numbers */
#define FS_ITEM_MAX	512	/* bytes */

struct fs_item {
	unsigned int slot;	/* number % FS_PACK */
	size_t len;
	const u8 *data;
};

/* A pack that is being changed. */
struct fs_pack {
	size_t len;
	u8 b[FS_PACK * (3 + FS_ITEM_MAX)];
};

/*
 * fs_pack_next() - the item behind another.
 * @val, @len: of the pack.
 * @pos: where it begins; moved behind it. Start with 0.
 * @item: the one before; filled in.
 * Return: 1; 0 at the end; -EBADMSG.
 */
int fs_pack_next(const void *val, size_t len, size_t *pos, struct fs_item *item);

/* fs_pack_find() - 1: it is there; 0; -EBADMSG. */
int fs_pack_find(const void *val, size_t len, unsigned int slot, struct fs_item *item);

/* fs_pack_add() - an item behind all that are there, of FS_ITEM_MAX bytes at most, and not without. */
void fs_pack_add(struct fs_pack *pack, unsigned int slot, const void *data, size_t len);

/*
 * fs_pack_set() - make an item be @data, FS_ITEM_MAX bytes at most, or without a length remove it.
 * Return: 0, or -EBADMSG and nothing changed.
 */
int fs_pack_set(struct fs_pack *pack, unsigned int slot, const void *data, size_t len);

#endif
