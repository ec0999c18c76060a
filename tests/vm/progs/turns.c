// SPDX-License-Identifier: GPL-2.0
/*
 * turns DIR_A DIR_B SECONDS: two processes take one directory, as two mounts have it, from each
 * other, by force or by giving it back, and count in it: in a small file and in a large one.
 *
 * 1. Who has checked it out reads at least what anybody was told was durable: if it is still his when
 *    he has synced what he writes next. Else the other may have been faster than the word of it.
 * 2. And no more than anybody has ever written.
 * 3. What one has written and synced is durable, also if the other takes it then.
 *
 * Whatever is killed meanwhile, no call may fail but for a force.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

#define BULK	(160 << 10)
#define WORDS	(BULK / 8)

static struct {
	_Atomic uint64_t durable, tried;	/* of the number that is counted */
	_Atomic unsigned int turns, lost, wrong;
} *shared;

static uint64_t bulk[WORDS];
static const char *doing;		/* what has failed */

static void set_max(_Atomic uint64_t *max, uint64_t n)
{
	uint64_t was = *max;

	while (was < n && !atomic_compare_exchange_weak(max, &was, n))
		;
}

static int checkout(int dir, bool force)
{
	struct archil_ioc_checkout co = {
		.size = sizeof(co), .flags = force ? ARCHIL_CHECKOUT_FORCE : 0,
	};

	return ioctl(dir, ARCHIL_IOC_CHECKOUT, &co) ? errno : 0;
}

static void checkin(int dir)
{
	struct archil_ioc_checkin ci = { .size = sizeof(ci) };

	/* ENOENT: taken meanwhile */
	if (ioctl(dir, ARCHIL_IOC_CHECKIN, &ci) && errno != ENOENT && errno != EIO)
		wrong("checkin: %s", errname(errno));
}

struct seen {
	uint64_t durable;		/* by then */
	uint64_t count, min, max;	/* min, max: of the large file's words */
};

/* What is in the files? Is it of those that were written? */
static void look(const int *fd, struct seen *seen)
{
	uint64_t n = 0, tried, min = UINT64_MAX, max = 0;
	size_t i;

	seen->durable = shared->durable;
	if (pread(fd[0], &n, 8, 0) < 0)
		wrong("reading count: %s", errname(errno));
	memset(bulk, 0, BULK);
	if (pread(fd[1], bulk, BULK, 0) < 0)
		wrong("reading bulk: %s", errname(errno));
	tried = shared->tried;
	for (i = 0; i < WORDS; i++) {
		min = bulk[i] < min ? bulk[i] : min;
		max = bulk[i] > max ? bulk[i] : max;
	}
	if (n > tried || max > tried)
		wrong("count is %lu, bulk up to %lu, beyond %lu", n, max, tried);
	seen->count = n;
	seen->min = min;
	seen->max = max;
}

/* It was his all the time. */
static void was_owner(const struct seen *seen)
{
	if (seen->count < seen->durable || seen->min < seen->durable)
		wrong("count was %lu, bulk from %lu to %lu, when %lu was durable", seen->count,
		      seen->min, seen->max, seen->durable);
}

/* A write that is overtaken by a force may end in the middle; the next one says why. */
static int put(int fd, uint64_t n, size_t len)
{
	size_t i, done = 0;
	ssize_t ret;

	for (i = 0; i < WORDS; i++)
		bulk[i] = n;
	doing = "pwrite";
	while (done < len) {
		ret = pwrite(fd, (char *)bulk + done, len - done, done);
		if (ret <= 0)
			return ret ? errno : EPIPE;
		done += ret;
	}
	doing = "fsync";
	return fsync(fd) ? errno : 0;
}

/*
 * Descriptors are opened before anything is looked at: if the other takes the directory they
 * are dead, so that nothing older is written over what he has made durable.
 */
static int turn(int dir)
{
	struct seen seen;
	int fd[2], err;
	uint64_t n;

	doing = "opening";
	fd[0] = openat(dir, "count", O_RDWR | O_CREAT, 0644);
	err = errno;
	fd[1] = openat(dir, "bulk", O_RDWR | O_CREAT, 0644);
	if (fd[0] < 0 || fd[1] < 0) {
		err = fd[0] < 0 ? err : errno;
	} else {
		look(fd, &seen);
		n = shared->tried + 1;
		set_max(&shared->tried, n);
		err = put(fd[0], n, 8);
		if (!err)
			err = put(fd[1], n, BULK);
		if (!err) {
			was_owner(&seen);
			set_max(&shared->durable, n);
		}
	}
	close(fd[0]);
	close(fd[1]);
	return err;
}

static void take_turns(const char *path, unsigned int seed, time_t end)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY), err;

	if (dir < 0)
		die("%s", path);
	while (time(NULL) < end && !shared->wrong) {
		err = checkout(dir, rand_r(&seed) % 3);
		if (err == EBUSY) {
			usleep(rand_r(&seed) % 100000);
			continue;
		}
		if (err) {
			wrong("checkout: %s", errname(err));
			break;
		}
		shared->turns++;
		err = turn(dir);
		if (err == EIO || err == EBUSY || err == EROFS || err == ESTALE)
			shared->lost++;
		else if (err)
			wrong("%s: %s", doing, errname(err));
		if (prog_failed)
			break;
		if (!(rand_r(&seed) % 2))
			checkin(dir);
		usleep(rand_r(&seed) % 50000);
	}
	if (prog_failed)
		shared->wrong++;
	exit(prog_failed != 0);
}

int main(int argc, char **argv)
{
	time_t end;
	int i;

	if (argc != 4) {
		fputs("usage: turns DIR_A DIR_B SECONDS\n", stderr);
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	end = time(NULL) + atoi(argv[3]);
	for (i = 0; i < 2; i++)
		if (!fork())
			take_turns(argv[1 + i], i + 1, end);
	while (wait(NULL) > 0)
		;
	printf("%u turns, %u of them ended by the other; the number is %lu, %lu is durable\n",
	       shared->turns, shared->lost, shared->tried, shared->durable);
	return shared->wrong || !shared->durable;
}
