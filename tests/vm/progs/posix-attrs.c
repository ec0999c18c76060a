// SPDX-License-Identifier: GPL-2.0
/*
 * posix-attrs DIR [TEST]: attributes of files: times, which calls move them, modes,
 * owners, set-id bits, permission, xattrs, statfs, file locks. See posix.h.
 */
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include "posix.h"

static char big[1 << 17];

static int put(const char *name, size_t size)
{
	int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	MUST(write(fd, big, size));
	return close(fd);
}

static int o(const char *name, int flags, int mode)
{
	int fd = open(name, flags, mode);

	return fd < 0 ? -1 : close(fd);
}

/* ---- times ---- */

static int same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Does it, says which times of NAME it moved. */
#define MOVES(name, call) do {						\
	struct stat before_ = stat_of(name), after_;			\
	int ret_;							\
									\
	tick(before_.st_ctim);						\
	ret_ = (call);							\
	after_ = stat_of(name);						\
	printf("%d: %s: %s, %s:%s%s\n", __LINE__, #call,		\
	       ret_ == -1 ? errname(errno) : "ok", name,		\
	       same_time(before_.st_mtim, after_.st_mtim) ? "" : " mtime",	\
	       same_time(before_.st_ctim, after_.st_ctim) ? "" : " ctime");	\
} while (0)

static void times(void)
{
	struct timespec ts[2] = { { 1, 2 }, { 1234567890, 123456789 } };
	struct stat st;
	int fd, i;
	static const long long secs[] = {
		0, -1, -1000000000, 0x7fffffff, 0x80000000ll, -0x80000000ll, 0x100000000ll,
	};

	put("f", 10);
	TRY(utimensat(AT_FDCWD, "f", ts, 0));
	st = stat_of("f");
	TRY(st.st_mtim.tv_sec);
	TRY(st.st_mtim.tv_nsec);
	/* one of the two, neither, now */
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_nsec = 999999999;
	TRY(utimensat(AT_FDCWD, "f", ts, 0));
	TRY(stat_of("f").st_mtim.tv_nsec);
	ts[0].tv_nsec = 5;
	ts[1].tv_nsec = UTIME_OMIT;
	TRY(utimensat(AT_FDCWD, "f", ts, 0));
	TRY(stat_of("f").st_mtim.tv_nsec);
	ts[0].tv_nsec = UTIME_OMIT;
	MOVES("f", utimensat(AT_FDCWD, "f", ts, 0));
	ts[1].tv_nsec = UTIME_NOW;
	TRY(utimensat(AT_FDCWD, "f", ts, 0));
	TRUE(time(NULL) - stat_of("f").st_mtim.tv_sec <= 2);
	ts[1].tv_nsec = 1000000000;
	TRY(utimensat(AT_FDCWD, "f", ts, 0));
	ts[1].tv_nsec = 7;
	MUST(symlink("f", "s"));
	TRY(utimensat(AT_FDCWD, "s", ts, AT_SYMLINK_NOFOLLOW));
	TRY(stat_of("s").st_mtim.tv_nsec);
	TRUE(stat_of("f").st_mtim.tv_nsec != 7);
	TRY(utimensat(AT_FDCWD, "s", ts, 0));
	TRY(stat_of("f").st_mtim.tv_nsec);
	for (i = 0; i < 7; i++) {
		ts[1].tv_sec = secs[i];
		TRY(utimensat(AT_FDCWD, "f", ts, 0));
		TRY(stat_of("f").st_mtim.tv_sec == secs[i]);
	}
	/* whose they are */
	TRY(USER(utimensat(AT_FDCWD, "f", NULL, 0)));
	TRY(USER(utimensat(AT_FDCWD, "f", ts, 0)));
	MUST(chmod("f", 0666));
	TRY(USER(utimensat(AT_FDCWD, "f", NULL, 0)));
	TRY(USER(utimensat(AT_FDCWD, "f", ts, 0)));
	MUST(chmod("f", 0644));
	/* times set while there are dirty pages stay */
	for (i = 1; i < 1 << 18; i += (1 << 17) - 1) {
		fd = MUST(open("f", O_RDWR | O_TRUNC));
		MUST(write(fd, big, i));
		ts[1] = (struct timespec) { 1000, 1000 };
		MUST(futimens(fd, ts));
		MUST(fsync(fd));
		close(fd);
		fd = MUST(open("f", O_RDWR));
		TRUE(stat_of("f").st_mtim.tv_sec == 1000 && stat_of("f").st_mtim.tv_nsec == 1000);
		close(fd);
	}
	/* and the other way round: what is written later moves them */
	MOVES("f", put("f", 5));
}

/* ftruncate, fallocate, write by a descriptor that is closed again */
#define BY_FD(name, call) ({					\
	int fd = MUST(open(name, O_RDWR));			\
	int fret_ = (call) < 0 ? -1 : 0;			\
	int ferr_ = errno;					\
								\
	close(fd);						\
	errno = ferr_;						\
	fret_;							\
})

static int store(const char *name)
{
	return BY_FD(name, ({
		char *p = mmap(NULL, 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		p[0]++;
		msync(p, 100, MS_SYNC);
		munmap(p, 100);
	}));
}

static void moves(void)
{
	put("f", 100);
	put("g", 1 << 17);
	MUST(mkdir("d", 0755));
	MOVES("f", o("f", O_RDONLY, 0));
	MOVES("f", o("f", O_RDWR, 0));
	MOVES("f", BY_FD("f", write(fd, "x", 1)));
	MOVES("f", BY_FD("f", write(fd, "x", 0)));
	MOVES("g", BY_FD("g", pwrite(fd, big, 70000, 100)));
	MOVES("f", BY_FD("f", ftruncate(fd, 100)));
	MOVES("f", BY_FD("f", ftruncate(fd, 50)));
	MOVES("f", BY_FD("f", ftruncate(fd, 100)));
	MOVES("f", truncate("f", 70));
	MOVES("f", o("f", O_WRONLY | O_TRUNC, 0));
	MOVES("f", o("f", O_WRONLY | O_TRUNC, 0));
	MOVES("g", BY_FD("g", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5000)));
	MOVES("g", BY_FD("g", fallocate(fd, 0, 0, 1 << 18)));
	MOVES("g", store("g"));
	MOVES("f", chmod("f", 0644));
	MOVES("f", chmod("f", 0600));
	MOVES("f", chown("f", 1, 1));
	MOVES("f", chown("f", -1, -1));
	MOVES("f", setxattr("f", "user.a", "b", 1, 0));
	MOVES("f", setxattr("f", "user.a", "c", 1, 0));
	MOVES("f", removexattr("f", "user.a"));
	MOVES("f", link("f", "l"));
	MOVES("f", unlink("l"));
	MOVES("f", rename("f", "f"));
	MOVES(".", rename("f", "f2"));
	MOVES(".", rename("f2", "f"));
	MOVES("d", o("d/new", O_WRONLY | O_CREAT, 0644));
	MOVES("d", o("d/new", O_WRONLY | O_CREAT, 0644));
	MOVES("d", rename("d/new", "d/new2"));
	MOVES("d", link("d/new2", "d/link"));
	MOVES("d/new2", unlink("d/link"));
	MOVES("d", unlink("d/new2"));
	MOVES("d", mkdir("d/sub", 0755));
	MOVES(".", mkdir("d/sub2", 0755));
	MOVES("d", rmdir("d/sub"));
	MOVES("d", symlink("x", "d/s"));
	MOVES("d", mkfifo("d/p", 0644));
	MOVES("d", rename("d/p", "p"));
	MOVES("d", rename("p", "d/p"));
	MOVES("d", rename("d/sub2", "sub2"));
	MOVES("d", rename("sub2", "d/sub2"));
}

/* ---- modes and owners ---- */

static int mode(const char *name)
{
	return stat_of(name).st_mode & 07777;
}

#define MODE(name)	printf("%d: %s has mode %o\n", __LINE__, name, mode(name))

static void modes(void)
{
	int fd;

	/* set-id bits go when somebody writes or the owner changes */
	MUST(chmod(".", 0777));
	put("f", 100);
	put("g", 1 << 17);
	MUST(chown("f", NOBODY, NOBODY));
	MUST(chown("g", NOBODY, NOBODY));
#define BITS(name, bits, call) do {					\
	MUST(chmod(name, bits));					\
	TRY(call);							\
	MODE(name);							\
} while (0)
	BITS("f", 06755, USER(BY_FD("f", write(fd, "x", 1))));
	BITS("g", 06755, USER(BY_FD("g", write(fd, "x", 1))));
	BITS("f", 06755, BY_FD("f", write(fd, "x", 1)));
	BITS("f", 06744, USER(BY_FD("f", write(fd, "x", 1))));
	BITS("f", 06755, USER(truncate("f", 10)));
	BITS("f", 06755, USER(BY_FD("f", ftruncate(fd, 20))));
	BITS("f", 06755, USER(o("f", O_WRONLY | O_TRUNC, 0)));
	BITS("g", 06755, USER(BY_FD("g", fallocate(fd, 0, 0, 1 << 18))));
	BITS("g", 06755, USER(store("g")));
	BITS("f", 06755, chown("f", NOBODY, NOBODY));
	BITS("f", 06755, chown("f", -1, -1));
	BITS("f", 06644, chown("f", NOBODY, -1));
	BITS("f", 06755, USER(chown("f", -1, NOBODY)));
	BITS("f", 06755, USER(chown("f", 0, -1)));
	BITS("f", 06755, USER(chown("f", -1, 0)));
	BITS("f", 0, USER(chmod("f", 07777)));
	BITS("f", 01777, USER(chmod("f", 02644)));
	MUST(chown("f", NOBODY, 0));
	BITS("f", 0, USER(chmod("f", 02755)));
	BITS("f", 0, chmod("f", 02755));
	MUST(chown("f", 0, 0));
	BITS("f", 0, USER(chmod("f", 0777)));
	/* the largest there are */
	TRY(chown("f", 0xfffffffe, 0xfffffffd));
	TRY(stat_of("f").st_uid);
	TRY(stat_of("f").st_gid);
	/* what umask takes, what open gives */
	umask(027);
	TRY(o("u1", O_WRONLY | O_CREAT, 06777));
	MODE("u1");
	TRY(mkdir("u2", 07777));
	MODE("u2");
	TRY(mknod("u3", S_IFIFO | 0666, 0));
	MODE("u3");
	umask(022);
	fd = open("ro", O_RDWR | O_CREAT, 0);
	TRY(write(fd, "x", 1));
	close(fd);
	TRY(USER(o("ro", O_RDONLY, 0)));
	TRY(o("ro", O_RDWR, 0));
	/* group from the directory */
	MUST(mkdir("sg", 0777));
	MUST(chown("sg", 5, 77));
	MUST(chmod("sg", 02777));
	TRY(o("sg/f", O_WRONLY | O_CREAT, 02755));
	MODE("sg/f");
	TRY(stat_of("sg/f").st_gid);
	TRY(mkdir("sg/d", 0755));
	MODE("sg/d");
	TRY(stat_of("sg/d").st_gid);
	TRY(symlink("x", "sg/s"));
	TRY(stat_of("sg/s").st_gid);
	TRY(USER(o("sg/g", O_WRONLY | O_CREAT, 02777)));
	MODE("sg/g");
	TRY(USER(o("sg/h", O_WRONLY | O_CREAT, 02767)));
	MODE("sg/h");
	TRY(USER(mkdir("sg/e", 02777)));
	MODE("sg/e");
	TRY(stat_of("sg/e").st_gid);
	fd = open("sg", O_TMPFILE | O_RDWR, 02755);
	TRY(linkat(fd, "", AT_FDCWD, "sg/t", AT_EMPTY_PATH));
	MODE("sg/t");
	TRY(stat_of("sg/t").st_gid);
	close(fd);
}

static void permission(void)
{
	int fd;

	put("secret", 10);
	put("open", 10);
	MUST(chmod("secret", 0600));
	MUST(chmod("open", 0666));
	MUST(mkdir("closed", 0700));
	put("closed/f", 1);
	MUST(mkdir("sticky", 0777));
	MUST(chmod("sticky", 01777));
	put("sticky/root", 1);
	MUST(mkdir("list", 0744));
	put("list/f", 1);
	MUST(mkdir("pass", 0711));
	put("pass/f", 1);
	TRY(USER(o("secret", O_RDONLY, 0)));
	TRY(USER(o("secret", O_WRONLY, 0)));
	TRY(USER(o("open", O_RDWR, 0)));
	TRY(USER(access("secret", R_OK)));
	TRY(USER(o("closed/f", O_RDONLY, 0)));
	TRY(USER(o("closed", O_RDONLY, 0)));
	TRY(USER(o("list", O_RDONLY, 0)));
	TRY(USER(o("list/f", O_RDONLY, 0)));
	TRY(USER(o("pass", O_RDONLY, 0)));
	TRY(USER(o("pass/f", O_RDONLY, 0)));
	TRY(USER(o("new", O_WRONLY | O_CREAT, 0644)));
	TRY(USER(mkdir("new", 0755)));
	TRY(USER(unlink("open")));
	TRY(USER(rename("open", "sticky/open")));
	TRY(USER(truncate("secret", 0)));
	TRY(USER(o("sticky/mine", O_WRONLY | O_CREAT, 0600)));
	TRY(USER(unlink("sticky/root")));
	TRY(USER(rename("sticky/root", "sticky/r")));
	TRY(USER(rename("sticky/mine", "sticky/root")));
	TRY(USER(rename("sticky/mine", "sticky/m")));
	TRY(USER(unlink("sticky/m")));
	TRY(USER(chmod("open", 0600)));
	TRY(USER(chown("open", NOBODY, -1)));
	TRY(USER(link("secret", "sticky/hard")));
	TRY(USER(setxattr("secret", "user.x", "y", 1, 0)));
	TRY(USER(getxattr("secret", "user.x", big, 10)));
	TRY(USER(setxattr("open", "user.x", "y", 1, 0)));
	TRY(USER(setxattr("open", "trusted.x", "y", 1, 0)));
	TRY(USER(setxattr("open", "security.x", "y", 1, 0)));
	/* an open descriptor keeps what it may */
	fd = MUST(open("open", O_RDWR));
	MUST(chmod("open", 0));
	TRY(USER(write(fd, "x", 1)));
	TRY(USER(fchmod(fd, 0777)));
	TRY(USER(ftruncate(fd, 3)));
	close(fd);
	/* a program */
	put("script", 0);
	fd = MUST(open("script", O_WRONLY));
	dprintf(fd, "#!/bin/sh\nexit 7\n");
	MUST(fchmod(fd, 0755));
	if (!fork()) {
		execl("./script", "script", NULL);
		_exit(errno == ETXTBSY ? 99 : 98);
	}
	wait(NULL);
	close(fd);
	fd = fork();
	if (!fd) {
		execl("./script", "script", NULL);
		_exit(98);
	}
	TRY(reap(fd));
}

/* ---- xattrs ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char **)a, *(char **)b);
}

/* Says what xattrs a file has, sorted, with their sizes. */
static void xlist(const char *path)
{
	ssize_t len = llistxattr(path, big, sizeof(big));
	char *names[300], *name;
	int n = 0, i;

	MUST(len);
	for (name = big; name < big + len; name += strlen(name) + 1)
		names[n++] = name;
	qsort(names, n, sizeof(*names), by_name);
	printf("%s has xattrs", path);
	for (i = 0; i < n; i++)
		printf(" %s:%zd", names[i], lgetxattr(path, names[i], NULL, 0));
	printf("\n");
}

static void xattrs(void)
{
	char name[300] = "user.", value[100], got[100];
	int fd, i;

	put("f", 10);
	TRY(setxattr("f", "user.a", "value", 5, XATTR_REPLACE));
	TRY(setxattr("f", "user.a", "value", 5, XATTR_CREATE));
	TRY(setxattr("f", "user.a", "other", 5, XATTR_CREATE));
	TRY(setxattr("f", "user.a", "new", 3, XATTR_REPLACE));
	TRY(setxattr("f", "user.a", "new", 3, XATTR_REPLACE | XATTR_CREATE));
	TRY(setxattr("f", "user.a", "new", 3, 8));
	TRY(getxattr("f", "user.a", got, sizeof(got)));
	TRUE(!memcmp(got, "new", 3));
	TRY(getxattr("f", "user.a", got, 2));
	TRY(getxattr("f", "user.a", NULL, 0));
	TRY(getxattr("f", "user.b", got, sizeof(got)));
	TRY(getxattr("f", "user.", got, sizeof(got)));
	TRY(setxattr("f", "user.", "x", 1, 0));
	TRY(setxattr("f", "", "x", 1, 0));
	TRY(setxattr("f", "plain", "x", 1, 0));
	TRY(getxattr("f", "none.x", got, sizeof(got)));
	TRY(setxattr("f", "system.x", "x", 1, 0));
	TRY(removexattr("f", "user.none"));
	TRY(setxattr("f", "user.empty", "", 0, 0));
	TRY(getxattr("f", "user.empty", got, sizeof(got)));
	TRY(setxattr("f", "trusted.t", "t", 1, 0));
	TRY(setxattr("f", "security.s", "s", 1, 0));
	xlist("f");
	TRY(listxattr("f", got, 5));
	TRY(listxattr("f", NULL, 0));
	TRY(USER(listxattr("f", NULL, 0)));
	TRY(USER(getxattr("f", "trusted.t", got, sizeof(got))));
	TRY(USER(getxattr("f", "security.s", got, sizeof(got))));
	memset(name + 5, 'n', 250);
	TRY(setxattr("f", name, "long name", 9, 0));
	TRY(getxattr("f", name, got, sizeof(got)));
	name[255] = 'n';
	TRY(setxattr("f", name, "longer", 6, 0));
	TRY(removexattr("f", "user.a"));
	TRY(removexattr("f", "user.a"));
	xlist("f");
	/* bytes of all kinds, many names, values that grow and shrink */
	for (i = 0; i < 100; i++)
		value[i] = i * 3;
	put("many", 1);
	for (i = 0; i < 30; i++) {
		sprintf(name, "user.n%d\xff", i);
		MUST(setxattr("many", name, value, 1 + i, 0));
	}
	for (i = 0; i < 30; i += 2) {
		sprintf(name, "user.n%d\xff", i);
		MUST(setxattr("many", name, value, 40 - i, 0));
	}
	xlist("many");
	TRY(getxattr("many", "user.n28\xff", got, sizeof(got)));
	TRUE(!memcmp(got, value, 12));
	/* on other types, by descriptor */
	MUST(mkdir("d", 0755));
	MUST(symlink("f", "s"));
	MUST(mkfifo("p", 0644));
	TRY(setxattr("d", "user.x", "y", 1, 0));
	TRY(setxattr("p", "user.x", "y", 1, 0));
	TRY(setxattr("p", "trusted.x", "y", 1, 0));
	TRY(lsetxattr("s", "user.x", "y", 1, 0));
	TRY(lsetxattr("s", "trusted.x", "yy", 2, 0));
	TRY(lgetxattr("s", "trusted.x", got, sizeof(got)));
	TRY(getxattr("s", "trusted.x", got, sizeof(got)));
	fd = MUST(open("f", O_RDONLY));
	TRY(fsetxattr(fd, "user.fd", "z", 1, 0));
	TRY(fgetxattr(fd, "user.fd", got, sizeof(got)));
	TRY(fremovexattr(fd, "user.fd"));
	close(fd);
	/* they move with the file, not with a copy of the name */
	TRY(rename("f", "g"));
	TRY(link("g", "h"));
	xlist("h");
	xlist("d");
	xlist("s");
	/* capabilities go when the file is written */
	put("cap", 10);
	TRY(setxattr("cap", "security.capability",
		     "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
	TRY(getxattr("cap", "security.capability", got, sizeof(got)));
	put("cap", 20);
	TRY(getxattr("cap", "security.capability", got, sizeof(got)));
	TRY(setxattr("cap", "security.capability",
		     "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
	TRY(chown("cap", 5, 5));
	TRY(getxattr("cap", "security.capability", got, sizeof(got)));
}

/* ---- the filesystem ---- */

static void filesystem(void)
{
	struct statfs a, b;
	struct statvfs v;
	struct statx x;
	long flags;
	int fd;

	TRY(statfs(".", &a));
	TRUE(a.f_bsize >= 512 && a.f_blocks > 0 && a.f_bfree <= a.f_blocks);
	TRUE(a.f_bavail <= a.f_bfree && a.f_files >= a.f_ffree && a.f_ffree > 0);
	TRY(a.f_namelen);
	TRUE(a.f_frsize >= 512);
	TRY(statvfs(".", &v));
	TRUE(v.f_blocks > 0 && !(v.f_flag & ST_RDONLY));
	put("f", 1 << 17);
	fd = MUST(open("f", O_RDONLY));
	TRY(fstatfs(fd, &b));
	TRUE(a.f_type == b.f_type && a.f_blocks == b.f_blocks);
	TRUE(!memcmp(&a.f_fsid, &b.f_fsid, sizeof(a.f_fsid)));
	TRY(ioctl(fd, FIONREAD, &flags));
	TRY(ioctl(fd, 0xabcd1234, &flags));
	TRY(fpathconf(fd, _PC_NAME_MAX));
	TRY(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
	TRUE((x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && x.stx_size == 1 << 17);
	TRY(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_SIZE, &x));
	TRY(statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_SIZE, &x));
	TRUE(x.stx_size == 1 << 17);
	close(fd);
	/* the same inode, however one comes to it */
	MUST(mkdir("d", 0755));
	TRUE(stat_of("d/..").st_ino == stat_of(".").st_ino);
	TRUE(stat_of("d/.").st_ino == stat_of("d").st_ino);
	TRUE(stat_of("f").st_dev == stat_of("d").st_dev);
	TRUE(stat_of("f").st_ino != stat_of("d").st_ino);
	TRY(stat_of("d").st_nlink);
}

/* ---- locks ---- */

static int lock(int fd, int cmd, int type, long start, long len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &fl);
}

/* Whom one would wait for: his type and where, -1 for nobody. */
static long lock_there(int fd, int cmd, int type, long start, long len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	MUST(fcntl(fd, cmd, &fl));
	return fl.l_type == F_UNLCK ? 0 : 1000000 * (fl.l_type + 1) + 1000 * fl.l_start + fl.l_len;
}

/* What another process gets. */
#define OTHER(call) ({						\
	pid_t pid_ = fork();					\
								\
	if (!pid_) {						\
		int fd = open("f", O_RDWR);			\
								\
		(void)fd;					\
		_exit((call) == -1 ? errno : 0);		\
	}							\
	errno = reap(pid_);					\
	errno ? -1 : 0;						\
})

static void nothing(int sig) { }

static void locks(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	int fd, fd2, p[2];
	pid_t pid;
	char c;

	put("f", 100);
	fd = MUST(open("f", O_RDWR));
	fd2 = MUST(open("f", O_RDWR));
	/* flock: of an open file */
	TRY(flock(fd, LOCK_EX | LOCK_NB));
	TRY(flock(fd2, LOCK_EX | LOCK_NB));
	TRY(flock(fd2, LOCK_SH | LOCK_NB));
	TRY(OTHER(flock(fd, LOCK_SH | LOCK_NB)));
	TRY(flock(fd, LOCK_SH | LOCK_NB));
	TRY(flock(fd2, LOCK_SH | LOCK_NB));
	TRY(OTHER(flock(fd, LOCK_SH | LOCK_NB)));
	TRY(OTHER(flock(fd, LOCK_EX | LOCK_NB)));
	TRY(flock(fd, LOCK_EX | LOCK_NB));
	TRY(flock(fd2, LOCK_UN));
	TRY(flock(fd, LOCK_EX | LOCK_NB));
	TRY(OTHER(flock(fd2, LOCK_EX | LOCK_NB)));
	TRY(flock(fd, LOCK_UN));
	TRY(OTHER(flock(fd, LOCK_EX | LOCK_NB)));
	/* POSIX: of a process, by ranges */
	TRY(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	TRY(lock(fd2, F_SETLK, F_WRLCK, 15, 10));
	TRY(OTHER(lock(fd, F_SETLK, F_WRLCK, 0, 10)));
	TRY(OTHER(lock(fd, F_SETLK, F_RDLCK, 24, 10)));
	TRY(OTHER(lock(fd, F_SETLK, F_RDLCK, 25, 10)));
	TRY(lock(fd, F_SETLK, F_RDLCK, 12, 5));
	TRY(OTHER(lock(fd, F_SETLK, F_RDLCK, 12, 5)));
	TRY(OTHER(lock(fd, F_SETLK, F_WRLCK, 12, 5)));
	TRY(OTHER((errno = lock_there(fd, F_GETLK, F_WRLCK, 0, 0) % 200, -1)));
	TRY(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	TRY(OTHER(lock(fd, F_SETLK, F_WRLCK, 0, 0)));
	/* any close drops them */
	TRY(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	close(fd2);
	TRY(OTHER(lock(fd, F_SETLK, F_WRLCK, 0, 0)));
	/* OFD: of an open file, by ranges */
	fd2 = MUST(open("f", O_RDWR));
	TRY(lock(fd, F_OFD_SETLK, F_WRLCK, 10, 10));
	TRY(lock(fd2, F_OFD_SETLK, F_WRLCK, 15, 10));
	TRY(lock(fd2, F_OFD_SETLK, F_WRLCK, 20, 10));
	TRY(lock_there(fd2, F_OFD_GETLK, F_RDLCK, 0, 0));
	TRY(lock_there(fd2, F_GETLK, F_RDLCK, 0, 0));
	TRY(lock(fd2, F_SETLK, F_RDLCK, 15, 1));
	TRY(OTHER(lock(fd, F_SETLK, F_RDLCK, 15, 1)));
	TRY(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
	close(fd2);
	TRY(OTHER(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0)));
	/* what the descriptor must be able to do */
	fd2 = MUST(open("f", O_RDONLY));
	TRY(lock(fd2, F_SETLK, F_WRLCK, 0, 0));
	TRY(lock(fd2, F_SETLK, F_RDLCK, 0, 0));
	TRY(flock(fd2, LOCK_EX | LOCK_NB));
	TRY(flock(fd2, LOCK_UN));
	TRY(lock(fd, F_SETLK, F_RDLCK, 100, -10));
	TRY(lock(fd, F_SETLK, F_RDLCK, -1, 0));
	TRY(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	close(fd2);
	/* waiting: until it is free, until a signal, not in a circle */
	MUST(pipe(p));
	pid = fork();
	if (!pid) {
		MUST(lock(fd, F_SETLK, F_WRLCK, 0, 1));
		MUST(write(p[1], "x", 1));
		usleep(100000);
		/* the parent waits for 0 and has 1 */
		_exit(lock(fd, F_SETLKW, F_WRLCK, 1, 1) == -1 ? errno : 0);
	}
	TRY(read(p[0], &c, 1));
	TRY(lock(fd, F_SETLK, F_WRLCK, 1, 1));
	TRY(lock(fd, F_SETLKW, F_WRLCK, 0, 1));
	TRY(reap(pid) == EDEADLK);
	TRY(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	pid = fork();
	if (!pid) {
		fd = open("f", O_RDWR);
		MUST(flock(fd, LOCK_EX));
		MUST(write(p[1], "x", 1));
		pause();
	}
	TRY(read(p[0], &c, 1));
	sigaction(SIGALRM, &sa, NULL);
	ualarm(100000, 0);
	TRY(flock(fd, LOCK_EX));
	kill(pid, SIGKILL);
	TRY(reap(pid));
	TRY(flock(fd, LOCK_EX));
	close(fd);
	fd = MUST(open(".", O_RDONLY));
	TRY(flock(fd, LOCK_EX | LOCK_NB));
	close(fd);
}

static const struct test tests[] = {
	{ "times", times },
	{ "moves", moves },
	{ "modes", modes },
	{ "permission", permission },
	{ "xattrs", xattrs },
	{ "filesystem", filesystem },
	{ "locks", locks },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_tests(tests, argc, argv);
}
