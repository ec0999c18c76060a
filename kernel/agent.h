/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The agent of a network namespace and what it is asked to do: agent.c keeps
 * the queue, netlink.c the messages. Others see netlink.h.
 */
#ifndef ARCHIL_AGENT_H
#define ARCHIL_AGENT_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/netns/generic.h>

#include "netlink.h"

struct archil_agent {
	struct net *net;		/* whose this is */
	spinlock_t lock;
	u32 portid;			/* the agent's; 0: there is none; protected by lock */
	u64 generation;			/* moves with every REGISTER; protected by lock */
	struct list_head pending;	/* protected by lock */
	struct list_head fetched;	/* protected by lock */
	DECLARE_HASHTABLE(by_id, 6);	/* both; protected by lock */
	bool resume_failed;		/* of the REGISTER under way */
	struct delayed_work ring_work;	/* the doorbell again, when there was no memory */
};

extern unsigned int archil_net_id;

static inline struct archil_agent *archil_agent_of(struct net *net)
{
	return net_generic(net, archil_net_id);
}

int archil_agents_init(void);
void archil_agents_exit(void);

/* 0: it is the agent now. 1: it was already. -EBUSY: another is; -ENOMEM. */
int archil_agent_register(struct archil_agent *agent, u32 portid);
/* If @portid is the agent, it is no more. */
void archil_agent_gone(struct archil_agent *agent, u32 portid);
/* There is something to fetch. */
void archil_agent_ring(struct archil_agent *agent);

/* Off the list, under the lock. The queue's reference becomes the caller's. */
void archil_upcall_dequeue(struct archil_upcall *up);
/* Off the list and with its answer in it: tell, wake, put the reference. Unlocked. */
void archil_upcall_end(struct archil_upcall *up);
/* The same for a list, all with this status. */
void archil_upcalls_end(struct list_head *list, int status);
/* One that this agent has fetched and not answered, with a reference, or NULL. */
struct archil_upcall *archil_upcall_find(struct archil_agent *agent, u32 portid, u64 id);
/* End it with this agent's answer: true, and the caller does. False: too late. */
bool archil_upcall_claim(struct archil_upcall *up, u32 portid);

/*
 * This agent has not sent the FORWARD. True: an earlier one may have, so it is pending again and
 * the doorbell rings after a second. False: nobody has, or it is too late; claim it.
 */
bool archil_upcall_again(struct archil_upcall *up, u32 portid);

/* netlink.c: a message without more than an upcall's id (0: none). 0, -ENOMEM, ... */
int archil_agent_send(struct archil_agent *agent, u32 portid, u8 cmd, u64 id);

#endif /* ARCHIL_AGENT_H */
