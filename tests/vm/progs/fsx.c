// SPDX-License-Identifier: GPL-2.0
/*
 * fsx FILE SEED OPERATIONS: random writes, stores, reads, cuts, holes and syncs of a file of
 * up to some MiB, each compared with a copy in memory; in the manner of the fsx that other
 * file systems are tested with. Leaves the copy in the file "should" of the current directory.
 *
 * Sizes and places are of all kinds: bytes, pages, and what large folios are made of.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prog.h"
#include "../../random.h"

#define PAGE	4096u
#define MOST	(6u << 20)	/* bytes of the file */

static struct rnd rnd;
static unsigned char *should, *buf, *map;
static size_t size;
static int fd;
static unsigned int turn;

enum op { WRITE, SMALL_WRITE, APPEND, STORE, READ, LOOK, CUT, GROW, PUNCH, ZERO, SYNC, FORGET, OPS };
static const char *const names[] = {
	"write", "small write", "append", "store", "read", "look", "cut", "grow", "punch", "zero",
	"sync", "forget"
};

/* A length: some bytes, some pages, or many. */
static size_t some(void)
{
	switch (rnd_below(&rnd, 4)) {
	case 0:
		return 1 + rnd_below(&rnd, 3 * PAGE);
	case 1:
		return PAGE << rnd_below(&rnd, 10);
	case 2:
		return 1 + rnd_below(&rnd, 300000);
	default:
		return PAGE * (1 + rnd_below(&rnd, 400));
	}
}

/* A place up to @end, often at a border of pages or of large folios. */
static size_t place(size_t end)
{
	size_t at = rnd_below(&rnd, end + 1);

	switch (rnd_below(&rnd, 4)) {
	case 0:
		return at;
	case 1:
		return at & ~(size_t)(PAGE - 1);
	default:
		return at & ~(((size_t)PAGE << rnd_below(&rnd, 10)) - 1);
	}
}

static void range(size_t end, size_t *at, size_t *len)
{
	*at = place(end);
	*len = some();
	if (*len > end - *at)
		*len = end - *at;
}

static void compare(const unsigned char *is, size_t at, size_t len, enum op op)
{
	size_t i;

	if (!memcmp(is, should + at, len))
		return;
	for (i = 0; is[i] == should[at + i]; i++)
		;
	wrong("turn %u, %s of %zu at %zu, size %zu: at %zu is %02x and should be %02x", turn, names[op],
	      len, at, size, at + i, is[i], should[at + i]);
	exit(1);
}

static void put(size_t at, size_t len)
{
	size_t done = 0;
	ssize_t n;

	rnd_bytes(&rnd, buf, len);
	while (done < len) {
		n = pwrite(fd, buf + done, len - done, at + done);
		if (n <= 0)
			die("write of %zu at %zu", len, at);
		done += n;
	}
	memcpy(should + at, buf, len);
	if (at + len > size)
		size = at + len;
}

static void resize(size_t to)
{
	if (ftruncate(fd, to))
		die("truncate to %zu", to);
	if (to < size)
		memset(should + to, 0, size - to);
	size = to;
}

static void fallocate_zeros(int mode, size_t at, size_t len)
{
	if (len && fallocate(fd, mode, at, len))
		die("fallocate %d of %zu at %zu", mode, len, at);
	memset(should + at, 0, len);
}

static void read_back(size_t at, size_t len, enum op op)
{
	ssize_t n = pread(fd, buf, len, at);

	if (n != (ssize_t)len)
		die("read of %zu at %zu gave %zd", len, at, n);
	compare(buf, at, len, op);
}

static void one(enum op op)
{
	size_t at, len;

	switch (op) {
	case WRITE:
		range(MOST, &at, &len);
		put(at, len);
		break;
	case SMALL_WRITE:
		range(size, &at, &len);
		put(at, len % (2 * PAGE));
		break;
	case APPEND:
		len = some();
		if (size + len <= MOST)
			put(size, len);
		break;
	case STORE:
		range(size, &at, &len);
		rnd_bytes(&rnd, should + at, len);
		memcpy(map + at, should + at, len);
		/* what is stored behind the end does not show, now or when the file has grown */
		if (size % PAGE && rnd_one_in(&rnd, 4))
			memset(map + size, 0xee, PAGE - size % PAGE);
		break;
	case READ:
		range(size, &at, &len);
		read_back(at, len, op);
		break;
	case LOOK:
		range(size, &at, &len);
		compare(map + at, at, len, op);
		break;
	case CUT:
		resize(place(size));
		break;
	case GROW:
		len = some();
		if (size + len <= MOST)
			resize(size + len);
		break;
	case PUNCH:
		range(size, &at, &len);
		fallocate_zeros(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len);
		break;
	case ZERO:
		range(size, &at, &len);
		fallocate_zeros(FALLOC_FL_ZERO_RANGE, at, len);
		break;
	case SYNC:
		if (rnd_one_in(&rnd, 2) ? fsync(fd) : sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE))
			die("sync");
		break;
	case FORGET:
		if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
			die("forget");
		/* what is read next comes ahead, in larger and larger folios */
		if (size && rnd_one_in(&rnd, 2))
			read_back(0, size, op);
		break;
	default:
		break;
	}
}

int main(int argc, char **argv)
{
	unsigned int operations;
	struct stat st;
	FILE *copy;

	if (argc != 4) {
		fputs("usage: fsx FILE SEED OPERATIONS\n", stderr);
		return 2;
	}
	rnd.state = strtoull(argv[2], NULL, 10);
	operations = strtoul(argv[3], NULL, 10);
	should = calloc(1, MOST);
	buf = malloc(MOST);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (!should || !buf || fd < 0)
		die("%s", argv[1]);
	map = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	for (turn = 0; turn < operations; turn++) {
		one(rnd_below(&rnd, OPS));
		if (fstat(fd, &st) || (size_t)st.st_size != size)
			wrong("turn %u: %lld bytes long, should be %zu", turn,
			      (long long)st.st_size, size);
	}
	read_back(0, size, READ);
	if (fsync(fd))
		die("fsync");
	copy = fopen("should", "w");
	if (!copy || fwrite(should, 1, size, copy) != size || fclose(copy))
		die("should");
	return prog_failed != 0;
}
