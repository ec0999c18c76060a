// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "store.h"

static const char usage[] =
	"init DIR\n"
	"Make an empty store in DIR, which is made if it is not there.\n";

int cmd_init(int argc, char **argv)
{
	char *why = NULL;
	int rc = cmd_options(&argc, argv, usage, NULL);

	if (rc >= 0)
		return rc;
	if (argc != 2)
		return cmd_usage(usage, false);
	rc = store_root_init(argv[1], &why);
	if (!rc)
		return EXIT_DONE;
	cmd_fail("%s", why ? why : strerror(-rc));
	free(why);
	return EXIT_FAILED;
}
