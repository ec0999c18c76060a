// SPDX-License-Identifier: GPL-2.0
/*
 * gone-attr DIR: attributes of what has no name any more. All must succeed, the fsync of what is
 * above included; xattrs may say ESTALE.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "prog.h"

static void one(const char *what, const char *dir, int fd)
{
	int d = open(dir, O_RDONLY);

	if (fd < 0)
		die("%s", what);
	if (fchmod(fd, 0700) || fchown(fd, 1, 2) || futimens(fd, NULL))
		wrong("%s: %s", what, strerror(errno));
	if (fsetxattr(fd, "trusted.x", "y", 1, 0) && errno != ESTALE)
		wrong("%s: xattr: %s", what, strerror(errno));
	if (fsync(d))
		wrong("%s: fsync of the directory above: %s", what, strerror(errno));
	close(fd);
	close(d);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 2 || chdir(argv[1]))
		return 2;
	mkdir("d", 0755);
	fd = open("d", O_RDONLY);
	rmdir("d");
	one("directory", ".", fd);
	mkfifo("p", 0644);
	fd = open("p", O_RDWR);
	unlink("p");
	one("fifo", ".", fd);
	mknod("n", S_IFCHR | 0644, 0x103);
	fd = open("n", O_RDONLY);
	unlink("n");
	one("device", ".", fd);
	return prog_failed != 0;
}
