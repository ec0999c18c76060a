// SPDX-License-Identifier: GPL-2.0
/*
 * stream write FILE MIB: writes a new file and calls fsync
 * stream read FILE MIB: reads it
 * stream rewrite FILE MIB: writes over the first quarter of it four times, without
 *	fsync; it is read before, so that it is cached
 */
#include "bench.h"

#define CHUNK	(128u << 10)

static char buf[CHUNK];

static void write_some(int fd, unsigned int bytes)
{
	unsigned int done;

	for (done = 0; done < bytes; done += CHUNK)
		put(fd, buf, CHUNK);
}

static void read_some(int fd, unsigned int bytes)
{
	unsigned int done;

	for (done = 0; done < bytes; done += CHUNK)
		if (!get(fd, buf, CHUNK))
			die("the file is short");
}

static void rewind_to_start(int fd)
{
	if (lseek(fd, 0, SEEK_SET))
		die("lseek");
}

int main(int argc, char **argv)
{
	unsigned int bytes, turn;
	double begin;
	int fd;

	if (argc != 4) {
		fputs("usage: stream write|read|rewrite FILE MIB\n", stderr);
		return 2;
	}
	bytes = strtoul(argv[3], NULL, 10) * MIB;
	fill(buf, CHUNK);
	if (!strcmp(argv[1], "write")) {
		begin = now();
		fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (fd < 0)
			die("%s", argv[2]);
		write_some(fd, bytes);
		if (fsync(fd))
			die("fsync");
	} else if (!strcmp(argv[1], "read")) {
		begin = now();
		fd = open(argv[2], O_RDONLY);
		if (fd < 0)
			die("%s", argv[2]);
		read_some(fd, bytes);
	} else {
		fd = open(argv[2], O_RDWR);
		if (fd < 0)
			die("%s", argv[2]);
		read_some(fd, bytes / 4);
		fill(buf, CHUNK);
		begin = now();
		for (turn = 0; turn < 4; turn++) {
			rewind_to_start(fd);
			write_some(fd, bytes / 4);
		}
	}
	printf("%.6f\n", now() - begin);
	return 0;
}
