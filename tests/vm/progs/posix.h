/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the posix-* programs share. Each does a list of things in a directory and
 * says what came of it; it is run on archil and on another filesystem, and must
 * say the same. It leaves its files, so that other clients can read them.
 */
#ifndef POSIX_H
#define POSIX_H

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "prog.h"

#define NOBODY 65534

__attribute__((unused))
static void say_result(int line, const char *what, long long ret, int err)
{
	if (ret == -1)
		printf("%d: %s: %s\n", line, what, errname(err));
	else
		printf("%d: %s: %lld\n", line, what, ret);
	fflush(stdout);
}

/* Does it, says what it was and what it gave. */
#define TRY(call) ({						\
	errno = 0;						\
	long long ret_ = (long long)(call);			\
	int err_ = errno;					\
								\
	say_result(__LINE__, #call, ret_, err_);		\
	errno = err_;						\
	ret_;							\
})

/* As an unprivileged user. */
#define USER(call) ({						\
	setfsgid(NOBODY);					\
	setfsuid(NOBODY);					\
	errno = 0;						\
	long long uret_ = (long long)(call);			\
	int uerr_ = errno;					\
								\
	setfsuid(0);						\
	setfsgid(0);						\
	errno = uerr_;						\
	uret_;							\
})

/* This must work, or there is nothing to compare. */
#define MUST(call) ({						\
	long long mret_ = (long long)(call);			\
								\
	if (mret_ == -1)					\
		die("line %d: %s", __LINE__, #call);		\
	mret_;							\
})

/* This must be, on any filesystem. */
#define TRUE(expr) do {						\
	if (!(expr))						\
		wrong("line %d: %s", __LINE__, #expr);		\
} while (0)

struct test {
	const char *name;
	void (*run)(void);
};

/* Each in a directory of its own below the working directory. */
__attribute__((unused))
static int run_tests(const struct test *tests, int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1])) {
		fprintf(stderr, "usage: %s DIR [TEST]\n", argv[0]);
		return 2;
	}
	umask(022);
	for (; tests->name; tests++) {
		if (argc > 2 && strcmp(argv[2], tests->name))
			continue;
		printf("--- %s\n", tests->name);
		MUST(mkdir(tests->name, 0755));
		MUST(chdir(tests->name));
		tests->run();
		MUST(chdir(".."));
	}
	return prog_failed != 0;
}

__attribute__((unused))
static struct stat stat_of(const char *name)
{
	struct stat st;

	MUST(lstat(name, &st));
	return st;
}

/* Waits until the clock that files are stamped by is past a time. */
__attribute__((unused))
static void tick(struct timespec than)
{
	struct timespec now;

	do {
		usleep(2000);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec < than.tv_sec ||
		 (now.tv_sec == than.tv_sec && now.tv_nsec <= than.tv_nsec));
}

/* Waits for a child of ours, gives its exit status, or 1000 and the signal. */
__attribute__((unused))
static int reap(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#endif
