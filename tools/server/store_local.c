// SPDX-License-Identifier: GPL-2.0
/*
 * A disk as a directory: making, opening, closing, deleting it.
 *
 * Opening, rules:
 *
 *  1. The lock on the directory comes first: what follows changes files.
 *  2. The engine's logs are verified (store_local_clean.c, store_local_log.c) and
 *     its tables are all there before the engine sees them: it must not "repair"
 *     what it misreads.
 *  3. The mark of the last orderly close goes before the engine writes anything.
 *  4. After a crash everything in data/ is made durable once: a name or bytes of
 *     which the last process had not yet asked that may be only in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "datafile.h"
#include "log.h"
#include "store_local.h"

#define MIB			(1u << 20)
#define CACHE_DEFAULT		(32u * MIB)
#define WRITE_BUFFER_MAX	(64u * MIB)
#define WRITE_BUFFER_MIN	(4u * MIB)
#define WRITE_BUFFER_PART	64	/* of the file system, at most */
#define UNFLUSHED_FEW		(32u * MIB)
#define MAX_OPEN_DEFAULT	512
#define MIN_BLOB		4096
#define BLOOM_BITS		10
#define BLOCK			(16u << 10) /* of a table, before compression */
#define NEW_TABLES		8	/* that are merged, if they are not large enough before */
#define MEMTABLE_BLOOM		0.02	/* of it, in size: 10 bits and more of a key */
#define LZ4			4
#define OPEN_ROOM		MIB	/* that opening takes: a log, a manifest */
/*
 * Its C interface has no other way to these: a checksum of each whole file,
 * logs that take no more room than what is in them, and for each kind of key the place where the
 * last one went into the memtable: mostly the next one belongs behind it.
 */
#define MORE_OPTIONS		"file_checksum_gen_factory=FileChecksumGenCrc32cFactory;" \
				"allow_fallocate=false;" \
				"memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.1"

/* ---- failure ---------------------------------------------------------------- */

int store_fail(struct store *store, int err, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	pthread_mutex_lock(&store->fail_lock);
	if (!atomic_load(&store->failed)) {
		log_err("disk %s %s: %s", store->path, err == -ENOSPC ? "is read-only until there is room" :
			"is read-only until the server is started again",
			text ? text : strerror(-err));
		atomic_store(&store->failure, text);
		atomic_store(&store->failed, err);
		text = NULL;
	} else if (text) {
		log_debug("disk %s: %s", store->path, text);
	}
	pthread_mutex_unlock(&store->fail_lock);
	free(text);
	return err;
}

int store_failed(const struct store *store)
{
	return atomic_load_explicit(&store->failed, memory_order_relaxed);
}

const char *store_failure(const struct store *store)
{
	if (!atomic_load(&store->failed))
		return NULL;
	return atomic_load(&store->failure) ? atomic_load(&store->failure) : "out of memory";
}

static int errno_of(const char *err)
{
	if (!strncmp(err, "Corruption", 10))
		return -EUCLEAN;
	if (strstr(err, "No space left") || strstr(err, "quota exceeded"))
		return -ENOSPC;
	if (strstr(err, "Too many open files"))
		return -EMFILE;
	return -EIO;
}

int store_engine_error(struct store *store, const char *doing, char *err)
{
	int code = errno_of(err);
	char *where = NULL;

	if (code == -EUCLEAN) {
		/* the engine does not name the file of a damaged blob */
		if (!store_failed(store) && (strstr(err, "Blob") || strstr(err, "blob")))
			blob_find_damage(store, 2, &where);
		store_fail(store, code, "%s: %s%s%s", doing, err, where ? " in " : "",
			   where ? where : "");
		free(where);
	} else {
		log_err("disk %s: %s: %s", store->path, doing, err);
	}
	rocksdb_free(err);
	return code;
}

/* ---- the engine's options --------------------------------------------------- */

static rocksdb_options_t *make_options(const struct store_opts *opts, rocksdb_cache_t *cache,
				       size_t buffer, size_t blob_file, bool create)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_options_t *o = rocksdb_options_create(), *base = rocksdb_options_create();
	rocksdb_filterpolicy_t *bloom;
	char *err = NULL;

	rocksdb_get_options_from_string(base, MORE_OPTIONS, o, &err);
	rocksdb_options_destroy(base);
	if (err) {
		log_err("RocksDB: %s", err);
		rocksdb_free(err);
		rocksdb_options_destroy(o);
		rocksdb_block_based_options_destroy(table);
		return NULL;
	}

	rocksdb_options_set_create_if_missing(o, create);
	rocksdb_options_set_error_if_exists(o, create);
	rocksdb_options_set_paranoid_checks(o, 1);
	/* a torn tail is cut off before, by rules that RocksDB has not */
	rocksdb_options_set_wal_recovery_mode(o, rocksdb_absolute_consistency_recovery);
	rocksdb_options_set_recycle_log_file_num(o, 0);
	/* visible only when synced: one queue, nothing pipelined or unordered */
	rocksdb_options_set_enable_pipelined_write(o, 0);
	rocksdb_options_set_unordered_write(o, 0);
	rocksdb_options_set_manual_wal_flush(o, 0);

	rocksdb_options_set_write_buffer_size(o, buffer);
	rocksdb_options_set_max_write_buffer_number(o, 2);
	/* most of what is looked for before a change is not there */
	rocksdb_options_set_memtable_whole_key_filtering(o, 1);
	rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMTABLE_BLOOM);
	rocksdb_options_set_max_total_wal_size(o, 2 * buffer);
	rocksdb_options_set_max_manifest_file_size(o, 16 * MIB);
	rocksdb_options_set_max_background_jobs(o, 2);
	rocksdb_options_set_max_open_files(o, opts->max_open ? (int)opts->max_open :
						       MAX_OPEN_DEFAULT);
	/*
	 * A new table has keys from one end to the other, so that several are merged with the whole
	 * of the next level: when together they have about its size, which is a memtable's and not
	 * its default of 256 MiB. From there on tables are small, for most keys were appended, and
	 * a table that overlaps with nothing need not be merged; and larger further down, to be
	 * fewer.
	 */
	rocksdb_options_set_level0_file_num_compaction_trigger(o, NEW_TABLES);
	rocksdb_options_set_max_bytes_for_level_base(o, buffer);
	rocksdb_options_set_target_file_size_base(o, 2 * MIB);
	rocksdb_options_set_target_file_size_multiplier(o, 2);
	/* rewriting tables takes no more room than this at a time */
	rocksdb_options_set_max_compaction_bytes(o, 128 * MIB);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_compression(o, LZ4);
	rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
	rocksdb_options_set_bytes_per_sync(o, MIB);

	rocksdb_options_set_enable_blob_files(o, 1);
	rocksdb_options_set_min_blob_size(o, MIN_BLOB);
	rocksdb_options_set_blob_file_size(o, blob_file);
	rocksdb_options_set_blob_compression_type(o, LZ4);
	rocksdb_options_set_enable_blob_gc(o, 1);
	rocksdb_options_set_blob_gc_age_cutoff(o, 0);	/* as store_local_gc.c tells it */
	rocksdb_options_set_blob_gc_force_threshold(o, 0.5);

	/*
	 * Its own log of what it does: where that cannot be written, an assertion ends the process.
	 * So nothing goes there but what it says while it is opened, for which there is
	 * room. What goes wrong later it returns to us.
	 */
	rocksdb_options_set_keep_log_file_num(o, 4);
	rocksdb_options_set_info_log_level(o, 5); /* header */
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);

	/* each is compressed on its own, and has an entry in the index */
	rocksdb_block_based_options_set_block_size(table, BLOCK);
	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
	bloom = rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS);
	rocksdb_block_based_options_set_filter_policy(table, bloom);
	/* a filter of a whole table may be larger than what a shard of the cache takes */
	rocksdb_block_based_options_set_index_type(
		table, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_partition_filters(table, 1);
	rocksdb_block_based_options_set_format_version(table, 5);
	rocksdb_options_set_block_based_table_factory(o, table);
	rocksdb_block_based_options_destroy(table);
	return o;
}

/* ---- opening ---------------------------------------------------------------- */

int store_lock_disk(const char *path, char **errmsg)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return store_say(errmsg, -ENOENT, "there is no disk %s", path);
	if (fd < 0)
		return store_say(errmsg, -errno, "cannot open %s: %m", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int err = errno == EWOULDBLOCK ? -EBUSY : -errno;

		close(fd);
		if (err == -EBUSY)
			return store_say(errmsg, err,
					 "%s is in use by another process (a running archil-server?)",
					 path);
		return store_say(errmsg, err, "cannot lock %s: %s", path, strerror(-err));
	}
	return fd;
}

/* Keeps the first of the sentences. */
static void keep_first(void *arg, const char *text)
{
	char **first = arg;

	if (!*first)
		*first = strdup(text);
}

/* Rule 2. Return: 1 after an orderly close, 0 after a crash, or an errno. */
static int verify_engine(struct store *store, int metafd, char **errmsg)
{
	char *first = NULL;
	int clean, bad;

	clean = clean_mark_verify(store->dirfd, metafd, store->path, errmsg);
	if (clean < 0)
		return clean;
	bad = logs_verify(metafd, store->meta, true, keep_first, &first);
	if (!bad)
		bad = live_files_present(metafd, store->meta, keep_first, &first);
	if (!bad)
		return clean;
	if (bad < 0)
		store_say(errmsg, bad, "cannot read %s: %s", store->meta, strerror(-bad));
	else
		bad = store_say(errmsg, -EUCLEAN, "%s", first ? first : store->meta);
	free(first);
	return bad;
}

/* Of a memtable. The logs take twice as much of the file system, so it goes by its size. */
static size_t write_buffer(const struct store_opts *opts, uint64_t fs_bytes)
{
	uint64_t most = opts->write_buffer_bytes, part = fs_bytes / WRITE_BUFFER_PART;

	if (!most || most > WRITE_BUFFER_MAX)
		most = WRITE_BUFFER_MAX;
	if (part < WRITE_BUFFER_MIN)
		part = WRITE_BUFFER_MIN;
	return part < most ? part : most;
}

static int open_engine(struct store *store, const struct store_opts *opts, bool create,
		       char **errmsg)
{
	struct statvfs vfs;
	char *err = NULL;

	if (fstatvfs(store->dirfd, &vfs))
		return store_say(errmsg, -errno, "cannot look at %s: %m", store->path);
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize < OPEN_ROOM)
		return store_say(errmsg, -ENOSPC, "there is no room to open %s: it takes %u KiB",
				 store->path, OPEN_ROOM >> 10);
	store->cache = rocksdb_cache_create_lru(opts->cache_bytes ? opts->cache_bytes :
						CACHE_DEFAULT);
	store->write_buffer = write_buffer(opts, (uint64_t)vfs.f_blocks * vfs.f_frsize);
	store->blob_file = store->write_buffer / BLOB_FILE_PART;
	store->options = make_options(opts, store->cache, store->write_buffer, store->blob_file,
				      create);
	if (!store->options)
		return store_say(errmsg, -EINVAL, "RocksDB does not know an option");
	store->read = rocksdb_readoptions_create();
	store->synced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(store->synced, 1);
	store->db = rocksdb_open(store->options, store->meta, &err);
	if (err) {
		int code = errno_of(err);

		store_say(errmsg, code, "cannot open %s: %s", store->meta, err);
		rocksdb_free(err);
		return code;
	}
	return 0;
}

static void close_engine(struct store *store)
{
	if (store->db)
		rocksdb_close(store->db);
	if (store->read)
		rocksdb_readoptions_destroy(store->read);
	if (store->synced)
		rocksdb_writeoptions_destroy(store->synced);
	if (store->options)
		rocksdb_options_destroy(store->options);
	if (store->cache)
		rocksdb_cache_destroy(store->cache);
	store->db = NULL;
	store->read = NULL;
	store->synced = NULL;
	store->options = NULL;
	store->cache = NULL;
}

static void free_store(struct store *store)
{
	close_engine(store);
	if (store->dirfd >= 0)
		close(store->dirfd);
	pthread_mutex_destroy(&store->fail_lock);
	free(atomic_load(&store->failure));
	free(store->meta);
	free(store->path);
	free(store);
}

static struct store *alloc_store(const char *path)
{
	struct store *store = calloc(1, sizeof(*store));
	size_t len;

	if (!store)
		return NULL;
	pthread_mutex_init(&store->fail_lock, NULL);
	store->dirfd = -1;
	store->path = strdup(path);
	if (!store->path)
		goto out_free;
	for (len = strlen(store->path); len > 1 && store->path[len - 1] == '/'; len--)
		store->path[len - 1] = 0;
	if (asprintf(&store->meta, "%s/meta", store->path) < 0) {
		store->meta = NULL;
		goto out_free;
	}
	return store;
out_free:
	free_store(store);
	return NULL;
}

int store_open(const char *path, const struct store_opts *opts, struct store **storep,
	       char **errmsg)
{
	static const struct store_opts defaults;
	struct store *store = alloc_store(path);
	int metafd, clean, err;
	uint64_t nr;

	if (!store)
		return store_say(errmsg, -ENOMEM, "out of memory");
	if (!opts)
		opts = &defaults;
	store->dirfd = err = store_lock_disk(store->path, errmsg);
	if (err < 0)
		goto out_free;
	metafd = openat(store->dirfd, "meta", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (metafd < 0) {
		err = store_say(errmsg, errno == ENOENT ? -EUCLEAN : -errno,
				"cannot open %s: %m", store->meta);
		goto out_free;
	}
	err = clean = verify_engine(store, metafd, errmsg);
	close(metafd);
	if (err < 0)
		goto out_free;
	err = clean_mark_remove(store->dirfd);
	if (err) {
		store_say(errmsg, err, "cannot write to %s: %s", store->path, strerror(-err));
		goto out_free;
	}
	err = open_engine(store, opts, false, errmsg);
	if (err)
		goto out_free;
	err = store_read_commit_nr(store, store->read, &nr);
	if (err) {
		store_say(errmsg, err, "cannot read %s: %s", store->meta,
			  store_failure(store) ? store_failure(store) : strerror(-err));
		goto out_free;
	}
	atomic_store(&store->commit_nr, nr);
	err = datastore_open(store, opts->max_data_fds, !clean, &store->data, errmsg);
	if (err)
		goto out_free;
	*storep = store;
	return 0;
out_free:
	free_store(store);
	return err;
}

void store_close(struct store *store)
{
	int metafd, err;
	bool orderly;

	if (!store)
		return;
	orderly = datastore_close(store->data) && !store_failed(store);
	rocksdb_cancel_all_background_work(store->db, 1);
	close_engine(store);
	if (orderly) {
		metafd = openat(store->dirfd, "meta", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = metafd < 0 ? -errno : clean_mark_write(store->dirfd, metafd);
		if (metafd >= 0)
			close(metafd);
		if (err)
			log_warn("%s: cannot mark the orderly close: %s", store->path,
				 strerror(-err));
	}
	free_store(store);
}

/* ---- making and deleting ---------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -errno : 0;
}

int store_remove_tree(const char *path)
{
	int err = nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS);

	if (err == -1)
		err = errno == ENOENT ? 0 : -errno;
	return err;
}

/* The hidden sibling of @path with this ending, and the parent directory. */
static int sibling(const char *path, const char *ending, char **other, int *parentfd)
{
	char *parent = strdup(path), *slash;
	int err = 0;

	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (asprintf(other, "%.*s.%s%s", slash ? (int)(slash + 1 - parent) : 0, parent,
		     slash ? slash + 1 : parent, ending) < 0) {
		*other = NULL;
		free(parent);
		return -ENOMEM;
	}
	if (slash)
		slash[slash == parent] = 0;
	*parentfd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*parentfd < 0) {
		err = -errno;
		free(*other);
		*other = NULL;
	}
	free(parent);
	return err;
}

static int fill_disk(struct store *store, const struct store_opts *opts, char **errmsg)
{
	int err;

	if (mkdirat(store->dirfd, "data", 0700) || mkdirat(store->dirfd, "meta", 0700))
		return store_say(errmsg, -errno, "cannot make %s: %m", store->meta);
	err = open_engine(store, opts, true, errmsg);
	close_engine(store);
	if (!err && syncfs(store->dirfd))
		err = store_say(errmsg, -errno, "cannot write %s: %m", store->path);
	return err;
}

int store_create(const char *path, char **errmsg)
{
	static const struct store_opts defaults;
	struct store *target = alloc_store(path), *store = NULL;
	char *hidden = NULL;
	int parentfd, err;

	if (!target)
		return store_say(errmsg, -ENOMEM, "out of memory");
	err = sibling(target->path, ".new", &hidden, &parentfd);
	if (err) {
		store_say(errmsg, err, "cannot make %s: %s", path, strerror(-err));
		goto out_target;
	}
	err = -EEXIST;
	if (!access(target->path, F_OK))
		goto out_say;
	err = store_remove_tree(hidden);
	if (!err && mkdir(hidden, 0700))
		err = -errno;
	if (err)
		goto out_say;
	store = alloc_store(hidden);
	err = -ENOMEM;
	if (!store)
		goto out_say;
	store->dirfd = err = store_lock_disk(hidden, errmsg);
	if (err >= 0)
		err = fill_disk(store, &defaults, errmsg);
	if (err)
		goto out_remove;
	if (renameat2(AT_FDCWD, hidden, AT_FDCWD, target->path, RENAME_NOREPLACE) ||
	    fsync(parentfd))
		err = -errno;
	if (!err)
		goto out_free;
out_say:
	if (err == -EEXIST)
		store_say(errmsg, err, "%s is there already", target->path);
	else
		store_say(errmsg, err, "cannot make %s: %s", target->path, strerror(-err));
	if (!store)
		goto out_free;
out_remove:
	store_remove_tree(hidden);
out_free:
	if (store)
		free_store(store);
	close(parentfd);
	free(hidden);
out_target:
	free_store(target);
	return err;
}

int store_destroy(const char *path, char **errmsg)
{
	struct store *store = alloc_store(path);
	char *hidden = NULL;
	int parentfd, err;

	if (!store)
		return store_say(errmsg, -ENOMEM, "out of memory");
	store->dirfd = err = store_lock_disk(store->path, errmsg);
	if (err < 0)
		goto out_free;
	err = sibling(store->path, ".deleted", &hidden, &parentfd);
	if (err)
		goto out_say;
	/* gone at once and for good, even if removing it takes long */
	err = store_remove_tree(hidden);
	if (!err && (rename(store->path, hidden) || fsync(parentfd)))
		err = -errno;
	if (!err)
		err = store_remove_tree(hidden);
	close(parentfd);
	free(hidden);
out_say:
	if (err)
		store_say(errmsg, err, "cannot delete %s: %s", path, strerror(-err));
out_free:
	free_store(store);
	return err;
}

/*
 * What was committed and is not in tables yet takes its room a second time until
 * that has happened, beside the log. A little of it is always there: that is the
 * caller's reserve.
 */
static uint64_t unflushed(struct store *store)
{
	uint64_t bytes;

	if (rocksdb_property_int(store->db, "rocksdb.cur-size-all-mem-tables", &bytes))
		return 0;
	return bytes > UNFLUSHED_FEW ? bytes - UNFLUSHED_FEW : 0;
}

int store_statfs(struct store *store, struct store_statfs *st)
{
	int err = datastore_statfs(store->data, st);

	if (err)
		return err;
	st->kept = unflushed(store);
	st->avail -= st->avail < st->kept ? st->avail : st->kept;
	return 0;
}
