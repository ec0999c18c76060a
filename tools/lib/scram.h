/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mutual authentication by a token: SCRAM-SHA-256 (RFC 5802, RFC 7677) in
 * its arithmetic, with fixed binary fields instead of its text messages.
 * Pure functions on buffers.
 *
 *	client					server
 *	scram_client_first
 *	    -- context, client nonce -->	scram_server_first
 *	    <-- server nonce, salt --
 *	scram_client_final
 *	    -- proof -->			scram_server_final
 *	    <-- signature --
 *	scram_client_verify
 *
 * Every function that returns int returns 0 or a negative errno: -EIO when
 * OpenSSL fails (no randomness, no memory), others as said.
 */
#ifndef ARCHIL_SCRAM_H
#define ARCHIL_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define SCRAM_TOKEN_SIZE	32	/* bytes, all random */
#define SCRAM_TOKEN_TEXT	64	/* characters, without the NUL */
#define SCRAM_NONCE_SIZE	32
#define SCRAM_SALT_SIZE		32
#define SCRAM_KEY_SIZE		32	/* keys, proofs and signatures: SHA-256 */

struct scram_token {
	uint8_t bytes[SCRAM_TOKEN_SIZE];
};

/* What the store keeps: checks a client, convinces a client, but is no token. */
struct scram_verifier {
	uint8_t salt[SCRAM_SALT_SIZE];
	uint8_t stored_key[SCRAM_KEY_SIZE];
	uint8_t server_key[SCRAM_KEY_SIZE];
};

/* What both ends must see alike, or the exchange fails. */
struct scram_context {
	uint16_t min_version;		/* what the client offered */
	uint16_t max_version;
	uint16_t version;		/* what the server chose: so nobody between can */
	uint16_t kind;			/* enum archil_conn_kind */
	char disk[ARCHIL_DISK_LEN + 1];
};

struct scram_client {			/* private; wiped when the exchange ends */
	struct scram_token token;
	uint8_t nonce[SCRAM_NONCE_SIZE];
	uint8_t signature[SCRAM_KEY_SIZE];	/* what the server must answer */
	bool proven;
};

struct scram_server {			/* private; wiped when the exchange ends */
	struct scram_context context;
	struct scram_verifier verifier;
	uint8_t client_nonce[SCRAM_NONCE_SIZE];
	uint8_t nonce[SCRAM_NONCE_SIZE];
	bool waiting;				/* for the one proof */
};

/* ---- tokens ---- */

int scram_token_generate(struct scram_token *token);
int scram_token_format(const struct scram_token *token, char text[SCRAM_TOKEN_TEXT + 1]);
/*
 * text: a token and nothing else. Returns 0, or -EINVAL and in err what is
 * wrong with it (which never repeats any of it).
 */
int scram_token_parse(const char *text, struct scram_token *token, char err[static ERR_TEXT]);
void scram_token_wipe(struct scram_token *token);

/* A verifier with a new random salt. */
int scram_verifier_make(const struct scram_token *token, struct scram_verifier *verifier);

/* ---- client ---- */

/* nonce: out, to be sent. */
int scram_client_first(struct scram_client *client, const struct scram_token *token,
		       uint8_t nonce[SCRAM_NONCE_SIZE]);
/* server_nonce, salt: as received; proof: out, to be sent. */
int scram_client_final(struct scram_client *client, const struct scram_context *context,
		       const uint8_t server_nonce[SCRAM_NONCE_SIZE],
		       const uint8_t salt[SCRAM_SALT_SIZE], uint8_t proof[SCRAM_KEY_SIZE]);
/*
 * signature: as received. -EACCES: the server does not have the disk's verifier.
 * Either way it is over.
 */
int scram_client_verify(struct scram_client *client, const uint8_t signature[SCRAM_KEY_SIZE]);
/* Ends an exchange early. */
void scram_client_wipe(struct scram_client *client);

/* ---- server ---- */

/* client_nonce: as received; nonce and salt: out, to be sent. */
int scram_server_first(struct scram_server *server, const struct scram_context *context,
		       const struct scram_verifier *verifier,
		       const uint8_t client_nonce[SCRAM_NONCE_SIZE],
		       uint8_t nonce[SCRAM_NONCE_SIZE], uint8_t salt[SCRAM_SALT_SIZE]);
/*
 * proof: as received; signature: out, to be sent, only when 0 is returned.
 * -EACCES: the client does not know the token. Either way it is over.
 */
int scram_server_final(struct scram_server *server, const uint8_t proof[SCRAM_KEY_SIZE],
		       uint8_t signature[SCRAM_KEY_SIZE]);
/* Ends an exchange early. */
void scram_server_wipe(struct scram_server *server);

/* ---- the arithmetic of RFC 5802 section 3, for the tests ---- */

struct scram_keys {
	uint8_t client_key[SCRAM_KEY_SIZE];
	uint8_t stored_key[SCRAM_KEY_SIZE];
	uint8_t server_key[SCRAM_KEY_SIZE];
};

int scram_derive(const uint8_t salted[SCRAM_KEY_SIZE], struct scram_keys *keys);
/* HMAC(key, auth) */
int scram_sign(const uint8_t key[SCRAM_KEY_SIZE], const void *auth, size_t len,
	       uint8_t signature[SCRAM_KEY_SIZE]);
/* ClientKey XOR HMAC(StoredKey, auth) */
int scram_prove(const struct scram_keys *keys, const void *auth, size_t len,
		uint8_t proof[SCRAM_KEY_SIZE]);
/* H(proof XOR HMAC(StoredKey, auth)) == StoredKey; else -EACCES */
int scram_check(const uint8_t stored_key[SCRAM_KEY_SIZE], const void *auth, size_t len,
		const uint8_t proof[SCRAM_KEY_SIZE]);

#endif
