// SPDX-License-Identifier: GPL-2.0
#include "bind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "mount.h"

static void try_now(struct bind *b);

static void trouble(struct bind *b, int err, bool final, const char *text)
{
	loop_timer_clear(b->mount->agent->loop, &b->timer);
	channel_close(b->channel);
	b->channel = NULL;
	if (b->failed(b, err, final, text))
		loop_timer_set(b->mount->agent->loop, &b->timer,
			       backoff_next(&b->backoff,
					    final ? BACKOFF_FINAL_MS : BACKOFF_MAX_MS));
}

static void bind_lost(struct channel *ch, int err)
{
	char text[ERR_TEXT];
	struct bind *b = ch->owner;

	snprintf(text, sizeof(text), "%s: data connection lost: %s", b->server, strerror(-err));
	trouble(b, err, false, text);
}

static void bind_frame(struct channel *ch, const struct archil_hdr *hdr, const void *body)
{
	struct bind *b = ch->owner;
	uint32_t status = le32_to_cpu(hdr->status);
	struct archil_bind_rep rep;
	char text[ERR_TEXT];
	int fd;

	if (le16_to_cpu(hdr->op) != ARCHIL_OP_BIND || le64_to_cpu(hdr->tag) != ARCHIL_OP_BIND ||
	    !channel_idle(ch)) {
		bind_lost(ch, -EPROTO);
		return;
	}
	if (status == ARCHIL_ST_OVER) {
		trouble(b, -ESTALE, true, "the server has ended the session");
		return;
	}
	if (status) {
		snprintf(text, sizeof(text), "%s: the server refused BIND: %s", b->server,
			 status <= ARCHIL_ERRNO_MAX ? strerror(status) : "protocol status");
		trouble(b, status <= ARCHIL_ERRNO_MAX ? -(int)status : -EPROTO, false, text);
		return;
	}
	memcpy(&rep, body, sizeof(rep));
	loop_timer_clear(b->mount->agent->loop, &b->timer);
	b->channel = NULL;
	fd = channel_detach(ch);
	b->done(b, fd, le64_to_cpu(rep.epoch));
}

static void dialed(struct dial *d)
{
	struct bind *b = d->owner;
	struct archil_bind_req req = {
		.session = cpu_to_le64(b->mount->session),
	};

	b->dial = NULL;
	if (d->err) {
		trouble(b, d->err, d->final, d->text);
		return;
	}
	b->channel = d->channel;
	d->channel = NULL;
	snprintf(b->server, sizeof(b->server), "%s", d->peer_text);
	b->channel->owner = b;
	b->channel->frame = bind_frame;
	b->channel->lost = bind_lost;
	memcpy(req.mount, b->mount->uuid, sizeof(req.mount));
	if (channel_send(b->channel, ARCHIL_OP_BIND, 0, ARCHIL_OP_BIND, &req, sizeof(req))) {
		trouble(b, -ENOMEM, false, strerror(ENOMEM));
		return;
	}
	channel_receive(b->channel);
	loop_timer_set(b->mount->agent->loop, &b->timer, BIND_REPLY_MS);
}

static void try_now(struct bind *b)
{
	mount_refresh_token(b->mount);
	b->dial = dial_start(b->mount->agent->loop, &b->mount->target, ARCHIL_CONN_DATA, dialed, b);
	if (!b->dial)
		trouble(b, -ENOMEM, false, strerror(ENOMEM));
}

static void timer_fire(struct loop_timer *timer)
{
	struct bind *b = container_of(timer, struct bind, timer);

	if (b->channel)
		bind_lost(b->channel, -ETIMEDOUT);
	else
		try_now(b);
}

void bind_start(struct bind *b, struct mount *m,
		void (*done)(struct bind *b, int fd, uint64_t epoch),
		bool (*failed)(struct bind *b, int err, bool final, const char *text))
{
	memset(b, 0, sizeof(*b));
	b->mount = m;
	b->timer.fire = timer_fire;
	b->done = done;
	b->failed = failed;
	try_now(b);
}

void bind_stop(struct bind *b)
{
	if (!b->mount)
		return;
	loop_timer_clear(b->mount->agent->loop, &b->timer);
	dial_cancel(b->dial);
	b->dial = NULL;
	channel_close(b->channel);
	b->channel = NULL;
}
