// SPDX-License-Identifier: GPL-2.0
/* archilctl: from errnos to sentences and exit statuses; paths of the disk to local ones. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../tools/archilctl/ctl.h"
#include "../../tools/archilctl/json.h"
#include "util.h"

static char text[1024];

static enum ctl_exit explain(enum ctl_action action, int err, const char *holder_path,
			     const char *client, uint64_t since)
{
	struct archil_ioc_holder holder = { .since_ns = since };

	snprintf(holder.client, sizeof(holder.client), "%s", client);
	return ctl_explain(action, "/mnt/group/models", err, holder_path, &holder, text,
			   sizeof(text));
}

START_TEST(owned_by_another)
{
	struct tm tm;
	time_t now = time(NULL);
	char expected[256], when[TIME_TEXT];

	localtime_r(&now, &tm);
	format_time((uint64_t)now * 1000000000, realtime_ns(), when);
	ck_assert_int_eq(explain(CTL_DO_CHECKOUT, EBUSY, "/mnt/group/models", "web-2",
				 (uint64_t)now * 1000000000), CTL_OWNED);
	snprintf(expected, sizeof(expected), "/mnt/group/models is owned by client web-2 "
		 "(since %s): ask it to check in, or use --force", when);
	ck_assert_str_eq(text, expected);

	ck_assert_int_eq(explain(CTL_DO_CHECKOUT, EBUSY, "/mnt/group", "web-2", 0), CTL_OWNED);
	ck_assert_str_eq(text, "/mnt/group/models: /mnt/group is owned by client web-2: "
			 "ask it to check in, or use --force");
	ck_assert_int_eq(explain(CTL_DO_CHECKOUT, EBUSY, "", "", 0), CTL_OWNED);
	ck_assert_str_eq(text, "/mnt/group/models is owned by another client");
	/* a client id that fills its field */
	ck_assert_int_eq(explain(CTL_DO_ASK, EBUSY, "", "0123456789012345678901234567890123456789"
				 "01234567890123456789012", 0), CTL_OWNED);
	ck_assert_ptr_nonnull(strstr(text, "89012"));
}
END_TEST

START_TEST(covered)
{
	ck_assert_int_eq(explain(CTL_DO_CHECKIN, EBUSY, "/mnt/group", "", 0), CTL_COVERED);
	ck_assert_str_eq(text, "/mnt/group/models lies in /mnt/group, which is held as a whole: "
			 "check that in");
	ck_assert_int_eq(explain(CTL_DO_CHECKIN, EBUSY, "", "", 0), CTL_COVERED);
}
END_TEST

static const struct {
	enum ctl_action action;
	int err;
	enum ctl_exit status;
	const char *says;
} statuses[] = {
	{ CTL_DO_CHECKIN, ENOENT, CTL_NOTHING, "nothing is held" },
	{ CTL_DO_CHECKOUT, ENOENT, CTL_ERROR, "No such file" },
	{ CTL_DO_CHECKOUT, EINVAL, CTL_ERROR, "neither a regular file nor a directory" },
	{ CTL_DO_CHECKOUT, EROFS, CTL_PERMISSION, "read-only" },
	{ CTL_DO_CHECKOUT, EACCES, CTL_PERMISSION, "permission" },
	{ CTL_DO_FORCE, EPERM, CTL_PERMISSION, "--force" },
	{ CTL_DO_FORCE, EBUSY, CTL_OWNED, "owned by another" },
	{ CTL_DO_CHECKOUT, ENOTTY, CTL_NOT_ARCHIL, "not in an archil file system" },
	{ CTL_DO_CHECKOUT, ENOTCONN, CTL_NOT_CONNECTED, "archil-agent" },
	{ CTL_DO_CHECKIN, ETIMEDOUT, CTL_NOT_CONNECTED, "server" },
	{ CTL_DO_CHECKIN, EIO, CTL_ERROR, "written back" },
	{ CTL_DO_CHECKOUT, EIO, CTL_ERROR, "session is over" },
	{ CTL_DO_CHECKOUT, ESTALE, CTL_ERROR, "not there any more" },
	{ CTL_DO_CHECKOUT, ENOMEM, CTL_ERROR, "memory" },
};

START_TEST(status_of_errno)
{
	ck_assert_int_eq(explain(statuses[_i].action, statuses[_i].err, "", "", 0),
			 statuses[_i].status);
	ck_assert_msg(strstr(text, statuses[_i].says), "'%s' does not say '%s'", text,
		      statuses[_i].says);
	ck_assert_ptr_nonnull(strstr(text, "/mnt/group/models"));
}
END_TEST

/* What scripts rely on. */
START_TEST(numbers_stay)
{
	ck_assert(CTL_OK == 0 && CTL_ERROR == 1 && CTL_USAGE == 2 && CTL_OWNED == 3 &&
		  CTL_NOTHING == 4 && CTL_COVERED == 5 && CTL_PERMISSION == 6 &&
		  CTL_NOT_ARCHIL == 7 && CTL_NOT_CONNECTED == 8);
}
END_TEST

START_TEST(local_paths)
{
	struct where w = { .mountpoint = "/mnt", .root = "/" };
	char out[256];

	ck_assert(where_local(&w, "/", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt");
	ck_assert(where_local(&w, "/a/b", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt/a/b");

	/* a bind mount shows a part only */
	strcpy(w.root, "/a");
	ck_assert(where_local(&w, "/a", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt");
	ck_assert(where_local(&w, "/a/b", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt/b");
	ck_assert(!where_local(&w, "/ab", out, sizeof(out)));
	ck_assert_str_eq(out, "/ab");

	strcpy(w.root, "/");
	strcpy(w.mountpoint, "/");
	ck_assert(where_local(&w, "/a", out, sizeof(out)));
	ck_assert_str_eq(out, "/a");
	ck_assert(where_local(&w, "/", out, sizeof(out)));
	ck_assert_str_eq(out, "/");
}
END_TEST

START_TEST(disk_paths)
{
	struct where w = { .mountpoint = "/mnt", .root = "/" };
	char out[256];

	ck_assert(where_on_disk(&w, "", "/group/models", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt/group/models");
	ck_assert(where_on_disk(&w, "", "group/models", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt/group/models");
	ck_assert(where_on_disk(&w, "group", "/group/models", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt/models");
	ck_assert(where_on_disk(&w, "group", "/group", out, sizeof(out)));
	ck_assert_str_eq(out, "/mnt");
	/* above what is mounted */
	ck_assert(!where_on_disk(&w, "group/models", "/group", out, sizeof(out)));
	ck_assert_str_eq(out, "/group (of the disk)");
}
END_TEST

START_TEST(printable)
{
	char out[64];

	ctl_printable("a\nb\x1b[31m", out, sizeof(out));
	ck_assert_str_eq(out, "a\\x0ab\\x1b[31m");
	ctl_printable("0123456789", out, 8);
	ck_assert_uint_lt(strlen(out), 8);
}
END_TEST

START_TEST(json_of_any_bytes)
{
	json_t *value = ctl_json_text("caf\xc3\xa9");

	ck_assert_str_eq(json_string_value(value), "caf\xc3\xa9");
	json_decref(value);
	value = ctl_json_text("a\xff\xc3");
	ck_assert_str_eq(json_string_value(value), "a\\xff\\xc3");
	json_decref(value);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archilctl");
	TCase *messages = tcase_create("messages"), *paths = tcase_create("paths");
	SRunner *runner;
	int failed;

	tcase_add_test(messages, owned_by_another);
	tcase_add_test(messages, covered);
	tcase_add_loop_test(messages, status_of_errno, 0, ARRAY_SIZE(statuses));
	tcase_add_test(messages, numbers_stay);
	tcase_add_test(messages, printable);
	tcase_add_test(messages, json_of_any_bytes);
	suite_add_tcase(suite, messages);
	tcase_add_test(paths, local_paths);
	tcase_add_test(paths, disk_paths);
	suite_add_tcase(suite, paths);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
