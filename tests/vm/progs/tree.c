// SPDX-License-Identifier: GPL-2.0
/*
 * tree [-t] DIR: one line for everything in DIR, sorted, so that two trees can
 * be compared: path, type and mode, owner, links and size (but of directories), device,
 * mtime in ns, xattrs, hash of the contents, target of a symlink. -t: without mtime.
 * Eight threads look at once: what waits for a server need not wait one by one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "prog.h"

#define THREADS 8

static char **lines;		/* first the paths, then what is said of them */
static size_t count, room;
static atomic_size_t next;
static size_t prefix;
static int no_times;

static void add(char *line)
{
	if (!line)
		die("memory");
	if (count == room) {
		room = room ? 2 * room : 1024;
		lines = realloc(lines, room * sizeof(*lines));
		if (!lines)
			die("memory");
	}
	lines[count++] = line;
}

static void find(const char *path)
{
	struct dirent *e;
	char *sub;
	DIR *dir = opendir(path);

	if (!dir)
		die("%s", path);
	for (errno = 0; (e = readdir(dir)); errno = 0) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (asprintf(&sub, "%s/%s", path, e->d_name) < 0)
			sub = NULL;
		add(sub);
		if (e->d_type == DT_DIR)
			find(sub);
	}
	if (errno)
		die("%s: readdir", path);
	closedir(dir);
}

static uint64_t hash_file(const char *path)
{
	uint64_t buf[8192];
	uint64_t hash = FNV_INIT;
	ssize_t n, i;
	int fd = open(path, O_RDONLY | O_NOFOLLOW);

	if (fd < 0)
		die("%s: open", path);
	/* eight bytes at a time: an emulated machine is slow */
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		memset((char *)buf + n, 0, -n & 7);
		for (i = 0; i < (n + 7) / 8; i++) {
			hash = (hash ^ buf[i]) * 0x100000001b3ull;
			hash ^= hash >> 29;
		}
	}
	if (n < 0)
		die("%s: read", path);
	close(fd);
	return hash;
}

/* Names and values, whatever their order. */
static uint64_t hash_xattrs(const char *path)
{
	char names[65536], value[65536], *name;
	ssize_t len = llistxattr(path, names, sizeof(names)), n;
	uint64_t sum = 0;

	if (len < 0 && errno != EOPNOTSUPP)
		die("%s: listxattr", path);
	for (name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
		n = lgetxattr(path, name, value, sizeof(value));
		if (n < 0)
			die("%s: getxattr %s", path, name);
		sum += fnv(fnv(FNV_INIT, name, strlen(name)), value, n);
	}
	return sum;
}

static char *describe(const char *path)
{
	char target[4096] = "", *line, mtime[48] = "";
	uint64_t hash = 0;
	struct stat st;
	ssize_t n;

	if (lstat(path, &st))
		die("%s", path);
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			die("%s: readlink", path);
		target[n] = '\0';
	}
	if (S_ISREG(st.st_mode))
		hash = hash_file(path);
	if (!no_times)
		snprintf(mtime, sizeof(mtime), " %lld.%09ld", (long long)st.st_mtim.tv_sec,
			 st.st_mtim.tv_nsec);
	if (asprintf(&line, "%s %o %u:%u %lu %lld %u:%u%s %llx %llx %s", path + prefix, st.st_mode,
		     st.st_uid, st.st_gid, S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
		     S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size,
		     major(st.st_rdev), minor(st.st_rdev), mtime,
		     (unsigned long long)hash_xattrs(path), (unsigned long long)hash, target) < 0)
		die("memory");
	return line;
}

static void *describe_all(void *arg)
{
	char *path;
	size_t i;

	while ((i = atomic_fetch_add(&next, 1)) < count) {
		path = lines[i];
		lines[i] = describe(path);
		free(path);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char **)a, *(char **)b);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	size_t i;

	if (argc > 1 && !strcmp(argv[1], "-t")) {
		no_times = 1;
		argc--;
		argv++;
	}
	if (argc != 2) {
		fputs("usage: tree [-t] DIR\n", stderr);
		return 2;
	}
	prefix = strlen(argv[1]);
	add(strdup(argv[1]));
	find(argv[1]);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, describe_all, NULL))
			die("threads");
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(lines, count, sizeof(*lines), compare);
	for (i = 0; i < count; i++)
		puts(lines[i]);
	return fflush(stdout) ? 2 : 0;
}
