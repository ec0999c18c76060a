// SPDX-License-Identifier: GPL-2.0
/*
 * badioctls SEED PATH...: ioctls as nobody should send them, on each path: wrong sizes,
 * flags, reserved fields, pointers, numbers. Each must be refused and with the right
 * errno; that the kernel lives is for whoever calls to see.
 */
#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"

static const struct cmd {
	const char *name;
	unsigned long cmd;
	size_t size, reserved_at;
} cmds[] = {
#define CMD(name, type) { #name, name, sizeof(struct type), offsetof(struct type, reserved) }
	CMD(ARCHIL_IOC_CHECKOUT, archil_ioc_checkout),
	CMD(ARCHIL_IOC_CHECKIN, archil_ioc_checkin),
	CMD(ARCHIL_IOC_STATUS, archil_ioc_status),
	CMD(ARCHIL_IOC_DELEGATION, archil_ioc_delegation),
	CMD(ARCHIL_IOC_SYNC, archil_ioc_flags),
	CMD(ARCHIL_IOC_ABORT, archil_ioc_flags),
	CMD(ARCHIL_DEV_ABORT, archil_dev_abort),
};

static union {
	uint32_t head[2];	/* size, flags */
	uint32_t words[4096];
	unsigned char bytes[16384];
} arg;

static void refused(int fd, const char *path, const char *name, unsigned long cmd, void *ptr,
		    const char *how, int err, int err2)
{
	int got = ioctl(fd, cmd, ptr) < 0 ? errno : 0;

	if (got != err && got != err2 && got != ENOTTY)
		wrong("%s on %s, %s: %s, must be %s", name, path, how, errname(got), errname(err));
}

static void try_one(int fd, const char *path, const struct cmd *c)
{
	long page = sysconf(_SC_PAGESIZE);
	char *edge = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const uint32_t sizes[] = { 0, 1, 3, 4, 0xffffffff, 0x7fffffff };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes) + 2; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.head[0] = i < 6 ? sizes[i] : i == 6 ? c->size - 1 : c->size + 1;
		refused(fd, path, c->name, c->cmd, &arg, "wrong size", EINVAL, EINVAL);
	}
	for (i = 1; i < 32; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.head[0] = c->size;
		arg.head[1] = 1u << i;
		refused(fd, path, c->name, c->cmd, &arg, "unknown flag", EINVAL, EINVAL);
	}
	memset(&arg, 0, sizeof(arg));
	arg.head[0] = c->size;
	arg.bytes[c->reserved_at] = 1;
	/* structures that are filled in only may ignore it */
	if (c->cmd != ARCHIL_IOC_STATUS && c->cmd != ARCHIL_IOC_DELEGATION)
		refused(fd, path, c->name, c->cmd, &arg, "reserved field set", EINVAL, EINVAL);
	refused(fd, path, c->name, c->cmd, NULL, "null pointer", EFAULT, EFAULT);
	refused(fd, path, c->name, c->cmd, (void *)-1L, "wild pointer", EFAULT, EFAULT);
	if (edge == MAP_FAILED)
		die("mmap");
	munmap(edge + page, page);
	refused(fd, path, c->name, c->cmd, edge + page - 4, "pointer to the edge", EFAULT, EINVAL);
	munmap(edge, page);
}

static void try_random(int fd, const char *path, int rounds)
{
	unsigned long cmd;
	size_t i;
	int n;

	while (rounds--) {
		for (i = 0; i < sizeof(arg.words) / 4; i++)
			arg.words[i] = random();
		cmd = _IOC(random() & 3, ARCHIL_IOC_MAGIC, random() & 0xff, random() & 0x3fff);
		for (n = 0; n < 7; n++)
			if (cmd == cmds[n].cmd)
				break;
		/* a known number gets here with a size that is not its own */
		if (n < 7)
			arg.head[0] = cmds[n].size + 1 + random() % 1000;
		if (ioctl(fd, cmd, random() & 1 ? (void *)&arg : (void *)random()) >= 0)
			wrong("ioctl %#lx on %s succeeds", cmd, path);
		else if (errno != ENOTTY && errno != EINVAL && errno != EFAULT)
			wrong("ioctl %#lx on %s: %s", cmd, path, errname(errno));
	}
}

int main(int argc, char **argv)
{
	int i, fd;
	size_t c;

	if (argc < 3) {
		fputs("usage: badioctls SEED PATH...\n", stderr);
		return 2;
	}
	srandom(atoi(argv[1]));
	for (i = 2; i < argc; i++) {
		fd = open(argv[i], O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			die("%s", argv[i]);
		for (c = 0; c < sizeof(cmds) / sizeof(*cmds); c++)
			try_one(fd, argv[i], &cmds[c]);
		try_random(fd, argv[i], 5000);
		close(fd);
	}
	return prog_failed != 0;
}
