// SPDX-License-Identifier: GPL-2.0
/* Sentences for people, out of what the server says. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "handshake.h"
#include "mount.h"

/* A path that is too long keeps its end: that says more than its beginning. */
static void owned_text(const struct wire_error *error, char *out, size_t size)
{
	const char *slash = error->path[0] == '/' ? "" : "/";
	char when[TIME_TEXT], tail[ARCHIL_CLIENT_LEN + TIME_TEXT + 40];
	size_t path_len = strlen(error->path), room;

	if (error->since) {
		format_time(error->since, realtime_ns(), when);
		snprintf(tail, sizeof(tail), " is owned by client %s (since %s)", error->client,
			 when);
	} else {
		snprintf(tail, sizeof(tail), " is owned by client %s", error->client);
	}
	room = size - strlen(tail) - 2;
	if (path_len <= room)
		snprintf(out, size, "%s%s%s", slash, error->path, tail);
	else
		snprintf(out, size, "...%s%s", error->path + path_len - (room - 3), tail);
}

void open_error_text(const struct mount *m, const struct archil_hdr *hdr, const void *body,
		     char *out, size_t size)
{
	uint32_t status = le32_to_cpu(hdr->status);
	struct wire_error error;

	wire_error_parse(hdr, body, &error);
	if (status == EBUSY && error.client[0])
		owned_text(&error, out, size);
	else if (error.text[0])
		snprintf(out, size, "%s", error.text);
	else if (status == ENOENT)
		snprintf(out, size, "disk %s has no directory /%.150s", m->target.disk, m->subdir);
	else if (status == ENOTDIR)
		snprintf(out, size, "/%.200s is not a directory", m->subdir);
	else if (status == EBUSY)
		snprintf(out, size, "client id %s is in use by another host",
			 m->agent->settings.client_id);
	else
		snprintf(out, size, "the server refused to open a session: %s",
			 status <= ARCHIL_ERRNO_MAX ? strerror(status) : "protocol status");
}
