// SPDX-License-Identifier: GPL-2.0
/*
 * nomem mount SOURCE DIR OPTIONS TIMES: mounts and unmounts, each while the kernel's
 * allocations for this process may fail (failslab with task-filter): success or ENOMEM.
 * nomem DIR ROUNDS SEED: random calls in DIR, likewise. A call
 * succeeds or says ENOMEM; one that says so may have been carried out or not, and
 * is repeated with memory, after which all is as it would have been. What is then
 * there is compared with a model in memory, call by call and at the end.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "prog.h"

enum { NAMES = 40, SMALL = 3000, LARGE = 150000 };

enum kind { NONE, FILE_, DIR_, LINK_ };

static struct node {
	enum kind kind;
	unsigned int len;	/* a file's; each byte is fill */
	char fill;
	char xattr;		/* 0: none */
} nodes[NAMES];
static char names[NAMES][16];
static unsigned long long state;
static unsigned long calls, failures;
static char data[LARGE];
static int fault = -1;

static unsigned int rnd(unsigned int n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(state >> 33) % n;
}

/* Whether our allocations may fail from now on; errno stays. */
static void faults(bool on)
{
	int err = errno;

	if (pwrite(fault, on ? "1" : "0", 1, 0) != 1)
		die("make-it-fail");
	errno = err;
}

/*
 * -1 and what @call left in errno, or its value. Without memory first, then with: @again is what
 * a repetition may say of what was carried out after all.
 */
#define CALL(what, name, call, again) ({					\
	long ret_;								\
	faults(true);								\
	ret_ = (call);								\
	faults(false);								\
	calls++;								\
	if (ret_ == -1 && errno == ENOMEM) {					\
		failures++;							\
		ret_ = (call);							\
		if (ret_ == -1 && (again) && errno == (again))			\
			ret_ = 0;						\
	}									\
	if (ret_ == -1)								\
		wrong("%s %s: %s", what, name, errname(errno));			\
	ret_;									\
})

static int open_file(const char *name, int flags)
{
	return CALL("open", name, open(name, flags, 0644), 0);
}

static void do_write(int n)
{
	struct node *node = &nodes[n];
	unsigned int len = rnd(3) ? 1 + rnd(SMALL) : 1 + rnd(LARGE), done = 0;
	char fill = 'a' + rnd(26);
	ssize_t got;
	int fd;

	fd = open_file(names[n], O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0)
		return;
	memset(data, fill, len);
	while (done < len) {
		got = CALL("write", names[n], pwrite(fd, data + done, len - done, done), 0);
		if (got <= 0)
			break;
		done += got;
	}
	if (!rnd(3))
		CALL("fsync", names[n], fsync(fd), 0);
	if (!rnd(4))
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	*node = (struct node){ FILE_, done, fill, node->kind ? node->xattr : 0 };
}

/* Not without memory: a fault that fails is a signal. */
static void do_map(int n)
{
	struct node *node = &nodes[n];
	char *map;
	int fd;

	fd = open_file(names[n], O_RDWR);
	if (fd < 0)
		return;
	map = mmap(NULL, node->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap %s", names[n]);
	node->fill = 'A' + rnd(26);
	memset(map, node->fill, node->len);
	CALL("msync", names[n], msync(map, node->len, MS_SYNC), 0);
	munmap(map, node->len);
	close(fd);
}

static void check_file(int n)
{
	struct node *node = &nodes[n];
	unsigned int done = 0, i;
	ssize_t got;
	int fd;

	fd = open_file(names[n], O_RDONLY);
	if (fd < 0)
		return;
	while ((got = CALL("read", names[n], pread(fd, data, sizeof(data), done), 0)) > 0) {
		for (i = 0; i < got; i++) {
			if (data[i] == node->fill)
				continue;
			wrong("%s: byte %u is %#x, wanted %#x", names[n], done + i,
			      (unsigned char)data[i], (unsigned char)node->fill);
			break;
		}
		done += got;
	}
	if (done != node->len)
		wrong("%s: %u bytes, wanted %u", names[n], done, node->len);
	close(fd);
}

static void check_node(int n)
{
	struct node *node = &nodes[n];
	struct stat st;
	char value;
	long ret;

	if (!node->kind) {
		faults(true);
		ret = lstat(names[n], &st);
		faults(false);
		if (!ret || (errno != ENOENT && errno != ENOMEM))
			wrong("stat %s: %s, wanted ENOENT", names[n], ret ? errname(errno) : "ok");
		return;
	}
	if (CALL("stat", names[n], lstat(names[n], &st), 0))
		return;
	if (S_ISDIR(st.st_mode) != (node->kind == DIR_) ||
	    S_ISLNK(st.st_mode) != (node->kind == LINK_))
		wrong("%s: mode %o", names[n], st.st_mode);
	if (node->kind != FILE_)
		return;
	check_file(n);
	if (node->xattr) {
		ret = CALL("getxattr", names[n], getxattr(names[n], "user.x", &value, 1), 0);
		if (ret == 1 && value != node->xattr)
			wrong("%s: xattr %c, wanted %c", names[n], value, node->xattr);
	}
}

static void do_list(void)
{
	struct dirent *de;
	int seen = 0, there = 0, n;
	DIR *dir = opendir(".");

	if (!dir)
		die(".");
	while ((de = readdir(dir)))
		seen += de->d_name[0] != '.';
	closedir(dir);
	for (n = 0; n < NAMES; n++)
		there += nodes[n].kind != NONE;
	if (seen != there)
		wrong("%d names in the directory, wanted %d", seen, there);
}

static void do_rename(int n, int to)
{
	if (n == to || (nodes[to].kind == DIR_) != (nodes[n].kind == DIR_))
		return;
	if (CALL("rename", names[n], rename(names[n], names[to]), ENOENT))
		return;
	nodes[to] = nodes[n];
	nodes[n] = (struct node){ NONE };
}

static void do_remove(int n)
{
	if (nodes[n].kind == DIR_)
		CALL("rmdir", names[n], rmdir(names[n]), ENOENT);
	else
		CALL("unlink", names[n], unlink(names[n]), ENOENT);
	nodes[n] = (struct node){ NONE };
}

static void do_new(int n)
{
	if (rnd(2)) {
		if (!CALL("mkdir", names[n], mkdir(names[n], 0755), EEXIST))
			nodes[n].kind = DIR_;
	} else if (!CALL("symlink", names[n], symlink("nowhere", names[n]), EEXIST)) {
		nodes[n].kind = LINK_;
	}
}

static void do_attr(int n)
{
	struct node *node = &nodes[n];
	char value = 'a' + rnd(26);
	unsigned int len;
	int fd;

	switch (rnd(4)) {
	case 0:
		CALL("chmod", names[n], chmod(names[n], 0600 + rnd(0100)), 0);
		break;
	case 1:
		if (!CALL("setxattr", names[n], setxattr(names[n], "user.x", &value, 1, 0), 0))
			node->xattr = value;
		break;
	case 2:
		if (node->xattr && !CALL("removexattr", names[n],
					 removexattr(names[n], "user.x"), ENODATA))
			node->xattr = 0;
		break;
	case 3:
		len = 1 + rnd(node->len);
		if (!CALL("truncate", names[n], truncate(names[n], len), 0))
			node->len = len;
		break;
	}
	fd = CALL("tmpfile", ".", open(".", O_TMPFILE | O_RDWR, 0600), 0);
	if (fd >= 0) {
		CALL("write", "tmpfile", write(fd, data, 100), 0);
		close(fd);
	}
}

static void round_of(void)
{
	int n = rnd(NAMES);

	if (!nodes[n].kind) {
		check_node(n);
		if (rnd(3))
			do_write(n);
		else
			do_new(n);
	} else {
		switch (rnd(nodes[n].kind == FILE_ ? 8 : 4)) {
		case 0:
			do_remove(n);
			break;
		case 1:
			do_rename(n, rnd(NAMES));
			break;
		case 2:
		case 3:
			check_node(n);
			break;
		case 4:
			do_write(n);
			break;
		case 5:
			do_map(n);
			break;
		default:
			do_attr(n);
		}
	}
	if (!rnd(50))
		do_list();
}

static int mounts(const char *source, const char *dir, const char *options, long times)
{
	long ret;

	while (times--) {
		CALL("mount", dir, mount(source, dir, "archil", 0, options), 0);
		faults(true);
		ret = umount(dir);
		faults(false);
		if (ret && errno != ENOMEM)
			wrong("umount: %s", errname(errno));
		if (ret && umount(dir))
			die("umount %s", dir);
	}
	printf("%lu mounts, %lu without memory\n", calls, failures);
	return prog_failed != 0;
}

int main(int argc, char **argv)
{
	long rounds;
	int n;

	fault = open("/proc/self/make-it-fail", O_RDWR);
	if (fault < 0)
		die("/proc/self/make-it-fail");
	if (argc == 6 && !strcmp(argv[1], "mount"))
		return mounts(argv[2], argv[3], argv[4], atol(argv[5]));
	if (argc != 4 || chdir(argv[1]))
		die("nomem DIR ROUNDS SEED");
	rounds = atol(argv[2]);
	state = strtoull(argv[3], NULL, 0);
	for (n = 0; n < NAMES; n++)
		sprintf(names[n], "n%d", n);
	while (rounds-- && prog_failed < 20)
		round_of();
	for (n = 0; n < NAMES; n++)
		check_node(n);
	do_list();
	printf("%lu calls, %lu without memory\n", calls, failures);
	if (!failures)
		wrong("no call was without memory");
	return prog_failed != 0;
}
