// SPDX-License-Identifier: GPL-2.0
/*
 * badioctl DIR: every ioctl of an archil mount and of /dev/archil, with what it must
 * refuse. Prints what was wrong; the exit status says whether anything was.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

static const struct {
	const char *name;
	unsigned long cmd;
	size_t size;
	int dev;
} calls[] = {
	{ "CHECKOUT", ARCHIL_IOC_CHECKOUT, sizeof(struct archil_ioc_checkout), 0 },
	{ "CHECKIN", ARCHIL_IOC_CHECKIN, sizeof(struct archil_ioc_checkin), 0 },
	{ "STATUS", ARCHIL_IOC_STATUS, sizeof(struct archil_ioc_status), 0 },
	{ "DELEGATION", ARCHIL_IOC_DELEGATION, sizeof(struct archil_ioc_delegation), 0 },
	{ "SYNC", ARCHIL_IOC_SYNC, sizeof(struct archil_ioc_flags), 0 },
	{ "ABORT", ARCHIL_IOC_ABORT, sizeof(struct archil_ioc_flags), 0 },
	{ "DEV_ABORT", ARCHIL_DEV_ABORT, sizeof(struct archil_dev_abort), 1 },
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static int fds[2];
static int passed;
static union {
	uint32_t word[2];		/* size and flags */
	uint8_t byte[8192];
} arg;

static void expect(int call, const char *what, void *p, int errno_wanted)
{
	int rc = ioctl(fds[calls[call].dev], calls[call].cmd, p);

	if (rc == -1 && errno == errno_wanted)
		passed++;
	else
		wrong("%s, %s: %s", calls[call].name, what, rc < 0 ? strerror(errno) : "success");
}

static void prepare(int call)
{
	memset(&arg, 0, sizeof(arg));
	arg.word[0] = calls[call].size;
}

static void one(int call)
{
	static const uint32_t sizes[] = { 0, 1, 4, 8, 0x7fffffff, 0xffffffff };
	uint8_t *page, *edge;
	size_t i;
	int bit;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		prepare(call);
		arg.word[0] = sizes[i];
		expect(call, "another size", &arg, EINVAL);
	}
	prepare(call);
	arg.word[0]--;
	expect(call, "a byte less", &arg, EINVAL);
	arg.word[0] += 2;
	expect(call, "a byte more", &arg, EINVAL);
	for (bit = calls[call].cmd == ARCHIL_IOC_CHECKOUT; bit < 32; bit++) {
		prepare(call);
		arg.word[1] = 1u << bit;
		expect(call, "an unknown flag", &arg, EINVAL);
	}
	expect(call, "no memory", NULL, EFAULT);
	expect(call, "the kernel's memory", (void *)-4096L, EFAULT);

	/* it begins in memory and ends where there is none */
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || munmap(page + 4096, 4096))
		die("mmap");
	edge = page + 4096 - 12;
	memset(page, 0, 4096);
	memcpy(edge, &calls[call].size, 4);
	expect(call, "half in memory", edge, EFAULT);
	munmap(page, 4096);
}

static void wrong_file(int call)
{
	int other = !calls[call].dev;

	prepare(call);
	if (ioctl(fds[other], calls[call].cmd, &arg) == -1 && errno == ENOTTY)
		passed++;
	else
		wrong("%s on the wrong file", calls[call].name);
}

static void unknown_numbers(void)
{
	unsigned int nr;
	int i;

	for (nr = 0; nr < 256; nr++) {
		for (i = 0; i < CALLS; i++)
			if (_IOC_NR(calls[i].cmd) == nr)
				break;
		if (i < CALLS)
			continue;
		memset(&arg, 0, sizeof(arg));
		for (i = 0; i < 2; i++) {
			if (ioctl(fds[i], _IOWR(ARCHIL_IOC_MAGIC, nr, uint64_t[8]), &arg) != -1 ||
			    errno != ENOTTY)
				wrong("number %u is known", nr);
			passed++;
		}
	}
}

int main(int argc, char **argv)
{
	int i;

	if (argc != 2) {
		fprintf(stderr, "usage: badioctl DIRECTORY\n");
		return 2;
	}
	fds[0] = open(argv[1], O_RDONLY | O_DIRECTORY);
	fds[1] = open("/dev/archil", O_RDWR);
	if (fds[0] < 0 || fds[1] < 0)
		die("open");
	for (i = 0; i < CALLS; i++) {
		one(i);
		wrong_file(i);
	}
	unknown_numbers();
	printf("%d as they must be, %d not\n", passed, prog_failed);
	return prog_failed ? 1 : 0;
}
