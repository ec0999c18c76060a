/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The local store, inside: a disk is a directory with
 *
 *	meta/	a RocksDB: keys and values
 *	data/	one sparse file per inode (datafile.h)
 *	clean	what meta/ looked like when it was closed, only while it is closed
 */
#ifndef ARCHIL_STORE_LOCAL_H
#define ARCHIL_STORE_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <rocksdb/c.h>

#include "store.h"

struct datastore;

/* store_local_space.c: the committer's. */
struct log_space {
	size_t prepared;	/* bytes of the log that were filled with zeros */
	size_t bytes;		/* of the commits since, */
	unsigned int commits;	/* and how many */
};

/* A commit of so many bytes has been written to the log in @meta. */
void log_space_used(struct log_space *space, const char *meta, size_t bytes);

/* store_local_gc.c */

struct blob_files {
	uint64_t count, bytes;
	bool compacting;	/* a compaction is running */
};

struct blob_gc {
	bool wide;		/* a quarter of the files, not BLOB_FILES_NARROW */
	double cutoff;		/* as RocksDB was told last; 0: it was not */
	uint64_t kept;		/* bytes */
};

/* Goes by what there is now; @spare: bytes of room. True: the cutoff is to be told. */
bool blob_gc_step(struct blob_gc *gc, const struct blob_files *blobs, uint64_t file_max,
		  uint64_t spare);

#define BLOB_FILE_PART		4	/* of a memtable */
#define BLOB_FILES_NARROW	6	/* that are collected at a time where there is little room */

struct store {
	char *path;			/* of the disk, without a slash at the end */
	char *meta;			/* path of meta/ */
	int dirfd;			/* of the disk; carries the lock (flock) */
	rocksdb_t *db;
	rocksdb_options_t *options;
	size_t write_buffer;		/* bytes, of a memtable */
	size_t blob_file;		/* bytes, of a blob file at most */
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;	/* of the latest state */
	rocksdb_writeoptions_t *synced;
	struct datastore *data;
	_Atomic uint64_t commit_nr;	/* written by the committer */
	_Atomic int failed;		/* 0 or negative errno, set once */
	_Atomic(char *) failure;	/* set before failed, freed at close */
	pthread_mutex_t fail_lock;	/* the first failure wins */
	struct log_space log_space;
	struct blob_files blobs;	/* store_collect()'s, as the other */
	struct blob_gc gc;
};

/* store_local_kv.c */

/* Takes the number of the last commit from the engine, at open. */
int store_read_commit_nr(struct store *store, rocksdb_readoptions_t *read,
			 uint64_t *nr);

/* Our own keys begin with byte 0; nobody else's may. */
#define STORE_COMMIT_KEY	"\0commit"
#define STORE_COMMIT_KEY_LEN	(sizeof(STORE_COMMIT_KEY) - 1)
bool store_key_good(const void *key, size_t klen);

/* store_local_batch.c */

enum change_state {
	CHANGE_NONE,		/* as committed: it was rolled back */
	CHANGE_PUT,
	CHANGE_DELETE,
};

/* Of a key in the batch; lives until the batch is empty. */
struct store_change {
	const char *val;
	uint32_t vlen;
	uint32_t room;		/* bytes at val that are its own */
	size_t noted;		/* the number of its last note; see fresh() */
	uint16_t klen;
	uint16_t state;		/* enum change_state */
	char key[];
};

struct store *store_batch_store(const struct store_batch *batch);
/* The change of @key; the first at or behind it (only behind it). Or NULL. */
const struct store_change *store_batch_find(const struct store_batch *batch, const void *key,
					    size_t klen);
const struct store_change *store_batch_from(const struct store_batch *batch, const void *key,
					    size_t klen, bool behind);

/* store_local.c */

/* Locks a disk for this process: a descriptor of its directory, or an errno. */
int store_lock_disk(const char *path, char **errmsg);
/* Removes a directory and all in it; nothing there is fine. 0 or an errno. */
int store_remove_tree(const char *path);

/* Formats *@errmsg (NULL is fine) and returns @err. */
int store_say(char **errmsg, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Turns the store read-only, if it is not, for this reason; returns @err. */
int store_fail(struct store *store, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * The errno for RocksDB's message @err, which is freed. Damage makes the store
 * fail; other errors are logged. @doing: what was tried, in words.
 */
int store_engine_error(struct store *store, const char *doing, char *err);

/* store_local_crc.c: CRC-32C of @len bytes after those that gave @crc (first: 0). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same, for processors without an instruction for it. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len);
#ifdef __x86_64__
/* The same in place of RocksDB's rocksdb::crc32c::Extend(unsigned int, char const *, unsigned long). */
#define ROCKSDB_CRC32C_EXTEND	"_ZN7rocksdb6crc32c6ExtendEjPKcm"
uint32_t rocksdb_crc32c_extend(uint32_t crc, const char *data, size_t len)
	__asm__(ROCKSDB_CRC32C_EXTEND);
#endif

/* store_local_log.c */

enum log_state {
	LOG_WHOLE,
	LOG_TORN,	/* ends in a record that was never written to the end */
	LOG_DAMAGED,	/* was written once, and is not what was written */
};

struct log_scan {
	enum log_state state;
	uint64_t size;		/* bytes of the file */
	uint64_t good;		/* up to here it is whole records; behind may be zeros */
	uint64_t at;		/* not whole: where it shows */
	const char *what;	/* not whole: what shows */
};

/*
 * log_scan() - read a file in RocksDB's log format (write-ahead log, MANIFEST).
 * @prepared: it may end in zeros, which are not of it.
 * @record: called for each whole record, may be NULL; less than 0 ends the scan.
 * Return: 0 and *@scan, or what @record returned, or a negative errno.
 */
int log_scan(int dirfd, const char *name, bool prepared,
	     int (*record)(void *arg, const uint8_t *data, size_t len, uint64_t at),
	     void *arg, struct log_scan *scan);

/*
 * logs_verify() - are CURRENT, the MANIFEST and the write-ahead logs in @metafd
 * undamaged? @meta is its path, for messages. Needs the disk's lock and nobody
 * in meta/.
 * @mend: cut off torn tails and prepared space (rules in store_local_log.c).
 * @bad: called for each damaged file, with a sentence.
 * Return: the number of damaged files, or a negative errno.
 */
int logs_verify(int metafd, const char *meta, bool mend,
		void (*bad)(void *arg, const char *text), void *arg);

/* store_local_manifest.c */

/* A table or blob file that the engine needs. */
struct live_file {
	uint64_t number;
	uint64_t size;		/* 0: not known (blob files) */
	uint32_t crc;		/* of the whole file */
	bool has_crc;
	bool blob;
};

struct live_files {
	struct live_file *files;	/* sorted by number */
	size_t n;
};

/*
 * live_files_read() - the files that MANIFEST @name in @metafd says are needed.
 * Return: 0 and *@live (live_files_free()), -EUCLEAN, -EPROTONOSUPPORT (an
 * entry of a kind not known here), or another errno.
 */
int live_files_read(int metafd, const char *name, struct live_files *live);
void live_files_free(struct live_files *live);
#define LIVE_NAME_LEN	32
void live_file_name(const struct live_file *file, char name[static LIVE_NAME_LEN]);

/* Reads CURRENT: the MANIFEST's name. 0, -EUCLEAN, or another errno. */
#define MANIFEST_NAME_LEN	40
int current_read(int metafd, char name[static MANIFEST_NAME_LEN]);

/* store_local_check.c */

/* Each is there, in its size? Return: damaged files, or a negative errno. */
int live_files_present(int metafd, const char *meta,
		       void (*bad)(void *arg, const char *text), void *arg);

/*
 * Names in *@text (to be freed) the blob file that is damaged, if it is found in
 * about @seconds.
 */
void blob_find_damage(struct store *store, unsigned int seconds, char **text);

/* store_local_clean.c: the record of an orderly close */

/* Writes it; the engine is closed. 0 or a negative errno. */
int clean_mark_write(int dirfd, int metafd);
/*
 * clean_mark_verify() - compare meta/ with the mark.
 * Return: 1 (mark there, all as it was), 0 (no mark: a crash, or never closed),
 * -EUCLEAN and *@errmsg, or another errno.
 */
int clean_mark_verify(int dirfd, int metafd, const char *path, char **errmsg);
/* Removes it, durably, before anything in meta/ changes. */
int clean_mark_remove(int dirfd);

#endif
