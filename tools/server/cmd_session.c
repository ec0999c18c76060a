// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "util.h"

static const char usage[] =
	"session list DIR DISK [--json]\n"
	"       archil-server session end DIR DISK ID\n"
	"List the sessions (mounts) of a disk; end one: its delegations are released,\n"
	"and what its client has not made durable is lost to it (EIO).\n";

static void print_list(json_t *reply)
{
	json_t *ses;
	size_t i;

	json_array_foreach(json_object_get(reply, "sessions"), i, ses) {
		const char *address = cmd_text(ses, "address");

		printf("%-8lld %-16s %-20s %-9s %8lld delegations  since %s  %s\n",
		       (long long)json_integer_value(json_object_get(ses, "session")),
		       cmd_text(ses, "client"), cmd_text(ses, "root"),
		       json_is_true(json_object_get(ses, "read_only")) ? "read-only" :
		       json_is_true(json_object_get(ses, "shared")) ? "shared" : "exclusive",
		       (long long)json_integer_value(json_object_get(ses, "delegations")),
		       cmd_text(ses, "opened"), address[0] ? address : "not connected");
	}
}

int cmd_session(int argc, char **argv)
{
	bool json = false, list;
	uint64_t id = 0;
	json_t *reply;
	int rc = cmd_options(&argc, argv, usage, &json);

	if (rc >= 0)
		return rc;
	list = argc == 4 && !strcmp(argv[1], "list");
	if (!list && (argc != 5 || strcmp(argv[1], "end")))
		return cmd_usage(usage, false);
	if (!list && parse_number(argv[4], 1, INT64_MAX, &id)) {
		fprintf(stderr, "archil-server: '%s' is not the number of a session\n", argv[4]);
		return EXIT_USAGE;
	}
	reply = cmd_request(argv[2], json_pack("{s:s, s:s, s:I}",
					       "command", list ? "session-list" : "session-end",
					       "disk", argv[3], "session", (json_int_t)id));
	if (!reply)
		return EXIT_FAILED;
	if (json)
		cmd_print_json(reply);
	else if (list)
		print_list(reply);
	json_decref(reply);
	return EXIT_DONE;
}
