// SPDX-License-Identifier: GPL-2.0
/*
 * fileops DIR OPS SEED: random changes of a few files' contents in all the ways that
 * there are, each compared with what memory says it must be: write, append, direct
 * write, stores through a mapping, truncate both ways, fallocate's kinds, copies from
 * file to file, reads in all ways, SEEK_HOLE and SEEK_DATA, and cached pages dropped.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/falloc.h>

#include "prog.h"

#define FILES	3
#define MAX	(300 << 10)	/* no file becomes larger */
#define PAGE	4096

static struct file {
	char name[16];
	int fd, direct;
	unsigned int size;
	unsigned char want[MAX];
} files[FILES];

static unsigned char buf[MAX + PAGE] __attribute__((aligned(PAGE)));
static unsigned long long seed;
static long op;

/* What was done last to any file, for the report. */
#define TRAIL 40
static char trail[TRAIL][100];

__attribute__((format(printf, 1, 2)))
static void note(const char *fmt, ...)
{
	char *line = trail[op % TRAIL];
	va_list ap;
	int n;

	n = sprintf(line, "%ld: ", op);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(trail[0]) - n, fmt, ap);
	va_end(ap);
}

static void tell(void)
{
	long i;

	for (i = op >= TRAIL ? op - TRAIL + 1 : 0; i <= op; i++)
		puts(trail[i % TRAIL]);
}

static unsigned int rnd(unsigned int below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/* Ends that matter are met more often: pages, the inline limit, the file's end. */
static unsigned int place(const struct file *f)
{
	unsigned int at;

	switch (rnd(6)) {
	case 0: at = rnd(MAX / PAGE) * PAGE; break;
	case 1: at = rnd(200); break;
	case 2: at = 16384 - 100 + rnd(200); break;
	case 3: at = f->size; break;
	case 4: at = f->size ? rnd(f->size) : 0; break;
	default: at = rnd(MAX);
	}
	return at < MAX ? at : MAX - 1;
}

static unsigned int length(unsigned int at)
{
	unsigned int len;

	switch (rnd(4)) {
	case 0: len = 1 + rnd(100); break;
	case 1: len = PAGE * (1 + rnd(8)); break;
	case 2: len = 1 + rnd(MAX); break;
	default: len = 1 + rnd(3 * PAGE);
	}
	return len <= MAX - at ? len : MAX - at;
}

static void fill(unsigned char *p, unsigned int len)
{
	unsigned char c = rnd(255) + 1;
	unsigned int i;

	for (i = 0; i < len; i++)
		p[i] = c + (i & 7) ? c + (i & 7) : 1;
}

static void failed(struct file *f, const char *what, long ret, long want)
{
	wrong("%s: %s gave %ld (%s), wanted %ld, at operation %ld", f->name, what, ret,
	      ret < 0 ? strerror(errno) : "", want, op);
	tell();
	exit(1);
}

#define WANT(f, call, want) do {				\
	long ret_ = (call), want_ = (want);			\
	if (ret_ != want_)					\
		failed(f, #call, ret_, want_);			\
} while (0)

/* A file as memory has it, from AT on. */
static void compare(struct file *f, const unsigned char *got, unsigned int at, unsigned int len,
		    const char *how)
{
	unsigned int i;

	for (i = 0; i < len; i++) {
		if (got[i] == f->want[at + i])
			continue;
		wrong("%s: by %s, byte %u is %#x, wanted %#x, at operation %ld, size %u",
		      f->name, how, at + i, got[i], f->want[at + i], op, f->size);
		tell();
		exit(1);
	}
}

static void grow(struct file *f, unsigned int size)
{
	if (size > f->size)
		f->size = size;
}

static void do_write(struct file *f)
{
	unsigned int at = place(f), len = length(at);

	note("%s write %u+%u", f->name, at, len);
	fill(f->want + at, len);
	WANT(f, pwrite(f->fd, f->want + at, len, at), len);
	grow(f, at + len);
}

static void do_direct_write(struct file *f)
{
	unsigned int at = place(f) & ~(PAGE - 1), len = length(at) & ~(PAGE - 1);

	if (!len)
		return;
	note("%s direct write %u+%u", f->name, at, len);
	fill(f->want + at, len);
	memcpy(buf, f->want + at, len);
	WANT(f, pwrite(f->direct, buf, len, at), len);
	grow(f, at + len);
}

static void do_store(struct file *f)
{
	unsigned int at = place(f), len = length(at);
	unsigned int mapped = f->size;
	unsigned char *map;

	if (!f->size)
		return;
	at %= f->size;
	if (len > f->size - at)
		len = f->size - at;
	note("%s store %u+%u", f->name, at, len);
	map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		failed(f, "mmap", -1, 0);
	fill(f->want + at, len);
	memcpy(map + at, f->want + at, len);
	/* what is stored behind the end goes when the file is made longer */
	if (f->size % PAGE && !rnd(3)) {
		map[f->size] = 0xee;
		grow(f, place(f));
		WANT(f, ftruncate(f->fd, f->size), 0);
	}
	if (!rnd(6))
		WANT(f, msync(map, mapped, MS_SYNC), 0);
	munmap(map, mapped);
}

static void do_truncate(struct file *f)
{
	unsigned int size = rnd(8) ? place(f) : 0;

	note("%s truncate %u", f->name, size);
	WANT(f, rnd(2) ? ftruncate(f->fd, size) : truncate(f->name, size), 0);
	if (size < f->size)
		memset(f->want + size, 0, f->size - size);
	f->size = size;
}

static void do_fallocate(struct file *f)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	};
	int mode = modes[rnd(sizeof(modes) / sizeof(*modes))];
	unsigned int at = place(f), len = length(at), end;

	note("%s fallocate %#x %u+%u", f->name, mode, at, len);
	WANT(f, fallocate(f->fd, mode, at, len), 0);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(f, at + len);
	end = at + len < f->size ? at + len : f->size;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && at < end)
		memset(f->want + at, 0, end - at);
}

static void do_copy(struct file *f)
{
	struct file *from = &files[rnd(FILES)];
	unsigned int at = place(f), in = place(from), len = length(at);
	loff_t off_in = in, off_out = at;
	long ret;

	if (f == from || in >= from->size)
		return;
	if (len > from->size - in)
		len = from->size - in;
	note("%s copy_file_range from %s %u to %u+%u", f->name, from->name, in, at, len);
	ret = copy_file_range(from->fd, &off_in, f->fd, &off_out, len, 0);
	if (ret <= 0 || ret > len)
		failed(f, "copy_file_range", ret, len);
	memcpy(f->want + at, from->want + in, ret);
	grow(f, at + ret);
}

static void do_read(struct file *f)
{
	unsigned int at = place(f), len = length(at);
	unsigned int there = at >= f->size ? 0 : len < f->size - at ? len : f->size - at;

	note("%s read %u+%u", f->name, at, len);
	WANT(f, pread(f->fd, buf, len, at), there);
	compare(f, buf, at, there, "read");
}

static void do_direct_read(struct file *f)
{
	unsigned int at = place(f) & ~(PAGE - 1), len = (length(at) + PAGE - 1) & ~(PAGE - 1);
	unsigned int there = at >= f->size ? 0 : len < f->size - at ? len : f->size - at;

	note("%s direct read %u+%u", f->name, at, len);
	WANT(f, pread(f->direct, buf, len, at), there);
	compare(f, buf, at, there, "direct read");
}

static void do_map_read(struct file *f)
{
	unsigned char *map;

	if (!f->size)
		return;
	note("%s read the mapping", f->name);
	map = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		failed(f, "mmap", -1, 0);
	compare(f, map, 0, f->size, "mapping");
	munmap(map, f->size);
}

static void do_stat(struct file *f)
{
	struct stat st;

	note("%s stat", f->name);
	if (rnd(2))
		WANT(f, fstat(f->fd, &st), 0);
	else
		WANT(f, stat(f->name, &st), 0);
	WANT(f, st.st_size, f->size);
}

/* Data and holes take turns to the end; what is called a hole is all zeros. */
static void do_seek(struct file *f)
{
	unsigned char *zeros = buf;
	off_t at = 0, data, hole;

	note("%s seek", f->name);
	memset(zeros, 0, f->size);
	while (at < f->size) {
		data = lseek(f->fd, at, SEEK_DATA);
		if (data < 0) {
			if (errno != ENXIO)
				failed(f, "SEEK_DATA", -1, at);
			data = f->size;
		}
		if (data < at || data > f->size)
			failed(f, "SEEK_DATA", data, at);
		compare(f, zeros, at, data - at, "SEEK_DATA");
		if (data == f->size)
			break;
		hole = lseek(f->fd, data, SEEK_HOLE);
		/* a page of zeros in allocated space is data while it is cached */
		if (hole == data && lseek(f->fd, data, SEEK_DATA) != data) {
			at = data + 1;
			continue;
		}
		if (hole <= data || hole > f->size)
			failed(f, "SEEK_HOLE", hole, data);
		at = hole;
	}
	if (lseek(f->fd, f->size, SEEK_DATA) != -1 || errno != ENXIO)
		failed(f, "SEEK_DATA at the end", 0, -1);
}

static void do_sync(struct file *f)
{
	note("%s sync", f->name);
	WANT(f, rnd(2) ? fsync(f->fd) : fdatasync(f->fd), 0);
}

static void do_drop(struct file *f)
{
	note("%s drop", f->name);
	if (rnd(2))
		WANT(f, fsync(f->fd), 0);
	WANT(f, posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void open_file(struct file *f, int flags)
{
	f->fd = open(f->name, O_RDWR | flags, 0644);
	f->direct = open(f->name, O_RDWR | O_DIRECT);
	if (f->fd < 0 || f->direct < 0)
		die("open %s", f->name);
}

static void do_reopen(struct file *f)
{
	note("%s reopen", f->name);
	close(f->fd);
	close(f->direct);
	open_file(f, 0);
}

static void check_all(struct file *f)
{
	note("%s check", f->name);
	memset(buf, 0xdd, sizeof(buf));
	WANT(f, pread(f->fd, buf, MAX, 0), f->size);
	compare(f, buf, 0, f->size, "read");
}

static void (* const ops[])(struct file *) = {
	do_write, do_write, do_write, do_direct_write, do_store, do_store, do_truncate, do_truncate,
	do_fallocate, do_fallocate, do_copy, do_read, do_read, do_direct_read, do_map_read, do_stat,
	do_seek, do_sync, do_drop, do_reopen, check_all,
};

int main(int argc, char **argv)
{
	long count;
	int i;

	if (argc != 4 || chdir(argv[1])) {
		fputs("usage: fileops DIR OPS SEED\n", stderr);
		return 2;
	}
	count = atol(argv[2]);
	seed = strtoull(argv[3], NULL, 10) * 2654435761u + 88172645463325252ull;
	for (i = 0; i < FILES; i++) {
		sprintf(files[i].name, "ops%d", i);
		open_file(&files[i], O_CREAT | O_TRUNC);
	}
	for (op = 0; op < count; op++)
		ops[rnd(sizeof(ops) / sizeof(*ops))](&files[rnd(FILES)]);
	for (i = 0; i < FILES; i++)
		check_all(&files[i]);
	printf("fileops: seed %s, %ld operations\n", argv[3], op);
	return 0;
}
