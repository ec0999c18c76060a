// SPDX-License-Identifier: GPL-2.0
/*
 * posix-data DIR [TEST]: contents of files: mappings, sparse files, fallocate, O_APPEND,
 * O_DIRECT, truncate, calls that go half way. See posix.h.
 */
#include <signal.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <linux/falloc.h>

#include "posix.h"

#define PAGE	4096
#define KEEP	FALLOC_FL_KEEP_SIZE
#define PUNCH	(FALLOC_FL_PUNCH_HOLE | KEEP)
#define ZERO	FALLOC_FL_ZERO_RANGE

/* What a store through a mapping makes of a hole at most: a large folio. */
#define LARGE	(2 << 20)

static char block[1 << 20] __attribute__((aligned(PAGE)));
static char got[1 << 20] __attribute__((aligned(PAGE)));

static char *letters(char c)
{
	return memset(block, c, sizeof(block));
}

/* Says what a file holds, equal bytes together. */
static void contents(const char *name)
{
	long long at = 0, from = 0;
	int c = -1;
	ssize_t n, i;
	int fd = MUST(open(name, O_RDONLY));

	printf("%s holds", name);
	while ((n = read(fd, got, sizeof(got))) > 0) {
		for (i = 0; i < n; i++, at++) {
			if (got[i] == c)
				continue;
			if (c >= 0)
				printf(c < ' ' ? " %lld*%d" : " %lld*%c", at - from, c);
			c = got[i] & 0xff;
			from = at;
		}
	}
	if (c >= 0)
		printf(c < ' ' ? " %lld*%d" : " %lld*%c", at - from, c);
	printf(", %lld bytes\n", (long long)stat_of(name).st_size);
	close(fd);
}

/* Says where a file has data, to @grain bytes; so far as blocks go, after it was synced. */
static void extents(const char *name, off_t grain)
{
	int fd = MUST(open(name, O_RDWR));
	off_t data, hole = 0, next;

	MUST(fsync(fd));
	printf("%s has data at", name);
	for (data = lseek(fd, 0, SEEK_DATA); data >= 0; data = next) {
		printf(" %lld", (long long)(data - data % grain));
		do {
			hole = MUST(lseek(fd, data, SEEK_HOLE));
			next = lseek(fd, hole, SEEK_DATA);
			data = next;
		} while (next >= 0 && next / grain <= (hole - 1) / grain);
		printf("-%lld", (long long)(hole + (grain - hole % grain) % grain));
	}
	printf("\n");
	close(fd);
}

static int make(const char *name, long long size, char c)
{
	int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));

	letters(c);
	for (; size > 0; size -= sizeof(block))
		MUST(write(fd, block, size < (long long)sizeof(block) ? size : (long long)sizeof(block)));
	return fd;
}

static char *map(int fd, size_t size, int flags)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static sigjmp_buf jump;
static void on_bus(int sig) { siglongjmp(jump, sig); }

/* A load or a store: 0, or the signal that it got. */
static int touch(volatile char *p, int store)
{
	int sig = sigsetjmp(jump, 1);

	if (sig)
		return sig;
	signal(SIGBUS, on_bus);
	if (store)
		*p = 't';
	else
		(void)*p;
	return 0;
}

static void mappings(void)
{
	int fd, size;
	char *p, *q;

	/* small enough to ride in the log, and not */
	for (size = 3 * PAGE; size <= 24 * PAGE; size *= 8) {
		fd = make("shared", size, 'a');
		p = map(fd, size, MAP_SHARED);
		q = map(fd, size, MAP_PRIVATE);
		memset(p + 100, 'b', PAGE);
		MUST(pread(fd, got, size, 0));
		TRUE(got[99] == 'a' && got[100] == 'b' && got[PAGE + 99] == 'b');
		MUST(pwrite(fd, "written", 7, 2 * PAGE + 10));
		TRUE(!memcmp(p + 2 * PAGE + 10, "written", 7));
		q[0] = 'q';
		TRUE(p[0] == 'a' && pread(fd, got, 1, 0) == 1 && got[0] == 'a');
		p[1] = 'n';
		TRUE(q[1] == 'a' || q[1] == 'n');
		TRY(msync(p, size, MS_SYNC));
		TRY(msync(p, size, MS_ASYNC));
		TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		TRUE(p[100] == 'b' && p[2 * PAGE + 10] == 'w');
		/* pages that go away under the mapping */
		TRY(ftruncate(fd, PAGE + 10));
		TRY(touch(p + PAGE + 5, 0));
		TRY(touch(p + 2 * PAGE, 0));
		TRY(touch(p + 2 * PAGE, 1));
		TRY(ftruncate(fd, size));
		TRY(touch(p + 2 * PAGE, 1));
		TRUE(p[PAGE + 10] == 0 && p[2 * PAGE + 10] == 0);
		munmap(p, size);
		munmap(q, size);
		close(fd);
		contents("shared");
		MUST(rename("shared", size == 3 * PAGE ? "shared-small" : "shared-big"));
	}
	/* written through a mapping only, never by write(2); closed before it is stored to */
	fd = make("mapped", 0, 0);
	TRY(ftruncate(fd, 5 * LARGE + 1));
	p = map(fd, 5 * LARGE + PAGE, MAP_SHARED);
	close(fd);
	p[0] = 'x';
	p[2 * LARGE + PAGE] = 'y';
	p[5 * LARGE] = 'z';
	p[5 * LARGE + 1] = '!';
	munmap(p, 5 * LARGE + PAGE);
	contents("mapped");
	extents("mapped", LARGE);
	fd = MUST(open("mapped", O_RDONLY));
	TRY(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	TRY(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	close(fd);
	/* a mapping is shared with a child, and outlives the name */
	fd = make("forked", 2 * PAGE, 'f');
	p = map(fd, 2 * PAGE, MAP_SHARED);
	MUST(unlink("forked"));
	if (!fork()) {
		p[PAGE] = 'c';
		_exit(0);
	}
	TRY(wait(NULL) < 0 ? -1 : 0);
	TRUE(p[PAGE] == 'c' && pread(fd, got, 1, PAGE) == 1 && got[0] == 'c');
	munmap(p, 2 * PAGE);
	close(fd);
	/* reading a file into its own mapping, writing it from there */
	fd = make("self", 8 * PAGE, 's');
	p = map(fd, 8 * PAGE, MAP_SHARED);
	p[0] = '1';
	TRY(pwrite(fd, p, 2 * PAGE, 4 * PAGE));
	TRY(pread(fd, p + PAGE + 1, 2 * PAGE, 4 * PAGE));
	munmap(p, 8 * PAGE);
	close(fd);
	contents("self");
}

static void sparse(void)
{
	int fd = make("sparse", 0, 0);

	letters('d');
	TRY(pwrite(fd, block, PAGE, 0));
	TRY(pwrite(fd, block, 2 * PAGE, 1 << 20));
	TRY(pwrite(fd, block, 1, (10 << 20) + 5));
	TRY(ftruncate(fd, 20 << 20));
	/* before anything is durable as well */
	TRY(lseek(fd, 0, SEEK_DATA));
	TRY(lseek(fd, 0, SEEK_HOLE));
	TRY(lseek(fd, PAGE, SEEK_DATA));
	TRY(lseek(fd, (1 << 20) + 5, SEEK_HOLE));
	TRY(lseek(fd, (10 << 20) + PAGE, SEEK_DATA));
	TRY(lseek(fd, (10 << 20) + PAGE, SEEK_HOLE));
	TRY(lseek(fd, 20 << 20, SEEK_DATA));
	TRY(lseek(fd, 20 << 20, SEEK_HOLE));
	TRY(lseek(fd, (20 << 20) - 1, SEEK_HOLE));
	TRY(lseek(fd, -1, SEEK_HOLE));
	extents("sparse", 1);
	contents("sparse");
	close(fd);
	/* very large, nearly nothing in it */
	fd = make("large", 0, 0);
	TRY(pwrite(fd, "end", 3, (1ll << 40) - 3));
	TRY(lseek(fd, 0, SEEK_END));
	TRY(lseek(fd, 0, SEEK_DATA));
	TRY(pread(fd, got, 10, (1ll << 40) - 3));
	TRY(fsync(fd));
	TRY(ftruncate(fd, 5));
	close(fd);
	contents("large");
	/* an empty one */
	close(make("empty", 0, 0));
	fd = MUST(open("empty", O_RDWR));
	TRY(lseek(fd, 0, SEEK_DATA));
	TRY(lseek(fd, 0, SEEK_HOLE));
	TRY(ftruncate(fd, 100));
	close(fd);
	contents("empty");
}

static void blocks(void)
{
	struct stat st;
	int fd = make("full", 8 << 20, 'f');

	/* what du shows */
	MUST(fsync(fd));
	st = stat_of("full");
	TRUE(st.st_blocks >= 16384 && st.st_blocks <= 16384 + 1024);
	TRUE(st.st_blksize >= 512 && st.st_blksize <= 1 << 22);
	MUST(ftruncate(fd, 0));
	st = stat_of("full");
	TRUE(st.st_blocks <= 16);
	close(fd);
	close(make("tiny", 1, 't'));
	st = stat_of("tiny");
	TRUE(st.st_blocks >= 0 && st.st_blocks <= 8);
}

static void allocate(void)
{
	int fd = make("alloc", 10000, 'a');
	int i;

	TRY(fallocate(fd, 0, 0, 5000));
	TRY(fallocate(fd, 0, 9000, 5000));
	contents("alloc");
	TRY(fallocate(fd, KEEP, 100000, 100000));
	contents("alloc");
	TRY(fallocate(fd, PUNCH, 100, 200));
	TRY(fallocate(fd, PUNCH, 3000, 3 * PAGE));
	TRY(fallocate(fd, PUNCH, 13999, 1 << 20));
	TRY(fallocate(fd, PUNCH, 1 << 20, 1 << 20));
	contents("alloc");
	TRY(fallocate(fd, ZERO, 10, 10));
	TRY(fallocate(fd, ZERO | KEEP, 13000, 1 << 20));
	contents("alloc");
	TRY(fallocate(fd, ZERO, 13000, 1 << 20));
	contents("alloc");
	close(fd);
	/* a large one */
	fd = make("alloc2", 1 << 20, 'b');
	MUST(fsync(fd));
	TRY(fallocate(fd, PUNCH, 10 * PAGE, 20 * PAGE));
	TRY(fallocate(fd, PUNCH, 50 * PAGE + 1, 3 * PAGE));
	extents("alloc2", 1);
	TRY(pwrite(fd, "in the hole", 11, 15 * PAGE + 5));
	extents("alloc2", 1);
	TRY(fallocate(fd, ZERO, 100 * PAGE + 7, 10 * PAGE));
	TRY(fallocate(fd, 0, 1 << 20, 1 << 20));
	contents("alloc2");
	TRY(lseek(fd, 0, SEEK_END));
	/* dirty pages, cut before they are clean */
	letters('c');
	TRY(pwrite(fd, block, 40 * PAGE, 0));
	TRY(fallocate(fd, PUNCH, 5 * PAGE, 5 * PAGE));
	TRY(ftruncate(fd, 20 * PAGE + 100));
	TRY(ftruncate(fd, 30 * PAGE));
	contents("alloc2");
	TRY(posix_fallocate(fd, 0, 40 * PAGE));
	contents("alloc2");
	/* wrong ones */
	TRY(fallocate(fd, 0, 0, 0));
	TRY(fallocate(fd, 0, -1, 10));
	TRY(fallocate(fd, 0, 0, -1));
	TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	TRY(fallocate(fd, PUNCH | ZERO, 0, 10));
	TRY(fallocate(fd, 0x8000, 0, 10));
	TRY(fallocate(fd, 0, 0x7ffffffffffff000ll, 0x1000));
	close(fd);
	fd = MUST(open("alloc2", O_RDONLY));
	TRY(fallocate(fd, 0, 0, 10));
	close(fd);
	fd = MUST(open(".", O_RDONLY));
	TRY(fallocate(fd, 0, 0, 10));
	close(fd);
	/* many small holes */
	fd = make("holes", 100 * 3000, 'h');
	for (i = 0; i < 100; i += 2)
		MUST(fallocate(fd, i & 2 ? PUNCH : ZERO, i * 3000, 3000));
	close(fd);
	contents("holes");
}

static void append(void)
{
	int fd = make("log", 10, 'l'), i, n, who, bad = 0, seen[4] = { 0 };
	int one = MUST(open("log", O_WRONLY | O_APPEND));
	int two = MUST(open("log", O_RDWR | O_APPEND));
	struct iovec iov = { "vector", 6 };
	char rec[64];
	FILE *f;

	TRY(write(one, "one", 3));
	TRY(write(two, "two", 3));
	TRY(lseek(two, 0, SEEK_CUR));
	TRY(lseek(two, 2, SEEK_SET));
	TRY(write(two, "2", 1));
	TRY(lseek(two, 0, SEEK_CUR));
	TRY(pwrite(two, "pwrite", 6, 0));
	TRY(pwritev2(fd, &iov, 1, -1, RWF_APPEND));
	TRY(pwritev2(fd, &iov, 1, 0, RWF_DSYNC));
	TRY(ftruncate(fd, 20));
	TRY(write(one, "after", 5));
	contents("log");
	close(one);
	close(two);
	close(fd);
	/* four processes, nothing overwritten, nothing torn */
	for (who = 0; who < 4; who++) {
		if (fork())
			continue;
		fd = MUST(open("together", O_WRONLY | O_APPEND | O_CREAT, 0644));
		for (i = 0; i < 250; i++) {
			n = sprintf(rec, "%d %d %.*s\n", who, i, i % 40, "----------------------------------------");
			MUST(write(fd, rec, n));
		}
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	f = fopen("together", "r");
	while (fgets(rec, sizeof(rec), f)) {
		if (sscanf(rec, "%d %d", &who, &i) != 2 || who < 0 || who > 3 || i != seen[who])
			bad++;
		else
			seen[who]++;
	}
	fclose(f);
	for (who = 0; who < 4; who++)
		TRY(seen[who]);
	TRY(bad);
	TRY(unlink("together"));
}

static void direct(void)
{
	int fd = make("direct", 64 * PAGE, 'b');
	int dio = MUST(open("direct", O_RDWR | O_DIRECT));
	char *p;

	letters('d');
	TRY(pwrite(dio, block, 4 * PAGE, 2 * PAGE));
	TRY(pread(fd, got, 8 * PAGE, 0));
	TRUE(got[2 * PAGE - 1] == 'b' && got[2 * PAGE] == 'd' && got[6 * PAGE - 1] == 'd' &&
	     got[6 * PAGE] == 'b');
	letters('w');
	TRY(pwrite(fd, block, 3 * PAGE, 3 * PAGE + 5));
	TRY(pread(dio, got, 8 * PAGE, 0));
	TRUE(got[3 * PAGE + 4] == 'd' && got[3 * PAGE + 5] == 'w' && got[6 * PAGE + 5] == 'b');
	/* a mapping sees a direct write, a direct read what was stored */
	p = map(fd, 64 * PAGE, MAP_SHARED);
	TRUE(p[20 * PAGE] == 'b');
	letters('m');
	TRY(pwrite(dio, block, PAGE, 20 * PAGE));
	TRUE(p[20 * PAGE] == 'm');
	p[21 * PAGE + 5] = 's';
	TRY(pread(dio, got, PAGE, 21 * PAGE));
	TRUE(got[5] == 's');
	munmap(p, 64 * PAGE);
	/* the end */
	TRY(pread(dio, got, 8 * PAGE, 62 * PAGE));
	TRY(pread(dio, got, PAGE, 64 * PAGE));
	TRY(pwrite(dio, block, 2 * PAGE, 64 * PAGE));
	TRY(pwrite(dio, block, PAGE, 80 * PAGE));
	TRY(ftruncate(fd, 81 * PAGE - 100));
	TRY(pread(dio, got, PAGE, 80 * PAGE));
	TRY(lseek(dio, 0, SEEK_END));
	close(dio);
	close(fd);
	contents("direct");
	extents("direct", 1);
	/* a small file */
	fd = make("direct-small", 600, 's');
	dio = MUST(open("direct-small", O_RDWR | O_DIRECT));
	TRY(pread(dio, got, PAGE, 0));
	TRY(pwrite(dio, block, PAGE, 0));
	TRY(fcntl(fd, F_SETFL, O_DIRECT));
	TRY(fcntl(fd, F_SETFL, 0));
	close(dio);
	close(fd);
	contents("direct-small");
}

static void truncates(void)
{
	static const int sizes[] = { 0, 1, 4095, 4096, 4097, 16383, 16384, 16385, 20000, 1 << 20 };
	char name[32];
	size_t i, j;
	int fd;

	/* down and up again, from and to every size */
	for (i = 0; i < 10; i++) {
		for (j = 0; j < 10; j++) {
			sprintf(name, "t%zu.%zu", i, j);
			fd = make(name, sizes[i], 't');
			if (j & 1)
				MUST(fsync(fd));
			MUST(ftruncate(fd, sizes[j]));
			MUST(pwrite(fd, "E", 1, sizes[j] + 10));
			MUST(ftruncate(fd, sizes[j] + 5000));
			close(fd);
			if (i + j > 6)
				contents(name);
		}
	}
	fd = make("t", 100, 't');
	TRY(ftruncate(fd, -1));
	TRY(truncate("t", -1));
	TRY(truncate(".", 0));
	TRY(truncate("none", 0));
	TRY(mkfifo("fifo", 0644));
	TRY(truncate("fifo", 0));
	close(fd);
	fd = MUST(open("t", O_RDONLY));
	TRY(ftruncate(fd, 0));
	TRY(write(fd, "x", 1));
	TRY(close(open("t", O_RDONLY | O_TRUNC)));
	TRY(stat_of("t").st_size);
	close(fd);
}

static void half_way(void)
{
	struct rlimit limit = { 5000, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
	struct iovec iov[3];
	int fd = make("half", 3 * PAGE, 'h'), to, p[2];
	off_t off;
	char *bad;

	/* memory that is only half there */
	bad = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(bad, 'B', PAGE);
	munmap(bad + PAGE, PAGE);
	TRY(pwrite(fd, bad, 2 * PAGE, 0) <= PAGE);
	TRY(pwrite(fd, bad + PAGE, 10, 0));
	TRY(pread(fd, bad + PAGE, 10, 0));
	TRY(pread(fd, bad + PAGE - 10, 20, 0) <= 10);
	TRY(pwrite(fd, block, 10, -1));
	TRY(pread(fd, block, 10, -1));
	TRY(pread(fd, got, 0, 0));
	TRY(pwrite(fd, got, 0, 1 << 20));
	TRY(lseek(fd, 0, SEEK_END));
	TRY(lseek(fd, -1, SEEK_SET));
	TRY(lseek(fd, 1ll << 33, SEEK_SET));
	TRY(read(fd, got, 10));
	iov[0] = (struct iovec) { "one", 3 };
	iov[1] = (struct iovec) { NULL, 0 };
	iov[2] = (struct iovec) { "three", 5 };
	TRY(pwritev(fd, iov, 3, PAGE - 4));
	iov[0].iov_base = got;
	iov[2].iov_base = got + 3;
	TRY(preadv(fd, iov, 3, PAGE - 4));
	TRUE(!memcmp(got, "onethree", 8));
	/* from file to file */
	to = make("to", 0, 0);
	TRY(copy_file_range(fd, (off_t []) { 10 }, to, NULL, 100, 0));
	TRY(copy_file_range(fd, (off_t []) { 3 * PAGE }, to, NULL, 100, 0));
	TRY(copy_file_range(fd, (off_t []) { 0 }, fd, (off_t []) { 5 }, 100, 0));
	off = 50;
	TRY(sendfile(to, fd, &off, 5000));
	MUST(pipe(p));
	TRY(splice(fd, (off_t []) { 0 }, p[1], NULL, 5000, 0));
	TRY(splice(p[0], NULL, to, NULL, 5000, 0));
	TRY(write(p[1], "piped", 5));
	TRY(splice(p[0], NULL, to, (off_t []) { 20000 }, 5000, 0));
	close(p[0]);
	close(p[1]);
	contents("to");
	close(to);
	contents("half");
	/* a limit on the size */
	signal(SIGXFSZ, SIG_IGN);
	MUST(ftruncate(fd, 100));
	MUST(setrlimit(RLIMIT_FSIZE, &limit));
	TRY(pwrite(fd, block, 1000, 4500));
	TRY(pwrite(fd, block, 1000, 5000));
	TRY(ftruncate(fd, 6000));
	TRY(fallocate(fd, 0, 0, 6000));
	TRY(lseek(fd, 0, SEEK_END));
	MUST(setrlimit(RLIMIT_FSIZE, &none));
	TRY(fsync(fd));
	TRY(fdatasync(fd));
	TRY(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	TRY(readahead(fd, 0, PAGE));
	TRY(syncfs(fd));
	close(fd);
	fd = MUST(open(".", O_RDONLY));
	TRY(fsync(fd));
	TRY(read(fd, got, 10));
	TRY(syncfs(fd));
	close(fd);
	TRY(close(open("half", O_WRONLY | O_SYNC)));
	fd = MUST(open("sync", O_WRONLY | O_CREAT | O_SYNC, 0644));
	TRY(write(fd, block, 10));
	close(fd);
	fd = MUST(open("dsync", O_WRONLY | O_CREAT | O_DSYNC, 0644));
	TRY(write(fd, block, 100000));
	close(fd);
}

static const struct test tests[] = {
	{ "mappings", mappings },
	{ "sparse", sparse },
	{ "blocks", blocks },
	{ "allocate", allocate },
	{ "append", append },
	{ "direct", direct },
	{ "truncates", truncates },
	{ "half-way", half_way },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_tests(tests, argc, argv);
}
