/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lines to stderr, or with the journal's level prefixes when stderr is the
 * journal. Any thread may log; errno is left as it was; %m works.
 *
 * 1. Logging never waits: a line that stderr does not take at once is dropped
 *    and counted, and the next line that gets through says how many were.
 * 2. One message is one line: control characters in it are written as \xNN,
 *    so that a name from outside cannot forge a line or steer a terminal.
 * 3. No secret is ever an argument.
 */
#ifndef ARCHIL_LOG_H
#define ARCHIL_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>		/* LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG */

/*
 * program: the name in front of each line (kept by reference).
 * level: the least important level that is shown.
 * daemon: lines carry date and time, and stderr is written without blocking
 * whatever it is; such a program also ignores SIGPIPE.
 * Without this call: the program's own name, LOG_INFO, no times.
 */
void log_init(const char *program, int level, bool daemon);

void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lines dropped since the start. */
uint64_t log_dropped(void);

extern int log_level;		/* written by log_init only */

#define log_at(level, ...)					\
	do {							\
		if ((level) <= log_level)			\
			log_line(level, __VA_ARGS__);		\
	} while (0)

#define log_err(...)	log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...)	log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	log_at(LOG_DEBUG, __VA_ARGS__)

#endif
