/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Space: credit that lets clients accept changes before the server has them.
 * All of it belongs to the loop.
 *
 * 1. What may be promised is what the store's filesystem has free, less a
 *    reserve, less all credit that is outstanding, twice: a commit needs room in
 *    the store's log as well as where it stays, and one batch may use all of it. And less what all
 *    disks keep: until their logs are tables (struct store_statfs), and for collecting garbage
 *    (store_collect()), which takes less where there is little.
 * 2. A session is kept at a target that shrinks as the disk fills, down to
 *    nothing; what it settles is granted anew in the same reply, so that a steady
 *    writer does not run dry while there is room.
 * 3. The reserve makes room for what was accepted: engine overhead, rounding, and
 *    credit that clients hold over a restart of the server, until they say so.
 * 4. What a client says that it holds is believed from the first CREDIT of each
 *    epoch only: later ones may have been sent before a reply arrived. It is never
 *    more than the session was granted, nor, after a restart of the server, than
 *    there is room: a lie must not starve others.
 * 5. Where something else has taken the reserve, what was accepted finds no room. The disk is then
 *    read-only, nobody gets credit, and changes are not answered, until half of the
 *    reserve is free; then the server starts anew and is asked again.
 */
#ifndef ARCHIL_SPACE_H
#define ARCHIL_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct disk;

#define SPACE_PAGE	4096ull

/* Changes of so many bytes of credit are durable. Returns what is granted besides. */
uint64_t space_settle(struct session *ses, uint64_t bytes);
/* Grants up to want on top of what it has. */
uint64_t space_grant(struct session *ses, uint64_t want);
/* A session has ended: it holds nothing any more. */
void space_end(struct session *ses);
/* Once in a while: what an idle disk keeps may be less by now. */
void space_look(struct disk *disk);
/* A disk closes: it keeps nothing any more. */
void space_gone(struct disk *disk);
/* Is there room for a store that had none? */
bool space_again(struct disk *disk);
/* Is space so short that removed files should go now? */
bool space_short(struct disk *disk);

#endif
