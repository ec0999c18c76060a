// SPDX-License-Identifier: GPL-2.0
#include "cmd.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "control.h"

int cmd_usage(const char *usage, bool asked)
{
	fprintf(asked ? stdout : stderr, "usage: archil-server %s", usage);
	return asked ? EXIT_DONE : EXIT_USAGE;
}

int cmd_options(int *argc, char **argv, const char *usage, bool *json)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c, i, n = 1;

	optind = 0;
	while ((c = getopt_long(*argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cmd_usage(usage, true);
		if (c != 'j' || !json)
			return cmd_usage(usage, false);
		*json = true;
	}
	for (i = optind; i < *argc; i++)
		argv[n++] = argv[i];
	*argc = n;
	return -1;
}

int cmd_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("archil-server: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

json_t *cmd_request(const char *dir, json_t *request)
{
	json_t *reply = control_request(dir, request);
	const char *error = json_string_value(json_object_get(reply, "error"));

	json_decref(request);
	if (!error)
		return reply;
	cmd_fail("%s", error);
	json_decref(reply);
	return NULL;
}

void cmd_print_json(json_t *reply)
{
	json_dumpf(reply, stdout, JSON_INDENT(2));
	putchar('\n');
}

const char *cmd_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
