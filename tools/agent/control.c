// SPDX-License-Identifier: GPL-2.0
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "mount.h"

/* Tags of our own, below MOUNT_TAG_FIRST. */
enum { TAG_SETUP = 1, TAG_CLOSE = 2, TAG_PING = 3 };

enum { REPORT_MS = 60000 };	/* the same trouble is logged again so often */

static struct loop *loop_of(struct mount *m)
{
	return m->agent->loop;
}

/* ---- failures ---- */

static void report(struct mount *m, const char *text)
{
	struct control *c = &m->control;

	if (!strcmp(c->reported, text) && loop_of(m)->now - c->reported_at < REPORT_MS)
		return;
	snprintf(c->reported, sizeof(c->reported), "%s", text);
	c->reported_at = loop_of(m)->now;
	log_warn("%s: %s", m->name, text);
}

static void disconnect(struct mount *m)
{
	struct control *c = &m->control;

	if (c->up && loop_of(m)->now - c->up_since >= CONTROL_STABLE_MS)
		backoff_reset(&c->backoff);
	c->up = false;
	loop_timer_clear(loop_of(m), &c->alive);
	channel_close(c->channel);
	c->channel = NULL;
}

static void try_again(struct mount *m, bool final)
{
	struct control *c = &m->control;

	loop_timer_set(loop_of(m), &c->retry,
		       backoff_next(&c->backoff, final ? BACKOFF_FINAL_MS : BACKOFF_MAX_MS));
}

static void trouble(struct mount *m, int err, bool final, const char *text)
{
	disconnect(m);
	if (m->state != MOUNT_OPENING)
		report(m, text);
	else if (!mount_control_failed(m, err, final, text))
		return;
	try_again(m, final);
}

static void lost(struct channel *ch, int err)
{
	struct mount *m = ch->owner;
	char text[ERR_TEXT];

	snprintf(text, sizeof(text), "control connection lost: %s",
		 err == -EPROTO ? "the server does not follow the protocol" :
		 err == -ECONNRESET ? "closed by the server" : strerror(-err));
	if (!m->control.up) {
		trouble(m, err, false, text);
		return;
	}
	/* as when the kernel has just closed the session: not worth a warning yet */
	log_debug("%s: %s", m->name, text);
	snprintf(m->control.reported, sizeof(m->control.reported), "%s", text);
	disconnect(m);
	try_again(m, false);
}

/* ---- alive ---- */

static void alive_fire(struct loop_timer *timer)
{
	struct control *c = container_of(timer, struct control, alive);
	struct mount *m = container_of(c, struct mount, control);
	uint64_t idle = loop_of(m)->now - c->channel->last_rx;

	if (idle >= CONTROL_DEAD_MS) {
		lost(c->channel, -ETIMEDOUT);
		return;
	}
	if (idle < CONTROL_PING_MS) {
		loop_timer_set(loop_of(m), timer, CONTROL_PING_MS - idle);
		return;
	}
	/* before the session there is nothing but the answer to wait for */
	if (c->up)
		control_conn_send(m, ARCHIL_OP_PING, TAG_PING, NULL, 0);
	loop_timer_set(loop_of(m), timer, CONTROL_DEAD_MS - idle);
}

/* ---- the server speaks ---- */

static void came_up(struct mount *m)
{
	struct control *c = &m->control;

	c->up = true;
	c->up_since = loop_of(m)->now;
	if (c->reported[0])
		log_info("%s: connected again after: %s", m->name, c->reported);
	c->reported[0] = '\0';
	if (m->state == MOUNT_CLOSING)
		control_conn_close_session(m);
}

static void open_replied(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	struct archil_open_session_rep rep;

	if (hdr->status) {
		mount_open_refused(m, hdr, body);
		return;
	}
	memcpy(&rep, body, sizeof(rep));
	m->session = le64_to_cpu(rep.session);
	came_up(m);
	mount_opened(m, &rep);
}

static void resume_replied(struct mount *m, const struct archil_hdr *hdr)
{
	uint32_t status = le32_to_cpu(hdr->status);
	char text[ERR_TEXT];

	if (status == ARCHIL_ST_OVER) {
		mount_over(m);
		return;
	}
	if (status) {
		snprintf(text, sizeof(text), "the server refused to resume the session: %s",
			 status <= ARCHIL_ERRNO_MAX ? strerror(status) : "protocol status");
		trouble(m, status <= ARCHIL_ERRNO_MAX ? -(int)status : -EPROTO, true, text);
		return;
	}
	came_up(m);
	mount_control_up(m);
}

static void setup_replied(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	unsigned int op = le16_to_cpu(hdr->op);

	if (m->control.up || op != (m->session ? ARCHIL_OP_RESUME : ARCHIL_OP_OPEN_SESSION))
		lost(m->control.channel, -EPROTO);
	else if (op == ARCHIL_OP_OPEN_SESSION)
		open_replied(m, hdr, body);
	else
		resume_replied(m, hdr);
}

static void pushed(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	struct archil_revoke revoke;

	switch (le16_to_cpu(hdr->op)) {
	case ARCHIL_OP_REVOKE:
		memcpy(&revoke, body, sizeof(revoke));
		mount_revoked(m, le64_to_cpu(revoke.number));
		break;
	case ARCHIL_OP_SESSION_OVER:
		mount_over(m);
		break;
	}
}

static void replied(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	unsigned int op = le16_to_cpu(hdr->op);
	uint64_t tag = le64_to_cpu(hdr->tag);

	if (tag == TAG_SETUP)
		setup_replied(m, hdr, body);
	else if (tag == TAG_CLOSE && op == ARCHIL_OP_CLOSE_SESSION && m->state == MOUNT_CLOSING)
		mount_close_done(m);
	else if (tag >= MOUNT_TAG_FIRST && tag < m->next_tag)
		mount_replied(m, hdr, body);
	else if (tag != TAG_PING || op != ARCHIL_OP_PING)
		lost(m->control.channel, -EPROTO);
}

static void control_frame(struct channel *ch, const struct archil_hdr *hdr, const void *body)
{
	struct mount *m = ch->owner;
	unsigned int flags = le16_to_cpu(hdr->flags);

	channel_receive(ch);
	if (flags & ARCHIL_F_PUSH)
		pushed(m, hdr, body);
	else if (flags & ARCHIL_F_REPLY)
		replied(m, hdr, body);
	/* a request; the check lets nothing but PING through */
	else if (channel_send(ch, ARCHIL_OP_PING, ARCHIL_F_REPLY, le64_to_cpu(hdr->tag), NULL, 0))
		lost(ch, -ENOBUFS);
}

/* ---- connecting ---- */

static void send_open(struct mount *m)
{
	struct {
		struct archil_open_session_req req;
		char names[ARCHIL_CLIENT_LEN + ARCHIL_PATH_LEN];
	} __packed open = { };
	const char *client = m->agent->settings.client_id;
	size_t client_len = strlen(client), path_len = strlen(m->subdir);
	uint32_t flags = m->flags;

	/* Only to close it: if it is not there, one that takes nothing will do. */
	if (m->state == MOUNT_CLOSING)
		flags = ARCHIL_OS_SHARED;
	memcpy(open.req.incarnation, m->incarnation, sizeof(open.req.incarnation));
	memcpy(open.req.mount, m->uuid, sizeof(open.req.mount));
	open.req.flags = cpu_to_le32(flags);
	open.req.client_len = cpu_to_le16(client_len);
	open.req.path_len = cpu_to_le16(path_len);
	memcpy(open.names, client, client_len);
	memcpy(open.names + client_len, m->subdir, path_len);
	m->open_sent = true;
	control_conn_send(m, ARCHIL_OP_OPEN_SESSION, TAG_SETUP, &open,
		     sizeof(open.req) + client_len + path_len);
}

static void send_resume(struct mount *m)
{
	struct archil_resume_req req = { .session = cpu_to_le64(m->session) };

	memcpy(req.mount, m->uuid, sizeof(req.mount));
	control_conn_send(m, ARCHIL_OP_RESUME, TAG_SETUP, &req, sizeof(req));
}

static void dialed(struct dial *d)
{
	struct mount *m = d->owner;
	struct control *c = &m->control;

	c->dial = NULL;
	if (d->err) {
		trouble(m, d->err, d->final, d->text);
		return;
	}
	c->channel = d->channel;
	d->channel = NULL;
	c->channel->owner = m;
	c->channel->frame = control_frame;
	c->channel->lost = lost;
	m->target.last = d->peer;
	m->last_text[0] = '\0';
	log_debug("%s: control connection to %s", m->name, d->peer_text);
	channel_receive(c->channel);
	loop_timer_set(loop_of(m), &c->alive, CONTROL_PING_MS);
	if (m->session)
		send_resume(m);
	else
		send_open(m);
}

static void retry_fire(struct loop_timer *timer)
{
	struct control *c = container_of(timer, struct control, retry);
	struct mount *m = container_of(c, struct mount, control);

	mount_refresh_token(m);
	c->dial = dial_start(loop_of(m), &m->target, ARCHIL_CONN_CONTROL, dialed, m);
	if (!c->dial)
		trouble(m, -ENOMEM, false, strerror(ENOMEM));
}

void control_conn_init(struct mount *m)
{
	m->control.retry.fire = retry_fire;
	m->control.alive.fire = alive_fire;
}

void control_conn_start(struct mount *m)
{
	if (m->control.started)
		return;
	m->control.started = true;
	retry_fire(&m->control.retry);
}

void control_conn_stop(struct mount *m)
{
	struct control *c = &m->control;

	disconnect(m);
	loop_timer_clear(loop_of(m), &c->retry);
	dial_cancel(c->dial);
	c->dial = NULL;
	c->started = false;
}

void control_conn_close_session(struct mount *m)
{
	if (m->control.up)
		control_conn_send(m, ARCHIL_OP_CLOSE_SESSION, TAG_CLOSE, NULL, 0);
	else
		control_conn_start(m);
}

void control_conn_send(struct mount *m, unsigned int op, uint64_t tag, const void *body, size_t len)
{
	struct channel *ch = m->control.channel;

	/* no memory, or a server that does not read: the timer of life sees the end of it */
	if (ch && channel_send(ch, op, 0, tag, body, len))
		shutdown(ch->fd, SHUT_RDWR);
}
