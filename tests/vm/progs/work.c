// SPDX-License-Identifier: GPL-2.0
/*
 * work DIR1 DIR2 FREE SEED SECONDS [TRACE]: changes things in DIR1 and DIR2, each a delegation of
 * the caller's own, at random for so long, and knows what must come of it: every call must
 * succeed, and at the end everything must be as it remembers. An operation that is
 * applied twice shows: an exclusive create fails, two exchanges are none, a
 * line is appended twice. In FREE, which nobody owns, it makes files by dynamic
 * ownership and gives them back. What it did goes to the file TRACE, a line each.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

#define FILES	48
#define MAX	(256 << 10)

static const char *dirs[2], *free_dir;
static unsigned long long seed;
static unsigned long ops, lines, made;

/* What is remembered of each name; even ones are in DIR1, odd ones in DIR2. */
static struct file {
	unsigned int gen;	/* 0: is not there */
	unsigned int size, mode;
} files[FILES];

static FILE *trace;

__attribute__((format(printf, 1, 2)))
static void note(const char *fmt, ...)
{
	struct timespec now;
	va_list ap;

	if (!trace)
		return;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	fprintf(trace, "%lld.%03ld ", (long long)now.tv_sec, now.tv_nsec / 1000000);
	va_start(ap, fmt);
	vfprintf(trace, fmt, ap);
	va_end(ap);
	putc('\n', trace);
}

static unsigned int rnd(unsigned int below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

static const char *path_of(int n)
{
	static char paths[4][512];
	static int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, 512, "%s/f%d", dirs[n % 2], n);
	return path;
}

/* Contents that say whose they are: every eight bytes differ, by generation and place. */
static void contents(char *buf, unsigned int gen, unsigned int size)
{
	uint64_t word;
	unsigned int i;

	for (i = 0; i < size; i += 8) {
		word = ((uint64_t)gen << 32 | i) * 0x9e3779b97f4a7c15ull;
		memcpy(buf + i, &word, size - i < 8 ? size - i : 8);
	}
}

static unsigned int size_of_kind(void)
{
	/* small ones ride in the log, big ones do not */
	switch (rnd(4)) {
	case 0: return rnd(200);
	case 1: return rnd(16384);
	case 2: return rnd(40000);
	default: return rnd(MAX);
	}
}

static void put(int n, int flags)
{
	static char buf[MAX + 8];
	struct file *f = &files[n];
	const char *path = path_of(n);
	unsigned int done = 0, part;
	ssize_t len;
	int fd;

	fd = open(path, O_WRONLY | flags, 0640);
	if (fd < 0)
		die("open %s", path);
	if (!f->gen)
		f->mode = 0640;
	f->gen = ops + 1;
	f->size = size_of_kind();
	contents(buf, f->gen, f->size);
	note("f%d put %u bytes", n, f->size);
	while (done < f->size) {
		part = rnd(3) ? f->size - done : rnd(f->size - done) + 1;
		len = write(fd, buf + done, part);
		if (len < 0)
			die("write %s", path);
		done += len;
	}
	if (!rnd(6)) {
		note("f%d fsync", n);
		if (fsync(fd))
			die("fsync %s", path);
	}
	if (close(fd))
		die("close %s", path);
}

static void store(int n)
{
	struct file *f = &files[n];
	const char *path = path_of(n);
	int fd = open(path, O_RDWR);
	char *map;

	if (fd < 0)
		die("open %s", path);
	if (!f->size) {
		close(fd);
		return;
	}
	map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap %s", path);
	f->gen = ops + 1;
	note("f%d store", n);
	contents(map, f->gen, f->size);
	if (!rnd(4)) {
		note("f%d msync", n);
		if (msync(map, f->size, MS_SYNC))
			die("msync %s", path);
	}
	munmap(map, f->size);
	close(fd);
}

static void cut(int n)
{
	struct file *f = &files[n];
	unsigned int size = f->size ? rnd(f->size) : 0;

	note("f%d cut to %u", n, size);
	if (truncate(path_of(n), size))
		die("truncate %s", path_of(n));
	f->size = size;
}

static void move(int from, int to, bool exchange)
{
	unsigned int flags = exchange ? RENAME_EXCHANGE : files[to].gen ? 0 : RENAME_NOREPLACE;
	struct file f;

	if (from == to)
		return;
	note("f%d f%d %s", from, to, exchange ? "exchange" : "rename");
	if (renameat2(AT_FDCWD, path_of(from), AT_FDCWD, path_of(to), flags))
		die("rename %s %s", path_of(from), path_of(to));
	f = files[to];
	files[to] = files[from];
	if (exchange)
		files[from] = f;
	else
		files[from].gen = 0;
}

static void link_and_back(int n)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/link", dirs[rnd(2)]);
	note("f%d link %s", n, path);
	if (link(path_of(n), path))
		die("link %s", path);
	if (unlink(path))
		die("unlink %s", path);
}

static void append(void)
{
	char path[512], line[16];
	int fd;

	snprintf(path, sizeof(path), "%s/journal", dirs[0]);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	snprintf(line, sizeof(line), "%09lu\n", lines++);
	if (fd < 0 || write(fd, line, 10) != 10)
		die("append");
	if (!rnd(4) && fdatasync(fd))
		die("fdatasync journal");
	close(fd);
}

/* mkdir and rmdir of the same names, over and over */
static void directory(void)
{
	char dir[512], sub[600], moved[600], sym[600];

	snprintf(dir, sizeof(dir), "%s/dir", dirs[rnd(2)]);
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	snprintf(moved, sizeof(moved), "%s/moved", dirs[rnd(2)]);
	snprintf(sym, sizeof(sym), "%s/l", dir);
	if (mkdir(dir, 0755) || mkdir(sub, 0700) || symlink("nowhere", sym))
		die("mkdir %s", dir);
	if (rename(sub, moved))
		die("rename %s %s", sub, moved);
	if (rmdir(moved) || unlink(sym) || rmdir(dir))
		die("rmdir %s", dir);
}

/* Where nobody owns the place: each name must be new, whatever was sent again. */
static void make_free(void)
{
	static struct archil_ioc_checkin arg;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%d.%lu", free_dir, getpid(), made++);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, path, strlen(path)) != (ssize_t)strlen(path))
		die("%s", path);
	memset(&arg, 0, sizeof(arg));
	arg.size = sizeof(arg);
	if (ioctl(fd, ARCHIL_IOC_CHECKIN, &arg))
		die("checkin %s", path);
	close(fd);
}

static void attributes(int n)
{
	char value[16];

	files[n].mode = 0600 + rnd(64);
	snprintf(value, sizeof(value), "%o", files[n].mode);
	note("f%d attributes %o", n, files[n].mode);
	if (chmod(path_of(n), files[n].mode) ||
	    setxattr(path_of(n), "user.mode", value, strlen(value), 0))
		die("attributes of %s", path_of(n));
}

static void step(void)
{
	int n = rnd(FILES), m = rnd(FILES);

	ops++;
	switch (rnd(16)) {
	case 0: case 1: case 2:
		put(n, files[n].gen ? O_TRUNC : O_CREAT | O_EXCL);
		break;
	case 3: case 4:
		if (files[n].gen)
			move(n, m, false);
		break;
	case 5: case 6: case 7:
		if (files[n].gen && files[m].gen)
			move(n, m, true);
		break;
	case 8:
		if (!files[n].gen)
			break;
		note("f%d unlink", n);
		if (unlink(path_of(n)))
			die("unlink %s", path_of(n));
		files[n].gen = 0;
		break;
	case 9:
		if (files[n].gen)
			store(n);
		break;
	case 10:
		if (files[n].gen)
			cut(n);
		break;
	case 11:
		append();
		break;
	case 12:
		directory();
		break;
	case 13:
		if (files[n].gen)
			attributes(n);
		break;
	case 14:
		if (files[n].gen && rnd(2))
			link_and_back(n);
		break;
	case 15:
		if (!rnd(3))
			make_free();
		break;
	}
}

/* ---- is it as remembered? ---- */

static void check_file(int n)
{
	static char buf[MAX + 8], want[MAX + 8];
	struct file *f = &files[n];
	const char *path = path_of(n);
	struct stat st;
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0) {
		if (errno != ENOENT || f->gen)
			wrong("%s: %s", path, errname(errno));
		return;
	}
	len = read(fd, buf, sizeof(buf));
	if (fstat(fd, &st))
		die("fstat");
	close(fd);
	if (!f->gen) {
		wrong("%s is there and must not be", path);
		return;
	}
	contents(want, f->gen, f->size);
	if (len != f->size || memcmp(buf, want, len))
		wrong("%s: %zd bytes, must be %u of generation %u", path, len, f->size, f->gen);
	if ((st.st_mode & 07777) != f->mode)
		wrong("%s: mode %o, must be %o", path, st.st_mode & 07777, f->mode);
	if (st.st_nlink != 1)
		wrong("%s: %lu links", path, (unsigned long)st.st_nlink);
}

static void check_journal(void)
{
	char path[512], line[16];
	unsigned long n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/journal", dirs[0]);
	file = fopen(path, "r");
	if (!file)
		die("%s", path);
	for (; fgets(line, sizeof(line), file); n++)
		if (strtoul(line, NULL, 10) != n)
			wrong("line %lu of the journal is %s", n, line);
	if (n != lines)
		wrong("the journal has %lu lines, must have %lu", n, lines);
	fclose(file);
}

static void check_free(void)
{
	char path[512], buf[512] = "";
	unsigned long i;
	int fd;

	for (i = 0; i < made; i++) {
		snprintf(path, sizeof(path), "%s/%d.%lu", free_dir, getpid(), i);
		memset(buf, 0, sizeof(buf));
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, buf, sizeof(buf)) < 0 || strcmp(buf, path))
			wrong("%s is not what it was", path);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	time_t end;
	int i;

	if (argc != 6 && argc != 7) {
		fputs("usage: work DIR1 DIR2 FREE SEED SECONDS [TRACE]\n", stderr);
		return 2;
	}
	umask(0);
	if (argc == 7) {
		trace = fopen(argv[6], "w");
		if (!trace)
			die("%s", argv[6]);
	}
	dirs[0] = argv[1];
	dirs[1] = argv[2];
	free_dir = argv[3];
	seed = strtoull(argv[4], NULL, 10) * 2654435761u + 88172645463325252ull;
	end = time(NULL) + atoi(argv[5]);
	append();
	while (time(NULL) < end)
		step();
	for (i = 0; i < FILES; i++)
		check_file(i);
	check_journal();
	check_free();
	printf("%lu operations, %lu lines, %lu made elsewhere, %d wrong\n", ops, lines, made,
	       prog_failed);
	return prog_failed != 0;
}
