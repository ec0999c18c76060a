// SPDX-License-Identifier: GPL-2.0
#include "mount8.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CMDLINE_MAX	= 131072,
	ARGS_MAX	= 4096,
};

/* Only the ones with an argument matter: the others pass as unknown. */
static const char short_options[] = "L:N:O:T:U:m::o:t:";
static const struct option long_options[] = {
	{ "options", required_argument, NULL, 'o' },
	{ "fstab", required_argument, NULL, 'T' },
	{ "source", required_argument, NULL, 's' },
	{ "target", required_argument, NULL, 'd' },
	{ "label", required_argument, NULL, 'L' },
	{ "uuid", required_argument, NULL, 'U' },
	{ "namespace", required_argument, NULL, 'N' },
	{ "test-opts", required_argument, NULL, 'O' },
	{ "types", required_argument, NULL, 't' },
	{ "mkdir", optional_argument, NULL, 'm' },
	{ "options-mode", required_argument, NULL, 0 },
	{ "options-source", required_argument, NULL, 0 },
	{ "target-prefix", required_argument, NULL, 0 },
	{ }
};

struct command {
	bool shared;
	int places;		/* source and target, as far as they are named */
	const char *fstab;
};

static bool names_shared(const char *options)
{
	struct mntent entry = { .mnt_opts = (char *)options };

	return hasmntopt(&entry, "shared");
}

static void parse(int argc, char **argv, struct command *cmd)
{
	int opt;

	opterr = 0;
	optind = 0;	/* getopt starts anew */
	while ((opt = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
		if (opt == 'o')
			cmd->shared |= names_shared(optarg);
		else if (opt == 'T')
			cmd->fstab = optarg;
		else if (opt && strchr("sdLU", opt))
			cmd->places++;
	}
	cmd->places += argc - optind;
}

/* Reads our parent's arguments to buf; returns how many, 0 if it is not mount(8). */
static int parent_args(char *buf, size_t size, char **argv)
{
	char path[32], *p, *name;
	ssize_t len;
	int fd, n = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", getppid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len <= 0)
		return 0;
	buf[len] = '\0';
	for (p = buf; p < buf + len && n < ARGS_MAX; p += strlen(p) + 1)
		argv[n++] = p;
	argv[n] = NULL;
	name = strrchr(argv[0], '/');
	return strcmp(name ? name + 1 : argv[0], "mount") ? 0 : n;
}

static bool fstab_shared(const char *file, const char *dir)
{
	char here[PATH_MAX], there[PATH_MAX];
	struct mntent *entry;
	bool found = false;
	FILE *f;

	f = setmntent(file, "re");
	if (!f)
		return false;
	if (!realpath(dir, here))
		snprintf(here, sizeof(here), "%s", dir);
	while (!found && (entry = getmntent(f)))
		found = !strncmp(entry->mnt_type, "archil", 6) && names_shared(entry->mnt_opts) &&
			realpath(entry->mnt_dir, there) && !strcmp(here, there);
	endmntent(f);
	return found;
}

bool mount8_shared(const char *dir)
{
	static char buf[CMDLINE_MAX], *argv[ARGS_MAX + 1];
	struct command cmd = { .fstab = "/etc/fstab" };
	int argc = parent_args(buf, sizeof(buf), argv);

	if (!argc)
		return false;
	parse(argc, argv, &cmd);
	/* with both on the command line mount(8) does not look there */
	return cmd.shared || (cmd.places < 2 && fstab_shared(cmd.fstab, dir));
}
