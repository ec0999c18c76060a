// SPDX-License-Identifier: GPL-2.0
/*
 * What log lines look like, and that they never make a caller wait. Each test
 * is a process of its own (Check forks), whose stderr it replaces.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static char got[1 << 20];

static int stderr_pipe(void)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	ck_assert_int_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	return fds[0];
}

/* All that has arrived, as a string. */
static const char *take(int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, got + len, sizeof(got) - 1 - len)) > 0)
		len += n;
	got[len] = 0;
	return got;
}

START_TEST(tool)
{
	int fd = stderr_pipe();

	unsetenv("JOURNAL_STREAM");
	log_init("archilctl", LOG_INFO, false);
	errno = EBUSY;
	log_err("%s: %m", "/mnt");
	ck_assert_int_eq(errno, EBUSY);
	ck_assert_str_eq(take(fd), "archilctl: /mnt: Device or resource busy\n");
	log_warn("careful");
	log_info("%d files", 3);
	log_debug("unseen");
	ck_assert_str_eq(take(fd), "archilctl: warning: careful\narchilctl: 3 files\n");
	log_init("archilctl", LOG_DEBUG, false);
	log_debug("seen");
	ck_assert_str_eq(take(fd), "archilctl: debug: seen\n");
	log_init("archilctl", LOG_ERR, false);
	log_warn("unseen");
	log_err("seen");
	ck_assert_str_eq(take(fd), "archilctl: seen\n");
}
END_TEST

START_TEST(before_init)
{
	int fd = stderr_pipe();

	log_info("hello");
	/* the program's own name: whatever this test is called */
	take(fd);
	ck_assert_int_eq(strncmp(got, program_invocation_short_name,
				 strlen(program_invocation_short_name)), 0);
	ck_assert_str_eq(got + strlen(program_invocation_short_name), ": hello\n");
}
END_TEST

START_TEST(daemon_times)
{
	int fd = stderr_pipe(), year, month, day, hour, minute, second, end = 0;

	log_init("archil-server", LOG_INFO, true);
	log_err("no disk");
	take(fd);
	ck_assert_int_eq(sscanf(got, "%4d-%2d-%2d %2d:%2d:%2d archil-server: error: no disk\n%n",
				&year, &month, &day, &hour, &minute, &second, &end), 6);
	ck_assert_int_eq(end, (int)strlen(got));
	ck_assert_int_ge(year, 2024);
}
END_TEST

START_TEST(journal)
{
	int fd = stderr_pipe();
	char text[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	log_init("archil-agent", LOG_DEBUG, true);
	log_err("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	ck_assert_str_eq(take(fd), "<3>a\n<4>b\n<6>c\n<7>d\n");

	/* stderr was redirected since: not the journal any more */
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", text, 1);
	log_init("archil-agent", LOG_DEBUG, false);
	log_err("a");
	ck_assert_str_eq(take(fd), "archil-agent: a\n");
}
END_TEST

START_TEST(one_line)
{
	static char text[3 * PIPE_BUF];
	int fd = stderr_pipe();

	log_init("t", LOG_INFO, false);
	log_info("a\nt: b\x1b[31m\r\t\x7f \xc3\xa9");
	ck_assert_str_eq(take(fd), "t: a\\x0at: b\\x1b[31m\\x0d\\x09\\x7f \xc3\xa9\n");

	memset(text, 'x', sizeof(text) - 1);
	log_info("%s", text);
	take(fd);
	ck_assert_uint_le(strlen(got), PIPE_BUF);
	ck_assert_uint_gt(strlen(got), PIPE_BUF - 16);
	ck_assert_str_eq(got + strlen(got) - 5, "x...\n");
	memset(text, '\n', sizeof(text) - 1);
	log_info("%s", text);
	take(fd);
	ck_assert_uint_le(strlen(got), PIPE_BUF);
	ck_assert_str_eq(strchr(got, '\n') + 1, "");
	ck_assert_str_eq(got + strlen(got) - 4, "...\n");
}
END_TEST

/* Logs until it would wait, then on; whoever reads again hears how much is missing. */
static void full(int fd)
{
	unsigned long long missing = 0, lines = 0, total = 3000, i;
	char *line, *next, text[600];

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (i = 0; i < total; i++)
		log_info("%llu %s", i, text);
	ck_assert_uint_gt(log_dropped(), 0);
	ck_assert_uint_lt(log_dropped(), total);
	take(fd);
	for (line = got; (next = strchr(line, '\n')); line = next + 1) {
		unsigned long long number;

		ck_assert_int_eq(sscanf(line, "t: %llu y", &number), 1);
		ck_assert_uint_eq(number, lines++);
		ck_assert_int_eq(next - line, snprintf(NULL, 0, "t: %llu %s", number, text));
	}
	ck_assert_str_eq(line, "");
	ck_assert_uint_eq(lines + log_dropped(), total);

	log_info("again");
	take(fd);
	ck_assert_int_eq(sscanf(got, "t: warning: %llu lines are missing here", &missing), 1);
	ck_assert_uint_eq(missing, log_dropped());
	ck_assert_str_eq(strchr(got, '\n') + 1, "t: again\n");
	log_info("and again");
	ck_assert_str_eq(take(fd), "t: and again\n");
	ck_assert_uint_eq(missing, log_dropped());
}

START_TEST(full_pipe)
{
	int fd = stderr_pipe();

	log_init("t", LOG_INFO, false);
	full(fd);
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(full_pipe_daemon)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char fill[PIPE_BUF] = { 0 };
	int fd = stderr_pipe();

	log_init("t", LOG_INFO, true);
	/* what others share with us stays as it was */
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
	while (poll(&pfd, 1, 0) == 1 && pfd.revents & POLLOUT)
		ck_assert_int_gt(write(STDERR_FILENO, fill, sizeof(fill)), 0);
	log_err("lost");
	log_err("lost");
	ck_assert_uint_eq(log_dropped(), 2);
	take(fd);
	log_err("kept");
	take(fd);
	ck_assert_ptr_nonnull(strstr(got, " t: warning: 2 lines are missing here: "));
	ck_assert_ptr_nonnull(strstr(got, " t: error: kept\n"));
	ck_assert_ptr_null(strstr(got, "lost"));
}
END_TEST

START_TEST(full_socket)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	ck_assert_int_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	log_init("t", LOG_INFO, false);
	full(fds[0]);
	/* nobody listens any more: no signal */
	close(fds[0]);
	log_info("to nobody");
	ck_assert_uint_gt(log_dropped(), 0);
}
END_TEST

START_TEST(no_stderr)
{
	close(STDERR_FILENO);
	log_init("t", LOG_INFO, true);
	log_err("into nothing");
	ck_assert_uint_eq(log_dropped(), 1);
}
END_TEST

static void *chatter(void *arg)
{
	int i;

	for (i = 0; i < 200; i++)
		log_info("%s", (const char *)arg);
	return NULL;
}

/* Lines of several threads stay whole. */
START_TEST(threads)
{
	char a[300], b[300], *line, *next;
	int fd = stderr_pipe(), lines = 0;
	pthread_t one, two;

	ck_assert_int_gt(fcntl(fd, F_SETPIPE_SZ, 1 << 19), 0);
	log_init("t", LOG_INFO, true);
	memset(a, 'a', 299);
	memset(b, 'b', 299);
	a[299] = b[299] = 0;
	ck_assert_int_eq(pthread_create(&one, NULL, chatter, a), 0);
	ck_assert_int_eq(pthread_create(&two, NULL, chatter, b), 0);
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	take(fd);
	for (line = got; (next = strchr(line, '\n')); line = next + 1) {
		*next = 0;
		line = strstr(line, " t: ");
		ck_assert_ptr_nonnull(line);
		ck_assert(!strcmp(line + 4, a) || !strcmp(line + 4, b));
		lines++;
	}
	ck_assert_int_eq(lines + log_dropped(), 400);
	ck_assert_int_eq(log_dropped(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *lines = tcase_create("lines"), *waiting = tcase_create("waiting");
	SRunner *runner;
	int failed;

	tcase_add_test(lines, tool);
	tcase_add_test(lines, before_init);
	tcase_add_test(lines, daemon_times);
	tcase_add_test(lines, journal);
	tcase_add_test(lines, one_line);
	tcase_add_test(lines, threads);
	suite_add_tcase(suite, lines);
	tcase_add_test(waiting, full_pipe);
	tcase_add_test(waiting, full_pipe_daemon);
	tcase_add_test(waiting, full_socket);
	tcase_add_test(waiting, no_stderr);
	suite_add_tcase(suite, waiting);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
