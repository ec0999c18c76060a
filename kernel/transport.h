/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests and replies. A request belongs to the transport from the moment it
 * is submitted until it is answered or the session is over; losing the
 * connection only means that it is sent again. Whoever waits may go away; the
 * request, its buffers and its completion do not.
 */
#ifndef ARCHIL_TRANSPORT_H
#define ARCHIL_TRANSPORT_H

#include <linux/completion.h>
#include <linux/bvec.h>
#include <linux/uio.h>
#include <linux/hashtable.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>

#include "shared/wire.h"

struct archil_mount;
struct archil_conn;
struct socket;

struct archil_req {
	refcount_t ref;
	struct list_head list;		/* transport's queues; protected by its lock */
	struct hlist_node by_tag;	/* tp->tags; protected by its lock */
	u32 tag;
	u16 op;				/* enum archil_op */
	bool urgent;
	bool sending;			/* being sent just now; protected by the transport's lock */
	bool answered;			/* while it was being sent; same lock */
	bool was_sent;			/* at least once */

	struct archil_hdr hdr;		/* as sent */
	void *body;			/* request: body_len bytes, in data[] */
	u32 body_len;
	/* Request payload, one of: kvec (kernel memory), bvec (folios). */
	const struct kvec *out_kvec;
	const struct bio_vec *out_bvec;
	unsigned int out_nr;
	u32 out_len;

	/* Where the reply's payload goes, one of: buffer, bvec; longer is EPROTO. */
	void *in_buf;
	const struct bio_vec *in_bvec;
	unsigned int in_nr;
	u32 in_cap;

	/*
	 * The answer. error: 0, or a local one (-EIO: aborted or session over).
	 * status: the wire's, 0, an errno or enum archil_status.
	 */
	int error;
	u32 status;
	u64 commit;
	u32 rep_len;			/* of the body in rep[] */
	u32 in_len;			/* of the payload */
	void *rep;			/* reply body, ended by nothing; at most rep_cap bytes */
	u32 rep_cap;

	struct completion completion;
	/* Called once when answered, before waiters wake; must not block. */
	void (*done)(struct archil_req *req);
	/* Called when the last reference goes; frees what done() needed. */
	void (*release)(struct archil_req *req);
	struct archil_mount *mount;
	void *private;
	u8 data[];			/* body, then rep */
};

struct archil_transport {
	spinlock_t lock;
	enum archil_tp_state {
		ARCHIL_TP_LOST,		/* no connection; requests wait */
		ARCHIL_TP_UP,
		ARCHIL_TP_OVER,		/* requests fail at once */
	} state;			/* protected by lock */
	struct list_head unsent;	/* to be sent, in order; protected by lock */
	struct list_head unsent_bulk;	/* WRITEs, when there is nothing else; protected by lock */
	struct list_head sent;		/* sent, not answered, in order; protected by lock */
	DECLARE_HASHTABLE(tags, 8);	/* unsent and sent; protected by lock */
	u32 next_tag;			/* protected by lock */
	struct archil_conn *conn;	/* changed under conn_mutex and lock */
	struct mutex conn_mutex;
	bool connecting;		/* a CONNECT upcall is out or due; protected by lock */
	struct delayed_work connect_work;
	struct work_struct over_work;	/* for who must not wait */
	u64 epoch;

	atomic64_t requests[ARCHIL_OP_MAX];
	atomic64_t resent, reconnects, tx_bytes, rx_bytes, records, batches;
};

/* For all mounts; with the module. */
int archil_conn_wq_init(void);
void archil_conn_wq_exit(void);

void archil_transport_init(struct archil_mount *m);
/* Everything must have been answered or archil_transport_over() called. */
void archil_transport_exit(struct archil_mount *m);

/*
 * Take a connected, authenticated, bound socket; its reference goes to the
 * transport, also on failure. Requests that were sent and not answered are
 * sent again, in order, before any other.
 */
int archil_transport_attach(struct archil_mount *m, struct socket *sock, u64 epoch);

/*
 * The session is over: fail what waits and what comes with -EIO. Waits for the
 * connection's threads: not for use from them or from a done() of theirs.
 */
void archil_transport_over(struct archil_mount *m);
/* The same, soon, from any context. */
void archil_transport_over_async(struct archil_mount *m);
bool archil_transport_is_over(struct archil_mount *m);
bool archil_transport_is_up(struct archil_mount *m);

/*
 * A new request with one reference. @body_len bytes of zeros at req->body.
 * @rep_cap: the longest reply body wanted (an error's always fits). NULL: no memory.
 */
struct archil_req *archil_req_new(struct archil_mount *m, enum archil_op op, u32 body_len,
				  u32 rep_cap, gfp_t gfp);
void archil_req_put(struct archil_req *req);

/* Hand over; the transport takes a reference of its own. Never blocks. */
void archil_req_submit(struct archil_req *req);

/*
 * Submit and wait, killably. 0 when there is a reply with status 0; the
 * negative errno of any other status (-EIO for TAKEN and OVER, -ESTALE for CLOSED);
 * -EINTR when killed (the request goes on); -EIO when the session is over.
 */
int archil_req_call(struct archil_req *req);
/* The same for one that was submitted before. */
int archil_req_wait(struct archil_req *req);
/* And -ETIMEDOUT after so many jiffies; the request goes on. */
int archil_req_wait_for(struct archil_req *req, long timeout);
int archil_status_to_errno(u32 status);
/* A release() for requests whose in_buf is theirs. */
void archil_req_free_in_buf(struct archil_req *req);

/* For conn.c */
struct archil_req *archil_transport_next(struct archil_mount *m, struct archil_conn *conn);
void archil_transport_sent(struct archil_req *req);
struct archil_req *archil_transport_find(struct archil_mount *m, u32 tag);
void archil_transport_answered(struct archil_req *req);
void archil_transport_lost(struct archil_mount *m, struct archil_conn *conn);

#endif /* ARCHIL_TRANSPORT_H */
