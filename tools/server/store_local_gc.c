// SPDX-License-Identifier: GPL-2.0
/*
 * Room for collecting garbage in blob files.
 *
 * A compaction writes what is alive in the oldest blob files (a part of all, by their number: the
 * cutoff) anew, and the old ones go afterwards. So it takes room that nobody was charged for.
 *
 *  1. It is wide, a quarter of the files, while twice that much room is to spare, and that room is kept
 *     back; else narrow, up to BLOB_FILES_NARROW: for that there is the caller's reserve.
 *     RocksDB looks for much garbage in files that were made together, so it is more than one
 *     memtable makes.
 *  2. A compaction goes by the cutoff and the files of when it began: what is kept becomes less only when
 *     none is running.
 *  3. A blob file is no larger than file_max, so that so many files are at most so many bytes.
 *  4. A store that is opened collects nothing before it was told what there is to spare; one that has
 *     failed is told nothing, for to be told is written down.
 */
#include <stdio.h>

#include "log.h"
#include "store_local.h"

enum {
	WIDE_PART	= 4,	/* of all files */
	WIDE_ROOM	= 2,	/* times what it may take: then it stays wide, */
	WIDE_AGAIN	= 3,	/* and then it becomes so */
	BLOB_MOST	= 64 << 10, /* by which the last blob may make a file larger */
};

/* What wide may take besides narrow. */
static uint64_t wide_bytes(const struct blob_files *blobs, uint64_t file_max)
{
	/* one more may come before we look again */
	uint64_t files = blobs->count / WIDE_PART + 1, most;

	if (files <= BLOB_FILES_NARROW)
		return 0;
	/* some may be of a time when they were larger */
	most = blobs->bytes / blobs->count;
	most = files * ((most > file_max ? most : file_max) + BLOB_MOST);
	return most < blobs->bytes ? most : blobs->bytes;
}

/* Is it what is wanted, or near? */
static bool cutoff_good(double cutoff, bool wide, uint64_t count)
{
	uint64_t files = cutoff * count;

	if (wide)
		return cutoff == 1.0 / WIDE_PART;
	return files == BLOB_FILES_NARROW - 1 || files == BLOB_FILES_NARROW - 2;
}

bool blob_gc_step(struct blob_gc *gc, const struct blob_files *blobs, uint64_t file_max,
		  uint64_t spare)
{
	uint64_t need = wide_bytes(blobs, file_max);
	bool was = gc->wide, wide = spare / (was ? WIDE_ROOM : WIDE_AGAIN) >= need;

	gc->wide = wide;
	if (!wide && !was)
		need = 0;
	/* less only when none runs, nor may have begun while we were about to tell it */
	if (need > gc->kept || (!blobs->compacting && (wide || !was)))
		gc->kept = need;
	if (cutoff_good(gc->cutoff, wide, blobs->count))
		return false;
	/* in the middle, so that some may come or go */
	gc->cutoff = wide ? 1.0 / WIDE_PART : (BLOB_FILES_NARROW - 0.5) / blobs->count;
	return true;
}

static uint64_t property(struct store *store, const char *name)
{
	uint64_t nr;

	return rocksdb_property_int(store->db, name, &nr) ? 0 : nr;
}

static void set_cutoff(struct store *store, double cutoff)
{
	const char *key = "blob_garbage_collection_age_cutoff", *val;
	char *err = NULL, text[32];

	snprintf(text, sizeof(text), "%.12f", cutoff);
	val = text;
	rocksdb_set_options(store->db, 1, &key, &val, &err);
	if (err)
		log_debug("disk %s: the part of its blob files that is collected: %s", store->path, err);
	rocksdb_free(err);
}

uint64_t store_collect(struct store *store, uint64_t spare)
{
	uint64_t count = property(store, "rocksdb.num-blob-files");

	if (store_failed(store))
		return 0;
	/* their bytes are asked for only when there are others: it goes through all of them */
	if (count != store->blobs.count)
		store->blobs.bytes = property(store, "rocksdb.total-blob-file-size");
	store->blobs.count = count;
	store->blobs.compacting = property(store, "rocksdb.num-running-compactions");
	if (blob_gc_step(&store->gc, &store->blobs, store->blob_file, spare))
		set_cutoff(store, store->gc.cutoff);
	return store->gc.kept;
}
