// SPDX-License-Identifier: GPL-2.0
/* The open data files, their names, and what of them is not yet durable. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datafile.h"
#include "store_local.h"

#define MAX_FDS_DEFAULT	4096
#define TABLE_START	1024u
#define INOS_PER_LEAF	8		/* as a power of 2, of neighbours */

/* ---- paths ------------------------------------------------------------------ */

static unsigned int leaf_of(uint64_t ino)
{
	return (ino >> INOS_PER_LEAF) * 0x9e3779b97f4a7c15ull >> 48;
}

static unsigned int top_of(unsigned int leaf)
{
	return DATA_LEAVES + (leaf >> 8);
}

#define ROOT_DIR	(DATA_DIRS - 1)

static void dir_path(unsigned int dir, char path[static DATA_PATH_LEN])
{
	if (dir == ROOT_DIR)
		strcpy(path, ".");
	else if (dir >= DATA_LEAVES)
		snprintf(path, DATA_PATH_LEN, "%02x", dir - DATA_LEAVES);
	else
		snprintf(path, DATA_PATH_LEN, "%02x/%02x", dir >> 8, dir & 0xff);
}

static void file_path(uint64_t ino, char path[static DATA_PATH_LEN])
{
	unsigned int leaf = leaf_of(ino);

	snprintf(path, DATA_PATH_LEN, "%02x/%02x/%012" PRIx64, leaf >> 8, leaf & 0xff, ino);
}

/* ---- the table of open files; all with ds->lock held --------------------------- */

static struct datafile **slot(struct datastore *ds, uint64_t ino)
{
	struct datafile **p;

	p = &ds->table[(ino * 0x9e3779b97f4a7c15ull >> 32) & (ds->table_size - 1)];
	while (*p && (*p)->ino != ino)
		p = &(*p)->hash_next;
	return p;
}

static void grow_table(struct datastore *ds)
{
	unsigned int old_size = ds->table_size;
	struct datafile **old = ds->table, **bigger, *file, *next;

	bigger = calloc(2 * old_size, sizeof(*bigger));
	if (!bigger)
		return;		/* longer chains, no harm */
	ds->table = bigger;
	ds->table_size = 2 * old_size;
	for (unsigned int i = 0; i < old_size; i++) {
		for (file = old[i]; file; file = next) {
			next = file->hash_next;
			file->hash_next = NULL;
			*slot(ds, file->ino) = file;
		}
	}
	free(old);
}

static bool unflushed(const struct datafile *file)
{
	return file->changed != file->flushed;
}

static bool idle(const struct datafile *file)
{
	return !file->refs && !unflushed(file) && !file->gone;
}

static void idle_add(struct datastore *ds, struct datafile *file)
{
	file->older = ds->idle.older;
	file->newer = &ds->idle;
	ds->idle.older->newer = file;
	ds->idle.older = file;
}

static void idle_del(struct datafile *file)
{
	file->older->newer = file->newer;
	file->newer->older = file->older;
	file->older = file->newer = NULL;
}

static struct datafile *find_get(struct datastore *ds, uint64_t ino)
{
	struct datafile *file = *slot(ds, ino);

	if (!file)
		return NULL;
	if (idle(file))
		idle_del(file);
	file->refs++;
	return file;
}

static void unhash(struct datastore *ds, struct datafile *file)
{
	struct datafile **p = slot(ds, file->ino);

	*p = file->hash_next;
	file->gone = true;
	ds->count--;
}

/* The oldest idle file if there are too many, no longer in the table. */
static struct datafile *take_surplus(struct datastore *ds)
{
	struct datafile *file = ds->idle.newer;

	if (ds->count <= ds->max_fds || file == &ds->idle)
		return NULL;
	idle_del(file);
	unhash(ds, file);
	return file;
}

static void free_file(struct datafile *file)
{
	if (!file)
		return;
	close(file->fd);
	free(file);
}

/* ---- open files --------------------------------------------------------------- */

struct datafile *datafile_find(struct datastore *ds, uint64_t ino)
{
	struct datafile *file;

	pthread_mutex_lock(&ds->lock);
	file = find_get(ds, ino);
	pthread_mutex_unlock(&ds->lock);
	return file;
}

void datafile_put(struct datastore *ds, struct datafile *file)
{
	struct datafile *surplus = NULL;

	pthread_mutex_lock(&ds->lock);
	file->refs--;
	if (file->gone && !file->refs) {
		surplus = file;
	} else if (idle(file)) {
		idle_add(ds, file);
		surplus = take_surplus(ds);
	}
	pthread_mutex_unlock(&ds->lock);
	free_file(surplus);
}

void datafile_changed(struct datastore *ds, struct datafile *file, bool reshaped)
{
	pthread_mutex_lock(&ds->lock);
	file->changed++;
	if (reshaped)
		file->reshaped = file->changed;
	pthread_mutex_unlock(&ds->lock);
}

static void dir_changing(struct datastore *ds, unsigned int dir)
{
	pthread_mutex_lock(&ds->lock);
	ds->dirs[dir].changing++;
	pthread_mutex_unlock(&ds->lock);
}

static void dir_changed(struct datastore *ds, unsigned int dir)
{
	pthread_mutex_lock(&ds->lock);
	ds->dirs[dir].changing--;
	ds->dirs[dir].changed++;
	pthread_mutex_unlock(&ds->lock);
}

static int make_dir(struct datastore *ds, unsigned int dir, unsigned int parent)
{
	char path[DATA_PATH_LEN];
	int err;

	dir_path(dir, path);
	dir_changing(ds, parent);
	err = mkdirat(ds->dirfd, path, 0700) && errno != EEXIST ? -errno : 0;
	dir_changed(ds, parent);
	return err;
}

static int open_file(struct datastore *ds, uint64_t ino, bool create)
{
	unsigned int leaf = leaf_of(ino);
	char path[DATA_PATH_LEN];
	int fd, err;

	file_path(ino, path);
	fd = openat(ds->dirfd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 || errno != ENOENT || !create)
		return fd < 0 ? -errno : fd;
	dir_changing(ds, leaf);
	fd = openat(ds->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == ENOENT) {
		err = make_dir(ds, top_of(leaf), ROOT_DIR);
		if (!err)
			err = make_dir(ds, leaf, top_of(leaf));
		if (err)
			goto out;
		fd = openat(ds->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	err = fd < 0 ? -errno : fd;
out:
	dir_changed(ds, leaf);
	/* somebody has removed where it goes; to our caller ENOENT is a file that is not there yet */
	return err == -ENOENT ? -EIO : err;
}

int datafile_get(struct datastore *ds, uint64_t ino, bool create, struct datafile **filep)
{
	struct datafile *file, *other, *surplus = NULL;
	struct stat st;

	file = datafile_find(ds, ino);
	if (file)
		goto out;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->ino = ino;
	file->refs = 1;
	file->fd = open_file(ds, ino, create);
	if (file->fd < 0) {
		int err = file->fd;

		free(file);
		return err;
	}
	pthread_mutex_lock(&ds->lock);
	other = find_get(ds, ino);
	if (other) {
		surplus = file;
		file = other;
	} else if (fstat(file->fd, &st) || !st.st_nlink) {
		/* unlinked since: datafile_remove() has looked into the table already */
		file->gone = true;
	} else {
		if (ds->count >= ds->table_size)
			grow_table(ds);
		file->reach = st.st_size;
		*slot(ds, ino) = file;
		ds->count++;
	}
	if (!surplus)
		surplus = take_surplus(ds);
	pthread_mutex_unlock(&ds->lock);
	free_file(surplus);
out:
	*filep = file;
	return 0;
}

int datafile_remove(struct datastore *ds, uint64_t ino)
{
	unsigned int leaf = leaf_of(ino);
	struct datafile *file, *dead = NULL;
	char path[DATA_PATH_LEN];
	int err;

	file_path(ino, path);
	dir_changing(ds, leaf);
	err = unlinkat(ds->dirfd, path, 0) && errno != ENOENT ? -errno : 0;
	dir_changed(ds, leaf);
	if (err)
		return err;

	/* after the unlink; see datafile_get() */
	pthread_mutex_lock(&ds->lock);
	file = *slot(ds, ino);
	if (file) {
		if (idle(file))
			idle_del(file);
		unhash(ds, file);
		if (!file->refs)
			dead = file;
	}
	pthread_mutex_unlock(&ds->lock);
	free_file(dead);
	return 0;
}

/* ---- flushing ------------------------------------------------------------------ */

void datafile_flush_begin(struct datastore *ds, uint64_t ino, struct dataflush *flush)
{
	struct datafile *file;

	memset(flush, 0, sizeof(*flush));
	pthread_mutex_lock(&ds->lock);
	file = *slot(ds, ino);
	if (file && unflushed(file)) {
		file->refs++;	/* not idle: it has changes */
		flush->file = file;
		flush->upto = file->changed;
		flush->full = file->reshaped > file->flushed;
	}
	pthread_mutex_unlock(&ds->lock);
}

int datafile_flush_end(struct datastore *ds, struct dataflush *flush, int result)
{
	struct datafile *file = flush->file;
	char path[DATA_PATH_LEN];

	if (result) {
		file_path(file->ino, path);
		/* rule 4 of store.h */
		store_fail(ds->store, result, "flush of data/%s: %s", path, strerror(-result));
	} else {
		pthread_mutex_lock(&ds->lock);
		if (file->flushed < flush->upto)
			file->flushed = flush->upto;
		pthread_mutex_unlock(&ds->lock);
	}
	datafile_put(ds, file);
	return result;
}

static bool dir_unsynced(const struct datadir *dir)
{
	return dir->changing || dir->changed != dir->synced;
}

bool datafile_dirs_unsynced(struct datastore *ds, uint64_t ino)
{
	unsigned int leaf = leaf_of(ino);
	bool any;

	pthread_mutex_lock(&ds->lock);
	any = dir_unsynced(&ds->dirs[leaf]) || dir_unsynced(&ds->dirs[top_of(leaf)]) ||
	      dir_unsynced(&ds->dirs[ROOT_DIR]);
	pthread_mutex_unlock(&ds->lock);
	return any;
}

static void dir_synced(struct datadir *dir, uint32_t upto)
{
	if ((int32_t)(upto - dir->synced) > 0)
		dir->synced = upto;
}

static int sync_dir(struct datastore *ds, unsigned int dir)
{
	char path[DATA_PATH_LEN];
	uint32_t upto;
	int fd, err;
	bool any;

	pthread_mutex_lock(&ds->lock);
	any = dir_unsynced(&ds->dirs[dir]);
	upto = ds->dirs[dir].changed;
	pthread_mutex_unlock(&ds->lock);
	if (!any)
		return 0;
	dir_path(dir, path);
	fd = openat(ds->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		/* it is not there: nothing of it to lose; no descriptors: no harm yet */
		return errno == ENOENT ? 0 : -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	if (err)
		return store_fail(ds->store, err, "flush of data/%s: %s", path, strerror(-err));
	pthread_mutex_lock(&ds->lock);
	dir_synced(&ds->dirs[dir], upto);
	pthread_mutex_unlock(&ds->lock);
	return 0;
}

int datafile_sync_dirs(struct datastore *ds, uint64_t ino)
{
	unsigned int leaf = leaf_of(ino);
	int err;

	err = sync_dir(ds, leaf);
	if (!err)
		err = sync_dir(ds, top_of(leaf));
	if (!err)
		err = sync_dir(ds, ROOT_DIR);
	return err;
}

static void dirs_of(uint64_t ino, unsigned int dir[3])
{
	dir[0] = leaf_of(ino);
	dir[1] = top_of(dir[0]);
	dir[2] = ROOT_DIR;
}

void datafile_dirs_begin(struct datastore *ds, uint64_t ino, uint32_t upto[3])
{
	unsigned int dir[3];

	dirs_of(ino, dir);
	pthread_mutex_lock(&ds->lock);
	for (int i = 0; i < 3; i++)
		upto[i] = ds->dirs[dir[i]].changed;
	pthread_mutex_unlock(&ds->lock);
}

void datafile_dirs_end(struct datastore *ds, uint64_t ino, const uint32_t upto[3])
{
	unsigned int dir[3];

	dirs_of(ino, dir);
	pthread_mutex_lock(&ds->lock);
	for (int i = 0; i < 3; i++)
		dir_synced(&ds->dirs[dir[i]], upto[i]);
	pthread_mutex_unlock(&ds->lock);
}

int datafile_sync_all(struct datastore *ds)
{
	int err = syncfs(ds->dirfd) ? -errno : 0;

	if (err)
		/* rule 4 of store.h */
		store_fail(ds->store, err, "flush of data/: %s", strerror(-err));
	return err;
}

/* ---- the whole ------------------------------------------------------------------ */

int datastore_open(struct store *store, unsigned int max_fds, bool after_crash,
		   struct datastore **dsp, char **errmsg)
{
	struct datastore *ds = calloc(1, sizeof(*ds));
	int err = -ENOMEM;

	if (!ds)
		return store_say(errmsg, err, "out of memory");
	pthread_mutex_init(&ds->lock, NULL);
	ds->store = store;
	ds->max_fds = max_fds ? max_fds : MAX_FDS_DEFAULT;
	ds->idle.older = ds->idle.newer = &ds->idle;
	ds->table_size = TABLE_START;
	ds->table = calloc(ds->table_size, sizeof(*ds->table));
	ds->dirs = calloc(DATA_DIRS, sizeof(*ds->dirs));
	ds->dirfd = openat(store->dirfd, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ds->dirfd < 0) {
		err = store_say(errmsg, errno == ENOENT ? -EUCLEAN : -errno,
				"cannot open %s/data: %m", store->path);
		goto out_free;
	}
	if (!ds->table || !ds->dirs) {
		store_say(errmsg, err, "out of memory");
		goto out_free;
	}
	err = datastore_probe(ds, errmsg);
	if (err)
		goto out_free;
	if (after_crash && syncfs(ds->dirfd)) {
		err = store_say(errmsg, -errno, "cannot sync %s/data: %m", store->path);
		goto out_free;
	}
	err = dataring_open(ds, errmsg);
	if (err)
		goto out_free;
	*dsp = ds;
	return 0;
out_free:
	if (ds->dirfd >= 0)
		close(ds->dirfd);
	pthread_mutex_destroy(&ds->lock);
	free(ds->dirs);
	free(ds->table);
	free(ds);
	return err;
}

bool datastore_close(struct datastore *ds)
{
	struct datafile *file, *next;
	bool durable = true;

	dataring_close(ds);
	for (unsigned int i = 0; i < DATA_DIRS; i++)
		durable = durable && !dir_unsynced(&ds->dirs[i]);
	for (unsigned int i = 0; i < ds->table_size; i++) {
		for (file = ds->table[i]; file; file = next) {
			next = file->hash_next;
			durable = durable && !unflushed(file);
			free_file(file);
		}
	}
	if (!durable && !store_failed(ds->store))
		durable = !syncfs(ds->dirfd);
	close(ds->dirfd);
	pthread_mutex_destroy(&ds->lock);
	free(ds->dirs);
	free(ds->table);
	free(ds);
	return durable;
}
