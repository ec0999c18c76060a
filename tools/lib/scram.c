// SPDX-License-Identifier: GPL-2.0
/*
 * SCRAM-SHA-256. Rules:
 *
 * 1. A token is 256 random bits, so guessing is hopeless whatever a guess costs:
 *    the iteration count of RFC 5802 is 1 (Hi is then one HMAC of salt and
 *    INT(1)), and a server spends nothing on strangers.
 * 2. What is signed (AuthMessage) is everything that both ends must see alike,
 *    each field at a place that follows from the fields before it. Both nonces
 *    are in it: no exchange fits another. The versions offered and chosen
 *    are in it: nobody between can talk the two down to an older one.
 * 3. The verifier's StoredKey only checks a proof; making one takes ClientKey,
 *    its preimage. So a stolen store mounts nothing (it can pose as the server).
 * 4. Secrets are compared in constant time and wiped when an exchange is over,
 *    however it ends. An exchange is good for one proof.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "scram.h"

static_assert(SCRAM_NONCE_SIZE == ARCHIL_KEY_LEN && SCRAM_SALT_SIZE == ARCHIL_KEY_LEN &&
	      SCRAM_KEY_SIZE == ARCHIL_KEY_LEN, "the wire's fields");

static int random_bytes(void *buf, size_t len)
{
	return RAND_bytes(buf, len) == 1 ? 0 : -EIO;
}

static int sha256(const void *data, size_t len, uint8_t out[32])
{
	return EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

static int hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32])
{
	return HMAC(EVP_sha256(), key, key_len, data, len, out, NULL) ? 0 : -EIO;
}

/* ---- tokens: PREFIX, then base32 of the bytes and the start of their hash ---- */

#define TOKEN_PREFIX	"archil1-"
#define TOKEN_CHECK	3		/* bytes: 35 in all are 56 characters, none to spare */
#define TOKEN_DIGITS	56

static const char token_digits[] = "abcdefghijklmnopqrstuvwxyz234567";

static_assert(sizeof(TOKEN_PREFIX) - 1 + TOKEN_DIGITS == SCRAM_TOKEN_TEXT, "token text");
static_assert((SCRAM_TOKEN_SIZE + TOKEN_CHECK) * 8 == TOKEN_DIGITS * 5, "token digits");

int scram_token_generate(struct scram_token *token)
{
	return random_bytes(token->bytes, sizeof(token->bytes));
}

void scram_token_wipe(struct scram_token *token)
{
	OPENSSL_cleanse(token, sizeof(*token));
}

static int token_checksum(const uint8_t bytes[SCRAM_TOKEN_SIZE], uint8_t out[TOKEN_CHECK])
{
	uint8_t hash[32];
	int err = sha256(bytes, SCRAM_TOKEN_SIZE, hash);

	if (!err)
		memcpy(out, hash, TOKEN_CHECK);
	OPENSSL_cleanse(hash, sizeof(hash));
	return err;
}

int scram_token_format(const struct scram_token *token, char text[SCRAM_TOKEN_TEXT + 1])
{
	uint8_t raw[SCRAM_TOKEN_SIZE + TOKEN_CHECK];
	char *to = text + sizeof(TOKEN_PREFIX) - 1;
	unsigned int bit;
	int err;

	memcpy(raw, token->bytes, SCRAM_TOKEN_SIZE);
	err = token_checksum(raw, raw + SCRAM_TOKEN_SIZE);
	if (err)
		goto out_wipe;
	memcpy(text, TOKEN_PREFIX, sizeof(TOKEN_PREFIX) - 1);
	for (bit = 0; bit < sizeof(raw) * 8; bit += 5) {
		unsigned int two = raw[bit / 8] << 8;

		if (bit / 8 + 1 < sizeof(raw))
			two |= raw[bit / 8 + 1];
		*to++ = token_digits[two >> (11 - bit % 8) & 31];
	}
	*to = 0;
out_wipe:
	OPENSSL_cleanse(raw, sizeof(raw));
	return err;
}

/* 0..31, or -1. */
static int token_digit(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	return -1;
}

int scram_token_parse(const char *text, struct scram_token *token, char err[static ERR_TEXT])
{
	const size_t prefix = sizeof(TOKEN_PREFIX) - 1;
	uint8_t raw[SCRAM_TOKEN_SIZE + TOKEN_CHECK] = { 0 };
	uint8_t check[TOKEN_CHECK];
	size_t len = strlen(text), i;
	int ret = -EINVAL;

	if (strncmp(text, TOKEN_PREFIX, prefix)) {
		snprintf(err, ERR_TEXT, "not an archil token: a token begins with " TOKEN_PREFIX);
		return -EINVAL;
	}
	if (len != SCRAM_TOKEN_TEXT) {
		snprintf(err, ERR_TEXT, "the token has %zu characters, it should have %d: part of it is missing or doubled",
			 len, SCRAM_TOKEN_TEXT);
		return -EINVAL;
	}
	for (i = 0; i < TOKEN_DIGITS; i++) {
		int digit = token_digit(text[prefix + i]);
		unsigned int shift = 11 - i * 5 % 8;

		if (digit < 0) {
			snprintf(err, ERR_TEXT, "character %zu of the token is wrong: only a-z and 2-7 occur there",
				 prefix + i + 1);
			goto out_wipe;
		}
		raw[i * 5 / 8] |= digit << shift >> 8;
		if (shift < 8)
			raw[i * 5 / 8 + 1] |= digit << shift;
	}
	ret = token_checksum(raw, check);
	if (ret) {
		snprintf(err, ERR_TEXT, "cannot check the token: OpenSSL failed");
		goto out_wipe;
	}
	if (CRYPTO_memcmp(check, raw + SCRAM_TOKEN_SIZE, TOKEN_CHECK)) {
		snprintf(err, ERR_TEXT, "the token is mistyped: its checksum does not fit");
		ret = -EINVAL;
		goto out_wipe;
	}
	memcpy(token->bytes, raw, SCRAM_TOKEN_SIZE);
out_wipe:
	OPENSSL_cleanse(raw, sizeof(raw));
	return ret;
}

/* ---- the arithmetic of RFC 5802 section 3 ---- */

int scram_derive(const uint8_t salted[SCRAM_KEY_SIZE], struct scram_keys *keys)
{
	int err;

	err = hmac(salted, SCRAM_KEY_SIZE, "Client Key", 10, keys->client_key);
	if (!err)
		err = sha256(keys->client_key, SCRAM_KEY_SIZE, keys->stored_key);
	if (!err)
		err = hmac(salted, SCRAM_KEY_SIZE, "Server Key", 10, keys->server_key);
	return err;
}

int scram_sign(const uint8_t key[SCRAM_KEY_SIZE], const void *auth, size_t len,
	       uint8_t signature[SCRAM_KEY_SIZE])
{
	return hmac(key, SCRAM_KEY_SIZE, auth, len, signature);
}

static void xor_into(uint8_t to[SCRAM_KEY_SIZE], const uint8_t from[SCRAM_KEY_SIZE])
{
	size_t i;

	for (i = 0; i < SCRAM_KEY_SIZE; i++)
		to[i] ^= from[i];
}

int scram_prove(const struct scram_keys *keys, const void *auth, size_t len,
		uint8_t proof[SCRAM_KEY_SIZE])
{
	int err = scram_sign(keys->stored_key, auth, len, proof);

	if (!err)
		xor_into(proof, keys->client_key);
	return err;
}

int scram_check(const uint8_t stored_key[SCRAM_KEY_SIZE], const void *auth, size_t len,
		const uint8_t proof[SCRAM_KEY_SIZE])
{
	uint8_t client_key[SCRAM_KEY_SIZE], hash[SCRAM_KEY_SIZE];
	int err;

	err = scram_sign(stored_key, auth, len, client_key);
	if (err)
		return err;
	xor_into(client_key, proof);
	err = sha256(client_key, sizeof(client_key), hash);
	if (!err && CRYPTO_memcmp(hash, stored_key, SCRAM_KEY_SIZE))
		err = -EACCES;
	OPENSSL_cleanse(client_key, sizeof(client_key));
	OPENSSL_cleanse(hash, sizeof(hash));
	return err;
}

/* Hi(token, salt, 1), and the keys from it. */
static int token_keys(const struct scram_token *token, const uint8_t salt[SCRAM_SALT_SIZE],
		      struct scram_keys *keys)
{
	uint8_t input[SCRAM_SALT_SIZE + 4], salted[SCRAM_KEY_SIZE];
	int err;

	memcpy(input, salt, SCRAM_SALT_SIZE);
	memcpy(input + SCRAM_SALT_SIZE, "\0\0\0\1", 4);
	err = hmac(token->bytes, sizeof(token->bytes), input, sizeof(input), salted);
	if (!err)
		err = scram_derive(salted, keys);
	OPENSSL_cleanse(salted, sizeof(salted));
	return err;
}

int scram_verifier_make(const struct scram_token *token, struct scram_verifier *verifier)
{
	struct scram_keys keys;
	int err;

	err = random_bytes(verifier->salt, sizeof(verifier->salt));
	if (!err)
		err = token_keys(token, verifier->salt, &keys);
	if (!err) {
		memcpy(verifier->stored_key, keys.stored_key, SCRAM_KEY_SIZE);
		memcpy(verifier->server_key, keys.server_key, SCRAM_KEY_SIZE);
	}
	OPENSSL_cleanse(&keys, sizeof(keys));
	return err;
}

/* ---- what is signed ---- */

/* A layout of its own: it is hashed, never sent. Integers are little-endian. */
struct auth_message {
	char label[16];
	__le16 min_version;
	__le16 max_version;
	__le16 version;
	__le16 kind;
	u8 client_nonce[SCRAM_NONCE_SIZE];
	u8 server_nonce[SCRAM_NONCE_SIZE];
	u8 salt[SCRAM_SALT_SIZE];
	char disk[ARCHIL_DISK_LEN + 1];		/* filled up with zeros */
} __packed;

static void auth_message(struct auth_message *auth, const struct scram_context *context,
			 const uint8_t client_nonce[SCRAM_NONCE_SIZE],
			 const uint8_t server_nonce[SCRAM_NONCE_SIZE],
			 const uint8_t salt[SCRAM_SALT_SIZE])
{
	memset(auth, 0, sizeof(*auth));
	memcpy(auth->label, "archil auth 1", 13);
	auth->min_version = cpu_to_le16(context->min_version);
	auth->max_version = cpu_to_le16(context->max_version);
	auth->version = cpu_to_le16(context->version);
	auth->kind = cpu_to_le16(context->kind);
	memcpy(auth->client_nonce, client_nonce, SCRAM_NONCE_SIZE);
	memcpy(auth->server_nonce, server_nonce, SCRAM_NONCE_SIZE);
	memcpy(auth->salt, salt, SCRAM_SALT_SIZE);
	memcpy(auth->disk, context->disk, strnlen(context->disk, ARCHIL_DISK_LEN));
}

/* ---- client ---- */

void scram_client_wipe(struct scram_client *client)
{
	OPENSSL_cleanse(client, sizeof(*client));
}

int scram_client_first(struct scram_client *client, const struct scram_token *token,
		       uint8_t nonce[SCRAM_NONCE_SIZE])
{
	memset(client, 0, sizeof(*client));
	if (random_bytes(client->nonce, SCRAM_NONCE_SIZE))
		return -EIO;
	client->token = *token;
	memcpy(nonce, client->nonce, SCRAM_NONCE_SIZE);
	return 0;
}

int scram_client_final(struct scram_client *client, const struct scram_context *context,
		       const uint8_t server_nonce[SCRAM_NONCE_SIZE],
		       const uint8_t salt[SCRAM_SALT_SIZE], uint8_t proof[SCRAM_KEY_SIZE])
{
	struct auth_message auth;
	struct scram_keys keys;
	int err;

	auth_message(&auth, context, client->nonce, server_nonce, salt);
	err = token_keys(&client->token, salt, &keys);
	if (!err)
		err = scram_prove(&keys, &auth, sizeof(auth), proof);
	if (!err)
		err = scram_sign(keys.server_key, &auth, sizeof(auth), client->signature);
	OPENSSL_cleanse(&keys, sizeof(keys));
	scram_token_wipe(&client->token);
	client->proven = !err;
	if (err)
		scram_client_wipe(client);
	return err;
}

int scram_client_verify(struct scram_client *client, const uint8_t signature[SCRAM_KEY_SIZE])
{
	int err = 0;

	if (!client->proven || CRYPTO_memcmp(client->signature, signature, SCRAM_KEY_SIZE))
		err = -EACCES;
	scram_client_wipe(client);
	return err;
}

/* ---- server ---- */

void scram_server_wipe(struct scram_server *server)
{
	OPENSSL_cleanse(server, sizeof(*server));
}

int scram_server_first(struct scram_server *server, const struct scram_context *context,
		       const struct scram_verifier *verifier,
		       const uint8_t client_nonce[SCRAM_NONCE_SIZE],
		       uint8_t nonce[SCRAM_NONCE_SIZE], uint8_t salt[SCRAM_SALT_SIZE])
{
	memset(server, 0, sizeof(*server));
	if (random_bytes(server->nonce, SCRAM_NONCE_SIZE))
		return -EIO;
	server->context = *context;
	server->verifier = *verifier;
	memcpy(server->client_nonce, client_nonce, SCRAM_NONCE_SIZE);
	memcpy(nonce, server->nonce, SCRAM_NONCE_SIZE);
	memcpy(salt, verifier->salt, SCRAM_SALT_SIZE);
	server->waiting = true;
	return 0;
}

int scram_server_final(struct scram_server *server, const uint8_t proof[SCRAM_KEY_SIZE],
		       uint8_t signature[SCRAM_KEY_SIZE])
{
	struct auth_message auth;
	int err = -EACCES;

	if (!server->waiting)
		goto out_wipe;
	auth_message(&auth, &server->context, server->client_nonce, server->nonce,
		     server->verifier.salt);
	err = scram_check(server->verifier.stored_key, &auth, sizeof(auth), proof);
	if (!err)
		err = scram_sign(server->verifier.server_key, &auth, sizeof(auth), signature);
out_wipe:
	scram_server_wipe(server);
	return err;
}
