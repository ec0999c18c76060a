/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The agent: what the kernel asks for, and who works on it. All of it belongs
 * to the loop's thread.
 *
 *	kernel.c (netlink) -> agent.c -> mount.c -> control.c -> dial.c -> channel.c
 *	                                        \-> bind.c ---/
 */
#ifndef ARCHIL_AGENT_H
#define ARCHIL_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "archil.h"
#include "htable.h"
#include "loop.h"
#include "settings.h"
#include "wire.h"

#define MESSAGE_TEXT	256	/* what the kernel takes of a message, NUL included */

struct mount;

/* An ARCHIL_CMD_UPCALL; uapi/archil.h says which fields a type has. */
struct upcall {
	uint64_t id;
	uint32_t type;			/* enum archil_upcall_type */
	uint64_t mount;
	const char *source;		/* or NULL */
	const char *token;		/* or NULL */
	bool has_uuid;
	uint8_t uuid[ARCHIL_UUID_LEN];
	uint32_t flags;			/* ARCHIL_MOUNT_* */
	uint32_t timeout_ms;
	uint64_t session;
	uint32_t op;			/* enum archil_op */
	const void *body;
	uint32_t body_len;
};

/* An ARCHIL_CMD_ANSWER. What is 0 or NULL (fd: negative) is not there. */
struct answer {
	uint64_t id;
	int status;			/* an errno, positive, or 0 */
	const char *message;
	const char *server;
	const struct archil_open_session_rep *open;
	uint64_t session, epoch;
	int fd;
	bool wire;			/* wire_status, commit and body are there */
	uint32_t wire_status;
	uint64_t commit;
	const void *body;
	uint32_t body_len;
};

struct agent;

/* How the kernel is told. In the tests it is somebody else who listens. */
struct kernel_ops {
	/* 0 or the kernel's errno, negative. */
	int (*answer)(struct agent *agent, const struct answer *answer);
	void (*revoke)(struct agent *agent, uint64_t mount, uint64_t number);
	void (*over)(struct agent *agent, uint64_t mount);
};

/* An upcall that has not been answered. */
struct job {
	struct hlink link;		/* of agent->jobs */
	uint64_t id;			/* 0: none */
	struct mount *mount;
	void (*cancel)(struct job *job);	/* it has left the table already */
};

struct agent {
	struct loop *loop;
	const struct kernel_ops *kernel;
	void *kernel_private;
	struct settings settings;
	uint8_t incarnation[ARCHIL_UUID_LEN];
	bool registered_once;
	struct htable mounts;		/* by the kernel's id */
	struct htable jobs;		/* by upcall id */
	TAILQ_HEAD(, mount) all;	/* of mounts */
	TAILQ_HEAD(, mount) closing;	/* not in `mounts`: only to be closed at the server */
};

void agent_init(struct agent *agent, struct loop *loop, const struct kernel_ops *kernel);
/* Forgets everything, tells nobody. The loop must run until dial_lookups() is 0. */
void agent_destroy(struct agent *agent);

/* This agent is registered, with a module of this incarnation. */
void agent_registered(struct agent *agent, const uint8_t incarnation[ARCHIL_UUID_LEN]);
void agent_upcall(struct agent *agent, const struct upcall *up);
void agent_cancel(struct agent *agent, uint64_t id);

/* ---- for those who work on upcalls ---- */

void job_add(struct agent *agent, struct job *job, uint64_t id, struct mount *mount,
	     void (*cancel)(struct job *job));
void job_del(struct agent *agent, struct job *job);
/*
 * Answers job's upcall and forgets it (answer->id is filled in; a failure's
 * message is made fit to be shown). Returns what the kernel says.
 */
int job_answer(struct agent *agent, struct job *job, struct answer *answer);

#endif
