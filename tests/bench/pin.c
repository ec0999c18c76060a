// SPDX-License-Identifier: GPL-2.0
/*
 * pin: keeps the files that standard input names in memory until it is killed. What has
 * to be read again from the guest's own disk after drop_caches would bring real time in.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "bench.h"

int main(void)
{
	char path[4096];
	struct stat st;
	void *map;
	int fd;

	while (fgets(path, sizeof(path), stdin)) {
		path[strcspn(path, "\n")] = '\0';
		fd = open(path, O_RDONLY);
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size)
			continue;
		map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		if (map == MAP_FAILED || mlock(map, st.st_size))
			die("%s", path);
		close(fd);
	}
	puts("pinned");
	fflush(stdout);
	for (;;)
		pause();
}
