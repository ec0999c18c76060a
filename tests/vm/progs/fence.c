// SPDX-License-Identifier: GPL-2.0
/*
 * fence FILE: writes blocks of FILE, each with a generation, and syncs, until that fails;
 * prints the error and, per block, the generation that was said to be durable.
 *
 * fence FILE ERROR GEN...: is there what such a line says? Each page is of one
 * generation, of its own block, and not older than that.
 */
#include <fcntl.h>
#include <unistd.h>

#include "prog.h"

#define BLOCKS	16
#define BLOCK	(48 << 10)	/* not a power of two: requests overlap blocks */
#define PAGE	4096

static uint64_t page[PAGE / 8];

static void fill(unsigned int block, unsigned int gen)
{
	unsigned int i;

	for (i = 0; i < PAGE / 8; i++)
		page[i] = (uint64_t)gen << 32 | block << 16 | i;
}

static void write_until_error(const char *path)
{
	unsigned int acked[BLOCKS] = { }, gen, block, i;
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		die("%s", path);
	for (gen = 1;; gen++) {
		for (block = 0; block < BLOCKS; block++) {
			fill(block, gen);
			for (i = 0; i < BLOCK / PAGE; i++)
				if (pwrite(fd, page, PAGE, block * BLOCK + i * PAGE) != PAGE)
					goto out;
			if (block % 4 != 3)
				continue;
			if (fsync(fd))
				goto out;
			for (i = block - 3; i <= block; i++)
				acked[i] = gen;
		}
	}
out:
	printf("%s", errname(errno));
	for (block = 0; block < BLOCKS; block++)
		printf(" %u", acked[block]);
	putchar('\n');
}

static void check(const char *path, char **gens)
{
	unsigned int block, gen, want, i, k, ahead = 0;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		die("%s", path);
	for (block = 0; block < BLOCKS; block++) {
		want = atoi(gens[block]);
		for (i = 0; i < BLOCK / PAGE; i++) {
			if (pread(fd, page, PAGE, block * BLOCK + i * PAGE) != PAGE) {
				if (want)
					wrong("block %u: page %u is not there", block, i);
				continue;
			}
			gen = page[0] >> 32;
			for (k = 0; k < PAGE / 8; k++)
				if (page[k] != (page[0] ? (uint64_t)gen << 32 | block << 16 | k : 0))
					break;
			if (k < PAGE / 8)
				wrong("block %u: page %u is nobody's", block, i);
			if (gen < want)
				wrong("block %u: page %u is of generation %u, %u was durable", block,
				      i, gen, want);
			ahead += gen > want;
		}
	}
	printf("%u pages are newer than what was said to be durable\n", ahead);
}

int main(int argc, char **argv)
{
	if (argc == 2) {
		write_until_error(argv[1]);
	} else if (argc == 3 + BLOCKS) {
		check(argv[1], argv + 3);
	} else {
		fputs("usage: fence FILE [ERROR GEN...]\n", stderr);
		return 2;
	}
	return prog_failed != 0;
}
