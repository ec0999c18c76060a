// SPDX-License-Identifier: GPL-2.0
/*
 * Large folios, and which part of one is dirty.
 *
 * A folio may be as large as a READ or WRITE. Who changes 4 KiB of it is not to send all: so the
 * range of its pages that was written to is kept, and that is what write-back sends.
 *
 * 1. folio->private of a large folio is 0 or the one range [from, to) of pages that write(2) has made
 *    dirty. It is changed with the folio locked.
 * 2. All of a dirty folio is dirty if it has no range, or if PG_checked is set. So what is not
 *    known is sent. Whoever makes a folio dirty in another way (a store through a mapping, I/O into
 *    one) may have no lock: PG_checked is set after the store and before the dirty flag, and cleared
 *    only by write-back that has seen it and sends all.
 * 3. A range is only begun when the folio is not dirty: what made it dirty before is in no range.
 * 4. Whoever splits a folio, or lets go of one, takes the range from it: see 2.
 */
#include <linux/huge_mm.h>
#include <linux/pagemap.h>
#include <linux/writeback.h>

#include "folio.h"

struct archil_part {
	unsigned int from, to;		/* pages; to is 0: there is none */
};

void archil_folios_init(struct inode *inode, size_t max)
{
	/* kmap_local_folio() maps one page */
	if (!IS_ENABLED(CONFIG_HIGHMEM))
		compat_mapping_set_folios(inode->i_mapping, max);
}

size_t archil_folio_room(struct inode *inode, loff_t pos, size_t count)
{
	size_t max = PAGE_SIZE;

	if (!offset_in_page(pos))
		max = compat_mapping_max_folio_size(inode->i_mapping);
	return min_t(size_t, count, max - (pos & (max - 1)));
}

/* ---- the range ---- */

static struct archil_part archil_part_get(struct folio *folio)
{
	unsigned long v = (unsigned long)folio_get_private(folio);

	return (struct archil_part) { .from = v >> 16, .to = v & 0xffff };
}

/* A range is always for a folio of less than 2^16 pages. */
static void archil_part_set(struct folio *folio, struct archil_part part)
{
	void *v = (void *)((unsigned long)part.from << 16 | part.to);

	if (folio_test_private(folio))
		folio_change_private(folio, v);
	else if (part.to)
		folio_attach_private(folio, v);
}

static bool archil_part_knowable(struct folio *folio)
{
	return folio_test_large(folio) && folio_nr_pages(folio) <= 0xffff;
}

/* What is dirty now. */
static struct archil_part archil_part_now(struct folio *folio)
{
	struct archil_part part = { };

	if (!folio_test_dirty(folio))
		return part;
	if (archil_part_knowable(folio) && !folio_test_checked(folio))
		part = archil_part_get(folio);
	if (!part.to)
		part.to = folio_nr_pages(folio);
	return part;
}

static struct archil_part archil_part_with(struct folio *folio, size_t from, size_t to)
{
	struct archil_part now = archil_part_now(folio), part = {
		.from = from >> PAGE_SHIFT,
		.to = DIV_ROUND_UP(to, PAGE_SIZE),
	};

	if (now.to) {
		part.from = min(part.from, now.from);
		part.to = max(part.to, now.to);
	}
	return part;
}

static size_t archil_part_bytes(struct archil_part part)
{
	return (size_t)(part.to - part.from) << PAGE_SHIFT;
}

/* It is about to become dirty, all of it. */
static void archil_folio_all(struct folio *folio)
{
	if (folio_test_large(folio)) {
		folio_set_checked(folio);
		/* before the dirty flag; write-back clears that and then looks for this */
		smp_mb__after_atomic();
	}
}

size_t archil_folio_more(struct folio *folio, size_t from, size_t to)
{
	return archil_part_bytes(archil_part_with(folio, from, to)) -
	       archil_part_bytes(archil_part_now(folio));
}

size_t archil_folio_dirty(struct folio *folio, size_t from, size_t to)
{
	size_t more = archil_folio_more(folio, from, to);

	/* Dirty and without a range is dirty as a whole, and stays that. */
	if (archil_part_knowable(folio) &&
	    (!folio_test_dirty(folio) || archil_part_get(folio).to))
		archil_part_set(folio, archil_part_with(folio, from, to));
	filemap_dirty_folio(folio->mapping, folio);
	return more;
}

void archil_folio_take(struct folio *folio, size_t *from, size_t *to)
{
	struct archil_part part = { };

	if (archil_part_knowable(folio)) {
		smp_mb(); /* after the dirty flag was cleared; pairs with archil_folio_all() */
		if (folio_test_checked(folio))
			folio_clear_checked(folio);
		else
			part = archil_part_get(folio);
		archil_part_set(folio, (struct archil_part) { });
	}
	*from = (size_t)part.from << PAGE_SHIFT;
	*to = part.to ? (size_t)part.to << PAGE_SHIFT : folio_size(folio);
}

void archil_folio_redirty(struct folio *folio, struct writeback_control *wbc)
{
	archil_folio_all(folio);
	folio_redirty_for_writepage(wbc, folio);
}

/* ---- address_space operations ---- */

bool archil_dirty_folio(struct address_space *mapping, struct folio *folio)
{
	archil_folio_all(folio);
	return filemap_dirty_folio(mapping, folio);
}

void archil_invalidate_folio(struct folio *folio, size_t off, size_t len)
{
	if (!off && len == folio_size(folio))
		folio_detach_private(folio);
}

bool archil_release_folio(struct folio *folio, gfp_t gfp)
{
	folio_detach_private(folio);
	return true;
}
