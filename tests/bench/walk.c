// SPDX-License-Identifier: GPL-2.0
/* walk DIR: reads every file beneath it, each from its beginning to its end. */
#include <ftw.h>

#include "bench.h"

static char buf[128 << 10];

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	ssize_t n;
	int fd;

	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY);
	if (fd < 0)
		die("%s", path);
	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
	if (n < 0)
		die("read %s", path);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	double begin = now();

	if (argc != 2) {
		fputs("usage: walk DIR\n", stderr);
		return 2;
	}
	if (nftw(argv[1], visit, 64, FTW_PHYS))
		die("%s", argv[1]);
	printf("%.6f\n", now() - begin);
	return 0;
}
