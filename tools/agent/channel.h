/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frames over one socket, on the event loop.
 *
 * 1. One frame is received for each channel_receive(), and not a byte more is
 *    read: a data connection is handed to the kernel with nothing taken from it.
 * 2. A frame is checked whole before frame() sees it. A bad one, an error and
 *    the end of the stream are told to lost(), once; then the owner closes.
 * 3. A channel outlives channel_close() until the kernel has let go of its
 *    buffers; its owner need not wait for that, and is not called any more.
 */
#ifndef ARCHIL_AGENT_CHANNEL_H
#define ARCHIL_AGENT_CHANNEL_H

#include <stdbool.h>
#include <sys/queue.h>

#include "loop.h"
#include "wire.h"

#define CHANNEL_QUEUE_MAX	(1u << 20)	/* bytes waiting to be sent, at most */

struct channel_frame;

struct channel {
	struct loop *loop;
	int fd;
	enum archil_conn_kind kind;
	bool receiving;			/* recv_op is out */
	bool sending;			/* send_op is out */
	bool in_frame;			/* frame() is on the stack */
	bool again;			/* channel_receive() was called meanwhile */
	bool closed;
	bool lost_told;
	struct loop_op recv_op, send_op;
	unsigned int got;		/* bytes of this frame */
	unsigned int sent;		/* bytes of the first frame of `out` */
	size_t queued;
	STAILQ_HEAD(, channel_frame) out;
	uint64_t last_rx;		/* loop time, ms */

	/* the owner's; all may be changed at any time */
	void *owner;
	/* hdr and body stay as they are until it returns */
	void (*frame)(struct channel *ch, const struct archil_hdr *hdr, const void *body);
	/* err: a negative errno; -EPROTO: it does not follow the protocol */
	void (*lost)(struct channel *ch, int err);

	struct archil_hdr hdr;
	uint8_t body[ARCHIL_BODY_MAX];
};

/* Takes over fd, a connected socket. NULL: no memory, fd is closed. */
struct channel *channel_new(struct loop *loop, int fd, enum archil_conn_kind kind);
/* NULL is allowed. */
void channel_close(struct channel *ch);
/* Gives the socket away; nothing may be on its way in either direction. */
int channel_detach(struct channel *ch);
bool channel_idle(const struct channel *ch);

/* Receive one more frame. */
void channel_receive(struct channel *ch);
/* Queues a whole frame (copied). 0, or -ENOMEM, -ENOBUFS: the peer does not read. */
int channel_send_raw(struct channel *ch, const void *frame, size_t len);
int channel_send(struct channel *ch, unsigned int op, unsigned int flags, uint64_t tag,
		 const void *body, size_t len);

#endif
