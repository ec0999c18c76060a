/* SPDX-License-Identifier: GPL-2.0 */
/* Large folios, and which part of one is dirty. */
#ifndef ARCHIL_FOLIO_H
#define ARCHIL_FOLIO_H

#include <linux/types.h>

struct address_space;
struct folio;
struct inode;
struct writeback_control;

/* For a new inode: folios as large as one READ or WRITE can carry, @max bytes. */
void archil_folios_init(struct inode *inode, size_t max);
/* How many of @count bytes to be written at @pos may go into one folio. */
size_t archil_folio_room(struct inode *inode, loff_t pos, size_t count);

/*
 * The folio is locked, the range is [@from, @to) in bytes of it, and its borders are
 * taken to those of pages.
 * more: how many bytes will be dirty that are not.
 * dirty: it is, and the folio with it. Says what more would have said.
 * take: what is dirty of a folio that is about to be written back, and whose dirty flag was just
 * cleared; afterwards nothing is.
 */
size_t archil_folio_more(struct folio *folio, size_t from, size_t to);
size_t archil_folio_dirty(struct folio *folio, size_t from, size_t to);
void archil_folio_take(struct folio *folio, size_t *from, size_t *to);
/* It was taken and is not written back after all; locked or under write-back. */
void archil_folio_redirty(struct folio *folio, struct writeback_control *wbc);

/* address_space operations */
bool archil_dirty_folio(struct address_space *mapping, struct folio *folio);
void archil_invalidate_folio(struct folio *folio, size_t off, size_t len);
bool archil_release_folio(struct folio *folio, gfp_t gfp);

#endif /* ARCHIL_FOLIO_H */
