/* SPDX-License-Identifier: GPL-2.0 */
/* Upcalls to the agent of a mount's network namespace; uapi/archil.h has the interface. */
#ifndef ARCHIL_NETLINK_H
#define ARCHIL_NETLINK_H

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/refcount.h>

#include "shared/wire.h"
#include "uapi/archil.h"

struct archil_agent;
struct archil_mount;
struct net;
struct socket;

struct archil_upcall {
	refcount_t ref;			/* whoever made it; the queue */
	struct archil_agent *agent;	/* the namespace's queue; its lock protects the next five */
	struct list_head list;		/* agent->pending or agent->fetched */
	struct hlist_node by_id;	/* agent->by_id */
	bool queued;			/* on a list: it has not ended */
	bool fetched;			/* by the agent that is there now */
	bool seen;			/* by some agent, once: the server may have heard of it */
	bool seen_again;		/* handed over more than once */
	u64 id;
	u32 type;			/* enum archil_upcall_type */
	u64 mount_id;
	struct archil_mount *mount;	/* strong reference; NULL in CLOSED */

	/* FORWARD: the request. */
	u16 op;
	u32 body_len;
	u8 body[64];			/* the requests that are forwarded are short */

	/* The answer. What does not belong to the type is zero. */
	int status;			/* 0 or a negative errno: the agent's; -EIO: dropped */
	u64 generation;			/* of the agent that answered */
	u32 wire_status;
	u64 commit;
	u32 rep_len;
	void *rep;			/* FORWARD: the body of the reply, checked */
	char message[256];
	char server[128];
	u64 session, epoch;
	struct socket *sock;		/* taken over by whoever sets it to NULL */
	struct archil_open_session_rep open;	/* its session is the one above */

	struct completion completion;
	/*
	 * Called once when it has ended, unless it was cancelled. In the context
	 * of whoever ends it, mostly the agent's system call: may sleep, must wait
	 * neither for the network nor for the agent. NULL: none.
	 */
	void (*done)(struct archil_upcall *up);
	void *private;
};

int archil_netlink_init(void);
void archil_netlink_exit(void);

/*
 * A new upcall with one reference, or NULL. Takes a reference to the mount (but
 * CLOSED). Does not recurse into file systems for memory.
 */
struct archil_upcall *archil_upcall_new(struct archil_mount *m, u32 type);
/* The last reference frees it, socket and reply included. May sleep. */
void archil_upcall_put(struct archil_upcall *up);
/*
 * Queue it (the queue takes a reference) and ring the agent. It ends at once, with
 * -EIO, when the transport is over (but CLOSED), and with -ENOTCONN if it is of use only to
 * an agent that is there (CLOSED, RESUME) and there is none.
 */
void archil_upcall_submit(struct archil_upcall *up);
/*
 * Submit and wait until it has ended, killably, at most @seconds (0: without limit). 0:
 * see up->status. Otherwise it is cancelled, seen or not: -EINTR, -ETIMEDOUT,
 * -ENOTCONN (timed out, and there is no agent).
 */
int archil_upcall_call(struct archil_upcall *up, unsigned int seconds);
/*
 * Take it back. True: no agent has ever seen it, or (@force) the agent is told to
 * forget it; done() will not be called and nobody is woken. False: it has
 * ended, or is ending just now, or was seen.
 */
bool archil_upcall_cancel(struct archil_upcall *up, bool force);
/*
 * End the upcalls of this mount of one @type (0: all but CLOSED ones) with -EIO; those
 * that the agent has are cancelled. Called when no new ones come: the transport is
 * over, or (FORWARD) the superblock is dying.
 */
void archil_upcalls_drop(struct archil_mount *m, u32 type);
/*
 * The session that @up (an OPEN) brought is the mount's now: m->session is set,
 * and archil_mounts_of() finds it. If the agent that opened it has gone meanwhile, its
 * successor is told. 0 or -ENOMEM.
 */
int archil_upcall_opened(struct archil_upcall *up);
bool archil_agent_alive(struct net *net);

#endif /* ARCHIL_NETLINK_H */
