// SPDX-License-Identifier: GPL-2.0
/*
 * syscalls A B: every system call that changes something, tried through mount A on
 * a place that its session owns, one that nobody owns, and one that the session
 * of mount B owns. The outcome must be that of semantics.md, 3 and 6; the tables
 * below are the list. Both mounts are of one disk, shared.
 *
 *	A/own	A's	A/own2	A's, another delegation		A/free	nobody's
 *	A/other	B's	A/mixed	nobody's, with entries of A's and of B's
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

#define NOBODY 65534

static const char *mount_a, *mount_b;
static int fd_a;		/* of mount A's root */

/* ---- the calls, where they are more than one ---- */

static int o(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

/* Does something with a descriptor, closes it, keeps errno. */
#define WITH(fd_expr, call) ({					\
	int fd = (fd_expr);					\
	long ret_ = fd < 0 ? -1 : (long)(call);			\
	int err_ = errno;					\
	if (fd >= 0)						\
		close(fd);					\
	errno = err_;						\
	ret_;							\
})
#define RD(name)	open(name, O_RDONLY | O_CLOEXEC)
#define RW(name)	open(name, O_RDWR | O_CLOEXEC)

static long rename2(const char *from, const char *to, unsigned int flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static long tmpfile_link(const char *name)
{
	char proc[32];
	int fd = open(".", O_TMPFILE | O_RDWR, 0644);

	if (fd < 0)
		return -1;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return WITH(fd, linkat(AT_FDCWD, proc, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
}

static long bind_socket(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, name);
	return WITH(socket(AF_UNIX, SOCK_STREAM, 0),
		    bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
}

static long store(const char *name, int flags, int prot_fd)
{
	int fd = open(name, prot_fd);
	char *p;

	if (fd < 0)
		return -1;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return -1;
	p[0]++;
	return munmap(p, 4096);
}

static long direct_write(const char *name)
{
	static char buf[4096] __attribute__((aligned(4096)));

	return WITH(open(name, O_RDWR | O_DIRECT), pwrite(fd, buf, sizeof(buf), 0));
}

static long sends(const char *from, const char *to)
{
	int in = RD(from);
	long ret = WITH(RW(to), sendfile(fd, in, NULL, 4));

	close(in);
	return ret;
}

static long copies(const char *from, const char *to)
{
	int in = RD(from);
	long ret = WITH(RW(to), copy_file_range(in, NULL, fd, NULL, 4, 0));

	close(in);
	return ret;
}

static long splices(const char *to)
{
	int p[2];
	long ret;

	if (pipe(p) || write(p[1], "spliced", 7) != 7)
		return -1;
	ret = WITH(RW(to), splice(p[0], NULL, fd, NULL, 7, 0));
	close(p[0]);
	close(p[1]);
	return ret;
}

static long clones(const char *from, const char *to)
{
	int in = RD(from);
	long ret = WITH(RW(to), ioctl(fd, FICLONE, in));

	close(in);
	return ret;
}

static long setflags(const char *name)
{
	int flags = FS_NOATIME_FL;

	return WITH(RD(name), ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static long locks(const char *name, int mode, int cmd, int type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };

	return WITH(open(name, mode), fcntl(fd, cmd, &fl));
}

static long utimes_of(const char *name, long sec, long nsec, int flags)
{
	struct timespec ts[2] = { { sec, nsec }, { sec, nsec } };

	return utimensat(AT_FDCWD, name, ts, flags);
}

static long handle_of(const char *name)
{
	struct file_handle *h = calloc(1, sizeof(*h) + MAX_HANDLE_SZ);
	int id;
	long ret;

	h->handle_bytes = MAX_HANDLE_SZ;
	ret = name_to_handle_at(AT_FDCWD, name, h, &id, 0);
	free(h);
	return ret;
}

static long reads(const char *name)
{
	char c;

	return WITH(RD(name), pread(fd, &c, 1, 0) == 1 ? 0 : -1);
}

static long lists(const char *name)
{
	DIR *dir = opendir(name);
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n < 2 ? -1 : 0;
}

static long fs_stat(const char *name)
{
	struct statfs st;

	return statfs(name, &st);
}

static long file_stat(const char *name)
{
	struct stat st;

	return lstat(name, &st);
}

static long checkout(const char *name)
{
	static struct archil_ioc_checkout arg;

	memset(&arg, 0, sizeof(arg));
	arg.size = sizeof(arg);
	return WITH(RD(name), ioctl(fd, ARCHIL_IOC_CHECKOUT, &arg));
}

static long checkin(const char *name)
{
	static struct archil_ioc_checkin arg;

	memset(&arg, 0, sizeof(arg));
	arg.size = sizeof(arg);
	return WITH(RD(name), ioctl(fd, ARCHIL_IOC_CHECKIN, &arg));
}

/* ---- the list ---- */

/* An outcome: an errno, 0, with one delegation taken besides or not. */
#define TAKES(err)	((err) + 1000)
#define GRANT		TAKES(0)

/* As an unprivileged user. */
#define USER(call) ({					\
	long ret_;					\
	int err_;					\
	setfsgid(NOBODY);				\
	setfsuid(NOBODY);				\
	ret_ = (call);					\
	err_ = errno;					\
	setfsuid(0);					\
	setfsgid(0);					\
	errno = err_;					\
	ret_;						\
})

/*
 * What a row needs, made afresh for it in a directory of its own: f, g: files; d: an empty
 * directory; e: one with something in it; k: another empty one; l: a symlink to f; p: a
 * fifo; n: /dev/null's like; i: a file i with a second link j. f and d have the xattr
 * user.there.
 */
#define TABLE(ROW) \
	/*  needs  own  nobody  other  call */ \
	/* opening */ \
	ROW("f", 0, GRANT, EBUSY, o("f", O_WRONLY)) \
	ROW("f", 0, GRANT, EBUSY, o("f", O_RDWR)) \
	ROW("f", 0, GRANT, EBUSY, o("f", O_WRONLY | O_APPEND)) \
	ROW("f", 0, GRANT, EBUSY, o("f", O_WRONLY | O_TRUNC)) \
	ROW("f", 0, GRANT, EBUSY, o("f", O_RDONLY | O_TRUNC)) \
	ROW("f", 0, GRANT, EBUSY, o("f", O_RDWR | O_CREAT)) \
	ROW("fl", 0, GRANT, EBUSY, o("l", O_WRONLY)) \
	ROW("", 0, GRANT, EBUSY, o("new", O_WRONLY | O_CREAT)) \
	ROW("", 0, GRANT, EBUSY, o("new", O_WRONLY | O_CREAT | O_EXCL)) \
	ROW("", 0, GRANT, EBUSY, o("new", O_RDONLY | O_CREAT)) \
	ROW("", 0, GRANT, EBUSY, creat("new", 0600)) \
	ROW("f", EEXIST, EEXIST, EEXIST, o("f", O_WRONLY | O_CREAT | O_EXCL)) \
	ROW("f", 0, 0, 0, o("f", O_RDONLY | O_CREAT)) \
	ROW("", ENOENT, ENOENT, ENOENT, o("none/new", O_WRONLY | O_CREAT)) \
	ROW("d", EISDIR, EISDIR, EISDIR, o("d", O_WRONLY)) \
	ROW("p", 0, 0, 0, o("p", O_RDWR | O_NONBLOCK)) \
	ROW("n", 0, 0, 0, o("n", O_WRONLY)) \
	ROW("", 0, EROFS, EBUSY, o(".", O_TMPFILE | O_RDWR)) \
	ROW("", 0, EROFS, EBUSY, tmpfile_link("new")) \
	/* making */ \
	ROW("", 0, GRANT, EBUSY, mkdir("new", 0755)) \
	ROW("f", EEXIST, EEXIST, EEXIST, mkdir("f", 0755)) \
	ROW("", 0, GRANT, EBUSY, mknod("new", S_IFREG | 0644, 0)) \
	ROW("", 0, 0, EBUSY, mknod("new", S_IFIFO | 0644, 0)) \
	ROW("", 0, 0, EBUSY, mknod("new", S_IFCHR | 0644, makedev(1, 3))) \
	ROW("", 0, 0, EBUSY, mknod("new", S_IFSOCK | 0644, 0)) \
	ROW("", 0, 0, EBUSY, bind_socket("new")) \
	ROW("", 0, 0, EBUSY, symlink("anywhere", "new")) \
	ROW("f", EEXIST, EEXIST, EEXIST, symlink("anywhere", "f")) \
	ROW("f", 0, EROFS, EBUSY, link("f", "new")) \
	ROW("fg", EEXIST, EEXIST, EEXIST, link("f", "g")) \
	ROW("fl", 0, EROFS, EBUSY, link("l", "new")) \
	ROW("d", EPERM, EPERM, EPERM, link("d", "new")) \
	/* removing */ \
	ROW("f", 0, EROFS, EBUSY, unlink("f")) \
	ROW("fl", 0, EROFS, EBUSY, unlink("l")) \
	ROW("p", 0, EROFS, EBUSY, unlink("p")) \
	ROW("i", 0, EROFS, EBUSY, unlink("i")) \
	ROW("", ENOENT, ENOENT, ENOENT, unlink("none")) \
	ROW("d", EISDIR, EISDIR, EISDIR, unlink("d")) \
	ROW("d", 0, EROFS, EBUSY, rmdir("d")) \
	ROW("e", ENOTEMPTY, EROFS, EBUSY, rmdir("e")) \
	ROW("f", ENOTDIR, ENOTDIR, ENOTDIR, rmdir("f")) \
	/* renaming */ \
	ROW("f", 0, EROFS, EBUSY, rename("f", "new")) \
	ROW("fg", 0, EROFS, EBUSY, rename("f", "g")) \
	ROW("d", 0, EROFS, EBUSY, rename("d", "new")) \
	ROW("dk", 0, EROFS, EBUSY, rename("d", "k")) \
	ROW("de", ENOTEMPTY, EROFS, EBUSY, rename("d", "e")) \
	ROW("fd", 0, EROFS, EBUSY, rename("f", "d/f")) \
	ROW("fl", 0, EROFS, EBUSY, rename("l", "new")) \
	ROW("fd", EISDIR, EISDIR, EISDIR, rename("f", "d")) \
	ROW("fd", ENOTDIR, ENOTDIR, ENOTDIR, rename("d", "f")) \
	ROW("d", EINVAL, EINVAL, EINVAL, rename("d", "d/new")) \
	ROW("f", ENOENT, ENOENT, ENOENT, rename("none", "f")) \
	ROW("i", 0, 0, 0, rename("i", "j")) \
	ROW("f", 0, EROFS, EBUSY, rename2("f", "new", RENAME_NOREPLACE)) \
	ROW("fg", EEXIST, EEXIST, EEXIST, rename2("f", "g", RENAME_NOREPLACE)) \
	ROW("fg", 0, EROFS, EBUSY, rename2("f", "g", RENAME_EXCHANGE)) \
	ROW("fe", 0, EROFS, EBUSY, rename2("f", "e", RENAME_EXCHANGE)) \
	ROW("f", ENOENT, ENOENT, ENOENT, rename2("f", "none", RENAME_EXCHANGE)) \
	ROW("f", EINVAL, EINVAL, EINVAL, rename2("f", "new", RENAME_WHITEOUT)) \
	/* attributes of a file */ \
	ROW("f", 0, GRANT, EBUSY, chmod("f", 0600)) \
	ROW("fl", 0, GRANT, EBUSY, chmod("l", 0600)) \
	ROW("f", 0, GRANT, EBUSY, WITH(RD("f"), fchmod(fd, 0600))) \
	ROW("f", 0, GRANT, EBUSY, chown("f", 7, 8)) \
	ROW("f", 0, GRANT, EBUSY, WITH(RD("f"), fchown(fd, 7, 8))) \
	ROW("f", 0, GRANT, EBUSY, utimes_of("f", 1000, 999999999, 0)) \
	ROW("f", 0, GRANT, EBUSY, utimes_of("f", 0, UTIME_NOW, 0)) \
	ROW("f", 0, GRANT, EBUSY, WITH(RD("f"), futimens(fd, NULL))) \
	ROW("f", 0, GRANT, EBUSY, truncate("f", 3)) \
	ROW("f", 0, GRANT, EBUSY, truncate("f", 100000)) \
	ROW("d", EISDIR, EISDIR, EISDIR, truncate("d", 0)) \
	ROW("f", 0, GRANT, EBUSY, setxattr("f", "user.a", "v", 1, 0)) \
	ROW("f", 0, GRANT, EBUSY, setxattr("f", "user.there", "v", 1, XATTR_REPLACE)) \
	ROW("f", 0, GRANT, EBUSY, setxattr("f", "trusted.a", "v", 1, 0)) \
	ROW("f", 0, GRANT, EBUSY, setxattr("f", "security.a", "v", 1, 0)) \
	ROW("f", 0, GRANT, EBUSY, WITH(RD("f"), fsetxattr(fd, "user.a", "v", 1, 0))) \
	ROW("f", 0, GRANT, EBUSY, removexattr("f", "user.there")) \
	ROW("f", EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, \
	    setxattr("f", "system.posix_acl_access", "", 0, 0)) \
	ROW("f", EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, setxattr("f", "strange.a", "v", 1, 0)) \
	/* attributes of what is no file */ \
	ROW("d", 0, EROFS, EBUSY, chmod("d", 0700)) \
	ROW("d", 0, EROFS, EBUSY, chown("d", 7, 8)) \
	ROW("d", 0, EROFS, EBUSY, utimes_of("d", 1000, 1, 0)) \
	ROW("d", 0, EROFS, EBUSY, setxattr("d", "user.a", "v", 1, 0)) \
	ROW("d", 0, EROFS, EBUSY, removexattr("d", "user.there")) \
	ROW("fl", 0, EROFS, EBUSY, lchown("l", 7, 8)) \
	ROW("fl", 0, EROFS, EBUSY, utimes_of("l", 1000, 1, AT_SYMLINK_NOFOLLOW)) \
	ROW("fl", EPERM, EPERM, EPERM, lsetxattr("l", "user.a", "v", 1, 0)) \
	ROW("fl", 0, EROFS, EBUSY, lsetxattr("l", "trusted.a", "v", 1, 0)) \
	ROW("p", 0, EROFS, EBUSY, chmod("p", 0600)) \
	ROW("n", 0, EROFS, EBUSY, chown("n", 7, 8)) \
	/* contents */ \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), write(fd, "new", 3))) \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), pwrite(fd, "new", 3, 100000))) \
	ROW("f", 0, GRANT, EBUSY, WITH(open("f", O_WRONLY | O_APPEND), write(fd, "new", 3))) \
	ROW("f", 0, GRANT, EBUSY, WITH(open("f", O_WRONLY | O_SYNC), write(fd, "new", 3))) \
	ROW("f", 0, GRANT, EBUSY, direct_write("f")) \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), ftruncate(fd, 2))) \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), fallocate(fd, 0, 0, 9999))) \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 9999))) \
	ROW("f", 0, GRANT, EBUSY, \
	    WITH(RW("f"), fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4))) \
	ROW("f", 0, GRANT, EBUSY, WITH(RW("f"), fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 9999))) \
	ROW("f", EOPNOTSUPP, TAKES(EOPNOTSUPP), EBUSY, \
	    WITH(RW("f"), fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096))) \
	ROW("f", 0, GRANT, EBUSY, store("f", MAP_SHARED, O_RDWR)) \
	ROW("f", 0, 0, 0, store("f", MAP_PRIVATE, O_RDONLY)) \
	ROW("f", EACCES, EACCES, EACCES, store("f", MAP_SHARED, O_RDONLY)) \
	ROW("fg", 0, GRANT, EBUSY, sends("f", "g")) \
	ROW("fg", 0, GRANT, EBUSY, copies("f", "g")) \
	ROW("f", 0, GRANT, EBUSY, splices("f")) \
	ROW("fg", EOPNOTSUPP, TAKES(EOPNOTSUPP), EBUSY, clones("f", "g")) \
	ROW("f", ENOTTY, ENOTTY, ENOTTY, setflags("f")) \
	ROW("d", EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, WITH(RD("d"), ioctl(fd, FIFREEZE, 0))) \
	/* locks */ \
	ROW("f", 0, GRANT, EBUSY, WITH(RD("f"), flock(fd, LOCK_EX))) \
	ROW("f", 0, 0, 0, WITH(RD("f"), flock(fd, LOCK_SH))) \
	ROW("d", 0, 0, 0, WITH(RD("d"), flock(fd, LOCK_EX))) \
	ROW("f", 0, GRANT, EBUSY, locks("f", O_RDWR, F_SETLK, F_WRLCK)) \
	ROW("f", 0, GRANT, EBUSY, locks("f", O_RDWR, F_SETLKW, F_WRLCK)) \
	ROW("f", 0, GRANT, EBUSY, locks("f", O_RDWR, F_OFD_SETLK, F_WRLCK)) \
	ROW("f", 0, 0, 0, locks("f", O_RDONLY, F_SETLK, F_RDLCK)) \
	ROW("f", EINVAL, EINVAL, EINVAL, WITH(RD("f"), fcntl(fd, F_SETLEASE, F_RDLCK))) \
	/* without the right: that is found first, and takes nothing */ \
	ROW("f", EACCES, EACCES, EACCES, USER(o("f", O_WRONLY))) \
	ROW("f", EACCES, EACCES, EACCES, USER(truncate("f", 0))) \
	ROW("f", EPERM, EPERM, EPERM, USER(chmod("f", 0600))) \
	ROW("f", EPERM, EPERM, EPERM, USER(chown("f", 7, 8))) \
	ROW("f", EPERM, EPERM, EPERM, USER(utimes_of("f", 1000, 1, 0))) \
	ROW("f", EACCES, EACCES, EACCES, USER(setxattr("f", "user.a", "v", 1, 0))) \
	ROW("", EACCES, EACCES, EACCES, USER(o("new", O_WRONLY | O_CREAT))) \
	ROW("", EACCES, EACCES, EACCES, USER(mkdir("new", 0755))) \
	ROW("f", EACCES, EACCES, EACCES, USER(unlink("f"))) \
	ROW("f", EACCES, EACCES, EACCES, USER(rename("f", "new"))) \
	ROW("f", EACCES, EACCES, EACCES, USER(checkout("f"))) \
	ROW("d", EACCES, EACCES, EACCES, USER(checkout("d"))) \
	/* ownership */ \
	ROW("f", 0, GRANT, EBUSY, checkout("f")) \
	ROW("d", 0, GRANT, EBUSY, checkout("d")) \
	ROW("f", EBUSY, ENOENT, ENOENT, checkin("f")) \
	ROW("d", EBUSY, ENOENT, ENOENT, checkin("d")) \
	/* reading needs none */ \
	ROW("f", 0, 0, 0, reads("f")) \
	ROW("f", 0, 0, 0, file_stat("f")) \
	ROW("fd", 0, 0, 0, lists(".")) \
	ROW("fl", 0, 0, 0, readlink("l", (char[8]){ 0 }, 8)) \
	ROW("f", 0, 0, 0, getxattr("f", "user.there", NULL, 0)) \
	ROW("f", 0, 0, 0, listxattr("f", NULL, 0)) \
	ROW("f", ENODATA, ENODATA, ENODATA, getxattr("f", "user.none", NULL, 0)) \
	ROW("f", 0, 0, 0, access("f", R_OK | W_OK)) \
	ROW("d", 0, 0, 0, access("d", W_OK)) \
	ROW("d", 0, 0, 0, fs_stat("d")) \
	ROW("f", 0, 0, 0, WITH(RD("f"), fsync(fd))) \
	ROW("d", 0, 0, 0, WITH(RD("d"), fsync(fd))) \
	ROW("d", 0, 0, 0, WITH(RD("d"), syncfs(fd))) \
	ROW("f", EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, handle_of("f"))

/* In a directory that nobody owns: f, g and d are A's each, or B's each; A tries. */
#define MIXED(ROW) \
	/*  needs  mine  theirs  call */ \
	ROW("f", EROFS, EBUSY, unlink("f")) \
	ROW("d", EROFS, EBUSY, rmdir("d")) \
	ROW("f", EROFS, EBUSY, rename("f", "new")) \
	ROW("fg", EROFS, EBUSY, rename("f", "g")) \
	ROW("fg", EROFS, EBUSY, rename2("f", "g", RENAME_EXCHANGE)) \
	ROW("fd", EROFS, EBUSY, rename("f", "d/f")) \
	ROW("f", EROFS, EBUSY, link("f", "new")) \
	ROW("f", 0, EBUSY, chmod("f", 0600)) \
	ROW("f", 0, EBUSY, o("f", O_WRONLY)) \
	ROW("d", 0, EBUSY, o("d/new", O_WRONLY | O_CREAT)) \
	ROW("d", 0, EBUSY, chmod("d", 0700)) \
	ROW("f", EROFS, EROFS, chmod(".", 0700)) \
	ROW("f", GRANT, GRANT, mkdir("new", 0700)) \
	ROW("f", 0, 0, symlink("anywhere", "new")) \
	ROW("f", 0, EBUSY, checkout("f")) \
	ROW("d", 0, EBUSY, checkout("."))

/* From one directory to another. */
#define ACROSS(ROW) \
	ROW(rename(from, to)) \
	ROW(rename2(from, to, RENAME_NOREPLACE)) \
	ROW(link(from, to))

/* ---- */

static int rows;

enum { OWN, FREE, OTHER };
static const char *const places[] = { "own", "free", "other" };

struct row {
	const char *text, *needs;
	int want[3];
	long (*call)(void);
};

/* Function pointers out of nested functions that use no local need no trampoline. */
#define FN(expr) ({ long fn_(void) { return (expr); } fn_; })

/* ---- setting up ---- */

static void put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd))
		die("%s", name);
}

static void make(char what)
{
	char name[2] = { what, '\0' };
	int rc = 0;

	switch (what) {
	case 'f':
		put("f", "contents of f\n");
		rc = setxattr("f", "user.there", "yes", 3, 0);
		break;
	case 'g':
		put("g", "contents of g\n");
		break;
	case 'd':
		rc = mkdir("d", 0755) ?: setxattr("d", "user.there", "yes", 3, 0);
		break;
	case 'e':
		rc = mkdir("e", 0755) ?: mkdir("e/x", 0755);
		break;
	case 'k':
		rc = mkdir("k", 0755);
		break;
	case 'l':
		rc = symlink("f", "l");
		break;
	case 'p':
		rc = mkfifo("p", 0644);
		break;
	case 'n':
		rc = mknod("n", S_IFCHR | 0666, makedev(1, 3));
		break;
	case 'i':
		put("i", "two names\n");
		rc = link("i", "j");
		break;
	}
	if (rc)
		die("making %s", name);
}

static void enter(const char *top, const char *place, const char *kind, int n)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s%d", top, place, kind, n);
	if (chdir(path))
		die("%s", path);
}

static void prepare(const char *top, const char *place, const char *kind, int n, const char *needs)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s%d", top, place, kind, n);
	if (mkdir(path, 0755))
		die("%s", path);
	enter(top, place, kind, n);
	for (; *needs; needs++)
		make(*needs);
}

static void must_mkdir(const char *top, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	if (mkdir(path, 0755))
		die("%s", path);
}

static void must_checkin(const char *top, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	if (checkin(path))
		die("checkin %s", path);
}

/* ---- trying ---- */

static unsigned long long delegations(void)
{
	static struct archil_ioc_status st;

	memset(&st, 0, sizeof(st));
	st.size = sizeof(st);
	if (ioctl(fd_a, ARCHIL_IOC_STATUS, &st))
		die("ARCHIL_IOC_STATUS");
	return st.delegations;
}

/* What a failed call must leave as it is: names, kinds, sizes, owners, times. */
static uint64_t state(const char *name)
{
	uint64_t sum = 0, hash;
	struct dirent *e;
	struct stat st;
	DIR *dir = opendir(name);

	if (!dir)
		die("opendir");
	while ((e = readdir(dir))) {
		if (!strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			die("%s", e->d_name);
		hash = fnv(FNV_INIT, e->d_name, strlen(e->d_name));
		hash = fnv(hash, &st.st_mode, sizeof(st.st_mode));
		hash = fnv(hash, &st.st_size, sizeof(st.st_size));
		hash = fnv(hash, &st.st_uid, sizeof(st.st_uid));
		hash = fnv(hash, &st.st_nlink, sizeof(st.st_nlink));
		hash = fnv(hash, &st.st_mtim, sizeof(st.st_mtim));
		sum += fnv(hash, &st.st_ctim, sizeof(st.st_ctim));
	}
	closedir(dir);
	return sum;
}

static void try(const char *where, const char *text, long (*call)(void), int want)
{
	int takes = want >= 1000, err = want % 1000, got;
	unsigned long long before = delegations(), after;
	uint64_t was = err && !takes ? state(".") : 0;

	rows++;
	got = call() < 0 ? errno : 0;
	after = delegations();
	if (got != err)
		wrong("%-6s %s: %s, must be %s", where, text, errname(got), errname(err));
	if (after != before + takes)
		wrong("%-6s %s: took %lld delegations, must be %d", where, text,
		      (long long)(after - before), takes);
	if (err && !takes && state(".") != was)
		wrong("%-6s %s: failed and changed something all the same", where, text);
}

/* From place to place: fresh names each time. */
static char from[256], to[256];

static void across(const char *text, long (*call)(void))
{
	static const char *const dirs[] = { "own", "own2", "free", "other" };
	static const int whose[] = { OWN, OWN, FREE, OTHER };
	static int n;
	int i, j, want, got;

	if (chdir(mount_a))
		die("%s", mount_a);
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 4; j++) {
			if (i == j)
				continue;
			snprintf(from, sizeof(from), "%s/across/f%d", dirs[i], n++ % 64);
			snprintf(to, sizeof(to), "%s/across/t%d", dirs[j], n);
			want = 0;
			if (whose[i] == OTHER || whose[j] == OTHER)
				want = EBUSY;
			else if (whose[i] == FREE || whose[j] == FREE)
				want = EROFS;
			rows++;
			got = call() < 0 ? errno : 0;
			if (got != want)
				wrong("%s -> %s %s: %s, must be %s", dirs[i], dirs[j], text,
				      errname(got), errname(want));
			else if (!got && (access(to, F_OK) || (*text == 'r') == !access(from, F_OK)))
				wrong("%s -> %s %s: succeeded and did not do it", dirs[i], dirs[j],
				      text);
		}
	}
}

static void prepare_across(const char *top, const char *place)
{
	char path[512], text[64];
	int i;

	snprintf(path, sizeof(path), "%s/%s/across", top, place);
	if (mkdir(path, 0755) || chdir(path))
		die("%s", path);
	for (i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "f%d", i);
		snprintf(text, sizeof(text), "%s %d", place, i);
		put(path, text);
	}
}

int main(int argc, char **argv)
{
#define ROW(needs, own, nobody, other, call) \
	{ #call, needs, { own, nobody, other }, FN(call) },
	const struct row table[] = { TABLE(ROW) };
#undef ROW
#define ROW(needs, mine, theirs, call) { #call, needs, { mine, theirs }, FN(call) },
	const struct row mixed[] = { MIXED(ROW) };
#undef ROW
	const int count = sizeof(table) / sizeof(*table);
	const int mixes = sizeof(mixed) / sizeof(*mixed);
	int i, p, status;
	pid_t pid;

	if (argc != 3) {
		fputs("usage: syscalls A B\n", stderr);
		return 2;
	}
	umask(0);
	mount_a = argv[1];
	mount_b = argv[2];
	fd_a = open(mount_a, O_RDONLY | O_DIRECTORY);
	if (fd_a < 0)
		die("%s", mount_a);

	must_mkdir(mount_a, "mixed");
	for (i = 0; i < mixes; i++) {
		prepare(mount_a, "mixed", "mine", i, "");
		prepare(mount_a, "mixed", "theirs", i, "");
	}
	must_checkin(mount_a, "mixed");
	pid = fork();
	if (!pid) {
		must_mkdir(mount_b, "other");
		for (i = 0; i < count; i++)
			prepare(mount_b, "other", "row", i, table[i].needs);
		prepare_across(mount_b, "other");
		for (i = 0; i < mixes; i++) {
			const char *needs = mixed[i].needs;

			enter(mount_b, "mixed", "theirs", i);
			for (; *needs; needs++)
				make(*needs);
		}
		sync();
		_exit(0);
	}
	must_mkdir(mount_a, "own");
	must_mkdir(mount_a, "own2");
	must_mkdir(mount_a, "free");
	for (i = 0; i < count; i++) {
		prepare(mount_a, "own", "row", i, table[i].needs);
		prepare(mount_a, "free", "row", i, table[i].needs);
	}
	prepare_across(mount_a, "own");
	prepare_across(mount_a, "own2");
	prepare_across(mount_a, "free");
	must_checkin(mount_a, "free");
	for (i = 0; i < mixes; i++) {
		const char *needs = mixed[i].needs;

		enter(mount_a, "mixed", "mine", i);
		for (; *needs; needs++)
			make(*needs);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("the other client could not prepare");

	for (i = 0; i < count; i++) {
		for (p = OWN; p <= OTHER; p++) {
			enter(mount_a, places[p], "row", i);
			try(places[p], table[i].text, table[i].call, table[i].want[p]);
		}
	}
	for (i = 0; i < mixes; i++) {
		enter(mount_a, "mixed", "mine", i);
		try("mine", mixed[i].text, mixed[i].call, mixed[i].want[0]);
		enter(mount_a, "mixed", "theirs", i);
		try("theirs", mixed[i].text, mixed[i].call, mixed[i].want[1]);
	}
#define ROW(call) across(#call, FN(call));
	ACROSS(ROW)
#undef ROW
	printf("%d outcomes, %d wrong\n", rows, prog_failed);
	return prog_failed != 0;
}
