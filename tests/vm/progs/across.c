// SPDX-License-Identifier: GPL-2.0
/*
 * across DIR1 DIR2 SEED SECONDS: two delegations of one session. Threads write to files
 * through descriptors that stay open, and make and remove others, while child processes move
 * files and directories between the two, exchange, link and unlink them, and are
 * killed at random. Whatever moves, no write, fsync or create may fail, and at the
 * end each file has what was written to it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "prog.h"

#define FILES	6
#define BLOCKS	24		/* of 1 KiB: half of the files stay small */
#define BLOCK	1024

static const char *dirs[2];
static volatile bool stop;
static unsigned long writes, syncs, names;
static struct { unsigned long moves[8], kills; } *shared;

static unsigned int rnd(unsigned int *state, unsigned int below)
{
	return rand_r(state) / 7 % below;
}

/* ---- who writes ---- */

struct writer {
	pthread_t thread;
	unsigned int n, seed, blocks;
	int fd, dirfd;
	unsigned char gen[BLOCKS];
};

static void fill(unsigned char *block, unsigned int file, unsigned int i, unsigned int gen)
{
	memset(block, gen * 16 + file, BLOCK);
	block[0] = i;
	block[1] = gen;
}

static void *write_on(void *arg)
{
	struct writer *w = arg;
	unsigned char block[BLOCK];
	char name[32];
	unsigned int i;
	int fd;

	while (!stop) {
		i = rnd(&w->seed, w->blocks);
		w->gen[i]++;
		fill(block, w->n, i, w->gen[i]);
		if (pwrite(w->fd, block, BLOCK, i * BLOCK) != BLOCK)
			wrong("write to file %u: %s", w->n, errname(errno));
		__atomic_fetch_add(&writes, 1, __ATOMIC_RELAXED);
		if (!rnd(&w->seed, 16)) {
			if (fsync(w->fd))
				wrong("fsync of file %u: %s", w->n, errname(errno));
			__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
		}
		/* names of its own, in a directory that moves */
		snprintf(name, sizeof(name), "n%u-%u", w->n, rnd(&w->seed, 8));
		fd = openat(w->dirfd, name, O_CREAT | O_RDWR, 0600);
		if (fd < 0) {
			wrong("create of %s: %s", name, errname(errno));
			continue;
		}
		if (write(fd, name, sizeof(name)) != sizeof(name))
			wrong("write to %s: %s", name, errname(errno));
		close(fd);
		__atomic_fetch_add(&names, 1, __ATOMIC_RELAXED);
		if (rnd(&w->seed, 2) && unlinkat(w->dirfd, name, 0))
			wrong("unlink of %s: %s", name, errname(errno));
		usleep(rnd(&w->seed, 3000));
	}
	return NULL;
}

/* ---- who moves ---- */

/*
 * What may have been taken away, be there already, or be something else where an
 * exchange was killed. ESTALE: names changed twice while we waited for those who were killed.
 */
static void expect(int rc, const char *what)
{
	if (rc && errno != ENOENT && errno != EEXIST && errno != EPERM && errno != ENOTDIR &&
	    errno != EISDIR && errno != ENOTEMPTY && errno != ESTALE)
		wrong("%s: %s", what, errname(errno));
}

static void move(unsigned int *seed)
{
	unsigned int from = rnd(seed, 2), n = rnd(seed, FILES), op = rnd(seed, 8);
	char a[128], b[128], c[128];
	int fd;

	snprintf(a, sizeof(a), "%s/f%u", dirs[from], n);
	snprintf(b, sizeof(b), "%s/f%u", dirs[!from], n);
	switch (op) {
	case 0:
	case 1:
		expect(rename(a, b), "rename of a file");
		break;
	case 2:
		snprintf(a, sizeof(a), "%s/d%u", dirs[from], n);
		snprintf(b, sizeof(b), "%s/d%u", dirs[!from], n);
		expect(rename(a, b), "rename of a directory");
		break;
	case 3:
		snprintf(a, sizeof(a), "%s/d%u", dirs[from], n);
		snprintf(b, sizeof(b), "%s/f%u", dirs[!from], rnd(seed, FILES));
		expect(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), "exchange");
		/* back, so that names go on telling what they are */
		expect(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), "exchange back");
		break;
	case 4:
		snprintf(c, sizeof(c), "%s/l%u", dirs[!from], n);
		expect(link(a, c), "link");
		break;
	case 5:
		snprintf(c, sizeof(c), "%s/l%u", dirs[!from], n);
		expect(unlink(c), "unlink");
		break;
	case 6:
		/* over a file that somebody has open */
		snprintf(a, sizeof(a), "%s/v%u", dirs[from], n);
		snprintf(b, sizeof(b), "%s/v%u", dirs[!from], n);
		fd = open(b, O_CREAT | O_RDWR, 0600);
		if (fd < 0 || write(fd, b, sizeof(b)) < 0)
			wrong("victim: %s", errname(errno));
		close(open(a, O_CREAT | O_RDWR, 0600));
		expect(rename(a, b), "rename over a file");
		if (write(fd, b, sizeof(b)) < 0)
			wrong("write to a file that was replaced: %s", errname(errno));
		close(fd);
		break;
	case 7:
		snprintf(c, sizeof(c), "%s/t%u", dirs[!from], n);
		fd = open(dirs[from], O_TMPFILE | O_RDWR, 0600);
		if (fd < 0)
			wrong("temporary file: %s", errname(errno));
		snprintf(a, sizeof(a), "/proc/self/fd/%d", fd);
		expect(linkat(AT_FDCWD, a, AT_FDCWD, c, AT_SYMLINK_FOLLOW), "link of it");
		close(fd);
		expect(unlink(c), "unlink of it");
		break;
	}
	__atomic_fetch_add(&shared->moves[op], 1, __ATOMIC_RELAXED);
}

static void move_and_be_killed(unsigned int seed, time_t end)
{
	unsigned int child_seed;
	pid_t pid;
	int status;

	while (time(NULL) < end) {
		child_seed = rand_r(&seed);
		pid = fork();
		if (!pid) {
			while (time(NULL) < end)
				move(&child_seed);
			_exit(prog_failed ? 1 : 0);
		}
		usleep(20000 + rnd(&seed, 300000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		__atomic_fetch_add(&shared->kills, 1, __ATOMIC_RELAXED);
		if (WIFEXITED(status) && WEXITSTATUS(status))
			_exit(1);
	}
	_exit(0);
}

/* ---- the end ---- */

static int find(unsigned int n)
{
	char path[128];
	int i, fd;

	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%c%u", dirs[i & 1], "fl"[i / 2], n);
		fd = open(path, O_RDONLY);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static void compare(const struct writer *w)
{
	unsigned char block[BLOCK], want[BLOCK];
	struct stat a, b;
	unsigned int i;
	int fd = find(w->n);

	/* an exchange may have been killed in the middle: then it is where a directory was */
	if (fd < 0 || fstat(fd, &a) || fstat(w->fd, &b) || a.st_ino != b.st_ino) {
		close(fd);
		fd = w->fd;
	}
	for (i = 0; i < w->blocks; i++) {
		fill(want, w->n, i, w->gen[i]);
		if (!w->gen[i])
			continue;
		if (pread(fd, block, BLOCK, i * BLOCK) != BLOCK || memcmp(block, want, BLOCK))
			wrong("file %u, block %u is not what was written", w->n, i);
	}
	if (fd != w->fd)
		close(fd);
}

int main(int argc, char **argv)
{
	struct writer w[FILES] = { };
	unsigned int i, seed;
	char path[128];
	pid_t movers[3];
	time_t end;
	int status;

	if (argc != 5) {
		fputs("usage: across DIR1 DIR2 SEED SECONDS\n", stderr);
		return 2;
	}
	dirs[0] = argv[1];
	dirs[1] = argv[2];
	seed = atoi(argv[3]);
	end = time(NULL) + atoi(argv[4]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	for (i = 0; i < FILES; i++) {
		w[i].n = i;
		w[i].seed = seed + i;
		w[i].blocks = i & 1 ? BLOCKS : BLOCKS / 4;
		snprintf(path, sizeof(path), "%s/f%u", dirs[i & 1], i);
		w[i].fd = open(path, O_CREAT | O_RDWR, 0644);
		snprintf(path, sizeof(path), "%s/d%u", dirs[i & 1], i);
		if (mkdir(path, 0755))
			die("%s", path);
		w[i].dirfd = open(path, O_RDONLY | O_DIRECTORY);
		if (w[i].fd < 0 || w[i].dirfd < 0)
			die("%s", path);
	}
	for (i = 0; i < 3; i++) {
		movers[i] = fork();
		if (!movers[i])
			move_and_be_killed(seed * 31 + i, end);
	}
	for (i = 0; i < FILES; i++)
		pthread_create(&w[i].thread, NULL, write_on, &w[i]);
	for (i = 0; i < 3; i++) {
		waitpid(movers[i], &status, 0);
		if (status)
			wrong("a mover ended with status %#x", status);
	}
	stop = true;
	for (i = 0; i < FILES; i++)
		pthread_join(w[i].thread, NULL);
	for (i = 0; i < FILES; i++) {
		compare(&w[i]);
		if (fsync(w[i].fd))
			wrong("the last fsync of file %u: %s", i, errname(errno));
	}
	printf("%lu writes, %lu fsyncs, %lu names; %lu kills; moves:", writes, syncs, names,
	       shared->kills);
	for (i = 0; i < 8; i++)
		printf(" %lu", shared->moves[i]);
	putchar('\n');
	return prog_failed != 0;
}
