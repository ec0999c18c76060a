// SPDX-License-Identifier: GPL-2.0
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

void ctl_usage(const struct ctl_command *cmd, bool whole)
{
	FILE *out = whole ? stdout : stderr;

	fprintf(out, "Usage: archilctl %s %s\n", cmd->name, cmd->args);
	if (whole)
		fprintf(out, "\n%s", cmd->help);
	else
		fprintf(out, "Try 'archilctl %s --help'.\n", cmd->name);
}

int ctl_parse(const struct ctl_command *cmd, int argc, char **argv, const char *allowed,
	      int min, int max, struct ctl_args *args)
{
	static const struct option all[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "force", no_argument, NULL, 'f' },
		{ "yes", no_argument, NULL, 'y' },
		{ "help", no_argument, NULL, 'h' },
	};
	struct option known[5] = { };
	int opt, n = 0;
	size_t i;

	for (i = 0; i < 4; i++)
		if (all[i].val == 'h' || strchr(allowed, all[i].val))
			known[n++] = all[i];
	memset(args, 0, sizeof(*args));
	optind = 1;
	while ((opt = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (opt) {
		case 'j':
			args->json = true;
			break;
		case 'f':
			args->force = true;
			break;
		case 'y':
			args->yes = true;
			break;
		case 'h':
			ctl_usage(cmd, true);
			return CTL_OK;
		default:
			ctl_usage(cmd, false);
			return CTL_USAGE;
		}
	}
	args->paths = argc - optind;
	args->path = argv + optind;
	if (args->paths < min || args->paths > max) {
		ctl_usage(cmd, false);
		return CTL_USAGE;
	}
	return -1;
}
