// SPDX-License-Identifier: GPL-2.0
/*
 * tug DIR_A DIR_B ROUNDS SEED: one directory, seen through two mounts. On each side threads
 * write, store through mappings, rename, link, lock and remove in it without a pause,
 * whether they may or not, while ownership is checked out, in and forced away ROUNDS
 * times. Only the errors that losing ownership has are allowed; everybody must come to an end;
 * and whatever is in the files at the end was written by somebody.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

#define FILES	4	/* of each kind */
#define BLOCKS	6	/* of a page: small and large files */
#define PAGE	4096
#define CELLS	(BLOCKS * PAGE / 8)
#define KINDS	6

static struct shared {
	bool stop;
	unsigned long done[2][KINDS], refused[2][KINDS];
	bool ended[2][KINDS];
} *shared;

static unsigned int rnd(unsigned int *state, unsigned int below)
{
	return rand_r(state) / 7 % below;
}

/* Errors of a change where one does not own, does not own any more, or somebody was quicker. */
static bool allowed(int err)
{
	switch (err) {
	case EROFS: case EBUSY: case EIO: case ESTALE: case ENOENT: case EEXIST: case ENOTEMPTY:
		return true;
	}
	return false;
}

struct worker {
	pthread_t thread;
	const char *dir;
	unsigned int side, kind, seed;
};

static void count(struct worker *w, const char *what, int rc)
{
	if (rc >= 0) {
		__atomic_fetch_add(&shared->done[w->side][w->kind], 1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&shared->refused[w->side][w->kind], 1, __ATOMIC_RELAXED);
	if (!allowed(errno))
		wrong("%s: %s", what, errname(errno));
}

/* ---- what is written ---- */

static uint64_t cell(unsigned int file, unsigned int i, unsigned int gen)
{
	return (uint64_t)(0xa500 + file) << 48 | (uint64_t)i << 24 | (gen & 0xffffff);
}

static void fill(uint64_t *block, unsigned int file, unsigned int index, unsigned int gen)
{
	unsigned int i;

	for (i = 0; i < PAGE / 8; i++)
		block[i] = cell(file, index, gen) ^ (uint64_t)i << 16;
}

static int open_one(struct worker *w, char kind, unsigned int n, int flags)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%c%u", w->dir, kind, n);
	return open(path, flags, 0644);
}

/* write(2), through descriptors that live for a while */
static void writer(struct worker *w)
{
	uint64_t block[PAGE / 8];
	unsigned int i, n = rnd(&w->seed, FILES);
	int fd = open_one(w, 'w', n, O_RDWR | O_CREAT);

	count(w, "open to write", fd);
	if (fd < 0)
		return;
	for (i = rnd(&w->seed, 20); i; i--) {
		unsigned int index = rnd(&w->seed, n & 1 ? BLOCKS : 3);

		fill(block, n, index, rand_r(&w->seed));
		count(w, "write", pwrite(fd, block, PAGE, index * PAGE));
		if (!rnd(&w->seed, 10))
			count(w, "fsync", fsync(fd));
		if (!rnd(&w->seed, 10))
			count(w, "ftruncate", ftruncate(fd, rnd(&w->seed, BLOCKS) * PAGE));
	}
	close(fd);
}

static __thread sigjmp_buf bus_error;
static __thread volatile bool in_store;

static void on_sigbus(int sig)
{
	if (in_store)
		siglongjmp(bus_error, 1);
	_exit(3);
}

static bool store(volatile uint64_t *where, uint64_t what)
{
	if (sigsetjmp(bus_error, 1)) {
		in_store = false;
		errno = EIO;
		return false;
	}
	in_store = true;
	*where = what;
	in_store = false;
	return true;
}

static void mapper(struct worker *w)
{
	unsigned int i, n = rnd(&w->seed, FILES);
	int fd = open_one(w, 'm', n, O_RDWR | O_CREAT);
	volatile uint64_t *map;

	count(w, "open to map", fd);
	if (fd < 0)
		return;
	if (ftruncate(fd, BLOCKS * PAGE))
		count(w, "ftruncate", -1);
	map = mmap(NULL, BLOCKS * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		count(w, "mmap", -1);
		close(fd);
		return;
	}
	for (i = rnd(&w->seed, 50); i; i--) {
		unsigned int at = rnd(&w->seed, CELLS);

		if (!store(map + at, cell(n, at, rand_r(&w->seed)))) {
			count(w, "store", -1);
			break;
		}
		count(w, "store", 0);
		if (!rnd(&w->seed, 20))
			count(w, "msync", msync((void *)map, BLOCKS * PAGE, MS_SYNC));
	}
	munmap((void *)map, BLOCKS * PAGE);
	close(fd);
}

static void renamer(struct worker *w)
{
	char a[256], b[256];

	snprintf(a, sizeof(a), "%s/w%u", w->dir, rnd(&w->seed, FILES));
	snprintf(b, sizeof(b), "%s/r%u", w->dir, rnd(&w->seed, FILES));
	if (rnd(&w->seed, 2))
		count(w, "rename", rename(a, b));
	else
		count(w, "exchange", renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}

static void linker(struct worker *w)
{
	char a[256], b[256];
	int fd;

	snprintf(a, sizeof(a), "%s/h%u", w->dir, rnd(&w->seed, FILES));
	snprintf(b, sizeof(b), "%s/l%u", w->dir, rnd(&w->seed, FILES));
	fd = open(a, O_CREAT | O_WRONLY, 0600);
	count(w, "create", fd);
	if (fd >= 0)
		close(fd);
	count(w, "link", link(a, b));
	count(w, "setxattr", setxattr(a, "user.tug", b, rnd(&w->seed, 40), 0));
	count(w, "unlink", unlink(rnd(&w->seed, 2) ? a : b));
}

static void locker(struct worker *w)
{
	int fd = open_one(w, 'k', rnd(&w->seed, FILES), O_RDWR | O_CREAT);
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	int rc;

	count(w, "open to lock", fd);
	if (fd < 0)
		return;
	rc = rnd(&w->seed, 2) ? flock(fd, LOCK_EX | LOCK_NB) : fcntl(fd, F_SETLK, &fl);
	if (rc && errno == EAGAIN)
		rc = 0;
	count(w, "lock", rc);
	count(w, "fchmod", fchmod(fd, 0600 | rnd(&w->seed, 64)));
	close(fd);
}

/* Files that are removed while they are open, and directories. */
static void remover(struct worker *w)
{
	char path[300], dir[256];
	int fd;

	snprintf(dir, sizeof(dir), "%s/d%u", w->dir, rnd(&w->seed, FILES));
	snprintf(path, sizeof(path), "%s/o", dir);
	count(w, "mkdir", mkdir(dir, 0755));
	fd = open(path, O_CREAT | O_RDWR, 0600);
	count(w, "create", fd);
	count(w, "unlink", unlink(path));
	if (fd >= 0) {
		count(w, "write to an orphan", write(fd, path, sizeof(path)));
		close(fd);
	}
	count(w, "rmdir", rmdir(dir));
}

static void (*const kinds[KINDS])(struct worker *) = {
	writer, mapper, renamer, linker, locker, remover
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		kinds[w->kind](w);
		usleep(rnd(&w->seed, 500));
	}
	shared->ended[w->side][w->kind] = true;
	return NULL;
}

static void one_side(const char *dir, unsigned int side, unsigned int seed)
{
	struct worker w[KINDS];
	unsigned int i;

	signal(SIGBUS, on_sigbus);
	for (i = 0; i < KINDS; i++) {
		w[i] = (struct worker){ .dir = dir, .side = side, .kind = i,
					.seed = seed * 64 + side * 8 + i };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			die("thread");
	}
	for (i = 0; i < KINDS; i++)
		pthread_join(w[i].thread, NULL);
	_exit(prog_failed != 0);
}

/* ---- ownership ---- */

static int own(const char *dir, bool force)
{
	struct archil_ioc_checkout arg = {
		.size = sizeof(arg), .flags = force ? ARCHIL_CHECKOUT_FORCE : 0
	};
	int fd = open(dir, O_RDONLY | O_DIRECTORY), rc = fd < 0 ? -1 : ioctl(fd, ARCHIL_IOC_CHECKOUT, &arg);

	close(fd);
	return rc;
}

static int give_back(const char *dir)
{
	struct archil_ioc_checkin arg = { .size = sizeof(arg) };
	int fd = open(dir, O_RDONLY | O_DIRECTORY), rc = fd < 0 ? -1 : ioctl(fd, ARCHIL_IOC_CHECKIN, &arg);

	close(fd);
	return rc;
}

static void tug(char **dirs, unsigned int rounds, unsigned int seed)
{
	unsigned long forced = 0, taken = 0, given = 0, none = 0;
	unsigned int i, side;
	int rc;

	for (i = 0; i < rounds; i++) {
		side = rnd(&seed, 2);
		switch (rnd(&seed, 3)) {
		case 0:
			rc = own(dirs[side], true);
			forced += !rc;
			break;
		case 1:
			rc = own(dirs[side], false);
			taken += !rc;
			break;
		default:
			rc = give_back(dirs[side]);
			given += !rc;
		}
		if (rc && errno != EBUSY && errno != ENOENT)
			wrong("round %u: %s", i, errname(errno));
		none += !!rc;
		usleep(rnd(&seed, 20000));
	}
	printf("%lu forced, %lu checked out, %lu checked in, %lu refused\n", forced, taken, given,
	       none);
}

/* ---- the end ---- */

static void inspect(const char *dir)
{
	static const char wr[] = "wr";
	uint64_t block[PAGE / 8];
	unsigned int i, k, n, at, file;
	char path[256];
	ssize_t got;
	int fd;

	for (k = 0; k < 2 * FILES; k++) {
		snprintf(path, sizeof(path), "%s/%c%u", dir, wr[k / FILES], k % FILES);
		fd = open(path, O_RDONLY);
		for (n = 0; fd >= 0 && (got = pread(fd, block, PAGE, n * PAGE)) > 0; n++) {
			/* the first cell tells, wherever the file was moved to */
			file = (block[0] >> 48) - 0xa500;
			for (i = 0; i < got / 8; i++)
				if (block[i] != (block[0] ? block[0] ^ (uint64_t)i << 16 : 0))
					break;
			if (got != PAGE || i < PAGE / 8 || (block[0] && file >= FILES) ||
			    (block[0] && (block[0] >> 24 & 0xffffff) != n))
				wrong("%s: block %u is nobody's", path, n);
		}
		if (fd >= 0)
			close(fd);
	}
	for (k = 0; k < FILES; k++) {
		snprintf(path, sizeof(path), "%s/m%u", dir, k);
		fd = open(path, O_RDONLY);
		for (n = 0; fd >= 0 && pread(fd, block, PAGE, n * PAGE) == PAGE; n++) {
			for (i = 0; i < PAGE / 8; i++) {
				at = n * (PAGE / 8) + i;
				if (block[i] && block[i] >> 24 != cell(k, at, 0) >> 24)
					wrong("%s: cell %u is nobody's", path, at);
			}
		}
		if (fd >= 0)
			close(fd);
	}
}

int main(int argc, char **argv)
{
	unsigned int side, i, patience, left;
	pid_t pids[2];
	int status;

	if (argc != 5) {
		fputs("usage: tug DIR_A DIR_B ROUNDS SEED\n", stderr);
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	for (side = 0; side < 2; side++) {
		pids[side] = fork();
		if (!pids[side])
			one_side(argv[1 + side], side, atoi(argv[4]));
	}
	tug(argv + 1, atoi(argv[3]), atoi(argv[4]));
	shared->stop = true;
	for (patience = 0; patience < 300; patience++) {
		left = 0;
		for (i = 0; i < 2 * KINDS; i++)
			left += !shared->ended[i / KINDS][i % KINDS];
		if (!left)
			break;
		usleep(100000);
	}
	for (i = 0; i < 2 * KINDS; i++)
		if (!shared->ended[i / KINDS][i % KINDS])
			wrong("thread %u of side %u does not end", i % KINDS, i / KINDS);
	for (side = 0; side < 2 && !left; side++) {
		waitpid(pids[side], &status, 0);
		if (status)
			wrong("side %u ended with status %#x", side, status);
		if (give_back(argv[1 + side]) && errno != ENOENT)
			wrong("the last checkin: %s", errname(errno));
	}
	for (side = 0; side < 2 && !left; side++)
		inspect(argv[1 + side]);
	for (side = 0; side < 2; side++) {
		printf("side %u:", side);
		for (i = 0; i < KINDS; i++)
			printf(" %lu/%lu", shared->done[side][i], shared->refused[side][i]);
		putchar('\n');
	}
	return prog_failed != 0;
}
