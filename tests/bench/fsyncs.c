// SPDX-License-Identifier: GPL-2.0
/*
 * fsyncs append DIR N: N times 4 KiB appended to one file, with an fsync each
 * fsyncs small DIR N: N new files of 4 KiB, with an fsync each
 * fsyncs busy DIR N: the same, the mean of one of N, while 64 MiB that were
 *	written before are on their way to the store; of as many as begin meanwhile
 * fsyncs syncfs DIR 1
 */
#include <signal.h>
#include <sys/wait.h>

#include "bench.h"

#define SMALL	4096
#define BIG	(64 * MIB)

static char buf[MIB];

static void put_new(const char *prefix, unsigned long n)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%s%05lu", prefix, n);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		die("%s", path);
	put(fd, buf, SMALL);
	if (fsync(fd) || close(fd))
		die("fsync %s", path);
}

static double append(unsigned long count)
{
	int fd = open("append", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	double begin = now();

	if (fd < 0)
		die("append");
	while (count--) {
		put(fd, buf, SMALL);
		if (fsync(fd))
			die("fsync");
	}
	return now() - begin;
}

static double small(unsigned long count)
{
	double begin = now();
	unsigned long i;

	for (i = 0; i < count; i++)
		put_new("small", i);
	return now() - begin;
}

static double busy(unsigned long count)
{
	unsigned long i = 0;
	unsigned int done;
	double begin, time;
	pid_t pid;
	int fd;

	fd = open("big", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die("big");
	for (done = 0; done < BIG; done += sizeof(buf))
		put(fd, buf, sizeof(buf));
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(fsync(fd) ? 1 : 0);
	/* it has begun */
	usleep(2000);
	begin = now();
	do
		put_new("busy", i++);
	while (i < count && !waitpid(pid, NULL, WNOHANG));
	time = (now() - begin) / i;
	fprintf(stderr, "fsyncs: %lu small files while 64 MiB were on their way\n", i);
	waitpid(pid, NULL, 0);
	return time;
}

static double all(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);
	double begin = now();

	if (fd < 0 || syncfs(fd))
		die("syncfs");
	return now() - begin;
}

int main(int argc, char **argv)
{
	unsigned long count;
	double time;

	if (argc != 4) {
		fputs("usage: fsyncs append|small|busy|syncfs DIR N\n", stderr);
		return 2;
	}
	count = strtoul(argv[3], NULL, 10);
	fill(buf, sizeof(buf));
	if (chdir(argv[2]))
		die("%s", argv[2]);
	switch (argv[1][0]) {
	case 'a':
		time = append(count);
		break;
	case 'b':
		time = busy(count);
		break;
	default:
		time = argv[1][1] == 'm' ? small(count) : all();
	}
	printf("%.6f\n", time);
	return 0;
}
