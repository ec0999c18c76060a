// SPDX-License-Identifier: GPL-2.0
/* What the filesystem below data/ can do, what is left of it, what is in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "datafile.h"
#include "store_local.h"

#define PROBE		".probe"

/*
 * Not given out: room for the engine to rewrite its tables and for commits of
 * what was accepted before.
 */
#define KEPT_MAX	(64ull << 20)
#define KEPT_PART	16		/* of a small filesystem */

/* Calls @fn for each name in the directory @path that is all hexadecimal. */
static int each_name(struct datastore *ds, const char *path,
		     int (*fn)(void *arg, const char *path, uint64_t number), void *arg)
{
	int fd = openat(ds->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int err = 0;

	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (de = readdir(dir))) {
		char sub[2 * DATA_PATH_LEN], *end;
		uint64_t number = strtoull(de->d_name, &end, 16);

		if (*end || end == de->d_name ||
		    snprintf(sub, sizeof(sub), "%s/%s", path, de->d_name) >= (int)sizeof(sub))
			continue;
		err = fn(arg, sub, number);
	}
	closedir(dir);
	return err;
}

struct walk {
	struct datastore *ds;
	int (*fn)(void *arg, uint64_t ino, uint64_t bytes);
	void *arg;
};

static int walk_file(void *arg, const char *path, uint64_t ino)
{
	struct walk *walk = arg;
	struct stat st;

	if (fstatat(walk->ds->dirfd, path, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	return walk->fn(walk->arg, ino, (uint64_t)st.st_blocks * 512);
}

static int walk_leaf(void *arg, const char *path, uint64_t number)
{
	struct walk *walk = arg;

	(void)number;
	return each_name(walk->ds, path, walk_file, walk);
}

static int walk_top(void *arg, const char *path, uint64_t number)
{
	struct walk *walk = arg;

	(void)number;
	return each_name(walk->ds, path, walk_leaf, walk);
}

int store_data_each(struct store *store, int (*fn)(void *arg, uint64_t ino, uint64_t bytes),
		    void *arg)
{
	struct walk walk = { store->data, fn, arg };

	return each_name(store->data, ".", walk_top, &walk);
}

int datastore_statfs(struct datastore *ds, struct store_statfs *st)
{
	struct statvfs v;
	uint64_t kept;

	if (fstatvfs(ds->dirfd, &v))
		return -errno;
	st->total = (uint64_t)v.f_blocks * v.f_frsize;
	st->free = (uint64_t)v.f_bfree * v.f_frsize;
	st->avail = (uint64_t)v.f_bavail * v.f_frsize;
	kept = st->total / KEPT_PART < KEPT_MAX ? st->total / KEPT_PART : KEPT_MAX;
	st->avail -= st->avail < kept ? st->avail : kept;
	st->max_file_size = ds->max_file_size;
	return 0;
}

/* What the filesystem below can do: the highest end of a file; holes. */
int datastore_probe(struct datastore *ds, char **errmsg)
{
	uint64_t lo = 0, hi = INT64_MAX;
	struct rlimit limit;
	int fd, err;

	fd = openat(ds->dirfd, PROBE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return store_say(errmsg, -errno, "cannot make a file in %s/data: %m",
				 ds->store->path);
	unlinkat(ds->dirfd, PROBE, 0);
	/* to go beyond this one would be answered by a signal */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < hi)
		hi = limit.rlim_cur;
	/* lo works, what is above hi does not */
	while (lo < hi) {
		uint64_t mid = hi - (hi - lo) / 2;

		if (!ftruncate(fd, mid))
			lo = mid;
		else if (errno == EFBIG || errno == EINVAL)
			hi = mid - 1;
		else
			break;
	}
	err = lo < hi ? -errno : 0;
	ds->max_file_size = lo;
	if (!err && ftruncate(fd, 1))
		err = -errno;
	if (!err)
		err = datafile_fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1);
	close(fd);
	if (err == -EOPNOTSUPP)
		return store_say(errmsg, err, "the filesystem of %s/data cannot punch holes in files",
				 ds->store->path);
	if (err)
		store_say(errmsg, err, "cannot use the filesystem of %s/data: %s",
			  ds->store->path, strerror(-err));
	return err;
}
