/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * archil: what archil.ko offers to programs. Two interfaces: ioctls, for
 * archilctl and the mount helpers, and a generic netlink family, for
 * archil-agent.
 *
 * ---- ioctls on a file or directory of an archil mount ----
 *
 * Every structure begins with its size and with flags; an unknown flag is
 * EINVAL, a size that the kernel does not know is EINVAL. Reserved fields are
 * 0 both ways.
 *
 * ARCHIL_IOC_CHECKOUT	own this file or directory. Waits, killably.
 *	EBUSY: another session owns it, an ancestor, or something beneath;
 *	`holder` says who. EINVAL: neither file nor directory. EROFS: mounted
 *	ro. EACCES: no write permission. EPERM: force without the right to.
 *	ETIMEDOUT, ENOTCONN: no answer from server, agent within timeo.
 * ARCHIL_IOC_CHECKIN	give back what is held here and beneath, after writing
 *	it back. ENOENT: nothing is held. EBUSY: `holder.path` is a larger
 *	delegation of this session's own that covers it.
 * ARCHIL_IOC_STATUS	the session, its connection, its counters
 * ARCHIL_IOC_DELEGATION	one delegation; call again with `cursor` as it came
 *	back for the next. ENOENT: there are no more.
 * ARCHIL_IOC_SYNC	write everything back and wait, as syncfs(2), but killable
 *	without leaving a lock behind. EIO: something was lost.
 * ARCHIL_IOC_ABORT	give up what is not durable, fail what waits with EIO, end
 *	the session. CAP_SYS_ADMIN in the mount's user namespace, else EPERM.
 *
 * ---- ioctls on /dev/archil ----
 *
 * ARCHIL_DEV_ABORT	as ARCHIL_IOC_ABORT, for a session named by its mount id
 *	when its mount point can not be reached. CAP_SYS_ADMIN. ENOENT.
 *
 * ---- generic netlink family "archil", version 1 ----
 *
 * One agent serves one network namespace. All commands need CAP_NET_ADMIN in
 * it. Attributes are typed as in the table of enum archil_attr.
 *
 * ARCHIL_CMD_REGISTER	agent to kernel: this socket is the agent. Reply: the
 *	same command with INCARNATION and MODULE_VERSION. EBUSY: another lives.
 *	Upcalls that a dead agent had not answered are pending again, and each
 *	live mount gets an ARCHIL_UPCALL_RESUME.
 *
 * ARCHIL_CMD_PENDING	kernel to agent, unicast, no attributes: there are upcalls
 *	to fetch. A doorbell: losing one does no harm as long as the agent
 *	fetches after every ENOBUFS too.
 *
 * ARCHIL_CMD_UPCALL	agent to kernel, dump: the upcalls that this agent has not
 *	fetched yet. Each message: ID, TYPE, MOUNT, and by type:
 *
 *	ARCHIL_UPCALL_OPEN	a mount. SOURCE ("server[:port]/disk[:/sub]"), FLAGS
 *		(ARCHIL_MOUNT_*), MOUNT_UUID, TIMEOUT_MS, TOKEN if there is one.
 *		The agent connects control and data and opens the session.
 *		Answer: STATUS 0 with SERVER (address in text, for people),
 *		OPEN_REPLY (struct archil_open_session_rep of wire.h), SESSION,
 *		EPOCH and SOCKET; or STATUS (an errno) with MESSAGE, a sentence
 *		for people.
 *	ARCHIL_UPCALL_FORWARD	one request for the control connection, unread:
 *		OP, BODY. Answer: STATUS 0, WIRE_STATUS, COMMIT, BODY (of the
 *		reply); the agent keeps trying across reconnects until it has
 *		a reply or the upcall is cancelled. Or STATUS (an errno): this agent
 *		has not sent it. If an earlier one may have, it is handed over again
 *		a second later.
 *	ARCHIL_UPCALL_CONNECT	the data connection is lost: make a new one, BIND with
 *		epoch 0. Answer: STATUS 0 with SOCKET and EPOCH; or STATUS
 *		ESTALE: the session is over. It is tried until then.
 *	ARCHIL_UPCALL_RESUME	this mount is alive: SOURCE, TOKEN, SESSION,
 *		MOUNT_UUID, FLAGS. Take its control connection up again. Answer: STATUS 0 as
 *		soon as it is noted; that need not wait for the server.
 *	ARCHIL_UPCALL_CLOSED	this mount has ended; forget it. Answer: STATUS 0.
 *
 * ARCHIL_CMD_CANCEL	kernel to agent, unicast: ID is not waited for any more. An
 *	OPEN that is cancelled must be undone (CLOSE_SESSION).
 *
 * ARCHIL_CMD_ANSWER	agent to kernel: ID and what the type asks for. ENOENT: no
 *	such upcall, or not this agent's; what came with it is ignored, except
 *	that the agent must undo an OPEN. EINVAL, EBADF: attributes or
 *	the socket are not as they must be (TCP, established, of this
 *	namespace); ERANGE: a length or number out of its range. After these the
 *	upcall still waits for its answer.
 *
 * ARCHIL_CMD_REVOKE	agent to kernel: MOUNT, NUMBER: this delegation was taken.
 * ARCHIL_CMD_OVER	agent to kernel: MOUNT: the server has ended the session.
 *
 * UPCALL, REVOKE and OVER from a socket that is not the agent's: EPERM. REVOKE, OVER:
 * ENOENT: no such mount in this namespace.
 */
#ifndef _UAPI_LINUX_ARCHIL_H
#define _UAPI_LINUX_ARCHIL_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define ARCHIL_SUPER_MAGIC	0x61726368	/* "arch" */

/* ---- ioctl ---- */

#define ARCHIL_IOC_CLIENT_LEN	64
#define ARCHIL_IOC_PATH_LEN	4096

/* Who is in the way, after EBUSY. client[0] == 0: nobody is named. */
struct archil_ioc_holder {
	__u64	since_ns;			/* server's clock, since 1970 */
	__u64	number;				/* of the delegation */
	char	client[ARCHIL_IOC_CLIENT_LEN];	/* ended by NUL */
	char	path[ARCHIL_IOC_PATH_LEN];	/* from the disk's root, ended by NUL */
};

#define ARCHIL_CHECKOUT_FORCE	0x1

struct archil_ioc_checkout {
	__u32	size;		/* of this structure */
	__u32	flags;		/* in: ARCHIL_CHECKOUT_* */
	__u32	covered;	/* out: 1 if it was owned already, through `number` */
	__u32	reserved0;
	__u64	number;		/* out: the delegation */
	__u64	reserved[4];
	struct archil_ioc_holder holder;	/* out, after EBUSY; after success with covered:
						 * path is where the covering one begins */
};

struct archil_ioc_checkin {
	__u32	size;
	__u32	flags;		/* 0 */
	__u32	released;	/* out: how many delegations */
	__u32	reserved0;
	__u64	reserved[4];
	struct archil_ioc_holder holder;	/* out, after EBUSY */
};

enum archil_deleg_state {
	ARCHIL_DELEG_LIVE	= 1,
	ARCHIL_DELEG_DRAINING	= 2,	/* being given back */
	ARCHIL_DELEG_TAKEN	= 3,	/* lost by force; being cleaned up */
};

enum archil_ioc_origin {
	ARCHIL_IOC_ORIGIN_MOUNT	= 1,
	ARCHIL_IOC_ORIGIN_CHECKOUT = 2,
	ARCHIL_IOC_ORIGIN_DYNAMIC = 3,
};

struct archil_ioc_delegation {
	__u32	size;
	__u32	flags;		/* 0 */
	__u64	cursor;		/* in: 0 to begin; out: for the next call */
	__u64	number;
	__u64	ino;		/* of its root */
	__u64	since_ns;
	__u32	state;		/* enum archil_deleg_state */
	__u32	origin;		/* enum archil_ioc_origin */
	__u64	backlog;	/* records not acknowledged */
	__u64	reserved[4];
	/*
	 * From the mounted root, "/..."; "" if no name is known, or the caller neither owns the
	 * inode nor has CAP_SYS_ADMIN in the mount's user namespace.
	 */
	char	path[ARCHIL_IOC_PATH_LEN];
};

enum archil_conn_state {
	ARCHIL_CONN_UP		= 1,
	ARCHIL_CONN_LOST	= 2,	/* being made again; operations wait */
	ARCHIL_CONN_OVER	= 3,	/* the session has ended */
};

#define ARCHIL_STATUS_SHARED	0x1
#define ARCHIL_STATUS_RO	0x2
#define ARCHIL_STATUS_AGENT	0x4	/* an agent is registered */

struct archil_ioc_status {
	__u32	size;
	__u32	flags;			/* in: 0 */
	__u32	state;			/* enum archil_conn_state */
	__u32	mount_flags;		/* ARCHIL_STATUS_* */
	__u64	mount_id;		/* for ARCHIL_DEV_ABORT */
	__u64	session;
	__u64	epoch;
	__u64	delegations;		/* held now */
	__u64	taken;			/* lost by force since the mount */
	__u64	dirty_bytes;		/* in the page cache */
	__u64	writeback_bytes;
	__u64	backlog_records;	/* appended, not acknowledged */
	__u64	backlog_bytes;
	__u64	credit_bytes;		/* of space, unused */
	__u64	requests;		/* sent since the mount, without repetitions */
	__u64	resent;
	__u64	reconnects;
	__u64	bytes_sent;
	__u64	bytes_received;
	__u64	records;		/* log records sent */
	__u64	batches;		/* log batches sent */
	__u64	requests_by_op[64];	/* by enum archil_op of the protocol */
	__u64	reserved[16];
	char	server[128];		/* address and port */
	char	disk[64];
	char	subdir[ARCHIL_IOC_PATH_LEN];	/* "" or "a/b" */
};

struct archil_ioc_flags {
	__u32	size;
	__u32	flags;		/* 0 */
	__u64	reserved[4];
};

struct archil_dev_abort {
	__u32	size;
	__u32	flags;		/* 0 */
	__u64	mount_id;
	__u64	reserved[4];
};

#define ARCHIL_IOC_MAGIC	0xa7
#define ARCHIL_IOC_CHECKOUT	_IOWR(ARCHIL_IOC_MAGIC, 1, struct archil_ioc_checkout)
#define ARCHIL_IOC_CHECKIN	_IOWR(ARCHIL_IOC_MAGIC, 2, struct archil_ioc_checkin)
#define ARCHIL_IOC_STATUS	_IOWR(ARCHIL_IOC_MAGIC, 3, struct archil_ioc_status)
#define ARCHIL_IOC_DELEGATION	_IOWR(ARCHIL_IOC_MAGIC, 4, struct archil_ioc_delegation)
#define ARCHIL_IOC_SYNC		_IOW(ARCHIL_IOC_MAGIC, 5, struct archil_ioc_flags)
#define ARCHIL_IOC_ABORT	_IOW(ARCHIL_IOC_MAGIC, 6, struct archil_ioc_flags)
#define ARCHIL_DEV_ABORT	_IOW(ARCHIL_IOC_MAGIC, 32, struct archil_dev_abort)

/* ---- mount options, as the kernel takes them through fsconfig(2) ----
 *
 * source=SERVER[:PORT]/DISK[:/SUBDIR], shared, force, ro, cache_ttl=SECONDS,
 * commit=SECONDS, timeo=SECONDS, token=TEXT. The last is never shown;
 * mount.archil reads it from tokenfile= or the environment.
 */

/* ---- generic netlink ---- */

#define ARCHIL_GENL_NAME	"archil"
#define ARCHIL_GENL_VERSION	1

enum archil_cmd {
	ARCHIL_CMD_UNSPEC,
	ARCHIL_CMD_REGISTER,
	ARCHIL_CMD_PENDING,
	ARCHIL_CMD_UPCALL,
	ARCHIL_CMD_CANCEL,
	ARCHIL_CMD_ANSWER,
	ARCHIL_CMD_REVOKE,
	ARCHIL_CMD_OVER,
	__ARCHIL_CMD_MAX
};
#define ARCHIL_CMD_MAX	(__ARCHIL_CMD_MAX - 1)

enum archil_upcall_type {
	ARCHIL_UPCALL_OPEN	= 1,
	ARCHIL_UPCALL_FORWARD	= 2,
	ARCHIL_UPCALL_CONNECT	= 3,
	ARCHIL_UPCALL_RESUME	= 4,
	ARCHIL_UPCALL_CLOSED	= 5,
};

/* FLAGS of UPCALL_OPEN */
#define ARCHIL_MOUNT_SHARED	0x1
#define ARCHIL_MOUNT_FORCE	0x2
#define ARCHIL_MOUNT_RO		0x4

enum archil_attr {
	ARCHIL_A_UNSPEC,
	ARCHIL_A_PAD,
	ARCHIL_A_INCARNATION,	/* binary, 16 bytes */
	ARCHIL_A_MODULE_VERSION, /* string */
	ARCHIL_A_ID,		/* u64: an upcall's */
	ARCHIL_A_TYPE,		/* u32: enum archil_upcall_type */
	ARCHIL_A_MOUNT,		/* u64: a mount's, as in archil_ioc_status.mount_id */
	ARCHIL_A_MOUNT_UUID,	/* binary, 16 bytes */
	ARCHIL_A_SOURCE,	/* string */
	ARCHIL_A_TOKEN,		/* string */
	ARCHIL_A_FLAGS,		/* u32: ARCHIL_MOUNT_* */
	ARCHIL_A_TIMEOUT_MS,	/* u32 */
	ARCHIL_A_STATUS,	/* u32: an errno, positive; 0 = success */
	ARCHIL_A_MESSAGE,	/* string */
	ARCHIL_A_SERVER,	/* string */
	ARCHIL_A_SESSION,	/* u64 */
	ARCHIL_A_EPOCH,		/* u64 */
	ARCHIL_A_SOCKET,	/* u32: a file descriptor of the sender's */
	ARCHIL_A_OPEN_REPLY,	/* binary: struct archil_open_session_rep */
	ARCHIL_A_OP,		/* u32: enum archil_op */
	ARCHIL_A_BODY,		/* binary: a body as wire.h has it, at most ARCHIL_BODY_MAX */
	ARCHIL_A_WIRE_STATUS,	/* u32: the status of the reply's header */
	ARCHIL_A_COMMIT,	/* u64: of the reply's header */
	ARCHIL_A_NUMBER,	/* u64: a delegation's */
	__ARCHIL_A_MAX
};
#define ARCHIL_A_MAX	(__ARCHIL_A_MAX - 1)

#endif /* _UAPI_LINUX_ARCHIL_H */
