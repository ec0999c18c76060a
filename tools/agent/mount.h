/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One mount, which is one session at the server.
 *
 *	UNKNOWN --RESUME--> LIVE
 *	OPENING --answered--> LIVE --the server says so--> OVER --CLOSED--> gone
 *	OPENING --failed, canceled--> CLOSING    LIVE --CLOSED--> CLOSING --> gone
 *
 * 1. OPENING: control connects, OPEN_SESSION, data connects, BIND, answer. Lost
 *    connections are made again until the kernel's patience ends; OPEN_SESSION
 *    may be repeated.
 * 2. What may have been opened at the server and is not mounted is closed there:
 *    CLOSING goes on until the server has answered, however long that takes.
 * 3. LIVE: control is kept connected (control.c). FORWARDs wait for it, are sent in
 *    order, again after each reconnect, until each has its reply.
 * 4. OVER: the kernel has been told; everything that waits is answered, and
 *    nothing is asked of the server any more.
 * 5. UNKNOWN: a restarted agent got work of a mount before its RESUME; it waits.
 */
#ifndef ARCHIL_AGENT_MOUNT_H
#define ARCHIL_AGENT_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent.h"
#include "bind.h"
#include "control.h"
#include "dial.h"
#include "util.h"

enum {
	MOUNT_TAG_FIRST		= 16,		/* tags of FORWARDs; below: control.c's own */
};

enum mount_state {
	MOUNT_UNKNOWN,
	MOUNT_OPENING,
	MOUNT_LIVE,
	MOUNT_OVER,
	MOUNT_CLOSING,
};

struct forward {
	struct job job;
	TAILQ_ENTRY(forward) next;
	uint64_t tag;
	uint32_t op;
	uint32_t body_len;
	uint8_t body[];
};

/* A CONNECT that is being worked on. */
struct reconnect {
	struct job job;
	TAILQ_ENTRY(reconnect) next;
	struct bind bind;
};

struct mount {
	struct agent *agent;
	struct hlink link;		/* of agent->mounts, unless CLOSING */
	TAILQ_ENTRY(mount) all;		/* of agent->all, or agent->closing */
	uint64_t id;			/* the kernel's */
	enum mount_state state;
	char name[MESSAGE_TEXT];	/* the source, for the log */

	struct dial_target target;
	bool kept_token;		/* it is the settings' one, and follows them */
	bool has_token;
	char subdir[PATH_MAX];		/* "" or "a/b" */
	uint8_t uuid[ARCHIL_UUID_LEN];
	uint8_t incarnation[ARCHIL_UUID_LEN];
	uint32_t flags;			/* ARCHIL_MOUNT_* */
	uint64_t session;		/* 0: not known */

	struct control control;
	uint64_t next_tag;
	TAILQ_HEAD(, forward) forwards;		/* in order */
	TAILQ_HEAD(, reconnect) reconnects;

	/* OPENING */
	struct job open_job;
	struct loop_timer deadline;
	uint32_t timeout_ms;
	bool open_sent;			/* the server may have heard OPEN_SESSION */
	struct archil_open_session_rep open_rep;
	uint64_t revoked;		/* number revoked before the kernel knew it, or 0 */
	struct bind bind;
	char last_text[ERR_TEXT];	/* of the last try that failed */
};

/* Upcalls, by agent.c. They are answered at once or later. */
void mount_open(struct agent *agent, const struct upcall *up);
void mount_resume(struct agent *agent, const struct upcall *up);
void mount_forward(struct agent *agent, const struct upcall *up);
void mount_connect(struct agent *agent, const struct upcall *up);
void mount_closed(struct agent *agent, const struct upcall *up);
/* The module is another one now, and this mount is no more. */
void mount_orphaned(struct mount *m);
/* Take the token anew from the settings, if it came from there. */
void mount_refresh_token(struct mount *m);
/* Forget it at once. */
void mount_free(struct mount *m);

/* By control.c. */
void mount_control_up(struct mount *m);			/* RESUME was accepted */
void mount_opened(struct mount *m, const struct archil_open_session_rep *rep);
/*
 * OPENING only. text: a sentence. final: trying again would change nothing.
 * Returns whether to try again; if not, m may be gone.
 */
bool mount_control_failed(struct mount *m, int err, bool final, const char *text);
void mount_open_refused(struct mount *m, const struct archil_hdr *hdr, const void *body);
void mount_over(struct mount *m);
void mount_close_done(struct mount *m);
void mount_replied(struct mount *m, const struct archil_hdr *hdr, const void *body);
void mount_revoked(struct mount *m, uint64_t number);

/* In message.c: why the server did not open the session, for people; at most size bytes. */
void open_error_text(const struct mount *m, const struct archil_hdr *hdr, const void *body,
		     char *out, size_t size);

#endif
