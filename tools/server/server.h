/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One running server: the loop, its listeners, its connections, its disks.
 * Everything belongs to the loop's thread unless said otherwise.
 */
#ifndef ARCHIL_SERVER_H
#define ARCHIL_SERVER_H

#include <stdint.h>
#include <sys/queue.h>

#include "conn.h"
#include "loop.h"
#include "util.h"

struct disk;
struct control;
struct listener;

#define SERVER_LISTEN_MAX	16

struct server_opts {
	const char *dir;
	struct host_port listen[SERVER_LISTEN_MAX];
	unsigned int n_listen;		/* 0: all addresses, the default port */
	uint64_t reap_ms;		/* how long a removed file stays readable */
};

struct server {
	struct loop loop;
	struct server_opts opts;
	uint64_t epoch;			/* last one given; begins with the clock: never an old one */
	unsigned char salt_key[32];	/* random: made-up salts for disks that do not exist */

	TAILQ_HEAD(, listener) listeners;
	uint16_t port;			/* of the first listener */

	TAILQ_HEAD(, conn) conns;
	TAILQ_HEAD(, conn) unauth;	/* oldest first */
	TAILQ_HEAD(, conn) senders;	/* have something queued since the last turn */
	TAILQ_HEAD(, conn) resumers;	/* may read on */
	unsigned int n_unauth;
	struct loop_timer second;	/* housekeeping */

	TAILQ_HEAD(, disk) disks;
	unsigned int n_found;		/* disks that were there at the start */
	uint64_t ping_tag;		/* last one used */
	uint64_t credit;		/* outstanding, all sessions of all disks; bytes */
	uint64_t kept;			/* by all disks, when each was last looked at; see space.c */
	bool anew;			/* stopped to be started again */
	int lock_fd;			/* of the store */
	struct control *control;
	struct loop_op signal_op;
	int signal_fd;			/* -1: none */
	unsigned char signal_buf[128];
};

/*
 * Opens the store, every disk in it, and the listeners. A disk that is damaged
 * refuses the start. Returns 0, or a negative errno after it was logged.
 */
int server_start(struct server *server, const struct server_opts *opts);
/* Takes SIGTERM and SIGINT as "stop". They must be blocked in every thread. */
int server_signals(struct server *server);
/*
 * Serves until server_stop() or a signal. Returns 0 or a negative errno; -EAGAIN: what had been
 * accepted could not be stored for want of room, and now there is some. Nobody was told;
 * a server that is started anew is asked again for all that was not answered.
 */
int server_run(struct server *server);
/* Any thread. */
void server_stop(struct server *server);
/* Closes everything; what was committed is kept, what was not is answered by nobody. */
void server_destroy(struct server *server);

struct disk *server_disk(struct server *server, const char *name);
/*
 * Bytes of a write buffer (struct store_opts) for one disk more: each disk has two, and as many as
 * there are now would have no more than a sixteenth of the memory, or 4 MiB each.
 */
size_t server_write_buffer(const struct server *server);
void server_fake_salt(struct server *server, const char *name, unsigned char salt[32]);
void server_oom(void) __attribute__((noreturn));

/* Opens a disk and serves it. Returns 0, or a negative errno after it was logged. */
int server_add_disk(struct server *server, const char *name);

/* listen.c: begin; take no more; is an accept under way?; free. */
int listen_start(struct server *server);
void listen_stop(struct server *server);
bool listen_busy(struct server *server);
void listen_destroy(struct server *server);

#endif
