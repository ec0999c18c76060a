// SPDX-License-Identifier: GPL-2.0
/*
 * halfway DIR COMMAND [ARG...]: reads a few entries of the directory, runs the command, reads
 * the rest. Says how many there were; 0 if the command worked and all could be read.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prog.h"

#define A_FEW	128	/* bytes of struct linux_dirent64 that are asked for at a time */

static unsigned int entries(const char *buf, long len)
{
	unsigned int n = 0;
	uint16_t reclen;
	long pos;

	for (pos = 0; pos < len; pos += reclen, n++)
		memcpy(&reclen, buf + pos + 16, sizeof(reclen));
	return n;
}

static int run(char **argv)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		die("%s", argv[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("%s", argv[0]);
	return status;
}

int main(int argc, char **argv)
{
	unsigned int n = 0;
	bool ran = false;
	char buf[A_FEW];
	long len;
	int fd;

	if (argc < 3) {
		fputs("usage: halfway DIR COMMAND [ARG...]\n", stderr);
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		die("%s", argv[1]);
	while ((len = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		n += entries(buf, len);
		if (ran || n <= 2)	/* "." and ".." are no part of the directory yet */
			continue;
		ran = true;
		if (run(argv + 2))
			wrong("%s failed", argv[2]);
	}
	if (len)
		die("reading %s", argv[1]);
	if (!ran)
		wrong("%s is empty", argv[1]);
	printf("%u\n", n);
	return prog_failed;
}
