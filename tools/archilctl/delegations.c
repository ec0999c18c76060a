// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"
#include "json.h"
#include "util.h"

static const char *state_name(uint32_t state)
{
	switch (state) {
	case ARCHIL_DELEG_LIVE:
		return "live";
	case ARCHIL_DELEG_DRAINING:
		return "draining";
	case ARCHIL_DELEG_TAKEN:
		return "taken";
	}
	return "unknown";
}

static const char *origin_name(uint32_t origin)
{
	switch (origin) {
	case ARCHIL_IOC_ORIGIN_MOUNT:
		return "mount";
	case ARCHIL_IOC_ORIGIN_CHECKOUT:
		return "checkout";
	case ARCHIL_IOC_ORIGIN_DYNAMIC:
		return "dynamic";
	}
	return "unknown";
}

static int print_one(const struct archil_ioc_delegation *d, const char *path, json_t *list,
		     bool first)
{
	char when[TIME_TEXT], shown[4 * ARCHIL_IOC_PATH_LEN];

	if (list)
		return json_array_append_new(list,
			json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:I}",
				  "path", ctl_json_text(path),
				  "state", state_name(d->state),
				  "origin", origin_name(d->origin),
				  "since_ns", (json_int_t)d->since_ns,
				  "number", (json_int_t)d->number,
				  "inode", (json_int_t)d->ino,
				  "backlog_records", (json_int_t)d->backlog));
	if (first)
		printf("%-9s %-9s %-19s %8s  %s\n", "STATE", "ORIGIN", "SINCE", "BACKLOG", "PATH");
	format_time(d->since_ns, realtime_ns(), when);
	ctl_printable(path, shown, sizeof(shown));
	printf("%-9s %-9s %-19s %8llu  %s\n", state_name(d->state), origin_name(d->origin), when,
	       (unsigned long long)d->backlog, *shown ? shown : "-");
	return 0;
}

/* Returns an errno. */
static int list_all(int fd, const struct where *w, json_t *list)
{
	struct archil_ioc_delegation d = { };
	char path[2 * ARCHIL_IOC_PATH_LEN];
	bool first = true;

	for (;;) {
		uint64_t cursor = d.cursor;

		memset(&d, 0, sizeof(d));
		d.size = sizeof(d);
		d.cursor = cursor;
		if (ioctl(fd, ARCHIL_IOC_DELEGATION, &d))
			return errno == ENOENT ? 0 : errno;
		path[0] = '\0';
		if (d.path[0])
			where_local(w, d.path, path, sizeof(path));
		if (print_one(&d, path, list, first))
			return ENOMEM;
		first = false;
	}
}

static int run(int argc, char **argv)
{
	char text[ARCHIL_IOC_PATH_LEN + 512];
	enum ctl_exit status;
	struct ctl_args args;
	json_t *list = NULL;
	struct where w;
	int fd, rc;

	rc = ctl_parse(&ctl_delegations, argc, argv, "j", 1, 1, &args);
	if (rc >= 0)
		return rc;
	fd = ctl_open_mount(args.path[0], &status);
	if (fd < 0)
		return status;
	where_is(fd, &w);
	if (args.json)
		list = json_array();
	rc = list_all(fd, &w, list);
	close(fd);
	if (rc) {
		json_decref(list);
		status = ctl_explain(CTL_DO_ASK, args.path[0], rc, "", NULL, text, sizeof(text));
		ctl_complain("%s", text);
		return status;
	}
	return args.json ? ctl_json_print(list) : CTL_OK;
}

const struct ctl_command ctl_delegations = {
	.name = "delegations",
	.args = "[--json] MOUNTPOINT",
	.summary = "list what this mount owns",
	.help =
"Lists what the mount owns: the state (live; draining: being given back; taken: lost by\n"
"force, being cleaned up), how it came to it (mount, checkout, dynamic), since\n"
"when, how many changes the server has not acknowledged, and the path.\n"
"\n"
"  --json   an array of objects: path, state, origin, since_ns (since 1970), number,\n"
"           inode, backlog_records\n",
	.run = run,
};
