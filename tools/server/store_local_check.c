// SPDX-License-Identifier: GPL-2.0
/*
 * Verifying a disk, in this order: the logs, by their checksums; each live
 * table and blob file, whole, by the checksum that the MANIFEST keeps of it;
 * each key and value, as the engine reads them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_local.h"

#define READ_BYTES	(1u << 20)

struct check {
	int metafd;
	const char *meta;
	void (*line)(void *arg, const char *text);
	void *arg;
	int found;
	time_t deadline;	/* 0: none */
};

static void say(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct check *c, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	c->found++;
	c->line(c->arg, text ? text : "damaged (and out of memory)");
	free(text);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int read_live(int metafd, struct live_files *live)
{
	char manifest[MANIFEST_NAME_LEN];
	int err = current_read(metafd, manifest);

	return err ? err : live_files_read(metafd, manifest, live);
}

int live_files_present(int metafd, const char *meta, void (*bad)(void *arg, const char *text),
		       void *arg)
{
	struct check c = { .metafd = metafd, .meta = meta, .line = bad, .arg = arg };
	struct live_files live;
	struct stat st;
	int err;

	err = read_live(metafd, &live);
	/* a newer engine's MANIFEST: it looks for its files itself */
	if (err)
		return err == -EPROTONOSUPPORT ? 0 : err;
	for (size_t i = 0; i < live.n; i++) {
		char name[LIVE_NAME_LEN];

		live_file_name(&live.files[i], name);
		if (fstatat(metafd, name, &st, 0))
			say(&c, errno == ENOENT ? "%s/%s is missing" : "%s/%s: %m", meta, name);
		else if ((uint64_t)st.st_size != live.files[i].size)
			say(&c, "%s/%s is damaged: it has %" PRIu64 " bytes instead of %" PRIu64,
			    meta, name, (uint64_t)st.st_size, live.files[i].size);
	}
	live_files_free(&live);
	return c.found;
}

/* Return: 0 when good or the deadline passed; -EUCLEAN; another errno. */
static int verify_file(struct check *c, const struct live_file *file, const char *name)
{
	uint64_t size = 0;
	uint32_t crc = 0;
	int fd, err = 0;
	ssize_t n = 1;
	char *buf;

	fd = openat(c->metafd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	buf = malloc(READ_BYTES);
	if (!buf)
		err = -ENOMEM;
	while (!err && n) {
		if (c->deadline && now() > c->deadline)
			goto out;
		n = read(fd, buf, READ_BYTES);
		if (n < 0) {
			err = errno == EINTR ? 0 : -errno;
			n = 1;
			continue;
		}
		crc = crc32c(crc, buf, n);
		size += n;
	}
	if (!err && (size != file->size || (file->has_crc && crc != file->crc)))
		err = -EUCLEAN;
out:
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	free(buf);
	close(fd);
	return err;
}

/* Every live file; @blobs: only blob files. */
static int verify_files(struct check *c, bool blobs)
{
	struct live_files live;
	int err = read_live(c->metafd, &live);

	if (err)
		return err;
	for (size_t i = 0; !err && i < live.n; i++) {
		char name[LIVE_NAME_LEN];

		if (blobs && !live.files[i].blob)
			continue;
		live_file_name(&live.files[i], name);
		err = verify_file(c, &live.files[i], name);
		if (err == -ENOMEM || err == -EMFILE)
			break;
		if (err == -EUCLEAN)
			say(c, "%s/%s is damaged: its checksum is not that in the MANIFEST",
			    c->meta, name);
		else if (err == -ENOENT)
			say(c, "%s/%s is missing", c->meta, name);
		else if (err)
			say(c, "%s/%s cannot be read: %s", c->meta, name, strerror(-err));
		err = 0;
	}
	live_files_free(&live);
	return err;
}

static void keep_name(void *arg, const char *text)
{
	char **first = arg;

	if (!*first)
		*first = strndup(text, strcspn(text, " "));
}

void blob_find_damage(struct store *store, unsigned int seconds, char **text)
{
	struct check c = {
		.meta = store->meta, .line = keep_name, .arg = text, .deadline = now() + seconds,
	};

	*text = NULL;
	c.metafd = open(store->meta, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.metafd >= 0) {
		verify_files(&c, true);
		close(c.metafd);
	}
	if (!*text && asprintf(text, "a blob file of %s (archil-server check names it)",
			       store->meta) < 0)
		*text = NULL;
}

/* Reads every key and value. */
static int verify_keys(struct store *store, struct check *c)
{
	rocksdb_readoptions_t *read = rocksdb_readoptions_create();
	rocksdb_iterator_t *it;
	char *err = NULL;

	rocksdb_readoptions_set_verify_checksums(read, 1);
	rocksdb_readoptions_set_fill_cache(read, 0);
	rocksdb_readoptions_set_readahead_size(read, READ_BYTES);
	it = rocksdb_create_iterator(store->db, read);
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it))
		;
	rocksdb_iter_get_error(it, &err);
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(read);
	if (!err)
		return 0;
	if (strstr(err, "Corruption"))
		say(c, "%s: %s", store->meta, err);
	return store_engine_error(store, "check", err);
}

/* Until RocksDB 9 with an argument more, `force`: 0 undoes one disabling, as 9 always does. */
typedef void enable_with_force(rocksdb_t *db, unsigned char force, char **err);
typedef void enable_without(rocksdb_t *db, char **err);

#define enable_takes_force \
	_Generic(&rocksdb_enable_file_deletions, enable_with_force *: 1, default: 0)

static void let_files_go(struct store *store, char **text)
{
	void (*enable)(void) = (void (*)(void))rocksdb_enable_file_deletions;

	if (enable_takes_force)
		((enable_with_force *)enable)(store->db, 0, text);
	else
		((enable_without *)enable)(store->db, text);
}

int store_check(struct store *store, void (*line)(void *arg, const char *text), void *arg)
{
	struct check c = { .meta = store->meta, .line = line, .arg = arg };
	char *text = NULL;
	int err;

	c.metafd = open(store->meta, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.metafd < 0)
		return -errno;
	rocksdb_disable_file_deletions(store->db, &text);
	if (text) {
		close(c.metafd);
		return store_engine_error(store, "check", text);
	}
	err = verify_files(&c, false);
	if (err == -EUCLEAN)
		say(&c, "%s: the MANIFEST is damaged", store->meta);
	if (err == -EUCLEAN || err == -EPROTONOSUPPORT)
		err = 0;
	if (c.found)
		store_fail(store, -EUCLEAN, "check found damage in %s", store->meta);
	if (!err && !c.found)
		err = verify_keys(store, &c);
	let_files_go(store, &text);
	if (text)
		store_engine_error(store, "check", text);
	close(c.metafd);
	return c.found ? c.found : err;
}

struct others {
	const char *said;	/* a sentence that is out already */
	struct check *check;
};

static void say_others(void *arg, const char *text)
{
	struct others *others = arg;

	if (strcmp(text, others->said))
		say(others->check, "%s", text);
}

/* What can be said of a disk that refuses to open. */
static int check_closed(const char *path, struct check *c, const char *said)
{
	struct others others = { said, c };
	char *meta = NULL;
	int dirfd, err;

	dirfd = store_lock_disk(path, NULL);
	if (dirfd < 0)
		return dirfd;
	err = -ENOMEM;
	if (asprintf(&meta, "%s/meta", path) < 0)
		goto out_close;
	c->meta = meta;
	c->metafd = openat(dirfd, "meta", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = c->metafd < 0 ? -errno : logs_verify(c->metafd, meta, false, say_others, &others);
	if (err >= 0)
		err = verify_files(c, false);
	if (c->metafd >= 0)
		close(c->metafd);
	free(meta);
out_close:
	close(dirfd);
	return err;
}

int store_check_path(const char *path, void (*line)(void *arg, const char *text), void *arg,
		     char **errmsg)
{
	struct check c = { .line = line, .arg = arg };
	struct store *store;
	char *said = NULL;
	int err;

	err = store_open(path, NULL, &store, &said);
	if (!err) {
		err = store_check(store, line, arg);
		store_close(store);
		return err < 0 ? store_say(errmsg, err, "cannot check %s: %s", path,
					   strerror(-err)) : err;
	}
	if (err != -EUCLEAN) {
		store_say(errmsg, err, "%s", said ? said : path);
		free(said);
		return err;
	}
	say(&c, "%s", said ? said : path);
	check_closed(path, &c, said ? said : path);
	free(said);
	return c.found;
}
