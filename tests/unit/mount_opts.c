// SPDX-License-Identifier: GPL-2.0
/* The options of mount.archil. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "../../tools/mount/mount_opts.h"

static struct mount_opts opts;
static char err[ERR_TEXT];

static void setup(void)
{
	memset(&opts, 0, sizeof(opts));
	err[0] = '\0';
}

static void teardown(void)
{
	mount_opts_free(&opts);
}

static int parse(const char *text)
{
	return mount_opts_parse(&opts, text, false, err);
}

static void has_param(unsigned int i, const char *key, const char *value)
{
	ck_assert_uint_lt(i, opts.params);
	ck_assert_str_eq(opts.param[i].key, key);
	if (value)
		ck_assert_pstr_eq(opts.param[i].value, value);
	else
		ck_assert_ptr_null(opts.param[i].value);
}

START_TEST(own)
{
	ck_assert_int_eq(parse("shared,cache_ttl=3,commit=10,timeo=7,tokenfile=/etc/t"), 0);
	ck_assert(opts.shared && !opts.force && !opts.ro && !opts.remount);
	ck_assert_str_eq(opts.tokenfile, "/etc/t");
	ck_assert_uint_eq(opts.params, 3);
	has_param(0, "cache_ttl", "3");
	has_param(1, "commit", "10");
	has_param(2, "timeo", "7");
	ck_assert_int_eq(mount_opts_check(&opts, err), 0);
}
END_TEST

START_TEST(several_times)
{
	ck_assert_int_eq(parse("force"), 0);
	ck_assert_int_eq(parse("noexec"), 0);
	ck_assert(opts.force);
	ck_assert_uint_eq(opts.attr_set, MOUNT_ATTR_NOEXEC);
}
END_TEST

START_TEST(attributes)
{
	ck_assert_int_eq(parse("nosuid,nodev,noexec,noatime,nodiratime,nosymfollow,ro"), 0);
	ck_assert_uint_eq(opts.attr_set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			  MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW |
			  MOUNT_ATTR_RDONLY);
	ck_assert(opts.ro);
	ck_assert_uint_eq(opts.params, 0);
}
END_TEST

START_TEST(last_counts)
{
	ck_assert_int_eq(parse("ro,rw,nosuid,suid,noatime,strictatime,user,exec"), 0);
	ck_assert(!opts.ro);
	ck_assert_uint_eq(opts.attr_set,
			  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_STRICTATIME);
	ck_assert_uint_eq(opts.attr_set & opts.attr_clear & ~(uint64_t)MOUNT_ATTR__ATIME, 0);
}
END_TEST

START_TEST(of_mount_8)
{
	ck_assert_int_eq(parse("rw,_netdev,nofail,noauto,auto,defaults,user=joe,comment=a b,"
			       "x-systemd.automount,x-systemd.idle-timeout=60,X-mount.mkdir,,"), 0);
	ck_assert_uint_eq(opts.params, 0);
	ck_assert_uint_eq(opts.attr_set,
			  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}
END_TEST

START_TEST(for_the_superblock)
{
	ck_assert_int_eq(parse("sync,lazytime,context=\"system_u:object_r:tmp_t:s0:c1,c2\""), 0);
	ck_assert_uint_eq(opts.params, 3);
	has_param(0, "sync", NULL);
	has_param(1, "lazytime", NULL);
	has_param(2, "context", "system_u:object_r:tmp_t:s0:c1,c2");
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "frob", "unknown mount option 'frob'" },
		{ "shared,frob=1", "unknown mount option 'frob=1'" },
		{ "shared=1", "unknown mount option 'shared=1'" },
		{ "ro=yes", "unknown mount option 'ro=yes'" },
		{ "nosuid=1", "unknown mount option 'nosuid=1'" },
		{ "commit", "mount option commit needs a value" },
		{ "commit=", "mount option commit needs a value" },
		{ "tokenfile", "tokenfile= needs the name of a file" },
		{ "tokenfile=", "tokenfile= needs the name of a file" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		setup();
		ck_assert_int_eq(parse(bad[i].text), -EINVAL);
		ck_assert_str_eq(err, bad[i].says);
		teardown();
	}
}
END_TEST

START_TEST(no_token_in_sight)
{
	ck_assert_int_eq(parse("token=archil1-secret"), -EINVAL);
	ck_assert_ptr_null(strstr(err, "secret"));
	ck_assert_ptr_nonnull(strstr(err, "tokenfile="));
}
END_TEST

START_TEST(sloppy)
{
	ck_assert_int_eq(mount_opts_parse(&opts, "frob,frob=1,shared", true, err), 0);
	ck_assert(opts.shared);
	ck_assert_uint_eq(opts.params, 0);
}
END_TEST

START_TEST(not_together)
{
	ck_assert_int_eq(parse("force"), 0);
	ck_assert_int_eq(mount_opts_check(&opts, err), 0);
	ck_assert_int_eq(parse("shared"), 0);
	ck_assert_int_eq(mount_opts_check(&opts, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "shared"));
	setup();
	ck_assert_int_eq(parse("ro,force"), 0);
	ck_assert_int_eq(mount_opts_check(&opts, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "ro"));
	ck_assert_int_eq(parse("rw"), 0);
	ck_assert_int_eq(mount_opts_check(&opts, err), 0);
}
END_TEST

START_TEST(too_many)
{
	char text[MOUNT_PARAMS_MAX * 5 + 16] = "";
	int i;

	for (i = 0; i < MOUNT_PARAMS_MAX; i++)
		strcat(text, "sync,");
	ck_assert_int_eq(parse(text), 0);
	ck_assert_int_eq(parse("sync"), -EINVAL);
	ck_assert_uint_eq(opts.params, MOUNT_PARAMS_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mount_opts");
	TCase *parsing = tcase_create("parsing");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(parsing, setup, teardown);
	tcase_add_test(parsing, own);
	tcase_add_test(parsing, several_times);
	tcase_add_test(parsing, attributes);
	tcase_add_test(parsing, last_counts);
	tcase_add_test(parsing, of_mount_8);
	tcase_add_test(parsing, for_the_superblock);
	tcase_add_test(parsing, refused);
	tcase_add_test(parsing, no_token_in_sight);
	tcase_add_test(parsing, sloppy);
	tcase_add_test(parsing, not_together);
	tcase_add_test(parsing, too_many);
	suite_add_tcase(suite, parsing);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
