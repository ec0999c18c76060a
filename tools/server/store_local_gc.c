// SPDX-License-Identifier: GPL-2.0
/*
 * Room for collecting garbage in blob files.
 *
 * A compaction writes what is alive in the oldest blob files (a part of all, by their number: the
 * cutoff) anew, and the old ones go afterwards. So it takes room that nobody was charged for.
 *
 *  1. It is wide, a quarter of the files, while that much room is there, and that room is kept back;
 *     else narrow, one file, for which there is the caller's reserve.
 *  2. A compaction goes by the cutoff and the files of when it began: what is kept becomes less only when
 *     none is running.
 *  3. A blob file is no larger than file_max, so that so many files are at most so many bytes.
 *  4. A store that is opened collects nothing before it was asked for its room once; one that has
 *     failed is told nothing, for to be told is written down.
 */
#include <stdio.h>

#include "log.h"
#include "store_local.h"

enum {
	WIDE_PART	= 4,	/* of all files */
	WIDE_ROOM	= 2,	/* times what it may take: then it stays wide, */
	WIDE_AGAIN	= 3,	/* and then it becomes so */
};

static uint64_t wide_bytes(const struct blob_files *blobs, uint64_t file_max)
{
	uint64_t bytes = blobs->count / WIDE_PART * file_max;

	return bytes < blobs->bytes ? bytes : blobs->bytes;
}

bool blob_gc_step(struct blob_gc *gc, const struct blob_files *blobs, uint64_t file_max,
		  uint64_t avail)
{
	uint64_t need = wide_bytes(blobs, file_max);
	bool wide = avail / (gc->wide ? WIDE_ROOM : WIDE_AGAIN) >= need;
	bool same = wide == gc->wide && gc->cutoff > 0 &&
		    (wide || (uint64_t)(gc->cutoff * blobs->count) == 1);

	if (!wide && !gc->wide)
		need = 0;
	/* less only when none runs, nor may have begun while we were about to tell it */
	if (need > gc->kept || (!blobs->compacting && (wide || !gc->wide)))
		gc->kept = need;
	gc->wide = wide;
	if (same || !blobs->count)
		return false;
	/* in the middle, so that some may come or go */
	gc->cutoff = wide ? 1.0 / WIDE_PART : blobs->count > 1 ? 1.5 / blobs->count : 1;
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

uint64_t blob_gc_kept(struct store *store, uint64_t avail)
{
	struct blob_files blobs;
	uint64_t kept;

	pthread_mutex_lock(&store->gc_lock);
	blobs.count = property(store, "rocksdb.num-blob-files");
	blobs.bytes = property(store, "rocksdb.total-blob-file-size");
	blobs.compacting = property(store, "rocksdb.num-running-compactions");
	if (!store_failed(store) && blob_gc_step(&store->gc, &blobs, store->blob_file, avail))
		set_cutoff(store, store->gc.cutoff);
	kept = store->gc.kept;
	pthread_mutex_unlock(&store->gc_lock);
	return kept;
}
