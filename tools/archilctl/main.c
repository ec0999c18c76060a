// SPDX-License-Identifier: GPL-2.0
/* archilctl: ownership of what is in archil mounts, and their state. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "util.h"

static const struct ctl_command *const commands[] = {
	&ctl_checkout, &ctl_checkin, &ctl_delegations, &ctl_status, &ctl_abort,
};

static void usage(FILE *out)
{
	size_t i;

	fputs("Usage: archilctl COMMAND ...\n\n", out);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-12s %-30s %s\n", commands[i]->name, commands[i]->args,
			commands[i]->summary);
	fputs("\n"
	      "archilctl COMMAND --help says more. Options may follow the paths.\n"
	      "\n"
	      "Exit status (of several paths: the highest):\n"
	      "  0  done\n"
	      "  1  any other error\n"
	      "  2  wrong usage\n"
	      "  3  another client owns it, or something in it\n"
	      "  4  checkin: nothing is held there\n"
	      "  5  checkin: it lies inside something larger that is held as a whole\n"
	      "  6  no permission, or a read-only mount\n"
	      "  7  not in an archil file system\n"
	      "  8  no answer from the server, or no archil-agent\n", out);
}

static const struct ctl_command *find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct ctl_command *cmd;
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "--version")) {
		puts("archilctl " ARCHIL_VERSION);
		return CTL_OK;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		cmd = argc > 2 ? find(argv[2]) : NULL;
		if (cmd)
			ctl_usage(cmd, true);
		else
			usage(stdout);
		return CTL_OK;
	}
	cmd = find(name);
	if (!cmd) {
		if (*name)
			fprintf(stderr, "archilctl: there is no command '%s'\n", name);
		usage(stderr);
		return CTL_USAGE;
	}
	return cmd->run(argc - 1, argv + 1);
}
