/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The client's side of HELLO and AUTH, without I/O: it makes frames and takes
 * checked replies. Both kinds of connection begin this way.
 *
 *	handshake_start()	-> send hs->out
 *	handshake_reply()	1 -> send hs->out, 0 -> authenticated
 */
#ifndef ARCHIL_HANDSHAKE_H
#define ARCHIL_HANDSHAKE_H

#include <stdbool.h>

#include "scram.h"
#include "util.h"
#include "wire.h"

struct handshake {
	struct scram_context context;
	struct scram_client client;
	unsigned int expect;		/* opcode of the reply that comes next; 0: none */
	bool final;			/* it failed, and trying again would change nothing */
	unsigned int out_len;
	/* a frame to be sent: header and body */
	uint8_t out[sizeof(struct archil_hdr) + sizeof(struct archil_hello_req) + ARCHIL_DISK_LEN];
	char err[ERR_TEXT];		/* a sentence for people, after a failure */
};

/* disk: a valid name. Returns 0 or a negative errno and hs->err. */
int handshake_start(struct handshake *hs, enum archil_conn_kind kind, const char *disk,
		    const struct scram_token *token);

/*
 * hdr, body: a frame that has passed archil_hdr_check() and archil_body_check().
 * Returns 1: hs->out is to be sent. 0: both ends have authenticated.
 * A negative errno and hs->err: -EPROTO (no version in common, or the server does
 * not follow the protocol), -EACCES (wrong token), -ENOENT (no such disk), or
 * the server's.
 */
int handshake_reply(struct handshake *hs, const struct archil_hdr *hdr, const void *body);

/* Ends it, early or not; wipes what is secret. */
void handshake_end(struct handshake *hs);

/*
 * The variable parts of an error's body, as strings. hdr and body: checked, a
 * reply with a status other than 0; without a body all is empty.
 */
struct wire_error {
	uint64_t since;			/* ns since 1970, or 0 */
	uint64_t deleg;
	char client[ARCHIL_CLIENT_LEN + 1];
	char path[ARCHIL_PATH_LEN + 1];
	char text[ARCHIL_TEXT_LEN + 1];
};

void wire_error_parse(const struct archil_hdr *hdr, const void *body, struct wire_error *error);

#endif
