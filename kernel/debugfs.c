// SPDX-License-Identifier: GPL-2.0
/*
 * What a mount is doing, in /sys/kernel/debug/archil/<mount id>/. For people:
 * programs use ARCHIL_IOC_STATUS and _DELEGATION. Failing to make the files is
 * no error.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "agent.h"
#include "debugfs.h"
#include "ioctl.h"
#include "super.h"

static struct dentry *archil_debugfs_root;

static unsigned int archil_list_count(const struct list_head *list)
{
	const struct list_head *pos;
	unsigned int n = 0;

	list_for_each(pos, list)
		n++;
	return n;
}

/* ---- status ---- */

static const char * const archil_tp_names[] = {
	[ARCHIL_TP_LOST]	= "lost",
	[ARCHIL_TP_UP]		= "up",
	[ARCHIL_TP_OVER]	= "over",
};

static void archil_show_queues(struct seq_file *seq, struct archil_mount *m)
{
	struct archil_agent *agent = archil_agent_of(m->net);
	unsigned int first, second;

	spin_lock(&m->tp.lock);
	first = archil_list_count(&m->tp.unsent) + archil_list_count(&m->tp.unsent_bulk);
	second = archil_list_count(&m->tp.sent);
	spin_unlock(&m->tp.lock);
	seq_printf(seq, "requests unsent:\t%u\n", first);
	seq_printf(seq, "requests in flight:\t%u\n", second);

	spin_lock(&agent->lock);
	first = archil_list_count(&agent->pending);
	second = archil_list_count(&agent->fetched);
	spin_unlock(&agent->lock);
	seq_printf(seq, "upcalls pending:\t%u\n", first);
	seq_printf(seq, "upcalls at the agent:\t%u\n", second);
}

static void archil_show_space(struct seq_file *seq, struct archil_mount *m)
{
	s64 avail, charged;
	u64 inos;

	spin_lock(&m->credit.lock);
	avail = m->credit.avail;
	charged = m->credit.charged;
	spin_unlock(&m->credit.lock);
	seq_printf(seq, "credit unused:\t\t%lld\n", avail);
	seq_printf(seq, "credit charged:\t\t%lld\n", charged);

	spin_lock(&m->inos.lock);
	inos = m->inos.end - m->inos.next + m->inos.end2 - m->inos.next2;
	spin_unlock(&m->inos.lock);
	seq_printf(seq, "inode numbers left:\t%llu\n", inos);
}

static void archil_show_counters(struct seq_file *seq, const struct archil_ioc_status *st)
{
	unsigned int op;

	seq_printf(seq, "requests:\t\t%llu\n", st->requests);
	seq_printf(seq, "resent:\t\t\t%llu\n", st->resent);
	seq_printf(seq, "reconnects:\t\t%llu\n", st->reconnects);
	seq_printf(seq, "bytes sent:\t\t%llu\n", st->bytes_sent);
	seq_printf(seq, "bytes received:\t\t%llu\n", st->bytes_received);
	seq_printf(seq, "log records:\t\t%llu\n", st->records);
	seq_printf(seq, "log batches:\t\t%llu\n", st->batches);
	for (op = 0; op < ARCHIL_OP_MAX; op++)
		if (st->requests_by_op[op])
			seq_printf(seq, "  %-16s\t%llu\n", archil_op_name(op),
				   st->requests_by_op[op]);
}

static int archil_status_show(struct seq_file *seq, void *v)
{
	struct archil_mount *m = seq->private;
	struct archil_ioc_status *st;

	st = kmalloc(sizeof(*st), GFP_KERNEL);
	if (!st)
		return -ENOMEM;
	archil_status_fill(m, st);
	seq_printf(seq, "session:\t\t%llu\n", st->session);
	seq_printf(seq, "server:\t\t\t%s\n", st->server);
	seq_printf(seq, "disk:\t\t\t%s\n", st->disk);
	seq_puts(seq, "subdirectory:\t\t/");
	seq_escape(seq, st->subdir, "\n\\");
	seq_putc(seq, '\n');
	seq_printf(seq, "mounted:\t\t%s%s\n",
		   st->mount_flags & ARCHIL_STATUS_SHARED ? "shared" : "exclusive",
		   st->mount_flags & ARCHIL_STATUS_RO ? ", ro" : "");
	seq_printf(seq, "agent:\t\t\t%s\n",
		   st->mount_flags & ARCHIL_STATUS_AGENT ? "yes" : "no");
	seq_printf(seq, "connection:\t\t%s, epoch %llu\n",
		   archil_tp_names[READ_ONCE(m->tp.state)], st->epoch);
	archil_show_queues(seq, m);
	seq_printf(seq, "delegations:\t\t%llu\n", st->delegations);
	seq_printf(seq, "delegations taken:\t%llu\n", st->taken);
	seq_printf(seq, "dirty bytes:\t\t%llu\n", st->dirty_bytes);
	seq_printf(seq, "writeback bytes:\t%llu\n", st->writeback_bytes);
	seq_printf(seq, "log backlog:\t\t%llu records, %llu bytes\n", st->backlog_records,
		   st->backlog_bytes);
	archil_show_space(seq, m);
	archil_show_counters(seq, st);
	kfree(st);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(archil_status);

/* ---- delegations; the position is the number of the last one shown ---- */

static const char * const archil_own_names[] = {
	[ARCHIL_OWN_LIVE]	= "live",
	[ARCHIL_OWN_DRAINING]	= "draining",
	[ARCHIL_OWN_CLOSED]	= "closed",
	[ARCHIL_OWN_TAKEN]	= "taken",
};

static const char *archil_origin_name(u32 origin)
{
	switch (origin) {
	case ARCHIL_ORIGIN_MOUNT:
		return "mount";
	case ARCHIL_ORIGIN_CHECKOUT:
		return "checkout";
	case ARCHIL_ORIGIN_DYNAMIC:
		return "dynamic";
	}
	return "?";
}

static void *archil_delegations_start(struct seq_file *seq, loff_t *pos)
{
	return archil_deleg_next(seq->private, *pos);
}

static void *archil_delegations_next(struct seq_file *seq, void *v, loff_t *pos)
{
	struct archil_deleg *d = v;

	*pos = d->number;
	archil_deleg_put(d);
	return archil_deleg_next(seq->private, *pos);
}

static void archil_delegations_stop(struct seq_file *seq, void *v)
{
	if (v)
		archil_deleg_put(v);
}

static int archil_delegations_show(struct seq_file *seq, void *v)
{
	struct archil_deleg *d = v;
	struct archil_log *log = &d->log;
	struct dentry *root = NULL;
	unsigned int in_flight;
	u64 sent;

	spin_lock(&log->lock);
	sent = log->next_seq - 1;
	in_flight = log->in_flight;
	spin_unlock(&log->lock);
	spin_lock(&d->mount->delegs.lock);
	if (d->root)
		root = dget(d->root);
	spin_unlock(&d->mount->delegs.lock);

	seq_printf(seq, "%llu ino=%llu %s %s users=%d sent=%llu acked=%llu in-flight=%u backlog=%u ",
		   d->number, d->ino, archil_own_names[READ_ONCE(d->state)],
		   archil_origin_name(d->origin), atomic_read(&d->users), sent,
		   READ_ONCE(log->acked), in_flight, atomic_read(&log->backlog));
	if (root)
		seq_dentry(seq, root, " \t\n\\");
	else
		seq_putc(seq, '?');
	seq_putc(seq, '\n');
	dput(root);
	return 0;
}

static const struct seq_operations archil_delegations_sops = {
	.start	= archil_delegations_start,
	.next	= archil_delegations_next,
	.stop	= archil_delegations_stop,
	.show	= archil_delegations_show,
};
DEFINE_SEQ_ATTRIBUTE(archil_delegations);

/* ---- the files ---- */

void archil_debugfs_add(struct archil_mount *m)
{
	char name[24];

	snprintf(name, sizeof(name), "%llu", m->id);
	m->debugfs = debugfs_create_dir(name, archil_debugfs_root);
	debugfs_create_file("status", 0400, m->debugfs, m, &archil_status_fops);
	debugfs_create_file("delegations", 0400, m->debugfs, m, &archil_delegations_fops);
}

void archil_debugfs_remove(struct archil_mount *m)
{
	debugfs_remove_recursive(m->debugfs);
	m->debugfs = NULL;
}

void __init archil_debugfs_init(void)
{
	archil_debugfs_root = debugfs_create_dir("archil", NULL);
}

void archil_debugfs_exit(void)
{
	debugfs_remove_recursive(archil_debugfs_root);
}
