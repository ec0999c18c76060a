// SPDX-License-Identifier: GPL-2.0
/*
 * lap COMMAND [ARG...]: the time of a command from fork to exit; what it prints is
 * thrown away, what it complains of is not.
 */
#include <sys/wait.h>

#include "bench.h"

int main(int argc, char **argv)
{
	double begin;
	int status, fd;
	pid_t pid;

	if (argc < 2) {
		fputs("usage: lap COMMAND [ARG...]\n", stderr);
		return 2;
	}
	begin = now();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		fd = open("/dev/null", O_WRONLY);
		if (fd < 0 || dup2(fd, 1) < 0)
			die("/dev/null");
		execvp(argv[1], argv + 1);
		die("%s", argv[1]);
	}
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	printf("%.6f\n", now() - begin);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
