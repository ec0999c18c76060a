// SPDX-License-Identifier: GPL-2.0
/*
 * posix-names DIR [TEST]: names: rename's kinds, links, O_TMPFILE, files unlinked while
 * open, listings while they change, long and odd names, special files. See posix.h.
 */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <linux/fs.h>

#include "posix.h"

#define MANY	10000

static int touch(const char *name)
{
	return close(MUST(open(name, O_WRONLY | O_CREAT | O_EXCL, 0644)));
}

static int put(const char *name, const char *text)
{
	int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	MUST(write(fd, text, strlen(text)));
	return close(fd);
}

static bool holds(const char *name, const char *text)
{
	char buf[256] = "";
	int fd = open(name, O_RDONLY);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 0)
		return false;
	close(fd);
	return !strcmp(buf, text);
}

static int o(const char *name, int flags)
{
	int fd = open(name, flags, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int rename2(const char *from, const char *to, unsigned int flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static bool there(const char *name)
{
	struct stat st;

	return !lstat(name, &st);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char **)a, *(char **)b);
}

/* Says what is in a directory, sorted. */
static void list(const char *name)
{
	char *names[100];
	struct dirent *e;
	struct stat st;
	char path[600];
	DIR *dir = opendir(name);
	int n = 0, i;

	if (!dir)
		die("%s", name);
	while ((e = readdir(dir)) && n < 100) {
		snprintf(path, sizeof(path), "%s/%s", name, e->d_name);
		MUST(lstat(path, &st));
		TRUE(!strcmp(e->d_name, "..") || st.st_ino == e->d_ino);
		MUST(asprintf(&names[n++], "%s:%d:%o", e->d_name, e->d_type, st.st_mode));
	}
	closedir(dir);
	qsort(names, n, sizeof(*names), by_name);
	printf("%s has", name);
	for (i = 0; i < n; i++) {
		printf(" %s", names[i]);
		free(names[i]);
	}
	printf("\n");
}

static void renames(void)
{
	struct stat st;
	ino_t ino;

	MUST(mkdir("d", 0755));
	MUST(mkdir("d/e", 0755));
	MUST(mkdir("d/e/g", 0755));
	MUST(mkdir("empty", 0755));
	put("a", "a");
	put("b", "b");
	put("d/f", "f");
	TRY(rename("a", "a"));
	TRY(rename("a", "d"));
	TRY(rename("d", "a"));
	TRY(rename("d", "d/e"));
	TRY(rename("d", "d/e/new"));
	TRY(rename("d/e", "d"));
	TRY(rename("d/e/g", "d"));
	TRY(rename("empty", "d"));
	TRY(rename("d", "d"));
	TRY(rename("none", "a"));
	TRY(rename("a", "none/a"));
	TRY(rename("a", "b/a"));
	TRY(rename("a", "new/"));
	TRY(rename("a", ""));
	TRY(rename(".", "d/x"));
	TRY(rename("d/..", "x"));
	TRY(rename("d", "."));
	TRY(rename("d/e/g", "d/e/.."));
	TRY(rename("d/e/", "empty/"));
	list("d");
	list("empty");
	TRY(rename("empty", "d/e"));
	TRY(stat_of("d").st_nlink);
	TRY(stat_of("d/e").st_nlink);
	/* over a file that is there, to a second name of the same */
	ino = stat_of("a").st_ino;
	TRY(rename("a", "b"));
	TRUE(holds("b", "a") && !there("a") && stat_of("b").st_ino == ino);
	TRY(link("b", "b2"));
	TRY(rename("b", "b2"));
	TRUE(there("b") && there("b2"));
	/* flags */
	put("c", "c");
	TRY(rename2("c", "b", RENAME_NOREPLACE));
	TRY(rename2("c", "new", RENAME_NOREPLACE));
	TRUE(holds("new", "c") && holds("b", "a"));
	TRY(rename2("new", "b", RENAME_EXCHANGE));
	TRUE(holds("new", "a") && holds("b", "c"));
	TRY(rename2("d", "b", RENAME_EXCHANGE));
	TRUE(holds("d", "c") && holds("b/f", "f"));
	TRY(rename2("d", "b/e/moved", RENAME_EXCHANGE));
	TRY(rename2("d", "b/e", RENAME_EXCHANGE));
	TRUE(holds("b/e", "c"));
	TRY(rename2("b", "b/e", RENAME_EXCHANGE));
	TRY(rename2("b/e", "b", RENAME_EXCHANGE));
	TRY(rename2("b", "b", RENAME_EXCHANGE));
	TRY(rename2("b", "b", RENAME_NOREPLACE));
	TRY(rename2("b", "none", RENAME_EXCHANGE));
	TRY(rename2("b", "new", RENAME_EXCHANGE | RENAME_NOREPLACE));
	TRY(rename2("b", "new", 0x100));
	list(".");
	list("b");
	list("d");
	/* times of what is renamed, and of the directories, move; links of directories */
	st = stat_of("b");
	tick(st.st_ctim);
	TRY(rename("b", "b3"));
	TRUE(stat_of("b3").st_ctim.tv_nsec != st.st_ctim.tv_nsec ||
	     stat_of("b3").st_ctim.tv_sec != st.st_ctim.tv_sec);
	TRY(mkdir("to", 0755));
	TRY(rename("d", "to/d"));
	TRY(stat_of("to").st_nlink);
	TRY(stat_of(".").st_nlink);
	TRY(rmdir("to"));
	/* an open file and a working directory move along */
	TRY(chdir("to/d"));
	TRY(rename("../../to", "../../gone"));
	TRY(touch("here"));
	TRY(rename("../../gone", "../../to"));
	TRY(chdir("../.."));
	list("to/d");
}

static void errors(void)
{
	char buf[10];

	MUST(mkdir("d", 0755));
	touch("d/f");
	touch("f");
	MUST(symlink("loop", "loop"));
	MUST(symlink("none", "dangling"));
	MUST(symlink("d", "dir"));
	TRY(rmdir("d"));
	TRY(rmdir("d/."));
	TRY(rmdir("d/.."));
	TRY(rmdir("f"));
	TRY(rmdir("none"));
	TRY(rmdir("dir"));
	TRY(unlink("d"));
	TRY(unlink("dir/"));
	TRY(unlink("f/"));
	TRY(unlink("none"));
	TRY(unlink("f/x"));
	TRY(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
	TRY(mkdir("d", 0755));
	TRY(mkdir("f/x", 0755));
	TRY(mkdir("none/x", 0755));
	TRY(mkdir("dangling", 0755));
	TRY(o("loop", O_RDONLY));
	TRY(o("loop/x", O_RDONLY));
	TRY(o("dir", O_RDONLY | O_NOFOLLOW));
	TRY(o("dir", O_PATH | O_NOFOLLOW));
	TRY(o("f", O_RDONLY | O_DIRECTORY));
	TRY(o("f/", O_RDONLY));
	TRY(o("d", O_RDWR));
	TRY(o("d", O_RDONLY | O_CREAT));
	TRY(o("dangling", O_WRONLY | O_CREAT | O_EXCL));
	TRY(o("new/", O_WRONLY | O_CREAT));
	TRY(o("dangling", O_WRONLY | O_CREAT));
	TRUE(there("none"));
	TRY(link("d", "d2"));
	TRY(link("f", "d"));
	TRY(link("none", "d/none"));
	TRY(link("missing", "x"));
	TRY(link("loop", "loop2"));
	TRY(link("f", "f"));
	TRY(symlink("", "nothing"));
	TRY(symlink("x", "f"));
	TRY(readlink("f", buf, sizeof(buf)));
	TRY(readlink("dangling", buf, 2));
	TRY(readlink("dangling", buf, 0));
	TRY(access("d", W_OK | X_OK));
	TRY(access("f", X_OK));
	TRY(chdir("f"));
	list(".");
}

static void links(void)
{
	char proc[64], target[5000], name[64];
	int i, fd;

	put("f", "linked");
	for (i = 0; i < 100; i++) {
		sprintf(name, "l%d", i);
		MUST(link("f", name));
	}
	TRY(stat_of("f").st_nlink);
	TRY(stat_of("l99").st_nlink);
	TRUE(stat_of("l50").st_ino == stat_of("f").st_ino);
	put("l3", "changed");
	TRUE(holds("l77", "changed"));
	/* the first name goes, the others stay */
	TRY(unlink("f"));
	for (i = 0; i < 98; i++) {
		sprintf(name, "l%d", i);
		MUST(unlink(name));
	}
	TRY(stat_of("l98").st_nlink);
	TRY(rename("l98", "l99"));
	TRUE(there("l98"));
	MUST(mkdir("d", 0755));
	TRY(rename("l98", "d/l98"));
	TRUE(holds("d/l98", "changed"));
	/* by descriptor */
	fd = MUST(open("l99", O_RDONLY));
	sprintf(proc, "/proc/self/fd/%d", fd);
	TRY(linkat(AT_FDCWD, proc, AT_FDCWD, "byproc", AT_SYMLINK_FOLLOW));
	TRY(linkat(fd, "", AT_FDCWD, "byfd", AT_EMPTY_PATH));
	TRY(stat_of("byfd").st_nlink);
	MUST(unlink("l99"));
	MUST(unlink("d/l98"));
	MUST(unlink("byproc"));
	MUST(unlink("byfd"));
	TRY(linkat(fd, "", AT_FDCWD, "byfd", AT_EMPTY_PATH));
	TRY(linkat(AT_FDCWD, proc, AT_FDCWD, "byproc", AT_SYMLINK_FOLLOW));
	close(fd);
	/* symlinks, short and as long as can be */
	memset(target, 't', sizeof(target));
	target[4095] = '\0';
	TRY(symlink(target, "long"));
	TRY(readlink("long", target, sizeof(target)));
	TRY(stat_of("long").st_size);
	target[4095] = 't';
	target[4096] = '\0';
	TRY(symlink(target, "longer"));
	TRY(symlink("/absolute/../path", "s"));
	TRY(link("s", "s2"));
	TRY(lchown("s", 5, 6));
	TRY(stat_of("s2").st_uid);
	TRY(stat_of("s").st_mode);
	TRY(rename("s", "s3"));
	TRY(fchmodat(AT_FDCWD, "s3", 0600, AT_SYMLINK_NOFOLLOW));
}

static void tmpfiles(void)
{
	char buf[100], proc[64];
	struct stat st;
	int fd = MUST(open(".", O_TMPFILE | O_RDWR, 0640)), fd2;

	TRY(write(fd, "temporary", 9));
	MUST(fstat(fd, &st));
	TRY(st.st_nlink);
	TRY(st.st_mode);
	TRY(st.st_size);
	TRY(fsetxattr(fd, "user.x", "y", 1, 0));
	TRY(fsync(fd));
	sprintf(proc, "/proc/self/fd/%d", fd);
	TRY(linkat(AT_FDCWD, proc, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
	TRUE(holds("linked", "temporary"));
	TRY(stat_of("linked").st_nlink);
	TRY(getxattr("linked", "user.x", buf, sizeof(buf)));
	TRY(linkat(fd, "", AT_FDCWD, "linked2", AT_EMPTY_PATH));
	TRY(linkat(fd, "", AT_FDCWD, "linked2", AT_EMPTY_PATH));
	TRY(pwrite(fd, "T", 1, 0));
	TRUE(holds("linked2", "Temporary"));
	close(fd);
	fd = MUST(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640));
	TRY(linkat(fd, "", AT_FDCWD, "excl", AT_EMPTY_PATH));
	close(fd);
	TRY(o(".", O_TMPFILE | O_RDONLY));
	TRY(o("linked", O_TMPFILE | O_RDWR));
	/* large, linked late, some never */
	fd = MUST(open(".", O_TMPFILE | O_RDWR, 0600));
	fd2 = MUST(open(".", O_TMPFILE | O_RDWR, 0600));
	TRY(ftruncate(fd, 1 << 20));
	TRY(pwrite(fd, "end", 3, 1 << 20));
	TRY(pwrite(fd2, "end", 3, 1 << 20));
	TRY(fsync(fd));
	TRY(linkat(fd, "", AT_FDCWD, "late", AT_EMPTY_PATH));
	TRY(fsync(fd));
	TRY(stat_of("late").st_size);
	close(fd);
	close(fd2);
	list(".");
}

static void unlinked(void)
{
	char buf[100], *p;
	struct stat st;
	int fd, dir, i;

	/* small and large, never durable and durable before */
	for (i = 0; i < 4; i++) {
		fd = MUST(open("f", O_RDWR | O_CREAT | O_EXCL, 0644));
		TRY(write(fd, "before", 6));
		if (i & 1)
			TRY(fsync(fd));
		TRY(unlink("f"));
		TRUE(!there("f"));
		MUST(fstat(fd, &st));
		TRY(st.st_nlink);
		TRY(pread(fd, buf, 100, 0));
		TRY(pwrite(fd, "after", 5, i & 2 ? 200000 : 100));
		TRY(ftruncate(fd, i & 2 ? 300000 : 300));
		TRY(fchmod(fd, 0600));
		TRY(fchown(fd, 1, 2));
		TRY(futimens(fd, NULL));
		TRY(fsetxattr(fd, "user.x", "y", 1, 0));
		TRY(fgetxattr(fd, "user.x", buf, sizeof(buf)));
		TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3));
		TRY(fsync(fd));
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		p[0] = 'm';
		TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		TRY(pread(fd, buf, 100, 0));
		TRUE(!memcmp(buf, "m\0\0ore", 6));
		TRY(pread(fd, buf, 100, i & 2 ? 200000 : 100));
		TRUE(!memcmp(buf, "after", 5));
		munmap(p, 4096);
		MUST(fstat(fd, &st));
		TRY(st.st_size);
		TRY(st.st_mode);
		TRY(st.st_uid);
		TRY(touch("f"));		/* another of the same name */
		TRY(unlink("f"));
		TRY(fsync(fd));
		close(fd);
	}
	/* renamed over while open */
	put("old", "old");
	put("new", "new");
	fd = MUST(open("old", O_RDWR));
	TRY(rename("new", "old"));
	TRY(pread(fd, buf, 100, 0));
	TRUE(!memcmp(buf, "old", 3) && holds("old", "new"));
	TRY(write(fd, "gone", 4));
	TRUE(holds("old", "new"));
	close(fd);
	/* a directory that is gone */
	MUST(mkdir("d", 0755));
	dir = MUST(open("d", O_RDONLY));
	MUST(chdir("d"));
	TRY(rmdir("../d"));
	TRY(o("new", O_WRONLY | O_CREAT));
	TRY(mkdir("new", 0755));
	TRY(symlink("x", "new"));
	TRY(rename("../old", "old"));
	TRY(there(".."));
	TRY(getcwd(buf, sizeof(buf)) ? 0 : -1);
	TRY(syscall(SYS_getdents64, dir, buf, sizeof(buf)));
	MUST(fstat(dir, &st));
	TRY(st.st_nlink);
	TRY(fsync(dir));
	close(dir);
	MUST(chdir(".."));
	list(".");
}

/* ---- listings ---- */

static char seen[3 * MANY];

/* Counts the names n0..; gives how many were there, once each. */
static int count(DIR *dir)
{
	struct dirent *e;
	int n, found = 0, twice = 0;

	memset(seen, 0, sizeof(seen));
	while ((errno = 0, e = readdir(dir))) {
		if (sscanf(e->d_name, "n%d", &n) != 1)
			continue;
		twice += seen[n];
		seen[n] = 1;
		found++;
	}
	if (errno)
		die("readdir");
	TRUE(twice == 0);
	return found;
}

static void listing(void)
{
	long *at = calloc(MANY + 10, sizeof(*at));
	char name[32], (*names)[32] = calloc(MANY + 10, 32), buf[100];
	struct dirent *e;
	int i, n = 0, fd;
	DIR *dir;

	MUST(mkdir("many", 0755));
	for (i = 0; i < MANY; i++) {
		sprintf(name, "many/n%d", i);
		if (i % 3)
			MUST(mknod(name, S_IFREG | 0644, 0));
		else
			MUST(symlink("x", name));
	}
	dir = opendir("many");
	TRY(count(dir));
	/* back to where one was */
	rewinddir(dir);
	for (n = 0; at[n] = telldir(dir), (e = readdir(dir)); n++)
		strcpy(names[n], e->d_name);
	TRY(n);
	for (i = n - 1; i >= 0; i -= 37) {
		seekdir(dir, at[i]);
		e = readdir(dir);
		TRUE(e && !strcmp(e->d_name, names[i]));
		TRUE(telldir(dir) == at[i + 1]);
	}
	/* what goes and comes meanwhile takes nothing else away */
	rewinddir(dir);
	for (i = 0; i < 100; i++)
		readdir(dir);
	seekdir(dir, at[MANY / 2]);
	for (i = 0; i < MANY; i += 10) {
		sprintf(name, "many/n%d", i);
		MUST(unlink(name));
		sprintf(name, "many/n%d", MANY + i);
		MUST(mknod(name, S_IFREG | 0644, 0));
	}
	seekdir(dir, at[MANY / 2]);
	memset(seen, 0, sizeof(seen));
	while ((e = readdir(dir)))
		if (sscanf(e->d_name, "n%d", &i) == 1)
			seen[i]++;
	for (i = MANY / 2, n = 0; i < MANY; i++) {
		int k;

		if (sscanf(names[i], "n%d", &k) == 1 && k % 10 && seen[k] != 1)
			n++;
	}
	TRY(n);
	rewinddir(dir);
	TRY(count(dir));
	closedir(dir);
	/* small buffers */
	fd = MUST(open("many", O_RDONLY));
	TRY(syscall(SYS_getdents64, fd, buf, 10));
	TRY(syscall(SYS_getdents64, fd, buf, 40) > 0);
	close(fd);
	free(at);
	free(names);
}

/* Others create, rename and unlink; what nobody touches is listed exactly once. */
static void busy_listing(void)
{
	int who, i, n, rounds, missing = 0;
	char name[32], to[32];
	struct dirent *e;
	DIR *dir;
	pid_t pids[2];

	for (i = 0; i < 500; i++) {
		sprintf(name, "n%d", i);
		touch(name);
	}
	for (who = 0; who < 2; who++) {
		pids[who] = fork();
		if (pids[who])
			continue;
		for (i = 0; ; i++) {
			sprintf(name, "x%d.%d", who, i % 200);
			sprintf(to, "y%d.%d", who, i % 150);
			if (mknod(name, S_IFREG | 0644, 0) && errno != EEXIST)
				_exit(1);
			if (i % 3 && rename(name, to))
				_exit(2);
			if (i % 5 == 0 && unlink(i % 2 ? name : to) && errno != ENOENT)
				_exit(3);
		}
	}
	dir = opendir(".");
	for (rounds = 0; rounds < 40; rounds++) {
		rewinddir(dir);
		n = count(dir);
		for (i = 0; i < 500; i++)
			missing += !seen[i];
		if (n != 500)
			missing += 1000;
	}
	closedir(dir);
	TRY(missing);
	for (who = 0; who < 2; who++) {
		kill(pids[who], SIGKILL);
		TRY(reap(pids[who]));
		for (i = 0; i < 200; i++) {
			sprintf(name, "x%d.%d", who, i);
			unlink(name);
			name[0] = 'y';
			unlink(name);
		}
	}
	/* all removed as they are listed, the way rm -r might */
	dir = opendir(".");
	n = 0;
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		MUST(unlinkat(dirfd(dir), e->d_name, 0));
		n++;
	}
	TRY(n);
	rewinddir(dir);
	TRY(count(dir));
	closedir(dir);
}

static void long_names(void)
{
	char name[300], text[16], path[PATH_MAX + 10];
	struct dirent *e;
	int c, i, n = 0;
	DIR *dir;

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	put(name, "long");
	TRUE(holds(name, "long"));
	MUST(mkdir("d", 0755));
	name[254] = 'd';
	TRY(mkdir(name, 0755));
	TRY(rename(name, "short"));
	TRY(rename("short", name));
	name[255] = 'n';
	name[256] = '\0';
	TRY(o(name, O_WRONLY | O_CREAT));
	TRY(mkdir(name, 0755));
	TRY(symlink("x", name));
	TRY(rename("d", name));
	TRY(there(name));
	TRY(o("", O_RDONLY));
	/* a name of each byte, and what is not text */
	MUST(mkdir("odd", 0755));
	for (c = 1; c < 256; c++) {
		if (c == '/' || c == '.')
			continue;
		sprintf(name, "odd/%c", c);
		sprintf(text, "%d", c);
		put(name, text);
	}
	put("odd/...", "46");
	put("odd/\xff\xfe\x80", "bytes");
	put("odd/\xed\xa0\x80", "surrogate");
	put("odd/new\nline", "line");
	put("odd/ ", "blank");
	put("odd/-rf", "minus");
	dir = opendir("odd");
	while ((e = readdir(dir))) {
		n++;
		if (strlen(e->d_name) != 1 || e->d_name[0] == '.' || e->d_name[0] == ' ')
			continue;
		sprintf(name, "odd/%s", e->d_name);
		sprintf(text, "%d", e->d_name[0] & 0xff);
		TRUE(holds(name, text));
	}
	TRY(n);
	closedir(dir);
	TRUE(holds("odd/\xff\xfe\x80", "bytes") && holds("odd/new\nline", "line"));
	/* the case of letters matters, and the form of accents */
	TRY(put("Case", "upper"));
	TRY(there("case"));
	TRY(put("\xc3\xa9", "composed"));
	TRY(there("e\xcc\x81"));
	/* deep, by steps and by a path as long as can be */
	memset(name, 'p', 200);
	name[200] = '\0';
	for (i = 0; i < 60; i++) {
		MUST(mkdir(name, 0755));
		MUST(chdir(name));
	}
	put("bottom", "deep");
	TRUE(holds("bottom", "deep"));
	TRY(getcwd(path, sizeof(path)) ? 0 : -1);
	/* what no path can reach does not stay */
	MUST(unlink("bottom"));
	for (i = 59; i >= 0; i--) {
		MUST(chdir(".."));
		if (i >= 15)
			MUST(rmdir(name));
	}
	for (i = 0; i < 15; i++)
		sprintf(path + i * 201, "%s/", name);
	TRY(access(path, F_OK));
	memset(path + 15 * 201, '/', PATH_MAX - 1 - 15 * 201);
	path[PATH_MAX - 1] = '\0';
	TRY(access(path, F_OK));
	path[PATH_MAX - 1] = '/';
	path[PATH_MAX] = '\0';
	TRY(access(path, F_OK));
}

static int send_over(int from, int to)
{
	char buf[10];

	MUST(write(from, "through", 7));
	return read(to, buf, sizeof(buf)) == 7 && !memcmp(buf, "through", 7);
}

static void special(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int in, out, s, c, a;
	pid_t pid;

	umask(0);
	TRY(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	TRY(mknod("disk", S_IFBLK | 0600, makedev(259, 1048575)));
	TRY(mknod("file", S_IFREG | 0604, 0));
	TRY(mknod("dir", S_IFDIR | 0755, 0));
	TRY(mkfifo("fifo", 0622));
	TRY(USER(mknod("user", S_IFCHR | 0666, makedev(1, 3))));
	TRY(stat_of("disk").st_rdev);
	TRY(stat_of("null").st_rdev);
	in = MUST(open("null", O_RDWR));
	TRY(write(in, "x", 1));
	TRY(read(in, &c, 1));
	close(in);
	/* a fifo between processes */
	in = MUST(open("fifo", O_RDONLY | O_NONBLOCK));
	out = MUST(open("fifo", O_WRONLY));
	TRY(fcntl(in, F_SETFL, 0));
	TRUE(send_over(out, in));
	pid = fork();
	if (!pid) {
		int fd = open("fifo", O_WRONLY);

		_exit(write(fd, "child", 5) != 5);
	}
	TRY(read(in, addr.sun_path + 50, 10));
	TRY(reap(pid));
	TRY(unlink("fifo"));
	TRUE(send_over(out, in));
	close(in);
	close(out);
	TRY(mkfifo("fifo", 0622));
	TRY(o("fifo", O_WRONLY | O_NONBLOCK));
	/* a socket */
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	TRY(bind(s, (struct sockaddr *)&addr, sizeof(addr)));
	TRY(bind(s, (struct sockaddr *)&addr, sizeof(addr)));
	TRY(listen(s, 5));
	TRY(stat_of("sock").st_mode);
	TRY(o("sock", O_RDWR));
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	TRY(connect(c, (struct sockaddr *)&addr, sizeof(addr)));
	a = MUST(accept(s, NULL, NULL));
	TRUE(send_over(c, a));
	close(c);
	TRY(rename("sock", "moved"));
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	TRY(connect(c, (struct sockaddr *)&addr, sizeof(addr)));
	strcpy(addr.sun_path, "moved");
	TRY(connect(c, (struct sockaddr *)&addr, sizeof(addr)));
	close(s);
	close(c);
	close(a);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	TRY(connect(c, (struct sockaddr *)&addr, sizeof(addr)));
	close(c);
	umask(022);
	list(".");
}

static const struct test tests[] = {
	{ "renames", renames },
	{ "errors", errors },
	{ "links", links },
	{ "tmpfiles", tmpfiles },
	{ "unlinked", unlinked },
	{ "listing", listing },
	{ "busy-listing", busy_listing },
	{ "long-names", long_names },
	{ "special", special },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_tests(tests, argc, argv);
}
