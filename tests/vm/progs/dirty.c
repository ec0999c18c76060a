// SPDX-License-Identifier: GPL-2.0
/*
 * dirty write DIR MB SEED: makes dirty so much, as fast as it goes: half of it with write(2),
 * half by stores through a mapping, in an order that has no order; a twentieth of it in files
 * of some KiB. Nothing is synced.
 * dirty check DIR MB SEED: is it there, as it was written? Of the small files some.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "prog.h"

#define PAGE	4096
#define CHUNK	(256 * 1024)
#define WORDS	(PAGE / 8)
#define BLOCK	16		/* pages that are stored in order */
#define SMALL	12000		/* bytes of a small file at most */
#define SMALL_SHARE 50000u	/* bytes in small files of each MB */
#define SMALL_LOOK 8		/* one of so many is read */
#define PER_DIR	500

static uint64_t seed;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

/* What page @nr of file @file holds. */
static void page_fill(uint64_t *page, unsigned int file, unsigned int nr)
{
	uint64_t x = mix(seed ^ (uint64_t)file << 40 ^ nr);
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		page[i] = x += 0x9e3779b97f4a7c15ull;
}

static void page_check(const void *got, const char *name, unsigned int file, unsigned int nr,
		       size_t len)
{
	uint64_t want[WORDS];

	page_fill(want, file, nr);
	if (memcmp(got, want, len))
		wrong("%s: page %u is not as it was written", name, nr);
}

static void *map(const char *name, size_t len, int prot)
{
	int fd = open(name, prot & PROT_WRITE ? O_RDWR | O_CREAT : O_RDONLY, 0644);
	struct stat st;
	void *p;

	if (fd < 0 || (prot & PROT_WRITE && ftruncate(fd, len)) || fstat(fd, &st))
		die("%s", name);
	if (st.st_size != (off_t)len) {
		wrong("%s: %lld bytes, %zu were written", name, (long long)st.st_size, len);
		close(fd);
		return NULL;
	}
	p = mmap(NULL, len, prot, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap %s", name);
	close(fd);
	return p;
}

/* A step that meets all of @n once. */
static unsigned int stride(unsigned int n)
{
	unsigned int step = n / 3 | 1, a, b, t;

	for (;; step += 2) {
		for (a = step, b = n; b; t = a % b, a = b, b = t)
			;
		if (a == 1)
			return step;
	}
}

static void write_file(unsigned int pages)
{
	static uint64_t buf[CHUNK / 8];
	int fd = open("written", O_WRONLY | O_CREAT, 0644);
	unsigned int nr, n;

	if (fd < 0)
		die("written");
	for (nr = 0; nr < pages; nr += n) {
		for (n = 0; n < CHUNK / PAGE && nr + n < pages; n++)
			page_fill(buf + n * WORDS, 1, nr + n);
		if (write(fd, buf, n * PAGE) != (ssize_t)n * PAGE)
			die("write");
	}
	close(fd);
}

static void store_file(unsigned int pages)
{
	char *p = map("stored", (size_t)pages * PAGE, PROT_READ | PROT_WRITE);
	unsigned int blocks = (pages + BLOCK - 1) / BLOCK, step = stride(blocks), b = 0, i, nr;

	if (!p)
		exit(1);
	for (i = 0; i < blocks; i++) {
		for (nr = b * BLOCK; nr < (b + 1) * BLOCK && nr < pages; nr++)
			page_fill((uint64_t *)(p + (size_t)nr * PAGE), 2, nr);
		b = (b + step) % blocks;
	}
	munmap(p, (size_t)pages * PAGE);
}

static void check_file(const char *name, unsigned int file, unsigned int pages)
{
	char *p = map(name, (size_t)pages * PAGE, PROT_READ);
	unsigned int nr;

	for (nr = 0; p && nr < pages && prog_failed < 10; nr++)
		page_check(p + (size_t)nr * PAGE, name, file, nr, PAGE);
}

static unsigned int small_len(unsigned int i)
{
	return 1 + mix(seed + i) % SMALL;
}

static void small_name(char *name, unsigned int i)
{
	sprintf(name, "d%u/%u", i / PER_DIR, i);
}

static void small_files(unsigned int bytes, bool writes)
{
	static uint64_t buf[3 * WORDS + 1];
	unsigned int i, nr, len;
	char name[32];
	ssize_t n;
	int fd;

	for (i = 0; bytes && prog_failed < 10; i++) {
		len = small_len(i);
		bytes -= len < bytes ? len : bytes;
		small_name(name, i);
		if (!writes && mix(seed * 3 + i) % SMALL_LOOK)
			continue;
		if (writes && i % PER_DIR == 0) {
			sprintf((char *)buf, "d%u", i / PER_DIR);
			if (mkdir((char *)buf, 0755))
				die("%s", (char *)buf);
		}
		fd = open(name, writes ? O_WRONLY | O_CREAT | O_EXCL : O_RDONLY, 0644);
		if (fd < 0)
			die("%s", name);
		if (writes) {
			for (nr = 0; nr * PAGE < len; nr++)
				page_fill(buf + nr * WORDS, 3 + i, nr);
			if (write(fd, buf, len) != (ssize_t)len)
				die("write %s", name);
		} else {
			n = read(fd, buf, sizeof(buf));
			if (n != (ssize_t)len)
				wrong("%s: %zd bytes, %u were written", name, n, len);
			for (nr = 0; n == (ssize_t)len && nr * PAGE < len; nr++)
				page_check(buf + nr * WORDS, name, 3 + i, nr,
					   len - nr * PAGE < PAGE ? len - nr * PAGE : PAGE);
		}
		close(fd);
	}
	if (writes)
		printf("%u small files\n", i);
}

/* What took how long. */
static void lap(const char *what)
{
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (last.tv_sec)
		printf("%s: %.1f s\n", what, now.tv_sec - last.tv_sec +
		       (now.tv_nsec - last.tv_nsec) / 1e9);
	fflush(stdout);
	last = now;
}

int main(int argc, char **argv)
{
	unsigned int mb, pages;

	if (argc != 5 || (strcmp(argv[1], "write") && strcmp(argv[1], "check"))) {
		fputs("usage: dirty write|check DIR MB SEED\n", stderr);
		return 2;
	}
	if (chdir(argv[2]))
		die("%s", argv[2]);
	mb = atoi(argv[3]);
	seed = atoll(argv[4]);
	pages = ((mb << 20) - mb * SMALL_SHARE) / 2 / PAGE;
	lap("");
	if (argv[1][0] == 'w') {
		write_file(pages);
		lap("written");
		store_file(pages);
		lap("stored");
	} else {
		check_file("written", 1, pages);
		lap("written");
		check_file("stored", 2, pages);
		lap("stored");
	}
	small_files(mb * SMALL_SHARE, argv[1][0] == 'w');
	lap("small files");
	return prog_failed != 0;
}
