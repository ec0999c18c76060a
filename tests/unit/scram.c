// SPDX-License-Identifier: GPL-2.0
/* Tokens, and the exchange that proves to each end that the other knows one. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "scram.h"

static const struct scram_context context = {
	.min_version = 1, .max_version = 3, .version = 2, .kind = ARCHIL_CONN_CONTROL,
	.disk = "group",
};

/* Everything that travels, and what each end believes; a test changes a bit of it. */
struct exchange {
	struct scram_token token;
	struct scram_verifier verifier;
	struct scram_context client_context, server_context;
	uint8_t client_nonce_sent[32], client_nonce_got[32];
	uint8_t server_nonce_sent[32], server_nonce_got[32];
	uint8_t salt_sent[32], salt_got[32];
	uint8_t proof_sent[32], proof_got[32];
	uint8_t signature_sent[32], signature_got[32];
};

static void setup(struct exchange *x)
{
	memset(x, 0, sizeof(*x));
	ck_assert_int_eq(scram_token_generate(&x->token), 0);
	ck_assert_int_eq(scram_verifier_make(&x->token, &x->verifier), 0);
	x->client_context = context;
	x->server_context = context;
}

static void flip(void *buf, size_t bit)
{
	((uint8_t *)buf)[bit / 8] ^= 1 << bit % 8;
}

static bool all_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len && !*p)
		p++, len--;
	return !len;
}

/* Which message is damaged on its way, by one bit. */
enum field { NOTHING, CLIENT_NONCE, SERVER_NONCE, SALT, PROOF, SIGNATURE };

static void carry(enum field damaged, enum field field, size_t bit, const uint8_t *sent,
		  uint8_t *got)
{
	memcpy(got, sent, 32);
	if (damaged == field)
		flip(got, bit);
}

/* What the server says of the client, and then the client of the server. */
static int run(struct exchange *x, enum field damaged, size_t bit, int *client_says)
{
	struct scram_client client;
	struct scram_server server;
	int err;

	*client_says = 1;
	ck_assert_int_eq(scram_client_first(&client, &x->token, x->client_nonce_sent), 0);
	carry(damaged, CLIENT_NONCE, bit, x->client_nonce_sent, x->client_nonce_got);
	ck_assert_int_eq(scram_server_first(&server, &x->server_context, &x->verifier,
					    x->client_nonce_got, x->server_nonce_sent,
					    x->salt_sent), 0);
	carry(damaged, SERVER_NONCE, bit, x->server_nonce_sent, x->server_nonce_got);
	carry(damaged, SALT, bit, x->salt_sent, x->salt_got);
	ck_assert_int_eq(scram_client_final(&client, &x->client_context, x->server_nonce_got,
					    x->salt_got, x->proof_sent), 0);
	ck_assert(all_zero(&client.token, sizeof(client.token)));
	carry(damaged, PROOF, bit, x->proof_sent, x->proof_got);
	err = scram_server_final(&server, x->proof_got, x->signature_sent);
	ck_assert(all_zero(&server, sizeof(server)));
	if (err) {
		ck_assert(all_zero(x->signature_sent, 32));
		scram_client_wipe(&client);
		return err;
	}
	carry(damaged, SIGNATURE, bit, x->signature_sent, x->signature_got);
	*client_says = scram_client_verify(&client, x->signature_got);
	ck_assert(all_zero(&client, sizeof(client)));
	return 0;
}

START_TEST(success)
{
	struct exchange x;
	int client_says;

	setup(&x);
	ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), 0);
	ck_assert_int_eq(client_says, 0);
}
END_TEST

START_TEST(wrong_token)
{
	struct exchange x;
	int client_says;

	setup(&x);
	flip(&x.token, 7);
	ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), -EACCES);
}
END_TEST

/* Every bit of every message counts. */
START_TEST(flipped_bit)
{
	enum field field = _i;
	int client_says, bit;
	struct exchange x;

	for (bit = 0; bit < 256; bit++) {
		setup(&x);
		if (field == SIGNATURE) {
			ck_assert_int_eq(run(&x, field, bit, &client_says), 0);
			ck_assert_int_eq(client_says, -EACCES);
		} else {
			ck_assert_int_eq(run(&x, field, bit, &client_says), -EACCES);
		}
	}
}
END_TEST

/* The two ends must mean the same connection. */
START_TEST(context_differs)
{
	struct exchange x;
	int client_says, i;

	for (i = 0; i < 7; i++) {
		setup(&x);
		switch (i) {
		case 0:
			x.server_context.min_version = 0;
			break;
		case 1:
			x.server_context.max_version = 2;
			break;
		case 2:
			x.server_context.version = 1;
			break;
		case 3:
			x.server_context.kind = ARCHIL_CONN_DATA;
			break;
		case 4:
			strcpy(x.server_context.disk, "groups");
			break;
		case 5:
			strcpy(x.server_context.disk, "grou");
			break;
		case 6:		/* what is behind the name does not count */
			strcpy(x.server_context.disk + 8, "rest");
			ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), 0);
			ck_assert_int_eq(client_says, 0);
			continue;
		}
		ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), -EACCES);
	}
}
END_TEST

/* A recorded exchange, played to the server again. */
START_TEST(replay)
{
	struct scram_server server;
	struct exchange x;
	uint8_t nonce[32], salt[32], signature[32];
	int client_says;

	setup(&x);
	ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), 0);
	ck_assert_int_eq(scram_server_first(&server, &x.server_context, &x.verifier,
					    x.client_nonce_sent, nonce, salt), 0);
	ck_assert_int_ne(memcmp(nonce, x.server_nonce_sent, 32), 0);
	ck_assert_int_eq(scram_server_final(&server, x.proof_sent, signature), -EACCES);
}
END_TEST

/* A recorded exchange, played to the client again by somebody without the verifier. */
START_TEST(replay_to_client)
{
	struct scram_client client;
	struct exchange x;
	uint8_t nonce[32], proof[32];
	int client_says;

	setup(&x);
	ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), 0);
	ck_assert_int_eq(scram_client_first(&client, &x.token, nonce), 0);
	ck_assert_int_ne(memcmp(nonce, x.client_nonce_sent, 32), 0);
	ck_assert_int_eq(scram_client_final(&client, &x.client_context, x.server_nonce_sent,
					    x.salt_sent, proof), 0);
	ck_assert_int_ne(memcmp(proof, x.proof_sent, 32), 0);
	ck_assert_int_eq(scram_client_verify(&client, x.signature_sent), -EACCES);
}
END_TEST

/* One proof a start, on either side; and none before a start. */
START_TEST(one_try)
{
	struct scram_client client;
	struct scram_server server;
	struct exchange x;
	uint8_t client_nonce[32], nonce[32], salt[32], proof[32], bad[32], signature[32];

	setup(&x);
	ck_assert_int_eq(scram_client_first(&client, &x.token, client_nonce), 0);
	ck_assert_int_eq(scram_server_first(&server, &context, &x.verifier, client_nonce,
					    nonce, salt), 0);
	ck_assert_int_eq(scram_client_final(&client, &context, nonce, salt, proof), 0);
	memcpy(bad, proof, 32);
	flip(bad, 0);
	ck_assert_int_eq(scram_server_final(&server, bad, signature), -EACCES);
	ck_assert_int_eq(scram_server_final(&server, proof, signature), -EACCES);

	/* a wiped client expects no signature, least of all zeros */
	scram_client_wipe(&client);
	memset(signature, 0, sizeof(signature));
	ck_assert_int_eq(scram_client_verify(&client, signature), -EACCES);
	ck_assert_int_eq(scram_client_first(&client, &x.token, client_nonce), 0);
	ck_assert_int_eq(scram_client_verify(&client, signature), -EACCES);
}
END_TEST

/*
 * A thief of the store has StoredKey and ServerKey. Whatever of it takes
 * ClientKey's place in a proof, the server refuses it.
 */
START_TEST(stolen_verifier)
{
	static const char auth[] = "any transcript, both ends agree on it";
	const uint8_t *guesses[3];
	struct scram_keys keys;
	struct exchange x;
	uint8_t proof[32];
	size_t i;

	setup(&x);
	guesses[0] = x.verifier.stored_key;
	guesses[1] = x.verifier.server_key;
	guesses[2] = x.verifier.salt;
	memcpy(keys.stored_key, x.verifier.stored_key, 32);
	for (i = 0; i < 3; i++) {
		memcpy(keys.client_key, guesses[i], 32);
		ck_assert_int_eq(scram_prove(&keys, auth, sizeof(auth), proof), 0);
		ck_assert_int_eq(scram_check(x.verifier.stored_key, auth, sizeof(auth), proof),
				 -EACCES);
	}
	/* used as a token, no part of it is one either */
	for (i = 0; i < 3; i++) {
		int client_says;

		memcpy(x.token.bytes, guesses[i], 32);
		ck_assert_int_eq(run(&x, NOTHING, 0, &client_says), -EACCES);
	}
}
END_TEST

START_TEST(verifiers_differ)
{
	struct scram_verifier other;
	struct exchange x;

	setup(&x);
	ck_assert_int_eq(scram_verifier_make(&x.token, &other), 0);
	ck_assert_int_ne(memcmp(other.salt, x.verifier.salt, 32), 0);
	ck_assert_int_ne(memcmp(other.stored_key, x.verifier.stored_key, 32), 0);
	ck_assert_int_ne(memcmp(other.server_key, x.verifier.server_key, 32), 0);
}
END_TEST

static void from_base64(const char *text, uint8_t *out)
{
	ck_assert_int_ge(EVP_DecodeBlock(out, (const unsigned char *)text, strlen(text)), 0);
}

/* The example of RFC 7677, section 3. */
START_TEST(rfc7677)
{
	static const char auth[] =
		"n=user,r=rOprNGfwEbeRWgbNEkqO,"
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
	uint8_t salt[18], salted[32], proof[32], signature[32], expected[33];
	struct scram_keys keys;

	from_base64("W22ZaJ0SNY7soEsUEjb6gQ==", salt);
	ck_assert_int_eq(PKCS5_PBKDF2_HMAC("pencil", 6, salt, 16, 4096, EVP_sha256(), 32, salted), 1);
	ck_assert_int_eq(scram_derive(salted, &keys), 0);

	ck_assert_int_eq(scram_prove(&keys, auth, sizeof(auth) - 1, proof), 0);
	from_base64("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", expected);
	ck_assert_mem_eq(proof, expected, 32);
	ck_assert_int_eq(scram_check(keys.stored_key, auth, sizeof(auth) - 1, proof), 0);
	flip(proof, 100);
	ck_assert_int_eq(scram_check(keys.stored_key, auth, sizeof(auth) - 1, proof), -EACCES);

	ck_assert_int_eq(scram_sign(keys.server_key, auth, sizeof(auth) - 1, signature), 0);
	from_base64("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", expected);
	ck_assert_mem_eq(signature, expected, 32);
}
END_TEST

/* What the token becomes is RFC 5802's Hi() with one iteration. */
START_TEST(one_iteration)
{
	struct scram_keys keys;
	struct exchange x;
	uint8_t salted[32];

	setup(&x);
	ck_assert_int_eq(PKCS5_PBKDF2_HMAC((char *)x.token.bytes, 32, x.verifier.salt, 32, 1,
					   EVP_sha256(), 32, salted), 1);
	ck_assert_int_eq(scram_derive(salted, &keys), 0);
	ck_assert_mem_eq(keys.stored_key, x.verifier.stored_key, 32);
	ck_assert_mem_eq(keys.server_key, x.verifier.server_key, 32);
}
END_TEST

/* ---- tokens ---- */

START_TEST(token_text)
{
	char text[SCRAM_TOKEN_TEXT + 1], again[SCRAM_TOKEN_TEXT + 1], err[ERR_TEXT];
	struct scram_token token, parsed;
	int i;

	for (i = 0; i < 200; i++) {
		ck_assert_int_eq(scram_token_generate(&token), 0);
		ck_assert_int_eq(scram_token_format(&token, text), 0);
		ck_assert_uint_eq(strlen(text), SCRAM_TOKEN_TEXT);
		ck_assert_int_eq(strncmp(text, "archil1-", 8), 0);
		ck_assert_int_eq(scram_token_parse(text, &parsed, err), 0);
		ck_assert_mem_eq(&parsed, &token, sizeof(token));
		if (i)
			ck_assert_str_ne(text, again);
		strcpy(again, text);
	}
	/* tokens that were given out stay tokens */
	for (i = 0; i < 32; i++)
		token.bytes[i] = i;
	ck_assert_int_eq(scram_token_format(&token, text), 0);
	ck_assert_str_eq(text,
			 "archil1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypwgdon");
}
END_TEST

/* One character at another place of the alphabet, two exchanged: noticed. */
START_TEST(token_mistyped)
{
	char text[SCRAM_TOKEN_TEXT + 1], err[ERR_TEXT];
	struct scram_token token, parsed, untouched;
	size_t i;

	memset(&parsed, 0x5a, sizeof(parsed));
	untouched = parsed;
	ck_assert_int_eq(scram_token_generate(&token), 0);
	ck_assert_int_eq(scram_token_format(&token, text), 0);
	for (i = 8; i < SCRAM_TOKEN_TEXT; i++) {
		char was = text[i];

		text[i] = was == '7' ? 'a' : was == 'z' ? '2' : was + 1;
		ck_assert_int_eq(scram_token_parse(text, &parsed, err), -EINVAL);
		ck_assert_str_eq(err, "the token is mistyped: its checksum does not fit");
		text[i] = was;
		if (i + 1 < SCRAM_TOKEN_TEXT && text[i + 1] != was) {
			text[i] = text[i + 1];
			text[i + 1] = was;
			ck_assert_int_eq(scram_token_parse(text, &parsed, err), -EINVAL);
			text[i + 1] = text[i];
			text[i] = was;
		}
	}
	ck_assert_int_eq(scram_token_parse(text, &parsed, err), 0);
	parsed = untouched;
	text[20] = '1';
	ck_assert_int_eq(scram_token_parse(text, &parsed, err), -EINVAL);
	ck_assert_str_eq(err, "character 21 of the token is wrong: only a-z and 2-7 occur there");
	text[SCRAM_TOKEN_TEXT - 1] = 0;
	ck_assert_int_eq(scram_token_parse(text, &parsed, err), -EINVAL);
	ck_assert_str_eq(err, "the token has 63 characters, it should have 64: part of it is missing or doubled");
	ck_assert_int_eq(scram_token_parse("", &parsed, err), -EINVAL);
	ck_assert_str_eq(err, "not an archil token: a token begins with archil1-");
	ck_assert_int_eq(scram_token_parse("secret", &parsed, err), -EINVAL);
	ck_assert_ptr_null(strstr(err, "secret"));
	ck_assert_mem_eq(&parsed, &untouched, sizeof(parsed));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("scram");
	TCase *exchange = tcase_create("exchange"), *tokens = tcase_create("tokens");
	SRunner *runner;
	int failed;

	tcase_set_timeout(exchange, 60);
	tcase_add_test(exchange, success);
	tcase_add_test(exchange, wrong_token);
	tcase_add_loop_test(exchange, flipped_bit, CLIENT_NONCE, SIGNATURE + 1);
	tcase_add_test(exchange, context_differs);
	tcase_add_test(exchange, replay);
	tcase_add_test(exchange, replay_to_client);
	tcase_add_test(exchange, one_try);
	tcase_add_test(exchange, stolen_verifier);
	tcase_add_test(exchange, verifiers_differ);
	tcase_add_test(exchange, rfc7677);
	tcase_add_test(exchange, one_iteration);
	suite_add_tcase(suite, exchange);
	tcase_add_test(tokens, token_text);
	tcase_add_test(tokens, token_mistyped);
	suite_add_tcase(suite, tokens);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
