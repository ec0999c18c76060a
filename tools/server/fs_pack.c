// SPDX-License-Identifier: GPL-2.0
/* See fs_pack.h. */
#include <errno.h>
#include <string.h>

#include "fs_pack.h"

#define HEAD	3	/* bytes before an item's own */

int fs_pack_next(const void *val, size_t len, size_t *pos, struct fs_item *item)
{
	const u8 *p = (const u8 *)val + *pos;
	size_t left = len - *pos;
	unsigned int slot;

	if (!left)
		return 0;
	if (left < HEAD)
		return -EBADMSG;
	slot = p[0];
	if (slot >= FS_PACK || (*pos && slot <= item->slot))
		return -EBADMSG;
	item->slot = slot;
	item->len = p[1] | p[2] << 8;
	item->data = p + HEAD;
	if (!item->len || item->len > FS_ITEM_MAX || item->len > left - HEAD)
		return -EBADMSG;
	*pos += HEAD + item->len;
	return 1;
}

int fs_pack_find(const void *val, size_t len, unsigned int slot, struct fs_item *item)
{
	size_t pos = 0;
	int r;

	while ((r = fs_pack_next(val, len, &pos, item)) > 0)
		if (item->slot >= slot)
			return item->slot == slot;
	return r;
}

static void put_item(u8 *p, unsigned int slot, const void *data, size_t len)
{
	p[0] = slot;
	p[1] = len;
	p[2] = len >> 8;
	memcpy(p + HEAD, data, len);
}

void fs_pack_add(struct fs_pack *pack, unsigned int slot, const void *data, size_t len)
{
	put_item(pack->b + pack->len, slot, data, len);
	pack->len += HEAD + len;
}

int fs_pack_set(struct fs_pack *pack, unsigned int slot, const void *data, size_t len)
{
	size_t pos = 0, from = 0, to, size = len ? HEAD + len : 0;
	struct fs_item item;
	u8 *p;
	int r;

	/* from, to: what it takes the place of */
	while ((r = fs_pack_next(pack->b, pack->len, &pos, &item)) > 0 && item.slot < slot)
		from = pos;
	if (r < 0)
		return r;
	to = r && item.slot == slot ? pos : from;
	if (pack->len - (to - from) + size > sizeof(pack->b))
		return -EBADMSG;
	p = pack->b + from;
	memmove(p + size, pack->b + to, pack->len - to);
	pack->len += size - (to - from);
	if (len)
		put_item(p, slot, data, len);
	return 0;
}
