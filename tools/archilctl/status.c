// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"
#include "json.h"
#include "util.h"
#include "wire.h"

static const char *connection_name(uint32_t state)
{
	switch (state) {
	case ARCHIL_CONN_UP:
		return "up";
	case ARCHIL_CONN_LOST:
		return "lost";
	case ARCHIL_CONN_OVER:
		return "over";
	}
	return "unknown";
}

static const char *mode_name(uint32_t flags)
{
	if (flags & ARCHIL_STATUS_RO)
		return "ro";
	return flags & ARCHIL_STATUS_SHARED ? "shared" : "exclusive";
}

/* "12.5 MiB" */
static const char *size_text(uint64_t bytes, char out[static 32])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = bytes;
	int i = -1;

	if (bytes < 1024) {
		snprintf(out, 32, "%llu bytes", (unsigned long long)bytes);
		return out;
	}
	while (value >= 1024 && i < 5) {
		value /= 1024;
		i++;
	}
	snprintf(out, 32, "%.1f %s", value, units[i]);
	return out;
}

static void print_text(const struct archil_ioc_status *s, const char *mountpoint)
{
	char a[32], b[32], shown[4 * ARCHIL_IOC_PATH_LEN];
	unsigned long long n;
	unsigned int i;
	int column = 0;

	ctl_printable(mountpoint, shown, sizeof(shown));
	printf("mount        %s (%s), number %llu\n", shown, mode_name(s->mount_flags),
	       (unsigned long long)s->mount_id);
	ctl_printable(s->subdir, shown, sizeof(shown));
	printf("disk         %s%s%s on %s\n", s->disk, *shown ? ":/" : "", shown, s->server);
	printf("session      %llu\n", (unsigned long long)s->session);
	printf("connection   %s, epoch %llu; %llu reconnects, %llu requests sent again\n",
	       connection_name(s->state), (unsigned long long)s->epoch,
	       (unsigned long long)s->reconnects, (unsigned long long)s->resent);
	printf("agent        %s\n", s->mount_flags & ARCHIL_STATUS_AGENT ? "there" :
	       "none: mount, checkout, checkin and reconnecting wait for it");
	printf("delegations  %llu held, %llu taken by force\n", (unsigned long long)s->delegations,
	       (unsigned long long)s->taken);
	printf("dirty        %s, being written back %s\n", size_text(s->dirty_bytes, a),
	       size_text(s->writeback_bytes, b));
	printf("log          %llu records (%s) not acknowledged; %llu records sent in %llu batches\n",
	       (unsigned long long)s->backlog_records, size_text(s->backlog_bytes, a),
	       (unsigned long long)s->records, (unsigned long long)s->batches);
	printf("space        %s granted and unused\n", size_text(s->credit_bytes, a));
	printf("traffic      %s sent, %s received\n", size_text(s->bytes_sent, a),
	       size_text(s->bytes_received, b));
	printf("requests     %llu", (unsigned long long)s->requests);
	for (i = 0; i < ARRAY_SIZE(s->requests_by_op); i++) {
		n = s->requests_by_op[i];
		if (n)
			printf("%s%s %llu", column++ % 5 ? ", " : column > 1 ? ",\n             " :
			       ": ", archil_op_name(i), n);
	}
	putchar('\n');
}

static json_t *by_op(const struct archil_ioc_status *s)
{
	json_t *ops = json_object();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(s->requests_by_op) && i < ARCHIL_OP_MAX; i++)
		if (archil_op_table[i].name && s->requests_by_op[i])
			json_object_set_new(ops, archil_op_name(i),
					    json_integer(s->requests_by_op[i]));
	return ops;
}

static json_t *to_json(const struct archil_ioc_status *s, const char *mountpoint)
{
	json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:o, s:s, s:b}",
			      "mountpoint", ctl_json_text(mountpoint),
			      "mode", mode_name(s->mount_flags),
			      "server", s->server,
			      "disk", s->disk,
			      "subdir", ctl_json_text(s->subdir),
			      "connection", connection_name(s->state),
			      "agent", !!(s->mount_flags & ARCHIL_STATUS_AGENT));
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{ "mount_id", s->mount_id },
		{ "session", s->session },
		{ "epoch", s->epoch },
		{ "delegations", s->delegations },
		{ "taken", s->taken },
		{ "dirty_bytes", s->dirty_bytes },
		{ "writeback_bytes", s->writeback_bytes },
		{ "backlog_records", s->backlog_records },
		{ "backlog_bytes", s->backlog_bytes },
		{ "credit_bytes", s->credit_bytes },
		{ "requests", s->requests },
		{ "resent", s->resent },
		{ "reconnects", s->reconnects },
		{ "bytes_sent", s->bytes_sent },
		{ "bytes_received", s->bytes_received },
		{ "records", s->records },
		{ "batches", s->batches },
	};
	size_t i;

	for (i = 0; o && i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(o, numbers[i].key, json_integer(numbers[i].value));
	if (o)
		json_object_set_new(o, "requests_by_op", by_op(s));
	return o;
}

static int run(int argc, char **argv)
{
	struct archil_ioc_status s = { .size = sizeof(s) };
	char text[ARCHIL_IOC_PATH_LEN + 512];
	enum ctl_exit status;
	struct ctl_args args;
	struct where w;
	int fd, rc;

	rc = ctl_parse(&ctl_status, argc, argv, "j", 1, 1, &args);
	if (rc >= 0)
		return rc;
	fd = ctl_open_mount(args.path[0], &status);
	if (fd < 0)
		return status;
	where_is(fd, &w);
	rc = ioctl(fd, ARCHIL_IOC_STATUS, &s) ? errno : 0;
	close(fd);
	if (rc) {
		status = ctl_explain(CTL_DO_ASK, args.path[0], rc, "", NULL, text, sizeof(text));
		ctl_complain("%s", text);
		return status;
	}
	if (args.json)
		return ctl_json_print(to_json(&s, w.mountpoint));
	print_text(&s, w.mountpoint);
	return CTL_OK;
}

const struct ctl_command ctl_status = {
	.name = "status",
	.args = "[--json] MOUNTPOINT",
	.summary = "show session, connection and counters",
	.help =
"Shows the mount's session, server and connection, what is not written back yet, and\n"
"counters since the mount. The mount's number is what 'archilctl abort' takes.\n"
"\n"
"  --json   one object; its keys stay as they are\n",
	.run = run,
};
