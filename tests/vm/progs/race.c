// SPDX-License-Identifier: GPL-2.0
/*
 * race A B ROUNDS: two processes, one in mount A, one in mount B of the same disk, make
 * the same name at the same time, where nobody owns the directory. Of each round
 * exactly one must win; the other learns how it lost; afterwards both see the
 * same thing. Four pairs at once, so that the machine is never idle. The current directory's
 * name in both mounts is "race"; A's session must be able to own it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

#define PAIRS 4

enum contest { CREATE, MKDIR, OPEN, SYMLINK, CHECKOUT, KINDS };

/* How the second one learns that it was second. */
static const int lost_with[KINDS] = { EEXIST, EEXIST, EBUSY, EEXIST, EBUSY };
static const char *const kind_name[KINDS] = {
	"create", "mkdir", "open for writing", "symlink", "checkout"
};

static struct pair {
	pthread_barrier_t start, end;
	int result[2];		/* errno */
	ino_t ino[2];
	int wrong, wins[2];
} *pairs;			/* shared */

static int held(const char *name, unsigned long cmd)
{
	static union {
		struct archil_ioc_checkout out;
		struct archil_ioc_checkin in;
	} arg;
	int fd = open(name, O_RDONLY), rc;

	if (fd < 0)
		return errno;
	memset(&arg, 0, sizeof(arg));
	arg.out.size = cmd == ARCHIL_IOC_CHECKOUT ? sizeof(arg.out) : sizeof(arg.in);
	rc = ioctl(fd, cmd, &arg) ? errno : 0;
	close(fd);
	return rc;
}

static int try(enum contest kind, const char *name, int side)
{
	int fd;

	switch (kind) {
	case CREATE:
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		break;
	case OPEN:
		fd = open(name, O_CREAT | O_WRONLY, 0644);
		break;
	case MKDIR:
		return mkdir(name, 0755) ? errno : 0;
	case SYMLINK:
		return symlink(side ? "second" : "first", name) ? errno : 0;
	default:
		return held(name, ARCHIL_IOC_CHECKOUT);
	}
	if (fd < 0)
		return errno;
	if (write(fd, side ? "second" : "first ", 6) != 6) {
		close(fd);
		return errno;
	}
	return close(fd) ? errno : 0;
}

static void judge(struct pair *p, enum contest kind, const char *name)
{
	int winner = p->result[0] ? 1 : 0;

	if (p->result[winner] || p->result[!winner] != lost_with[kind]) {
		printf("wrong: %s %s: first %s, second %s\n", kind_name[kind], name,
		       errname(p->result[0]), errname(p->result[1]));
		p->wrong++;
	}
	if (p->ino[0] != p->ino[1] || !p->ino[0]) {
		printf("wrong: %s %s: the two see inodes %lu and %lu\n", kind_name[kind], name,
		       p->ino[0], p->ino[1]);
		p->wrong++;
	}
	p->wins[winner]++;
}

static void play(struct pair *p, int side, const char *dir, int number, int rounds)
{
	char path[300], name[64];
	enum contest kind;
	struct stat st;
	int i;

	for (i = 0; i < rounds; i++) {
		kind = i % KINDS;
		snprintf(name, sizeof(name), kind == CHECKOUT ? "d%d" : "n%d.%d", number, i);
		snprintf(path, sizeof(path), "%s/race/%s", dir, name);
		pthread_barrier_wait(&p->start);
		p->result[side] = try(kind, path, side);
		pthread_barrier_wait(&p->end);
		p->ino[side] = lstat(path, &st) ? 0 : st.st_ino;
		pthread_barrier_wait(&p->start);
		if (!side)
			judge(p, kind, name);
		if (kind == CHECKOUT && !p->result[side] && held(path, ARCHIL_IOC_CHECKIN))
			die("%s: checkin", path);
		pthread_barrier_wait(&p->end);
	}
}

static void shared_barrier(pthread_barrier_t *barrier)
{
	pthread_barrierattr_t attr;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(barrier, &attr, 2);
}

int main(int argc, char **argv)
{
	int i, status, wins[2] = { }, rounds;
	char path[300];

	if (argc != 4) {
		fputs("usage: race A B ROUNDS\n", stderr);
		return 2;
	}
	rounds = atoi(argv[3]) / PAIRS;
	pairs = mmap(NULL, PAIRS * sizeof(*pairs), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(path, sizeof(path), "%s/race", argv[1]);
	if (mkdir(path, 0755))
		die("%s", path);
	for (i = 0; i < PAIRS; i++) {
		snprintf(path, sizeof(path), "%s/race/d%d", argv[1], i);
		if (mkdir(path, 0755))
			die("%s", path);
	}
	snprintf(path, sizeof(path), "%s/race", argv[1]);
	if (held(path, ARCHIL_IOC_CHECKIN))
		die("%s: checkin", path);

	for (i = 0; i < 2 * PAIRS; i++) {
		struct pair *p = &pairs[i / 2];

		if (i % 2 == 0) {
			shared_barrier(&p->start);
			shared_barrier(&p->end);
		}
		fflush(stdout);
		switch (fork()) {
		case -1:
			die("fork");
		case 0:
			play(p, i % 2, argv[1 + i % 2], i / 2, rounds);
			exit(0);
		}
	}
	for (i = 0; i < 2 * PAIRS; i++)
		if (wait(&status) < 0 || status)
			prog_failed++;
	for (i = 0; i < PAIRS; i++) {
		prog_failed += pairs[i].wrong;
		wins[0] += pairs[i].wins[0];
		wins[1] += pairs[i].wins[1];
	}
	printf("%d rounds: the first won %d, the second %d; %d wrong\n", wins[0] + wins[1],
	       wins[0], wins[1], prog_failed);
	if (!wins[0] || !wins[1])
		puts("one of them never won: it was no race");
	return prog_failed || !wins[0] || !wins[1];
}
