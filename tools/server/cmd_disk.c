// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "cmd.h"

static const char usage[] =
	"disk create DIR NAME\n"
	"       archil-server disk list DIR [--json]\n"
	"       archil-server disk delete DIR NAME\n"
	"       archil-server disk token DIR NAME\n"
	"Make a disk in the store DIR and print its token as the last line; list the\n"
	"disks; delete one that no session is open on, with all that is in it; make a\n"
	"new token (the old one opens no new connections from then on).\n"
	"--json: print JSON. A token is kept nowhere: note it down.\n";

static int print_token(json_t *reply, const char *name, bool json)
{
	if (json) {
		cmd_print_json(reply);
	} else {
		printf("disk %s, its token:\n", name);
		puts(cmd_text(reply, "token"));
	}
	return EXIT_DONE;
}

static void print_list(json_t *reply)
{
	json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(reply, "disks"), i, disk) {
		const char *error = json_string_value(json_object_get(disk, "error"));

		if (error) {
			printf("%s: %s\n", cmd_text(disk, "name"), error);
			continue;
		}
		printf("%-24s %10lld inodes %6lld sessions %8lld delegations  since %s%s\n",
		       cmd_text(disk, "name"),
		       (long long)json_integer_value(json_object_get(disk, "inodes")),
		       (long long)json_integer_value(json_object_get(disk, "sessions")),
		       (long long)json_integer_value(json_object_get(disk, "delegations")),
		       cmd_text(disk, "created"),
		       json_is_true(json_object_get(disk, "read_only")) ? "  READ-ONLY" : "");
	}
}

int cmd_disk(int argc, char **argv)
{
	static const char *const commands[] = { "create", "list", "delete", "token" };
	bool json = false, list;
	char command[16];
	json_t *reply;
	size_t i;
	int rc = cmd_options(&argc, argv, usage, &json);

	if (rc >= 0)
		return rc;
	for (i = 0; argc > 1 && i < 4; i++)
		if (!strcmp(argv[1], commands[i]))
			break;
	list = i == 1;
	if (argc < 2 || i == 4 || argc != (list ? 3 : 4))
		return cmd_usage(usage, false);
	snprintf(command, sizeof(command), "disk-%s", argv[1]);
	if (list)
		reply = cmd_request(argv[2], json_pack("{s:s}", "command", command));
	else
		reply = cmd_request(argv[2], json_pack("{s:s, s:s}", "command", command,
						       "disk", argv[3]));
	if (!reply)
		return EXIT_FAILED;
	if (!strcmp(argv[1], "create") || !strcmp(argv[1], "token"))
		print_token(reply, argv[3], json);
	else if (json)
		cmd_print_json(reply);
	else if (list)
		print_list(reply);
	json_decref(reply);
	return EXIT_DONE;
}
