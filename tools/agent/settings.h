/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is configured: who this client is, and tokens of disks.
 *
 *	# comment
 *	client_id = web-2
 *
 *	[files.example.org:7464/models]
 *	token = archil1-...		as 'archil-server disk create' printed it
 *	# or: tokenfile = /etc/archil/models.token
 *
 * A section is named as a mount's source is, without the subdirectory; the port
 * may be left out. A file with a token in it is refused when anybody but its
 * owner can read it; so is a tokenfile.
 */
#ifndef ARCHIL_AGENT_SETTINGS_H
#define ARCHIL_AGENT_SETTINGS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "scram.h"
#include "util.h"

#define SETTINGS_FILE	"/etc/archil/agent.conf"
#define CLIENT_ID_FILE	"/var/lib/archil/client-id"

struct settings_disk {
	STAILQ_ENTRY(settings_disk) next;
	struct host_port server;
	char disk[ARCHIL_DISK_LEN + 1];
	bool has_token;
	struct scram_token token;
};

struct settings {
	char client_id[ARCHIL_CLIENT_LEN + 1];	/* "": not said */
	STAILQ_HEAD(, settings_disk) disks;
};

void settings_init(struct settings *set);
void settings_free(struct settings *set);
/*
 * Reads path; a file that is not there counts as empty unless must_exist.
 * Returns 0, or a negative errno and err; then set is empty.
 */
int settings_load(struct settings *set, const char *path, bool must_exist,
		  char err[static ERR_TEXT]);
/* The token of a disk, or NULL. */
const struct scram_token *settings_token(const struct settings *set,
					 const struct host_port *server, const char *disk);

/* NULL when text can be a client id, else what is wrong with it. */
const char *client_id_problem(const char *text);
/*
 * The id kept in path; made and kept there if there is none: the host's name and
 * eight random hexadecimal digits. Of several that do so at once all get the same.
 * Returns 0, or a negative errno and err.
 */
int client_id_lasting(const char *path, char id[static ARCHIL_CLIENT_LEN + 1],
		      char err[static ERR_TEXT]);

#endif
