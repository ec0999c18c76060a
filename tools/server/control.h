/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Commands on a store: to the server that runs on it, through a Unix socket in its
 * directory (mode 0600), or without one by opening it.
 *
 * A request is one line, a JSON object: {"command": NAME, ...}. The reply is
 * one line, an object: with "error" (a sentence) and "errno" if it failed. Then
 * the server closes the connection. Each connection has a thread of its own.
 *
 *	command		members				reply
 *	disk-create	disk				token
 *	disk-token	disk				token
 *	disk-list					disks: [name, created, ...]
 *	disk-delete	disk
 *	delegations	disk				delegations: [...]
 *	session-list	disk				sessions: [...]
 *	session-end	disk, session (number)
 *	check						damage: [text, ...], disks: number
 */
#ifndef ARCHIL_CONTROL_H
#define ARCHIL_CONTROL_H

#include <jansson.h>

struct server;

#define CONTROL_SOCKET	"control.sock"

/*
 * Takes the store in dir for this process: one server, or one command without
 * one, at a time. Waits a moment for a command to end. Returns a descriptor that
 * holds it until it is closed, or -EBUSY, or another errno.
 */
int control_lock(const char *dir);

int control_start(struct server *server);
void control_stop(struct server *server);

/*
 * Carries out a request, wherever the store is open or nowhere. Returns the reply,
 * to be json_decref()ed; never NULL.
 */
json_t *control_request(const char *dir, json_t *request);

#endif
