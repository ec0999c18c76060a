// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "cmd.h"

static const char usage[] =
	"check DIR [--json]\n"
	"Read and verify all metadata of every disk in the store DIR. Prints a line\n"
	"for each damage that is found. Exit status 0: there is none; 1: there is.\n"
	"--json also counts files that were removed and are kept: orphans (still open),\n"
	"released (readable for the time of --reap-delay), intents (changes that are to be\n"
	"made to data files); and data_files.\n";

int cmd_check(int argc, char **argv)
{
	json_t *reply, *damage, *line;
	bool json = false;
	long long disks;
	size_t i, n;
	int rc = cmd_options(&argc, argv, usage, &json);

	if (rc >= 0)
		return rc;
	if (argc != 2)
		return cmd_usage(usage, false);
	reply = cmd_request(argv[1], json_pack("{s:s}", "command", "check"));
	if (!reply)
		return EXIT_FAILED;
	damage = json_object_get(reply, "damage");
	n = json_array_size(damage);
	disks = json_integer_value(json_object_get(reply, "disks"));
	if (json) {
		cmd_print_json(reply);
	} else {
		json_array_foreach(damage, i, line)
			puts(json_string_value(line));
		if (n)
			fprintf(stderr, "archil-server: %zu found\n", n);
		else
			printf("%lld disk%s, no damage\n", disks, disks == 1 ? "" : "s");
	}
	json_decref(reply);
	return n ? EXIT_FAILED : EXIT_DONE;
}
