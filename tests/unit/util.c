// SPDX-License-Identifier: GPL-2.0
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/* ---- numbers ---- */

START_TEST(sizes)
{
	static const struct { const char *text; int err; uint64_t bytes; } cases[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "7b", 0, 7 },
		{ "1K", 0, 1024 },
		{ "1k", 0, 1024 },
		{ "16KiB", 0, 16384 },
		{ "3mb", 0, 3 << 20 },
		{ "2G", 0, 2ull << 30 },
		{ "5TiB", 0, 5ull << 40 },
		{ "1p", 0, 1ull << 50 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "16383P", 0, 16383ull << 50 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "16384P", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1.5K", -EINVAL, 0 },
		{ "1KK", -EINVAL, 0 },
		{ "1iB", -EINVAL, 0 },
		{ "1KiBB", -EINVAL, 0 },
		{ "1Ki", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1E", -EINVAL, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 77;

		ck_assert_msg(parse_size(cases[i].text, &bytes) == cases[i].err, "%s",
			      cases[i].text);
		ck_assert_uint_eq(bytes, cases[i].err ? 77 : cases[i].bytes);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct { const char *text; int err; uint64_t ms; } cases[] = {
		{ "0", 0, 0 },
		{ "5", 0, 5000 },
		{ "5s", 0, 5000 },
		{ "250ms", 0, 250 },
		{ "0.25", 0, 250 },
		{ "0.001", 0, 1 },
		{ "1.5s", 0, 1500 },
		{ "10min", 0, 600000 },
		{ "1.5h", 0, 5400000 },
		{ "2d", 0, 172800000 },
		{ "0.000000000", 0, 0 },
		{ "18446744073709551615ms", 0, UINT64_MAX },
		{ "18446744073709551616ms", -ERANGE, 0 },
		{ "18446744073709552", -ERANGE, 0 },
		{ "18446744073709551.616", -ERANGE, 0 },
		{ "0.0005", -EINVAL, 0 },
		{ "1.5ms", -EINVAL, 0 },
		{ "0.0000000001d", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ ".5", -EINVAL, 0 },
		{ "1.", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
		{ "1s2", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ms = 77;

		ck_assert_msg(parse_duration(cases[i].text, &ms) == cases[i].err, "%s",
			      cases[i].text);
		ck_assert_uint_eq(ms, cases[i].err ? 77 : cases[i].ms);
	}
}
END_TEST

START_TEST(numbers)
{
	uint64_t n = 77;

	ck_assert_int_eq(parse_number("3", 3, 9, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(parse_number("9", 3, 9, &n), 0);
	ck_assert_uint_eq(n, 9);
	ck_assert_int_eq(parse_number("2", 3, 9, &n), -ERANGE);
	ck_assert_int_eq(parse_number("10", 3, 9, &n), -ERANGE);
	ck_assert_int_eq(parse_number("99999999999999999999", 3, UINT64_MAX, &n), -ERANGE);
	ck_assert_int_eq(parse_number("", 0, 9, &n), -EINVAL);
	ck_assert_int_eq(parse_number("5x", 3, 9, &n), -EINVAL);
	ck_assert_int_eq(parse_number("-5", 3, 9, &n), -EINVAL);
	ck_assert_uint_eq(n, 9);
}
END_TEST

/* ---- addresses and sources ---- */

START_TEST(host_ports)
{
	static const struct { const char *text; bool listen; const char *host; int port; } good[] = {
		{ "server", false, "server", 7464 },
		{ "server:1", false, "server", 1 },
		{ "10.0.0.1:65535", false, "10.0.0.1", 65535 },
		{ "[::1]", false, "::1", 7464 },
		{ "[fe80::1%eth0]:80", false, "fe80::1%eth0", 80 },
		{ "[10.0.0.1]:80", false, "10.0.0.1", 80 },
		{ "10.0.0.1", true, "10.0.0.1", 7464 },
		{ "[::]:0", true, "::", 0 },
		{ "*", true, "", 7464 },
		{ "*:7000", true, "", 7000 },
		{ ":7000", true, "", 7000 },
		{ "", true, "", 7464 },
	};
	static const struct { const char *text; bool listen; const char *err; } bad[] = {
		{ "", false, "\"\": the host name is missing" },
		{ ":80", false, "\":80\": the host name is missing" },
		{ "[]:80", true, "\"[]:80\": the host name is missing" },
		{ "::1", false, "\"::1\": write an IPv6 address in brackets, as in [::1] or [::1]:7464" },
		{ "::1", true, "\"::1\": write an IPv6 address in brackets, as in [::1] or [::1]:7464" },
		{ "a:", false, "\"a:\": the port must be a number from 1 to 65535" },
		{ "a:0", false, "\"a:0\": the port must be a number from 1 to 65535" },
		{ "a:65536", false, "\"a:65536\": the port must be a number from 1 to 65535" },
		{ "a:http", true, "\"a:http\": the port must be a number from 0 to 65535" },
		{ "[::1", false, "\"[::1\": ']' is missing" },
		{ "[::1]80", false, "\"[::1]80\": only :PORT can follow ']'" },
	};
	char err[ERR_TEXT], longest[400];
	struct host_port hp;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		memset(&hp, 0xff, sizeof(hp));
		ck_assert_int_eq(parse_host_port(good[i].text, good[i].listen, &hp, err), 0);
		ck_assert_str_eq(hp.host, good[i].host);
		ck_assert_int_eq(hp.port, good[i].port);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(parse_host_port(bad[i].text, bad[i].listen, &hp, err), -EINVAL);
		ck_assert_str_eq(err, bad[i].err);
	}
	memset(longest, 'h', 256);
	longest[256] = 0;
	ck_assert_int_eq(parse_host_port(longest, false, &hp, err), -EINVAL);
	ck_assert_str_eq(err, "the host name is longer than 255 characters");
	ck_assert_int_eq(parse_host_port(longest + 1, false, &hp, err), 0);
	ck_assert_str_eq(hp.host, longest + 1);
}
END_TEST

START_TEST(disk_names)
{
	char name[65];

	ck_assert_ptr_null(disk_name_problem("a"));
	ck_assert_ptr_null(disk_name_problem("Group_1.old-2"));
	ck_assert_ptr_null(disk_name_problem("_"));
	ck_assert_str_eq(disk_name_problem(""), "it is empty");
	ck_assert_str_eq(disk_name_problem(".a"), "it begins with '.' or '-'");
	ck_assert_str_eq(disk_name_problem("-a"), "it begins with '.' or '-'");
	ck_assert_str_eq(disk_name_problem("a b"), "only letters, digits, '.', '_' and '-' can be in it");
	ck_assert_ptr_nonnull(disk_name_problem("a/b"));
	ck_assert_ptr_nonnull(disk_name_problem("a:b"));
	ck_assert_ptr_nonnull(disk_name_problem("\xc3\xa9"));
	memset(name, 'x', 64);
	name[64] = 0;
	ck_assert_str_eq(disk_name_problem(name), "it is longer than 63 characters");
	ck_assert_ptr_null(disk_name_problem(name + 1));
}
END_TEST

START_TEST(sources)
{
	static const struct {
		const char *text, *host;
		int port;
		const char *disk, *subdir;
	} good[] = {
		{ "srv/group", "srv", 7464, "group", "/" },
		{ "srv:80/group:/", "srv", 80, "group", "/" },
		{ "srv/group:/models", "srv", 7464, "group", "/models" },
		{ "[::1]:80/d:/a/b", "::1", 80, "d", "/a/b" },
		{ "srv/d://a//b/./c/", "srv", 7464, "d", "/a/b/c" },
		{ "srv/d:/.", "srv", 7464, "d", "/" },
		{ "srv/d:/a:b/...", "srv", 7464, "d", "/a:b/..." },
	};
	static const struct { const char *text, *err; } bad[] = {
		{ "", "\"\" is not of the form SERVER[:PORT]/DISK[:/SUBDIR]" },
		{ "srv", "\"srv\" is not of the form SERVER[:PORT]/DISK[:/SUBDIR]" },
		{ "srv/", "\"srv/\" is not of the form SERVER[:PORT]/DISK[:/SUBDIR]" },
		{ "/group", "\"/group\" is not of the form SERVER[:PORT]/DISK[:/SUBDIR]" },
		{ "srv:/group", "\"srv:\": the port must be a number from 1 to 65535" },
		{ ":80/group", "\":80\": the host name is missing" },
		{ "::1/group", "\"::1\": write an IPv6 address in brackets, as in [::1] or [::1]:7464" },
		{ "srv/group/models", "\"group/models\" cannot be a disk's name: put ':' before a subdirectory, as in SERVER/DISK:/SUBDIR" },
		{ "srv/:/models", "\"\" cannot be a disk's name: it is empty" },
		{ "srv/.x", "\".x\" cannot be a disk's name: it begins with '.' or '-'" },
		{ "srv/a b", "\"a b\" cannot be a disk's name: only letters, digits, '.', '_' and '-' can be in it" },
		{ "srv/d:", "the subdirectory \"\" does not begin with '/'" },
		{ "srv/d:models", "the subdirectory \"models\" does not begin with '/'" },
		{ "srv/d:/a/../b", "\"..\" cannot be in the subdirectory" },
		{ "srv/d:/..", "\"..\" cannot be in the subdirectory" },
	};
	char err[ERR_TEXT], text[PATH_MAX + 100];
	static struct source source;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		memset(&source, 0xff, sizeof(source));
		ck_assert_int_eq(parse_source(good[i].text, &source, err), 0);
		ck_assert_str_eq(source.server.host, good[i].host);
		ck_assert_int_eq(source.server.port, good[i].port);
		ck_assert_str_eq(source.disk, good[i].disk);
		ck_assert_str_eq(source.subdir, good[i].subdir);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(parse_source(bad[i].text, &source, err), -EINVAL);
		ck_assert_str_eq(err, bad[i].err);
	}

	/* each limit, met and passed */
	i = sprintf(text, "s/");
	memset(text + i, 'd', 64);
	text[i + 63] = 0;
	ck_assert_int_eq(parse_source(text, &source, err), 0);
	ck_assert_uint_eq(strlen(source.disk), 63);
	text[i + 63] = 'd';
	text[i + 64] = 0;
	ck_assert_int_eq(parse_source(text, &source, err), -EINVAL);
	ck_assert_str_eq(err, "the disk's name is longer than 63 characters");

	i = sprintf(text, "s/d:/");
	memset(text + i, 'n', 256);
	text[i + 255] = 0;
	ck_assert_int_eq(parse_source(text, &source, err), 0);
	text[i + 255] = 'n';
	text[i + 256] = 0;
	ck_assert_int_eq(parse_source(text, &source, err), -EINVAL);
	ck_assert_str_eq(err, "a name in the subdirectory is longer than 255 bytes");

	i = sprintf(text, "s/d:");
	for (; i < 4 + 4094; i += 2)
		memcpy(text + i, "/n", 2);
	strcpy(text + i, "n");		/* 4095 bytes */
	ck_assert_int_eq(parse_source(text, &source, err), 0);
	ck_assert_uint_eq(strlen(source.subdir), 4095);
	strcpy(text + i, "nn");
	ck_assert_int_eq(parse_source(text, &source, err), -EINVAL);
	ck_assert_str_eq(err, "the subdirectory is longer than 4095 bytes");

	memset(text, 's', 2000);
	strcpy(text + 2000, "/d");
	ck_assert_int_eq(parse_source(text, &source, err), -EINVAL);
	ck_assert_str_eq(err, "the server's name is too long");
}
END_TEST

/* ---- files ---- */

static char dir[] = "/tmp/archil-util.XXXXXX";
static char path[64];

static void make_dir(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/token", dir);
}

static void remove_dir(void)
{
	unlink(path);
	rmdir(dir);
}

static void make_file(const void *contents, size_t len, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_full(fd, contents, len), 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* What read_secret_file should say of the file, after its path. */
static void refused(int expected, const char *says)
{
	char out[16] = "untouched", err[ERR_TEXT], full[ERR_TEXT];

	snprintf(full, sizeof(full), "%s%s", path, says);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), expected);
	ck_assert_str_eq(err, full);
	ck_assert_str_eq(out, "untouched");
}

START_TEST(secret_file)
{
	char out[16], err[ERR_TEXT], full[ERR_TEXT];

	refused(-ENOENT, ": No such file or directory");
	make_file("secret\n", 7, 0600);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), 0);
	ck_assert_str_eq(out, "secret");
	make_file("secret", 6, 0400);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), 0);
	ck_assert_str_eq(out, "secret");
	make_file("secret \r\n\n", 10, 0600);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), 0);
	ck_assert_str_eq(out, "secret");

	/* just fits, and does not */
	make_file("123456789012345\n", 16, 0600);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), 0);
	ck_assert_str_eq(out, "123456789012345");
	make_file("1234567890123456\n", 17, 0600);
	snprintf(full, sizeof(full), "the line in %s is longer than 15 characters", path);
	ck_assert_int_eq(read_secret_file(path, out, sizeof(out), err), -EINVAL);
	ck_assert_str_eq(err, full);

	make_file("secret\n", 7, 0640);
	refused(-EPERM, " is open to others than its owner (mode 0640): chmod 600 it");
	make_file("secret\n", 7, 0604);
	refused(-EPERM, " is open to others than its owner (mode 0604): chmod 600 it");
	make_file("secret\n", 7, 0620);
	refused(-EPERM, " is open to others than its owner (mode 0620): chmod 600 it");
	make_file("a\nb\n", 4, 0600);
	refused(-EINVAL, " holds more than one line");
	make_file("a\0b\n", 4, 0600);
	refused(-EINVAL, " holds more than one line");
	make_file("", 0, 0600);
	refused(-EINVAL, " is empty");
	make_file("\n \n", 3, 0600);
	refused(-EINVAL, " is empty");
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refused(-EINVAL, " is not a regular file");
}
END_TEST

/* More than a pipe takes at once, from a writer with pauses. */
START_TEST(full_reads_and_writes)
{
	static uint8_t out[300000], in[300001];
	pid_t child;
	int fds[2];
	size_t i;

	for (i = 0; i < sizeof(out); i++)
		out[i] = i * 31 >> 3;
	ck_assert_int_eq(pipe(fds), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		close(fds[0]);
		if (write_full(fds[1], out, 100))
			_exit(1);
		usleep(20000);
		_exit(!!write_full(fds[1], out + 100, sizeof(out) - 100));
	}
	close(fds[1]);
	ck_assert_int_eq(read_full(fds[0], in, 150000), 150000);
	/* and the end of the file cuts the rest short */
	ck_assert_int_eq(read_full(fds[0], in + 150000, 150001), 150000);
	ck_assert_mem_eq(in, out, sizeof(out));
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(fds[0]);
	ck_assert_int_eq(read_full(-1, in, 1), -EBADF);
	ck_assert_int_eq(write_full(-1, in, 1), -EBADF);
}
END_TEST

/* ---- time ---- */

static void in_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

START_TEST(times)
{
	const uint64_t s = 1000000000, noon = 1763812991 * s;	/* 2025-11-22 12:03:11 UTC */
	char out[TIME_TEXT];
	uint64_t before, now;

	in_zone("UTC");
	format_time(noon, noon, out);
	ck_assert_str_eq(out, "12:03:11");
	format_time(noon + s - 1, noon + 3600 * s, out);
	ck_assert_str_eq(out, "12:03:11");
	format_time(noon, noon + 12 * 3600 * s, out);
	ck_assert_str_eq(out, "2025-11-22 12:03:11");
	format_time(noon, noon + 365 * 24 * 3600 * s, out);
	ck_assert_str_eq(out, "2025-11-22 12:03:11");
	format_time(noon + 24 * 3600 * s, noon, out);
	ck_assert_str_eq(out, "2025-11-23 12:03:11");
	/* the day is the local one */
	in_zone("XXX-13");
	format_time(noon, noon + 12 * 3600 * s, out);
	ck_assert_str_eq(out, "01:03:11");
	format_time(noon, noon - 2 * 3600 * s, out);
	ck_assert_str_eq(out, "2025-11-23 01:03:11");

	before = time(NULL);
	now = realtime_ns();
	ck_assert_uint_le(before, now / s);
	ck_assert_uint_le(now / s, before + 60);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("util");
	TCase *text = tcase_create("text"), *files = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_add_test(text, sizes);
	tcase_add_test(text, durations);
	tcase_add_test(text, numbers);
	tcase_add_test(text, host_ports);
	tcase_add_test(text, disk_names);
	tcase_add_test(text, sources);
	tcase_add_test(text, times);
	suite_add_tcase(suite, text);
	tcase_add_unchecked_fixture(files, make_dir, remove_dir);
	tcase_add_test(files, secret_file);
	tcase_add_test(files, full_reads_and_writes);
	suite_add_tcase(suite, files);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
