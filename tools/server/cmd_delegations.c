// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "cmd.h"

static const char usage[] =
	"delegations DIR DISK [--json]\n"
	"List who owns what on a disk: path, client, session, origin, state, since when.\n";

int cmd_delegations(int argc, char **argv)
{
	json_t *reply, *one;
	bool json = false;
	size_t i;
	int rc = cmd_options(&argc, argv, usage, &json);

	if (rc >= 0)
		return rc;
	if (argc != 3)
		return cmd_usage(usage, false);
	reply = cmd_request(argv[1], json_pack("{s:s, s:s}", "command", "delegations",
					       "disk", argv[2]));
	if (!reply)
		return EXIT_FAILED;
	if (json)
		cmd_print_json(json_object_get(reply, "delegations"));
	else
		json_array_foreach(json_object_get(reply, "delegations"), i, one)
			printf("%-40s %-16s session %-6lld %-9s %-7s since %s\n",
			       cmd_text(one, "path"), cmd_text(one, "client"),
			       (long long)json_integer_value(json_object_get(one, "session")),
			       cmd_text(one, "origin"), cmd_text(one, "state"),
			       cmd_text(one, "since"));
	json_decref(reply);
	return EXIT_DONE;
}
