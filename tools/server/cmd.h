/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The subcommands. Each gets its arguments from its own name on, and returns the
 * exit status: 0 done, 1 failed (and said why on stderr), 2 wrong usage.
 */
#ifndef ARCHIL_CMD_H
#define ARCHIL_CMD_H

#include <jansson.h>
#include <stdbool.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_init(int argc, char **argv);
int cmd_disk(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_delegations(int argc, char **argv);
int cmd_session(int argc, char **argv);

/* ---- what they share (cmd.c) ---- */

/* Says how it is used: on stdout and EXIT_DONE when asked for, else on stderr and EXIT_USAGE. */
int cmd_usage(const char *usage, bool asked);
/*
 * Takes --json and --help; leaves the other arguments in argv[1..*argc - 1].
 * Returns -1 to go on, or the exit status. json may be NULL: not known.
 */
int cmd_options(int *argc, char **argv, const char *usage, bool *json);
/*
 * Sends a request that json_pack() makes. Returns the reply, or NULL after the
 * error was printed.
 */
json_t *cmd_request(const char *dir, json_t *request);
/* Prints a reply as JSON. */
void cmd_print_json(json_t *reply);
/* A member as text; "" if it is not there. */
const char *cmd_text(json_t *object, const char *key);
/* A line for stderr: "archil-server: ...". Returns EXIT_FAILED. */
int cmd_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
