// SPDX-License-Identifier: GPL-2.0
/*
 * The agent of a network namespace and what it is asked to do.
 *
 * 1. A network namespace has a queue of upcalls and at most one agent: the
 *    socket that said REGISTER, until it is closed.
 * 2. An upcall is pending or fetched, on one list of the queue, from submission
 *    until it ends: answered, cancelled or dropped. Whoever takes it off the
 *    list, under the lock, ends it; so it ends once. done() is called unlocked.
 * 3. It is fetched when it is in a message that a dump hands over. What a dead
 *    agent had fetched is pending again, in front; but it stays `seen`.
 * 4. The doorbell is a hint: it may come once too often, and be lost when the
 *    agent's socket is full, since then the agent fetches anyway.
 * 5. An answer is checked whole (netlink.c) before its upcall leaves the list:
 *    a bad one changes nothing.
 * 6. An upcall keeps its mount, and so the namespace, but CLOSED does not. CLOSED and
 *    RESUME mean something only to the agent that is there; they end with it.
 * 7. A new agent gets a RESUME for each live mount, before anything else.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/slab.h>

#include "agent.h"
#include "super.h"
#include "trace.h"

unsigned int archil_net_id;
static atomic64_t archil_upcall_ids;

bool archil_agent_alive(struct net *net)
{
	return READ_ONCE(archil_agent_of(net)->portid);
}

void archil_agent_ring(struct archil_agent *agent)
{
	u32 portid = READ_ONCE(agent->portid);

	if (portid && archil_agent_send(agent, portid, ARCHIL_CMD_PENDING, 0) == -ENOMEM)
		schedule_delayed_work(&agent->ring_work, HZ / 10);
}

static void archil_agent_ring_work(struct work_struct *work)
{
	archil_agent_ring(container_of(to_delayed_work(work), struct archil_agent, ring_work));
}

/* ---- upcalls ---- */

struct archil_upcall *archil_upcall_new(struct archil_mount *m, u32 type)
{
	struct archil_upcall *up;

	up = kzalloc(sizeof(*up), GFP_NOIO);
	if (!up)
		return NULL;
	refcount_set(&up->ref, 1);
	INIT_LIST_HEAD(&up->list);
	init_completion(&up->completion);
	up->agent = archil_agent_of(m->net);
	up->id = atomic64_inc_return(&archil_upcall_ids);
	up->type = type;
	up->mount_id = m->id;
	if (type != ARCHIL_UPCALL_CLOSED) {
		refcount_inc(&m->ref);
		up->mount = m;
	}
	return up;
}

void archil_upcall_put(struct archil_upcall *up)
{
	if (!refcount_dec_and_test(&up->ref))
		return;
	if (up->sock)
		sockfd_put(up->sock);
	if (up->mount)
		archil_mount_put(up->mount);
	kfree(up->rep);
	kfree(up);
}

/* Its agent alone is interested in it. */
static bool archil_upcall_ends_with_agent(const struct archil_upcall *up)
{
	return up->type == ARCHIL_UPCALL_CLOSED || up->type == ARCHIL_UPCALL_RESUME;
}

void archil_upcall_dequeue(struct archil_upcall *up)
{
	lockdep_assert_held(&up->agent->lock);
	list_del_init(&up->list);
	hash_del(&up->by_id);
	up->queued = false;
}

void archil_upcall_end(struct archil_upcall *up)
{
	trace_archil_upcall_end(up->mount_id, up->type, up->id, up->status);
	if (up->done)
		up->done(up);
	complete_all(&up->completion);
	archil_upcall_put(up);
}

void archil_upcalls_end(struct list_head *list, int status)
{
	struct archil_upcall *up;

	while ((up = list_first_entry_or_null(list, struct archil_upcall, list))) {
		list_del_init(&up->list);
		up->status = status;
		archil_upcall_end(up);
	}
}

/* @first: before all others. */
static void archil_upcall_queue(struct archil_upcall *up, bool first)
{
	struct archil_agent *agent = up->agent;
	int err = 0;

	refcount_inc(&up->ref);
	trace_archil_upcall(up->mount_id, up->type, up->id, up->op);
	spin_lock(&agent->lock);
	/* under the lock: so archil_upcalls_drop() leaves none behind */
	if (up->mount && archil_transport_is_over(up->mount))
		err = -EIO;
	else if (!agent->portid && archil_upcall_ends_with_agent(up))
		err = -ENOTCONN;
	if (!err) {
		up->queued = true;
		hash_add(agent->by_id, &up->by_id, up->id);
		if (first)
			list_add(&up->list, &agent->pending);
		else
			list_add_tail(&up->list, &agent->pending);
	}
	spin_unlock(&agent->lock);
	if (err) {
		up->status = err;
		archil_upcall_end(up);
	}
}

void archil_upcall_submit(struct archil_upcall *up)
{
	archil_upcall_queue(up, false);
	archil_agent_ring(up->agent);
}

/* -EINTR, -ETIMEDOUT, -ENOTCONN */
static int archil_upcall_wait(struct archil_upcall *up, unsigned int seconds)
{
	long left;

	if (!seconds)
		return wait_for_completion_killable(&up->completion) ? -EINTR : 0;
	left = wait_for_completion_killable_timeout(&up->completion, (unsigned long)seconds * HZ);
	if (left > 0)
		return 0;
	if (left < 0)
		return -EINTR;
	return READ_ONCE(up->agent->portid) ? -ETIMEDOUT : -ENOTCONN;
}

bool archil_upcall_cancel(struct archil_upcall *up, bool force)
{
	struct archil_agent *agent = up->agent;
	u32 portid = 0;
	bool taken;

	spin_lock(&agent->lock);
	taken = up->queued && (force || !up->seen);
	if (taken) {
		if (up->fetched)
			portid = agent->portid;
		archil_upcall_dequeue(up);
	}
	spin_unlock(&agent->lock);
	/* If this does not get through, the agent learns of it when it answers. */
	if (portid)
		archil_agent_send(agent, portid, ARCHIL_CMD_CANCEL, up->id);
	if (taken)
		archil_upcall_put(up);
	return taken;
}

int archil_upcall_call(struct archil_upcall *up, unsigned int seconds)
{
	int err;

	archil_upcall_submit(up);
	err = archil_upcall_wait(up, seconds);
	if (err && !archil_upcall_cancel(up, true)) {
		/* It is ending just now, which waits for nobody. */
		wait_for_completion(&up->completion);
		err = 0;
	}
	return err;
}

/* Move what @m has on one of the lists, of this type if not 0, to another one. */
static void archil_upcalls_collect(struct list_head *from, struct archil_mount *m, u32 type,
				   struct list_head *to)
{
	struct archil_upcall *up, *next;

	list_for_each_entry_safe(up, next, from, list) {
		if (up->mount != m || (type && up->type != type))
			continue;
		archil_upcall_dequeue(up);
		list_add_tail(&up->list, to);
	}
}

void archil_upcalls_drop(struct archil_mount *m, u32 type)
{
	struct archil_agent *agent = archil_agent_of(m->net);
	struct archil_upcall *up;
	LIST_HEAD(fetched);
	LIST_HEAD(pending);
	u32 portid;

	spin_lock(&agent->lock);
	archil_upcalls_collect(&agent->fetched, m, type, &fetched);
	archil_upcalls_collect(&agent->pending, m, type, &pending);
	portid = agent->portid;
	spin_unlock(&agent->lock);
	list_for_each_entry(up, &fetched, list)
		archil_agent_send(agent, portid, ARCHIL_CMD_CANCEL, up->id);
	archil_upcalls_end(&fetched, -EIO);
	archil_upcalls_end(&pending, -EIO);
}

struct archil_upcall *archil_upcall_find(struct archil_agent *agent, u32 portid, u64 id)
{
	struct archil_upcall *up, *found = NULL;

	spin_lock(&agent->lock);
	if (agent->portid == portid) {
		hash_for_each_possible(agent->by_id, up, by_id, id) {
			if (up->id == id && up->fetched) {
				refcount_inc(&up->ref);
				found = up;
				break;
			}
		}
	}
	spin_unlock(&agent->lock);
	return found;
}

bool archil_upcall_claim(struct archil_upcall *up, u32 portid)
{
	struct archil_agent *agent = up->agent;
	bool mine;

	spin_lock(&agent->lock);
	mine = up->queued && up->fetched && agent->portid == portid;
	if (mine) {
		archil_upcall_dequeue(up);
		up->generation = agent->generation;
	}
	spin_unlock(&agent->lock);
	return mine;
}

bool archil_upcall_again(struct archil_upcall *up, u32 portid)
{
	struct archil_agent *agent = up->agent;
	bool again;

	spin_lock(&agent->lock);
	again = up->queued && up->fetched && up->seen_again && agent->portid == portid;
	if (again) {
		up->fetched = false;
		list_move_tail(&up->list, &agent->pending);
	}
	spin_unlock(&agent->lock);
	if (again)
		schedule_delayed_work(&agent->ring_work, HZ);
	return again;
}

/* ---- the agent comes and goes ---- */

static int archil_agent_resume(struct archil_mount *m)
{
	struct archil_upcall *up;

	up = archil_upcall_new(m, ARCHIL_UPCALL_RESUME);
	if (!up)
		return -ENOMEM;
	archil_upcall_queue(up, true);
	archil_upcall_put(up);
	return 0;
}

int archil_upcall_opened(struct archil_upcall *up)
{
	struct archil_agent *agent = up->agent;
	bool moved;
	int err;

	spin_lock(&agent->lock);
	moved = agent->portid && agent->generation != up->generation;
	spin_unlock(&agent->lock);
	if (!moved)
		return 0;
	err = archil_agent_resume(up->mount);
	archil_agent_ring(agent);
	return err;
}

void archil_agent_gone(struct archil_agent *agent, u32 portid)
{
	struct archil_upcall *up, *next;
	LIST_HEAD(moot);

	spin_lock(&agent->lock);
	if (!portid || agent->portid != portid) {
		spin_unlock(&agent->lock);
		return;
	}
	WRITE_ONCE(agent->portid, 0);
	list_for_each_entry(up, &agent->fetched, list)
		up->fetched = false;
	list_splice_init(&agent->fetched, &agent->pending);
	list_for_each_entry_safe(up, next, &agent->pending, list) {
		if (archil_upcall_ends_with_agent(up)) {
			archil_upcall_dequeue(up);
			list_add_tail(&up->list, &moot);
		}
	}
	spin_unlock(&agent->lock);
	archil_upcalls_end(&moot, -ENOTCONN);
}

/* archil_mounts_of() has no way to stop or to hand an error on. */
static void archil_agent_resume_live(struct archil_mount *m)
{
	if (READ_ONCE(m->session) && archil_agent_resume(m))
		archil_agent_of(m->net)->resume_failed = true;
}

int archil_agent_register(struct archil_agent *agent, u32 portid)
{
	u32 was;

	spin_lock(&agent->lock);
	was = agent->portid;
	if (!was) {
		WRITE_ONCE(agent->portid, portid);
		agent->generation++;
		agent->resume_failed = false;
	}
	spin_unlock(&agent->lock);
	if (was)
		return was == portid ? 1 : -EBUSY;

	archil_mounts_of(agent->net, archil_agent_resume_live);
	if (!agent->resume_failed)
		return 0;
	archil_agent_gone(agent, portid);
	return -ENOMEM;
}

static int archil_netlink_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct netlink_notify *n = data;

	if (event == NETLINK_URELEASE && n->protocol == NETLINK_GENERIC)
		archil_agent_gone(archil_agent_of(n->net), n->portid);
	return NOTIFY_DONE;
}

static struct notifier_block archil_netlink_notifier = {
	.notifier_call = archil_netlink_event,
};

/* ---- namespaces ---- */

static int __net_init archil_net_init(struct net *net)
{
	struct archil_agent *agent = archil_agent_of(net);

	agent->net = net;
	spin_lock_init(&agent->lock);
	INIT_LIST_HEAD(&agent->pending);
	INIT_LIST_HEAD(&agent->fetched);
	hash_init(agent->by_id);
	INIT_DELAYED_WORK(&agent->ring_work, archil_agent_ring_work);
	return 0;
}

/* No mount is left; a CLOSED may be, and (the module goes) an agent. */
static void __net_exit archil_net_exit(struct net *net)
{
	struct archil_agent *agent = archil_agent_of(net);

	archil_agent_gone(agent, agent->portid);
	cancel_delayed_work_sync(&agent->ring_work);
	WARN_ON_ONCE(!list_empty(&agent->pending));
}

static struct pernet_operations archil_net_ops = {
	.init = archil_net_init,
	.exit = archil_net_exit,
	.id = &archil_net_id,
	.size = sizeof(struct archil_agent),
};

int __init archil_agents_init(void)
{
	int err;

	err = register_pernet_subsys(&archil_net_ops);
	if (err)
		return err;
	err = netlink_register_notifier(&archil_netlink_notifier);
	if (err)
		unregister_pernet_subsys(&archil_net_ops);
	return err;
}

void archil_agents_exit(void)
{
	netlink_unregister_notifier(&archil_netlink_notifier);
	unregister_pernet_subsys(&archil_net_ops);
}
