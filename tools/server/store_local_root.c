// SPDX-License-Identifier: GPL-2.0
/*
 * The directory of all disks: DIR/archil-store says what it is, in which
 * version; DIR/disks/NAME is a disk each. Names that begin with a dot are disks
 * being made or deleted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_local.h"
#include "util.h"

#define FORMAT_FILE	"archil-store"
#define FORMAT_NEW	"archil-store.new"
#define FORMAT_WORD	"archil-store "
#define FORMAT_VERSION	"1"

int store_say(char **errmsg, int err, const char *fmt, ...)
{
	va_list ap;

	if (!errmsg)
		return err;
	va_start(ap, fmt);
	if (vasprintf(errmsg, fmt, ap) < 0)
		*errmsg = NULL;
	va_end(ap);
	return err;
}

/* What an init that was interrupted, or mkfs, may have left. */
static bool harmless(int dirfd, const char *name)
{
	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "lost+found") ||
	    !strcmp(name, FORMAT_NEW))
		return true;
	return !strcmp(name, "disks") && (!unlinkat(dirfd, name, AT_REMOVEDIR));
}

/* 0, -ENOTEMPTY, -EEXIST (a store), or another errno. */
static int check_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int err = 0;

	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!faccessat(dirfd, FORMAT_FILE, F_OK, 0))
		err = -EEXIST;
	while (!err && (de = readdir(dir)))
		if (!harmless(dirfd, de->d_name))
			err = -ENOTEMPTY;
	closedir(dir);
	return err;
}

static int write_format(int dirfd)
{
	static const char text[] = FORMAT_WORD FORMAT_VERSION "\n";
	int fd, err;

	if (mkdirat(dirfd, "disks", 0700))
		return -errno;
	fd = openat(dirfd, FORMAT_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_full(fd, text, strlen(text));
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	if (!err && (renameat(dirfd, FORMAT_NEW, dirfd, FORMAT_FILE) || fsync(dirfd)))
		err = -errno;
	return err;
}

int store_root_init(const char *dir, char **errmsg)
{
	int fd, err;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return store_say(errmsg, -errno, "cannot make %s: %m", dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return store_say(errmsg, -errno, "cannot open %s: %m", dir);
	err = check_empty(fd);
	if (!err)
		err = write_format(fd);
	close(fd);
	if (err == -EEXIST)
		return store_say(errmsg, err, "%s is a store already", dir);
	if (err == -ENOTEMPTY)
		return store_say(errmsg, err, "%s is not empty: a store is made in an empty directory",
				 dir);
	if (err)
		return store_say(errmsg, err, "cannot make a store in %s: %s", dir, strerror(-err));
	return 0;
}

int store_root_check(const char *dir, char **errmsg)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[64];
	ssize_t n;
	int fd;

	if (dirfd < 0)
		return store_say(errmsg, -errno, "cannot open %s: %m", dir);
	fd = openat(dirfd, FORMAT_FILE, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -errno : read_full(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	close(dirfd);
	if (n == -ENOENT)
		return store_say(errmsg, -EINVAL, "%s is not a store (archil-server init makes one)",
				 dir);
	if (n < 0)
		return store_say(errmsg, n, "cannot read %s/%s: %s", dir, FORMAT_FILE,
				 strerror(-n));
	text[n] = 0;
	if (strncmp(text, FORMAT_WORD, strlen(FORMAT_WORD)))
		return store_say(errmsg, -EINVAL, "%s/%s is not what a store has there", dir,
				 FORMAT_FILE);
	text[strcspn(text, "\n")] = 0;
	if (strcmp(text + strlen(FORMAT_WORD), FORMAT_VERSION))
		return store_say(errmsg, -EPROTONOSUPPORT,
				 "%s is a store of version %s; this program reads version %s", dir,
				 text + strlen(FORMAT_WORD), FORMAT_VERSION);
	return 0;
}

char *store_disk_path(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/disks/%s", dir, name) < 0 ? NULL : path;
}

/* Names that sibling() in store_local.c gives. */
static int is_leftover(const struct dirent *de)
{
	const char *ending = strrchr(de->d_name, '.');

	return de->d_name[0] == '.' && ending != de->d_name &&
	       (!strcmp(ending, ".new") || !strcmp(ending, ".deleted"));
}

int store_root_sweep(const char *dir)
{
	struct dirent **names;
	char *disks, *path;
	int n, fd, err = 0;

	disks = store_disk_path(dir, "");
	if (!disks)
		return -ENOMEM;
	n = scandir(disks, &names, is_leftover, alphasort);
	if (n < 0)
		err = -errno;
	free(disks);
	for (int i = 0; i < n; i++) {
		path = err ? NULL : store_disk_path(dir, names[i]->d_name);
		fd = path ? store_lock_disk(path, NULL) : -1;
		/* else somebody is at it */
		if (fd >= 0) {
			err = store_remove_tree(path);
			close(fd);
		}
		free(path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return err;
}

int store_disk_each(const char *dir, int (*fn)(void *arg, const char *name), void *arg)
{
	struct dirent **names;
	int n, err = 0;
	char *disks;

	if (asprintf(&disks, "%s/disks", dir) < 0)
		return -ENOMEM;
	n = scandir(disks, &names, NULL, alphasort);
	if (n < 0)
		err = -errno;
	free(disks);
	if (err)
		return err;
	for (int i = 0; i < n; i++) {
		if (!err && names[i]->d_name[0] != '.')
			err = fn(arg, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return err;
}
