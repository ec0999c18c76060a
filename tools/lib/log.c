// SPDX-License-Identifier: GPL-2.0
/*
 * How a line is written without waiting (rule 1 of log.h): a socket takes it
 * with MSG_DONTWAIT or not at all; a pipe or a terminal is opened a second time,
 * non-blocking, because O_NONBLOCK on the stderr we were given would be seen by
 * everybody who shares it. Where that cannot be (and in programs that
 * are not daemons), poll() says whether there is room: a line is never
 * longer than PIPE_BUF, for which "writable" is a promise on a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define LINE_SIZE	PIPE_BUF

int log_level = LOG_INFO;

/* Written by log_init, before there are threads. */
static const char *log_program;
static bool log_times;
static bool log_journal;
static bool log_socket;
static int log_fd = STDERR_FILENO;

static atomic_ullong dropped;		/* lines in all */
static atomic_ullong reported;		/* of them, said to be */
static atomic_bool torn;		/* the last line lacks its end */

/* sd-daemon(3): is what JOURNAL_STREAM names our stderr? */
static bool is_journal(const struct stat *st)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;

	return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 &&
	       dev == st->st_dev && ino == st->st_ino;
}

void log_init(const char *program, int level, bool daemon)
{
	struct stat st;

	log_program = program;
	log_level = level;
	if (log_fd != STDERR_FILENO)
		close(log_fd);
	log_fd = STDERR_FILENO;
	log_journal = false;
	log_socket = false;
	if (!fstat(STDERR_FILENO, &st)) {
		log_socket = S_ISSOCK(st.st_mode);
		log_journal = is_journal(&st);
		if (daemon && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
			log_fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK |
				      O_NOCTTY | O_CLOEXEC);
		if (log_fd < 0)
			log_fd = STDERR_FILENO;
	}
	log_times = daemon && !log_journal;
}

uint64_t log_dropped(void)
{
	return atomic_load(&dropped);
}

/*
 * All of it, or false. line begins with a newline, which is left out unless the
 * line before this one lacks its own.
 */
static bool put(const char *line, size_t len)
{
	struct pollfd pfd = { .fd = log_fd, .events = POLLOUT };
	ssize_t n;

	if (!atomic_load(&torn)) {
		line++;
		len--;
	}
	if (log_socket) {
		n = send(log_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
			return false;
		n = write(log_fd, line, len);
	}
	if (n > 0)
		atomic_store(&torn, (size_t)n < len);
	return n == (ssize_t)len;
}

/* What stands before the message; there is room for it. */
static size_t head(char *line, size_t size, int level)
{
	const char *name = log_program ? log_program : program_invocation_short_name;
	static const char *const words[] = {
		[LOG_ERR] = "error: ", [LOG_WARNING] = "warning: ", [LOG_DEBUG] = "debug: ",
	};
	const char *word = "";
	size_t len = 0;
	int n;

	/* a tool's errors need no such word: they are why it speaks */
	if (level >= LOG_ERR && level <= LOG_DEBUG && words[level] &&
	    (log_times || level != LOG_ERR))
		word = words[level];
	if (log_journal) {
		n = snprintf(line, size, "<%d>", level);
	} else {
		if (log_times) {
			time_t now = time(NULL);
			struct tm tm;

			localtime_r(&now, &tm);
			len = strftime(line, size, "%F %T ", &tm);
		}
		n = snprintf(line + len, size - len, "%.64s: %s", name, word);
	}
	return len + n;
}

/* Copies text, visibly; returns the new length, at most size. */
static size_t append(char *line, size_t len, size_t size, const char *text)
{
	for (; *text; text++) {
		unsigned char c = *text;
		bool plain = c >= 0x20 && c != 0x7f;

		if (len + (plain ? 1 : 4) > size) {
			memcpy(line + size - 3, "...", 3);
			return size;
		}
		if (plain)
			line[len++] = c;
		else
			len += sprintf(line + len, "\\x%02x", c);
	}
	return len;
}

static void report_dropped(void)
{
	unsigned long long seen = atomic_load(&reported), now = atomic_load(&dropped);
	char line[256] = "\n";
	size_t len = 1;

	if (seen == now || !atomic_compare_exchange_strong(&reported, &seen, now))
		return;
	len += head(line + len, sizeof(line) - len, LOG_WARNING);
	len += snprintf(line + len, sizeof(line) - len,
			"%llu lines are missing here: stderr did not take them\n", now - seen);
	if (!put(line, len))
		atomic_fetch_sub(&reported, now - seen);
}

void log_line(int level, const char *fmt, ...)
{
	char text[LINE_SIZE], line[LINE_SIZE];
	int saved = errno;
	size_t len = 1;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	line[0] = '\n';
	len += head(line + len, sizeof(line) - len, level);
	len = append(line, len, sizeof(line) - 1, text);
	line[len++] = '\n';
	report_dropped();
	if (!put(line, len))
		atomic_fetch_add(&dropped, 1);
	errno = saved;
}
