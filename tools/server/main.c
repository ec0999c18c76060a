// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "cmd.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "init", cmd_init, "make a store" },
	{ "disk", cmd_disk, "make, list and delete disks; new tokens" },
	{ "check", cmd_check, "verify a whole store" },
	{ "run", cmd_run, "serve" },
	{ "delegations", cmd_delegations, "who owns what on a disk" },
	{ "session", cmd_session, "list and end the sessions of a disk" },
};

static int help(FILE *out)
{
	size_t i;

	fputs("usage: archil-server COMMAND ...\n\n", out);
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-14s%s\n", commands[i].name, commands[i].help);
	fputs("\n'archil-server COMMAND --help' says more. Exit status: 0 done, 1 failed, 2 usage.\n",
	      out);
	return out == stdout ? EXIT_DONE : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return help(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(stdout);
	if (!strcmp(argv[1], "--version")) {
		puts("archil-server " ARCHIL_VERSION);
		return EXIT_DONE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "archil-server: there is no command '%s'\n", argv[1]);
	return help(stderr);
}
