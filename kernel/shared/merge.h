/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Merging: records of a batch that is still open take the place of others as
 * they arrive. What results is an exact substitute: applied to any tree to
 * which the plain records apply, it gives the same tree.
 *
 * What all rules rest on:
 *
 * A. A batch is applied whole and atomically (record.h, rule 1), so nobody sees
 *    a state in the middle of it. Only its last state counts, and that each
 *    record can be applied where it stands: names there or free, directories
 *    there and not gone, cookies above all that their directory ever had.
 * B. A time that a later record sets again is not seen. So a record may go, for
 *    all that concerns times, if either something later sets the same ones, or
 *    the times that it was the last to set are kept in another way. For each
 *    inode the batch knows who set mtime and ctime last; when that one goes,
 *    the time is written into the record that sets it now if there is one (an
 *    inode's own CREATE or SETATTR, or the CREATE that a directory's time came
 *    from), else it is *pending*: a SETATTR at the end of the batch. A record
 *    that sets it again ends what is pending.
 * C. No record is moved in front of one that took or freed a name in its
 *    directory. So every cookie is still above all before it, and a name that
 *    was free is still free; the cookies of entries that remain are never
 *    changed. (A directory's counter may end lower than without merging, by
 *    cookies whose entries came and went: nobody else has ever seen those.)
 * D. The change number of everything that was touched moves (record.h, rule
 *    5): what loses its records keeps a time, and so a record, by B. But for
 *    what is gone in the end.
 * E. Where one cannot be sure, or memory is short, records stay as they are.
 *
 * The rules:
 *
 *  1. SETATTR after SETATTR of the same inode: the earlier one goes, what only
 *     it has set and nothing has set since goes into the later one. It passes
 *     over records that do not set these fields, and so gives the same. Sizes:
 *     two exact ones become the later if that is not the greater (cutting
 *     twice is cutting once; growing again would be zeros in between); two
 *     SIZE_UP the greater; an exact one with a SIZE_UP that is not greater
 *     stays itself; anything else, or contents changed in between: no merging.
 *     Times: an own record of the inode; B.
 *  2. SETATTR without a size into the CREATE of the same inode, if no other
 *     SETATTR is in between and nothing else has set these fields since: the
 *     inode begins as it would have become. No directory is concerned.
 *  3. CONTENT of one inode that overlaps or joins an earlier one: one record,
 *     in the place of the later, of all bytes, the later ones above. The bytes
 *     of the earlier pass over records that neither touch the inode's contents
 *     nor its size, and over contents elsewhere in the file. Size: the greater
 *     end wins in either order. Times: the later record sets both.
 *  4. SETXATTR of a name that was set before: the earlier goes; the later says
 *     everything, ctime included.
 *  5. RMXATTR of an inode made in this batch: all that set this name go, and
 *     it itself, since the name cannot have been there before. Its ctime is
 *     kept by B. (Of an older inode both stay: nobody here knows whether the
 *     name was there before, and removing what is not there is damage.)
 *  6. RENAME to a free name of an inode made in this batch that has no other
 *     link: the CREATE makes the new name at once, with the new cookie, if no
 *     entry of the new directory came or went since (C), the directory was
 *     there, and nothing was done inside the inode if it is itself one. The
 *     old name was taken by nobody else meanwhile. Times of both directories
 *     and the ctime become the rename's, by B.
 *  7. LINK of an inode made in this batch by CREATE_TMPFILE and still without
 *     a name: the CREATE makes the name at once; conditions and times as in 6.
 *  8. UNLINK of a name that LINK made in this batch, of an inode made in it that
 *     keeps another link, with no name of it changed in between: both go. The
 *     count is what it was, its home link too. Times: B, for the directory and
 *     the inode's ctime.
 *  9. An inode that was made in this batch and loses its last link in it
 *     (UNLINK, or RENAME over it; without the flag that it is open), or whose
 *     RELEASE comes in it, goes with all its records. Its names were taken by
 *     nobody else while they were there, and are free before and after. A
 *     RENAME that put another inode over it now finds a free name; a RENAME of
 *     it over another inode becomes that one's UNLINK, in the same place. Times
 *     of each directory that had or lost a name of it: B. Not if something is
 *     still done inside it, or it was exchanged with another.
 *     While it is open without a link its records stay as they are: a
 *     CREATE_TMPFILE instead would save nothing, the directory's times need a
 *     record in any case.
 * 10. RELEASE of an inode whose last record in this batch is the UNLINK, or the
 *     RENAME over it, that left it open: the flag goes, and the RELEASE. (There
 *     is an orphan to release, and no record after that one: so it took the last
 *     link.) An orphan from the start is what a release makes of an open one:
 *     the same inode, and the time of a release is the batch's in either case.
 *     Nothing between the two can have needed the open orphan, since nothing is
 *     between them. Mostly the inode is older than the batch; else rule 9 has it.
 *
 * One rule is none of merging:
 *
 * 11. Contents of an inode that was made in this batch and outgrows what travels in a log are
 *     withdrawn (archil_batch_withdraw()): its CONTENT records go, since all of its bytes will
 *     come beside the log, and until they have come the file is empty. Not if another record
 *     tells of its bytes or size; nor if it has got or lost a name other than that of its CREATE,
 *     or was put over another inode: a name is not taken over before the data are there. Times: B.
 *
 * Numbers are given to records when the batch is sealed, not before.
 * No record is lost from sight by merging: the sum of archil_record_charge() is
 * never more than that of the plain records.
 */
#ifndef ARCHIL_MERGE_H
#define ARCHIL_MERGE_H

#include "batch.h"

/**
 * archil_batch_add - append a record, merging
 * @b:	if the record fits (archil_batch_fits()), b->bytes does not exceed b->max. If it does
 *	not, b->bytes still grows by no more than the record
 * @e:	consumed
 *
 * Cannot fail; does not sleep. Costs a few steps, whatever the batch's length
 * (rule 9: the number of records that go). What it leaves over is in
 * archil_batch_junk().
 */
void archil_batch_add(struct archil_batch *b, struct archil_batch_rec *e);

/**
 * archil_batch_withdraw - take back all contents of an inode, rule 11
 * @charge: the sum of archil_record_charge() of the records that went
 *
 * Returns false if something forbids it; nothing has changed then. Does not sleep. Costs a few
 * steps. What it leaves over is in archil_batch_junk().
 */
bool archil_batch_withdraw(struct archil_batch *b, u64 ino, u64 *charge);

#endif /* ARCHIL_MERGE_H */
