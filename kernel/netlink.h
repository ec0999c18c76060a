/* SPDX-License-Identifier: GPL-2.0 */
/* Upcalls to the agent of a mount's network namespace; uapi/archil.h has the interface. */
#ifndef ARCHIL_NETLINK_H
#define ARCHIL_NETLINK_H

#include <linux/completion.h>
#include <linux/refcount.h>

#include "shared/wire.h"
#include "uapi/archil.h"

struct archil_mount;
struct socket;

struct archil_upcall {
	refcount_t ref;
	struct list_head list;		/* the namespace's queue; protected by its lock */
	u64 id;
	u32 type;			/* enum archil_upcall_type */
	bool fetched;			/* by the agent that is there now; protected by the queue's lock */
	bool queued;			/* protected by the queue's lock */
	struct archil_mount *mount;	/* strong reference */

	/* FORWARD: the request. */
	u16 op;
	u32 body_len;
	u8 body[64];			/* the requests that are forwarded are short */

	/* The answer. */
	int status;			/* 0 or a negative errno: the agent's, or -ENOTCONN */
	u32 wire_status;
	u64 commit;
	u32 rep_len;
	void *rep;			/* FORWARD: reply body, checked by archil_body_check(); kmalloc */
	char message[256];
	char server[128];
	u64 session, epoch;
	struct socket *sock;		/* taken over by whoever sets it to NULL */
	struct archil_open_session_rep open;

	struct completion completion;
	/*
	 * Called once with the answer, in the context of the agent's system call; may
	 * sleep, must not wait for the network. NULL: none.
	 */
	void (*done)(struct archil_upcall *up);
	void *private;
};

int archil_netlink_init(void);
void archil_netlink_exit(void);

/* A new upcall with one reference, or NULL. Takes a reference to the mount. */
struct archil_upcall *archil_upcall_new(struct archil_mount *m, u32 type);
void archil_upcall_put(struct archil_upcall *up);
/* Queue it (the queue takes a reference) and ring the agent. */
void archil_upcall_submit(struct archil_upcall *up);
/*
 * Wait for the answer, killably, at most @seconds (0: without limit). 0: answered, see
 * up->status. -EINTR, -ETIMEDOUT, -ENOTCONN (timed out, and there is no agent).
 */
int archil_upcall_wait(struct archil_upcall *up, unsigned int seconds);
/*
 * Take it back. True: the agent has never seen it, or (@force) is told to
 * forget it: done() will not be called. False: answered already, or seen.
 */
bool archil_upcall_cancel(struct archil_upcall *up, bool force);
/* Forget every upcall of this mount but CLOSED ones. */
void archil_upcalls_drop(struct archil_mount *m);
bool archil_agent_alive(struct net *net);

#endif /* ARCHIL_NETLINK_H */
