// SPDX-License-Identifier: GPL-2.0
/*
 * full DIR: fills the disk in DIR, then, with each kind of change that grows, whatever is free
 * again after a file was removed. Nothing but ENOSPC (SIGBUS for a store) may refuse
 * a change, as it is done; what was accepted can be synced and read, and what removes or
 * shrinks works all the time. What it leaves in DIR is much, but not all.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "prog.h"

#define CHUNK	(512 << 10)	/* of the files that fill the disk */
#define PAGE	4096
#define TRIES	2000		/* of one kind */

static unsigned int chunks, removed;
static unsigned int worked;		/* kinds of which something was accepted */
static unsigned char buf[CHUNK];

static sigjmp_buf bus_error;
static volatile sig_atomic_t in_store;

static void on_sigbus(int sig)
{
	if (!in_store)
		_exit(3);
	siglongjmp(bus_error, 1);
}

static void contents(unsigned char *p, unsigned int key, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		p[i] = 1 + (key * 31 + i / 5 + i % 13) % 255;
}

/* A file as it must be: of so many bytes of contents. */
static void expect(const char *path, unsigned int key, unsigned int len)
{
	static unsigned char got[CHUNK + 1], want[CHUNK];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : pread(fd, got, sizeof(got), 0);

	if (n < 0) {
		/* not even made */
		if (len || errno != ENOENT)
			wrong("%s cannot be read: %s", path, errname(errno));
	} else {
		contents(want, key, len);
		if (n != len || memcmp(got, want, len))
			wrong("%s: %zd bytes, or not the right ones; %u were accepted", path, n, len);
	}
	if (fd >= 0)
		close(fd);
}

/* Writes as much as is taken; how much that was. ENOSPC or nothing stops it. */
static unsigned int put(const char *path, unsigned int key, unsigned int len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	unsigned int done = 0;
	ssize_t n = 0;

	if (fd < 0) {
		if (errno != ENOSPC)
			wrong("create %s: %s", path, errname(errno));
		return 0;
	}
	contents(buf, key, len);
	while (done < len) {
		n = pwrite(fd, buf + done, len - done, done);
		if (n <= 0)
			break;
		done += n;
	}
	if (n < 0 && errno != ENOSPC)
		wrong("write %s: %s", path, errname(errno));
	if (close(fd))
		wrong("close %s: %s", path, errname(errno));
	return done;
}

/* ---- the kinds: 0, or -1 with an errno; n counts the tries ---- */

/* The first of two steps; a try whose second one was refused left it. */
static int make(const char *path)
{
	return mknod(path, S_IFREG | 0644, 0) && errno != EEXIST ? -1 : 0;
}

static int k_create(unsigned int n)
{
	char path[32];

	sprintf(path, "create/%u", n);
	return mknod(path, S_IFREG | 0644, 0);
}

static int k_mkdir(unsigned int n)
{
	char path[32];

	sprintf(path, "mkdir/%u", n);
	return mkdir(path, 0755);
}

static int k_symlink(unsigned int n)
{
	char path[32];

	sprintf(path, "symlink/%u", n);
	return symlink("somewhere else, a long way from here, over the hills and far away", path);
}

static int k_link(unsigned int n)
{
	char path[32];

	sprintf(path, "link/%u", n);
	return link("one", path);
}

/* To longer and longer names, and back when they are too long. */
static int k_rename(unsigned int n)
{
	static char from[300] = "rename/";
	char to[300];

	if (!n) {
		strcpy(from, "rename/");
		if (make(strcat(from, "x")))
			return -1;
	}
	sprintf(to, "rename/%0*u", 1 + n % 250, n % 10);
	if (!strcmp(from, to))
		return 0;
	if (rename(from, to))
		return -1;
	strcpy(from, to);
	return 0;
}

static int k_xattr(unsigned int n)
{
	char path[32], name[32];

	sprintf(path, "xattr/%u", n / 8);
	if (n % 8 == 0 && make(path))
		return -1;
	sprintf(name, "user.%u", n % 8);
	return setxattr(path, name, buf, 900, 0);
}

static int k_small(unsigned int n)
{
	unsigned int done;
	char path[32];

	sprintf(path, "small/%u", n);
	done = put(path, n, 3000);
	expect(path, n, done);
	if (done == 3000)
		return 0;
	errno = ENOSPC;
	return -1;
}

static unsigned int appended;

static int k_append(unsigned int n)
{
	int fd = open("append", O_WRONLY | O_CREAT | O_APPEND, 0644), err;
	ssize_t done;

	if (fd < 0)
		return -1;
	contents(buf, 7, appended + 2000 <= CHUNK ? appended + 2000 : CHUNK);
	done = appended + 2000 <= CHUNK ? write(fd, buf + appended, 2000) : 0;
	err = errno;
	if (done > 0)
		appended += done;
	close(fd);
	errno = err;
	return done < 0 ? -1 : 0;
}

#define STORE_PAGES 512
static volatile unsigned int stored;	/* pages of "store" that took a store */

static int k_store(unsigned int n)
{
	static volatile unsigned char *map;
	int fd;

	if (!map) {
		fd = open("store", O_RDWR | O_CREAT, 0644);
		if (fd < 0)
			return -1;
		if (ftruncate(fd, STORE_PAGES * PAGE))
			return -1;
		map = mmap(NULL, STORE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("mmap");
		close(fd);
	}
	if (stored == STORE_PAGES)
		return 0;
	if (sigsetjmp(bus_error, 1)) {
		in_store = 0;
		errno = ENOSPC;
		return -1;
	}
	in_store = 1;
	map[stored * PAGE] = 'x';
	in_store = 0;
	stored++;
	return 0;
}

static int k_bulk(unsigned int n)
{
	static unsigned int last, had;
	char path[32];
	unsigned int done;

	sprintf(path, "bulk/%u", n);
	done = put(path, n, 100000);
	/* what an earlier try wrote is there, even if it may not be written again */
	had = n == last && had > done ? had : done;
	last = n;
	expect(path, n, had);
	if (done == 100000)
		return 0;
	errno = ENOSPC;
	return -1;
}

static int k_truncate(unsigned int n)
{
	char path[32];

	sprintf(path, "truncate/%u", n);
	if (make(path))
		return -1;
	return truncate(path, 30000);
}

static unsigned int allocated;

static int k_fallocate(unsigned int n)
{
	int fd = open("fallocate", O_WRONLY | O_CREAT, 0644), rc, err;

	if (fd < 0)
		return -1;
	rc = fallocate(fd, 0, (off_t)n * 65536, 65536);
	err = errno;
	if (!rc)
		allocated = n + 1;
	close(fd);
	errno = err;
	return rc;
}

static int k_direct(unsigned int n)
{
	static unsigned char page[PAGE] __attribute__((aligned(PAGE)));
	int fd = open("direct", O_WRONLY | O_CREAT | O_DIRECT, 0644), err;
	ssize_t done;

	if (fd < 0)
		return -1;
	done = pwrite(fd, page, PAGE, (off_t)n * PAGE);
	err = errno;
	close(fd);
	errno = err;
	return done == PAGE ? 0 : -1;
}

static const struct kind {
	const char *name;
	int (*func)(unsigned int n);
	bool grows;		/* each takes so much that it must be refused soon */
} kinds[] = {
	{ "create", k_create, false },
	{ "bulk", k_bulk, true },
	{ "small", k_small, false },
	{ "append", k_append, false },
	{ "store", k_store, false },
	{ "xattr", k_xattr, false },
	{ "mkdir", k_mkdir, false },
	{ "symlink", k_symlink, false },
	{ "link", k_link, false },
	{ "rename", k_rename, false },
	{ "truncate", k_truncate, false },
	{ "fallocate", k_fallocate, true },
	{ "direct", k_direct, false },
};

/* ---- the disk is full ---- */

static void fill(void)
{
	unsigned int done;
	char path[32];

	for (;;) {
		sprintf(path, "chunk/%u", chunks);
		done = put(path, chunks, CHUNK);
		if (done < CHUNK) {
			expect(path, chunks, done);
			if (unlink(path) && errno != ENOENT)
				wrong("unlink %s: %s", path, errname(errno));
			return;
		}
		chunks++;
	}
}

/* Whatever removes or shrinks; it makes room as well. */
static void shrink(void)
{
	char path[32];

	if (removed + 4 > chunks)
		return;
	sprintf(path, "chunk/%u", removed++);
	if (truncate(path, 100))
		wrong("truncate down: %s", errname(errno));
	expect(path, removed - 1, 100);
	if (unlink(path))
		wrong("unlink: %s", errname(errno));
	sprintf(path, "chunk/%u", removed++);
	if (unlink(path))
		wrong("unlink: %s", errname(errno));
}

static void sync_all(const char *when)
{
	int fd = open(".", O_RDONLY);

	if (fd < 0 || fsync(fd) || syncfs(fd))
		wrong("sync %s: %s", when, errname(errno));
	close(fd);
}

static void sync_file(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0 && fsync(fd))
		wrong("fsync %s: %s", path, errname(errno));
	if (fd >= 0)
		close(fd);
}

static void use_up(const struct kind *kind)
{
	time_t end = time(NULL) + 20;
	unsigned int n, again = 0;
	bool refused = false;

	for (n = 0; n < TRIES && time(NULL) < end; n++) {
		if (!kind->func(n))
			continue;
		if (errno != ENOSPC)
			wrong("%s %u: %s", kind->name, n, errname(errno));
		refused = true;
		if (n || again++ > 50)
			break;
		/* room comes when what was removed is gone at the server; the other may be quicker */
		if (again % 10 == 1)
			shrink();
		usleep(100000);
		n--;
	}
	printf("%s: %u accepted%s\n", kind->name, n, refused ? "" : ", and more would be");
	worked += !!n;
	if (kind->grows && !refused && n == TRIES)
		wrong("%s: is never refused", kind->name);
	fflush(stdout);
	sync_file(kind->name);
	sync_all(kind->name);
}

static void check_all(void)
{
	unsigned int i, page;
	struct stat st;
	char path[32];
	int fd;

	for (i = removed; i < chunks; i++) {
		sprintf(path, "chunk/%u", i);
		expect(path, i, CHUNK);
	}
	expect("append", 7, appended);
	fd = open("store", O_RDONLY);
	for (page = 0; fd >= 0 && page < stored; page++)
		if (pread(fd, path, 1, page * PAGE) != 1 || path[0] != 'x')
			wrong("store: page %u is not as it was stored", page);
	close(fd);
	if (allocated && (stat("fallocate", &st) || st.st_size != (off_t)allocated * 65536))
		wrong("fallocate: not of the size that was accepted");
}

int main(int argc, char **argv)
{
	static const char *const dirs[] = {
		"chunk", "create", "mkdir", "symlink", "link", "rename", "xattr", "small", "bulk",
		"truncate",
	};
	static const char *const some[] = { "create/0", "mkdir/0", "link/0", "symlink/0", "small/0" };
	struct sigaction sa = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };
	unsigned int i;

	if (argc != 2) {
		fputs("usage: full DIR\n", stderr);
		return 2;
	}
	sigaction(SIGBUS, &sa, NULL);
	if (mkdir(argv[1], 0755) || chdir(argv[1]))
		die("%s", argv[1]);
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdir(dirs[i], 0755))
			die("%s", dirs[i]);
	if (mknod("one", S_IFREG | 0644, 0))
		die("one");
	fill();
	printf("%u MiB\n", chunks * (CHUNK >> 10) >> 10);
	fflush(stdout);
	sync_all("when it was full");
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		use_up(&kinds[i]);
	/* room that came free went to others at times, but not always */
	if (worked < sizeof(kinds) / sizeof(kinds[0]) / 2)
		wrong("%u kinds of change found room", worked);
	/* what may not have been accepted */
	for (i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		if (remove(some[i]) && errno != ENOENT)
			wrong("remove %s: %s", some[i], errname(errno));
	check_all();
	sync_all("at the end");
	return prog_failed != 0;
}
