// SPDX-License-Identifier: GPL-2.0
/* archil-agent's configuration, and its lasting client id. */
#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/agent/settings.h"

static char dir[64], conf[128], err[ERR_TEXT];
static char token_text[SCRAM_TOKEN_TEXT + 1];
static struct scram_token token;
static struct settings set;

static void setup(void)
{
	strcpy(dir, "/tmp/archil-agent.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(conf, sizeof(conf), "%s/agent.conf", dir);
	ck_assert_int_eq(scram_token_generate(&token), 0);
	scram_token_format(&token, token_text);
	settings_init(&set);
}

static void teardown(void)
{
	char command[128];

	settings_free(&set);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void put(const char *path, int mode, const char *fmt, const char *arg)
{
	FILE *f;

	unlink(path);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, fmt, arg);
	fclose(f);
	ck_assert_int_eq(chmod(path, mode), 0);
}

static int load(void)
{
	err[0] = '\0';
	return settings_load(&set, conf, true, err);
}

static const struct scram_token *find(const char *host, uint16_t port, const char *disk)
{
	struct host_port server = { .port = port };

	snprintf(server.host, sizeof(server.host), "%s", host);
	return settings_token(&set, &server, disk);
}

START_TEST(whole)
{
	const struct scram_token *found;

	put(conf, 0600, "# hello\n\n client_id = web-2 \n[Files.example.org/models]\n\ttoken=%s\n"
	    "[10.0.0.1:9999/data]\n", token_text);
	ck_assert_msg(!load(), "%s", err);
	ck_assert_str_eq(set.client_id, "web-2");
	found = find("files.EXAMPLE.org", ARCHIL_PORT, "models");
	ck_assert_ptr_nonnull(found);
	ck_assert_mem_eq(found, &token, sizeof(token));
	ck_assert_ptr_null(find("files.example.org", ARCHIL_PORT, "Models"));
	ck_assert_ptr_null(find("files.example.org", 1, "models"));
	ck_assert_ptr_null(find("10.0.0.1", 9999, "data"));
}
END_TEST

START_TEST(token_file)
{
	char path[128], text[256];

	snprintf(path, sizeof(path), "%s/token", dir);
	snprintf(text, sizeof(text), "[a/b]\ntokenfile = %s\n", path);
	put(path, 0600, "%s\n", token_text);
	/* the secret is elsewhere: this file may be read */
	put(conf, 0644, "%s", text);
	ck_assert_msg(!load(), "%s", err);
	ck_assert_mem_eq(find("a", ARCHIL_PORT, "b"), &token, sizeof(token));
	settings_free(&set);

	ck_assert_int_eq(chmod(path, 0640), 0);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "agent.conf:2: "));
	ck_assert_ptr_nonnull(strstr(err, path));
}
END_TEST

START_TEST(open_to_others)
{
	static const int modes[] = { 0644, 0640, 0604, 0660 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		put(conf, modes[i], "[a/b]\ntoken = %s\n", token_text);
		ck_assert_int_eq(load(), -EPERM);
		ck_assert_ptr_nonnull(strstr(err, "chmod 600"));
		ck_assert(STAILQ_EMPTY(&set.disks));
	}
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "frob = 1\n", ":1: unknown word 'frob'" },
		{ "\n\nfrob\n", ":3: neither a section" },
		{ "client_id = a b\n", ":1: client_id: a client id is made of" },
		{ "client_id =\n", ":1: client_id: a client id has at least" },
		{ "[a/b]\nclient_id = x\n", ":2: client_id belongs before" },
		{ "token = x\n", ":1: token belongs in the section" },
		{ "tokenfile = x\n", ":1: tokenfile belongs in the section" },
		{ "[a/b\n", ":1: a section is written" },
		{ "[\n", ":1: a section is written" },
		{ "[]\n", ":1: " },
		{ "[a]\n", ":1: " },
		{ "[a/b:/c]\n", ":1: a section names a disk" },
		{ "[a/b]\n[A:7464/b]\n", ":2: this disk has a section already" },
		{ "[a/b]\ntoken = short\n", ":2: " },
		{ "[a/b]\ntokenfile = /nonexistent/file\n", ":2: /nonexistent/file" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put(conf, 0600, "%s", bad[i].text);
		ck_assert_msg(load() == -EINVAL, "%s", bad[i].text);
		ck_assert_msg(strstr(err, bad[i].says), "'%s' does not say '%s'", err, bad[i].says);
		ck_assert(STAILQ_EMPTY(&set.disks));
	}
}
END_TEST

START_TEST(two_tokens)
{
	char text[512];

	snprintf(text, sizeof(text), "[a/b]\ntoken = %s\ntoken = %s\n", token_text, token_text);
	put(conf, 0600, "%s", text);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, ":3: this disk has a token already"));
	/* an error never repeats a secret */
	ck_assert_ptr_null(strstr(err, token_text));
}
END_TEST

START_TEST(not_there)
{
	ck_assert_int_eq(settings_load(&set, conf, false, err), 0);
	ck_assert_str_eq(set.client_id, "");
	ck_assert_int_eq(load(), -ENOENT);
	ck_assert_int_eq(mkdir(conf, 0700), 0);
	ck_assert_int_eq(settings_load(&set, conf, false, err), -EINVAL);
}
END_TEST

START_TEST(client_ids)
{
	char longest[ARCHIL_CLIENT_LEN + 2];

	memset(longest, 'x', sizeof(longest));
	longest[ARCHIL_CLIENT_LEN] = '\0';
	ck_assert_ptr_null(client_id_problem("a"));
	ck_assert_ptr_null(client_id_problem("web-2.example.org_1:a@b"));
	ck_assert_ptr_null(client_id_problem(longest));
	longest[ARCHIL_CLIENT_LEN] = 'x';
	longest[ARCHIL_CLIENT_LEN + 1] = '\0';
	ck_assert_ptr_nonnull(client_id_problem(longest));
	ck_assert_ptr_nonnull(client_id_problem(""));
	ck_assert_ptr_nonnull(client_id_problem("a b"));
	ck_assert_ptr_nonnull(client_id_problem("a\n"));
	ck_assert_ptr_nonnull(client_id_problem("\xc3\xa9"));
}
END_TEST

START_TEST(lasting)
{
	char path[128], first[ARCHIL_CLIENT_LEN + 1], again[ARCHIL_CLIENT_LEN + 1];
	size_t i, len;

	snprintf(path, sizeof(path), "%s/sub/client-id", dir);
	ck_assert_msg(!client_id_lasting(path, first, err), "%s", err);
	ck_assert_ptr_null(client_id_problem(first));
	len = strlen(first);
	ck_assert_uint_gt(len, 9);
	ck_assert_int_eq(first[len - 9], '-');
	for (i = len - 8; i < len; i++)
		ck_assert(isxdigit((unsigned char)first[i]));
	ck_assert_int_eq(client_id_lasting(path, again, err), 0);
	ck_assert_str_eq(first, again);

	/* a file that says nothing is not silently replaced by another identity */
	put(path, 0644, "%s", "");
	ck_assert_int_eq(client_id_lasting(path, again, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, path));
	ck_assert_int_eq(client_id_lasting("/proc/nonexistent/client-id", again, err), -ENOENT);
}
END_TEST

START_TEST(lasting_at_once)
{
	char path[128], name[160], ids[8][ARCHIL_CLIENT_LEN + 1];
	int i, status;
	FILE *f;

	snprintf(path, sizeof(path), "%s/client-id", dir);
	for (i = 0; i < 8; i++) {
		if (!fork()) {
			snprintf(name, sizeof(name), "%s/%d", dir, i);
			if (client_id_lasting(path, ids[i], err))
				_exit(1);
			f = fopen(name, "w");
			fputs(ids[i], f);
			fclose(f);
			_exit(0);
		}
	}
	for (i = 0; i < 8; i++) {
		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "%s/%d", dir, i);
		f = fopen(name, "r");
		ck_assert_ptr_nonnull(fgets(ids[i], sizeof(ids[i]), f));
		fclose(f);
		ck_assert_str_eq(ids[i], ids[0]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_settings");
	TCase *config = tcase_create("config"), *id = tcase_create("client id");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(config, setup, teardown);
	tcase_add_test(config, whole);
	tcase_add_test(config, token_file);
	tcase_add_test(config, open_to_others);
	tcase_add_test(config, refused);
	tcase_add_test(config, two_tokens);
	tcase_add_test(config, not_there);
	suite_add_tcase(suite, config);
	tcase_add_checked_fixture(id, setup, teardown);
	tcase_add_test(id, client_ids);
	tcase_add_test(id, lasting);
	tcase_add_test(id, lasting_at_once);
	suite_add_tcase(suite, id);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
