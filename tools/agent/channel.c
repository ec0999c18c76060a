// SPDX-License-Identifier: GPL-2.0
#include "channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct channel_frame {
	STAILQ_ENTRY(channel_frame) next;
	size_t len;
	uint8_t data[];
};

static void channel_free(struct channel *ch)
{
	struct channel_frame *f;

	while ((f = STAILQ_FIRST(&ch->out))) {
		STAILQ_REMOVE_HEAD(&ch->out, next);
		free(f);
	}
	if (ch->fd >= 0)
		close(ch->fd);
	free(ch);
}

static void maybe_free(struct channel *ch)
{
	if (ch->closed && !ch->receiving && !ch->sending && !ch->in_frame)
		channel_free(ch);
}

static void tell_lost(struct channel *ch, int err)
{
	if (ch->lost_told || ch->closed)
		return;
	ch->lost_told = true;
	ch->lost(ch, err);
}

/* ---- receiving ---- */

static void recv_submit(struct channel *ch)
{
	struct io_uring_sqe *sqe = loop_sqe(ch->loop, &ch->recv_op);

	if (ch->got < sizeof(ch->hdr))
		io_uring_prep_recv(sqe, ch->fd, (uint8_t *)&ch->hdr + ch->got,
				   sizeof(ch->hdr) - ch->got, 0);
	else
		io_uring_prep_recv(sqe, ch->fd, ch->body + ch->got - sizeof(ch->hdr),
				   sizeof(ch->hdr) + le32_to_cpu(ch->hdr.body_len) - ch->got, 0);
	ch->receiving = true;
}

/* Returns 1 when the frame is whole, 0 when more of it has to come. */
static int received(struct channel *ch)
{
	if (ch->got < sizeof(ch->hdr))
		return 0;
	if (ch->got == sizeof(ch->hdr)) {
		if (archil_hdr_check(&ch->hdr, ch->kind, true))
			return -EPROTO;
		/* nothing that the agent asks for is answered with a payload */
		if (archil_payload_len(&ch->hdr))
			return -EPROTO;
	}
	if (ch->got < sizeof(ch->hdr) + le32_to_cpu(ch->hdr.body_len))
		return 0;
	return archil_body_check(&ch->hdr, ch->body) ? -EPROTO : 1;
}

static void deliver(struct channel *ch)
{
	ch->got = 0;
	ch->again = false;
	ch->in_frame = true;
	ch->frame(ch, &ch->hdr, ch->body);
	ch->in_frame = false;
	if (ch->closed)
		maybe_free(ch);
	else if (ch->again)
		channel_receive(ch);
}

static void recv_done(struct loop_op *op, int res)
{
	struct channel *ch = container_of(op, struct channel, recv_op);
	int rc;

	ch->receiving = false;
	if (ch->closed) {
		maybe_free(ch);
		return;
	}
	if (res == -EINTR || res == -EAGAIN) {
		recv_submit(ch);
		return;
	}
	if (res <= 0) {
		tell_lost(ch, res ? res : -ECONNRESET);
		return;
	}
	ch->last_rx = ch->loop->now;
	ch->got += res;
	rc = received(ch);
	if (rc < 0)
		tell_lost(ch, rc);
	else if (!rc)
		recv_submit(ch);
	else
		deliver(ch);
}

void channel_receive(struct channel *ch)
{
	if (ch->in_frame)
		ch->again = true;
	else if (!ch->receiving && !ch->closed && !ch->lost_told)
		recv_submit(ch);
}

/* ---- sending ---- */

static void send_submit(struct channel *ch)
{
	struct channel_frame *f = STAILQ_FIRST(&ch->out);
	struct io_uring_sqe *sqe = loop_sqe(ch->loop, &ch->send_op);

	io_uring_prep_send(sqe, ch->fd, f->data + ch->sent, f->len - ch->sent, MSG_NOSIGNAL);
	ch->sending = true;
}

static void send_done(struct loop_op *op, int res)
{
	struct channel *ch = container_of(op, struct channel, send_op);
	struct channel_frame *f = STAILQ_FIRST(&ch->out);

	ch->sending = false;
	if (ch->closed) {
		maybe_free(ch);
		return;
	}
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		tell_lost(ch, res);
		return;
	}
	if (res > 0)
		ch->sent += res;
	if (ch->sent == f->len) {
		STAILQ_REMOVE_HEAD(&ch->out, next);
		ch->queued -= f->len;
		ch->sent = 0;
		free(f);
	}
	if (!STAILQ_EMPTY(&ch->out))
		send_submit(ch);
}

int channel_send_raw(struct channel *ch, const void *frame, size_t len)
{
	struct channel_frame *f;

	if (ch->queued + len > CHANNEL_QUEUE_MAX)
		return -ENOBUFS;
	f = malloc(sizeof(*f) + len);
	if (!f)
		return -ENOMEM;
	f->len = len;
	memcpy(f->data, frame, len);
	STAILQ_INSERT_TAIL(&ch->out, f, next);
	ch->queued += len;
	if (!ch->sending && !ch->closed && !ch->lost_told)
		send_submit(ch);
	return 0;
}

int channel_send(struct channel *ch, unsigned int op, unsigned int flags, uint64_t tag,
		 const void *body, size_t len)
{
	uint8_t frame[sizeof(struct archil_hdr) + ARCHIL_BODY_MAX];
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, flags, tag, len, 0);
	memcpy(frame, &hdr, sizeof(hdr));
	if (len)
		memcpy(frame + sizeof(hdr), body, len);
	return channel_send_raw(ch, frame, sizeof(hdr) + len);
}

/* ---- the channel itself ---- */

struct channel *channel_new(struct loop *loop, int fd, enum archil_conn_kind kind)
{
	struct channel *ch = calloc(1, sizeof(*ch));

	if (!ch) {
		close(fd);
		return NULL;
	}
	ch->loop = loop;
	ch->fd = fd;
	ch->kind = kind;
	ch->recv_op.done = recv_done;
	ch->send_op.done = send_done;
	ch->last_rx = loop->now;
	STAILQ_INIT(&ch->out);
	return ch;
}

void channel_close(struct channel *ch)
{
	if (!ch || ch->closed)
		return;
	ch->closed = true;
	/* ends what is out on it; both ends' completions come soon */
	shutdown(ch->fd, SHUT_RDWR);
	maybe_free(ch);
}

bool channel_idle(const struct channel *ch)
{
	return !ch->receiving && !ch->sending && !ch->got && STAILQ_EMPTY(&ch->out);
}

int channel_detach(struct channel *ch)
{
	int fd = ch->fd;

	ch->fd = -1;
	ch->closed = true;
	maybe_free(ch);
	return fd;
}
