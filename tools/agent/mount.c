// SPDX-License-Identifier: GPL-2.0
#include "mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum {
	OPEN_DEFAULT_MS		= 30000,
};

static_assert((int)ARCHIL_MOUNT_SHARED == (int)ARCHIL_OS_SHARED &&
	      (int)ARCHIL_MOUNT_FORCE == (int)ARCHIL_OS_FORCE &&
	      (int)ARCHIL_MOUNT_RO == (int)ARCHIL_OS_RO, "flags travel as they come");

static struct loop *loop_of(struct mount *m)
{
	return m->agent->loop;
}

/* ---- beginning and end ---- */

static struct mount *mount_find(struct agent *agent, uint64_t id)
{
	struct hlink *link = htable_find(&agent->mounts, htable_hash(0, id));

	return link ? container_of(link, struct mount, link) : NULL;
}

static void deadline_fire(struct loop_timer *timer);

static struct mount *mount_new(struct agent *agent, uint64_t id)
{
	struct mount *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->agent = agent;
	m->id = id;
	m->state = MOUNT_UNKNOWN;
	m->next_tag = MOUNT_TAG_FIRST;
	m->deadline.fire = deadline_fire;
	snprintf(m->name, sizeof(m->name), "mount %llu", (unsigned long long)id);
	memcpy(m->incarnation, agent->incarnation, sizeof(m->incarnation));
	TAILQ_INIT(&m->forwards);
	TAILQ_INIT(&m->reconnects);
	control_conn_init(m);
	htable_add(&agent->mounts, &m->link, htable_hash(0, id));
	TAILQ_INSERT_TAIL(&agent->all, m, all);
	return m;
}

/* The one of this number, or a new one that is UNKNOWN; NULL: no memory. */
static struct mount *mount_get(struct agent *agent, uint64_t id)
{
	struct mount *m = mount_find(agent, id);

	return m ? m : mount_new(agent, id);
}

static void forward_free(struct forward *f)
{
	struct mount *m = f->job.mount;

	job_del(m->agent, &f->job);
	TAILQ_REMOVE(&m->forwards, f, next);
	free(f);
}

static void reconnect_free(struct reconnect *r)
{
	struct mount *m = r->job.mount;

	job_del(m->agent, &r->job);
	bind_stop(&r->bind);
	TAILQ_REMOVE(&m->reconnects, r, next);
	free(r);
}

/* Nobody waits for anything of this mount any more. */
static void drop_work(struct mount *m)
{
	while (!TAILQ_EMPTY(&m->forwards))
		forward_free(TAILQ_FIRST(&m->forwards));
	while (!TAILQ_EMPTY(&m->reconnects))
		reconnect_free(TAILQ_FIRST(&m->reconnects));
	bind_stop(&m->bind);
	loop_timer_clear(loop_of(m), &m->deadline);
	job_del(m->agent, &m->open_job);
}

void mount_free(struct mount *m)
{
	struct agent *agent = m->agent;

	drop_work(m);
	control_conn_stop(m);
	if (m->state == MOUNT_CLOSING) {
		TAILQ_REMOVE(&agent->closing, m, all);
	} else {
		TAILQ_REMOVE(&agent->all, m, all);
		htable_del(&agent->mounts, &m->link);
	}
	scram_token_wipe(&m->target.token);
	free(m);
}

/* What the server knows of it, it must forget. m is gone if it knows nothing. */
static void begin_closing(struct mount *m)
{
	struct agent *agent = m->agent;

	drop_work(m);
	if (m->state == MOUNT_OVER || m->state == MOUNT_UNKNOWN || (!m->session && !m->open_sent)) {
		mount_free(m);
		return;
	}
	TAILQ_REMOVE(&agent->all, m, all);
	htable_del(&agent->mounts, &m->link);
	m->state = MOUNT_CLOSING;
	TAILQ_INSERT_TAIL(&agent->closing, m, all);
	control_conn_close_session(m);
}

void mount_close_done(struct mount *m)
{
	log_debug("%s: closed at the server", m->name);
	mount_free(m);
}

void mount_orphaned(struct mount *m)
{
	/*
	 * A session that is not known could be closed only by opening it, and
	 * opening one with an incarnation that is past would hurt the present one.
	 */
	if (!m->session)
		mount_free(m);
	else if (m->state != MOUNT_CLOSING)
		begin_closing(m);
}

void mount_over(struct mount *m)
{
	struct answer answer = { .fd = -1 };

	if (m->state == MOUNT_CLOSING) {
		mount_close_done(m);
		return;
	}
	if (m->state == MOUNT_OPENING) {
		m->open_sent = false;
		m->session = 0;
		mount_control_failed(m, -ESTALE, true, "the server has ended the session");
		return;
	}
	if (m->state == MOUNT_OVER)
		return;
	log_warn("%s: the server has ended the session", m->name);
	m->state = MOUNT_OVER;
	control_conn_stop(m);
	m->agent->kernel->over(m->agent, m->id);
	answer.wire = true;
	answer.wire_status = ARCHIL_ST_OVER;
	while (!TAILQ_EMPTY(&m->forwards)) {
		job_answer(m->agent, &TAILQ_FIRST(&m->forwards)->job, &answer);
		forward_free(TAILQ_FIRST(&m->forwards));
	}
	answer.wire = false;
	answer.status = ESTALE;
	while (!TAILQ_EMPTY(&m->reconnects)) {
		job_answer(m->agent, &TAILQ_FIRST(&m->reconnects)->job, &answer);
		reconnect_free(TAILQ_FIRST(&m->reconnects));
	}
}

void mount_revoked(struct mount *m, uint64_t number)
{
	if (m->state == MOUNT_OPENING)
		m->revoked = number;	/* it holds one at most */
	else if (m->state == MOUNT_LIVE)
		m->agent->kernel->revoke(m->agent, m->id, number);
}

/* ---- source and token ---- */

void mount_refresh_token(struct mount *m)
{
	const struct scram_token *token;

	if (!m->kept_token)
		return;
	token = settings_token(&m->agent->settings, &m->target.server, m->target.disk);
	if (token)
		m->target.token = *token;
	m->has_token = m->has_token || token;
}

/* Returns 0, or an errno (positive) and err. */
static int describe(struct mount *m, const struct upcall *up, char err[static ERR_TEXT])
{
	struct source source;

	if (!up->source || !up->has_uuid) {
		snprintf(err, ERR_TEXT, "the kernel did not say what to mount");
		return EINVAL;
	}
	if (parse_source(up->source, &source, err))
		return EINVAL;
	snprintf(m->name, sizeof(m->name), "%s", up->source);
	m->target.server = source.server;
	snprintf(m->target.disk, sizeof(m->target.disk), "%s", source.disk);
	snprintf(m->subdir, sizeof(m->subdir), "%s", source.subdir + 1);
	memcpy(m->uuid, up->uuid, sizeof(m->uuid));
	m->flags = up->flags & (ARCHIL_MOUNT_SHARED | ARCHIL_MOUNT_FORCE | ARCHIL_MOUNT_RO);
	if (up->token)
		return -scram_token_parse(up->token, &m->target.token, err);
	m->kept_token = true;
	mount_refresh_token(m);
	if (!m->has_token) {
		snprintf(err, ERR_TEXT, "no token for disk %s: give tokenfile=, "
			 "ARCHIL_MOUNT_TOKEN, or a section in the agent's configuration",
			 source.disk);
		return EACCES;
	}
	return 0;
}

/* ---- OPEN ---- */

static void open_failed(struct mount *m, int err, const char *text)
{
	struct answer answer = { .status = err, .message = text, .fd = -1 };

	log_warn("%s: cannot be mounted: %s", m->name, text);
	job_answer(m->agent, &m->open_job, &answer);
	begin_closing(m);
}

static void open_cancel(struct job *job)
{
	struct mount *m = job->mount;

	log_info("%s: mounting was given up", m->name);
	begin_closing(m);
}

static void deadline_fire(struct loop_timer *timer)
{
	struct mount *m = container_of(timer, struct mount, deadline);
	char text[ERR_TEXT], server[300];

	dial_server_text(&m->target.server, server, sizeof(server));
	if (m->last_text[0])
		snprintf(text, sizeof(text), "%s", m->last_text);
	else if (m->open_sent)
		snprintf(text, sizeof(text), "%s: the server does not answer", server);
	else
		snprintf(text, sizeof(text), "cannot reach %s: no answer within %u s", server,
			 (m->timeout_ms + 500) / 1000);
	open_failed(m, ETIMEDOUT, text);
}

bool mount_control_failed(struct mount *m, int err, bool final, const char *text)
{
	if (final) {
		open_failed(m, -err, text);
		return false;
	}
	log_debug("%s: %s", m->name, text);
	snprintf(m->last_text, sizeof(m->last_text), "%s", text);
	return true;
}

void mount_open_refused(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	uint32_t status = le32_to_cpu(hdr->status);
	char text[ERR_TEXT];

	m->open_sent = false;
	if (m->state == MOUNT_CLOSING) {
		mount_close_done(m);
		return;
	}
	open_error_text(m, hdr, body, text, MESSAGE_TEXT);
	open_failed(m, status <= ARCHIL_ERRNO_MAX ? (int)status : EPROTO, text);
}

static void open_bound(struct bind *b, int fd, uint64_t epoch)
{
	struct mount *m = b->mount;
	struct answer answer = {
		.server = b->server,
		.open = &m->open_rep,
		.session = m->session,
		.epoch = epoch,
		.fd = fd,
	};
	int rc;

	loop_timer_clear(loop_of(m), &m->deadline);
	m->state = MOUNT_LIVE;
	rc = job_answer(m->agent, &m->open_job, &answer);
	close(fd);
	if (rc) {
		log_warn("%s: the kernel did not take the session: %s", m->name, strerror(-rc));
		begin_closing(m);
		return;
	}
	log_info("%s: session %llu at %s", m->name, (unsigned long long)m->session, b->server);
	if (m->revoked)
		mount_revoked(m, m->revoked);
}

static bool open_bind_failed(struct bind *b, int err, bool final, const char *text)
{
	struct mount *m = b->mount;

	if (err == -ESTALE) {
		mount_over(m);
		return false;
	}
	return mount_control_failed(m, err, final, text);
}

void mount_opened(struct mount *m, const struct archil_open_session_rep *rep)
{
	if (m->state != MOUNT_OPENING)
		return;
	m->open_rep = *rep;
	if (!m->session) {
		mount_control_failed(m, -EPROTO, true,
				     "the server opened a session without a number");
		return;
	}
	bind_start(&m->bind, m, open_bound, open_bind_failed);
}

void mount_open(struct agent *agent, const struct upcall *up)
{
	struct mount *m = mount_find(agent, up->mount);
	char err[ERR_TEXT];
	uint32_t margin;
	int rc;

	/* a number that was given anew: what had it before is no more */
	if (m)
		mount_orphaned(m);
	m = mount_new(agent, up->mount);
	if (!m) {
		struct answer answer = { .id = up->id, .status = ENOMEM, .fd = -1 };

		agent->kernel->answer(agent, &answer);
		return;
	}
	job_add(agent, &m->open_job, up->id, m, open_cancel);
	m->state = MOUNT_OPENING;
	rc = describe(m, up, err);
	if (rc) {
		open_failed(m, rc, err);
		return;
	}
	log_debug("%s: opening a session", m->name);
	/* the answer, with what went wrong in words, must be there before the kernel gives up */
	m->timeout_ms = up->timeout_ms ? up->timeout_ms : OPEN_DEFAULT_MS;
	margin = m->timeout_ms / 10 < 500 ? m->timeout_ms / 10 : 500;
	loop_timer_set(loop_of(m), &m->deadline, m->timeout_ms - margin);
	control_conn_start(m);
}

/* ---- CONNECT ---- */

static void reconnect_done(struct bind *b, int fd, uint64_t epoch)
{
	struct reconnect *r = container_of(b, struct reconnect, bind);
	struct answer answer = { .server = b->server, .epoch = epoch, .fd = fd };
	struct mount *m = b->mount;
	int rc;

	rc = job_answer(m->agent, &r->job, &answer);
	close(fd);
	if (rc)
		log_warn("%s: the kernel did not take the data connection: %s", m->name,
			 strerror(-rc));
	else
		log_info("%s: data connection to %s", m->name, b->server);
	reconnect_free(r);
}

static bool reconnect_failed(struct bind *b, int err, bool final, const char *text)
{
	if (err == -ESTALE) {
		mount_over(b->mount);
		return false;
	}
	log_debug("%s: %s", b->mount->name, text);
	return true;
}

static void reconnect_cancel(struct job *job)
{
	reconnect_free(container_of(job, struct reconnect, job));
}

void mount_connect(struct agent *agent, const struct upcall *up)
{
	struct mount *m = mount_get(agent, up->mount);
	struct answer answer = { .id = up->id, .fd = -1 };
	struct reconnect *r;

	r = m && m->state != MOUNT_OVER ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		answer.status = m && m->state == MOUNT_OVER ? ESTALE : ENOMEM;
		agent->kernel->answer(agent, &answer);
		return;
	}
	job_add(agent, &r->job, up->id, m, reconnect_cancel);
	TAILQ_INSERT_TAIL(&m->reconnects, r, next);
	if (m->session)
		bind_start(&r->bind, m, reconnect_done, reconnect_failed);
}

/* ---- FORWARD ---- */

static void forward_send(struct forward *f)
{
	struct mount *m = f->job.mount;

	if (m->control.up)
		control_conn_send(m, f->op, f->tag, f->body, f->body_len);
}

static void forward_cancel(struct job *job)
{
	forward_free(container_of(job, struct forward, job));
}

void mount_control_up(struct mount *m)
{
	struct forward *f;

	TAILQ_FOREACH(f, &m->forwards, next)
		forward_send(f);
}

void mount_replied(struct mount *m, const struct archil_hdr *hdr, const void *body)
{
	struct answer answer = {
		.fd = -1,
		.wire = true,
		.wire_status = le32_to_cpu(hdr->status),
		.commit = le64_to_cpu(hdr->commit),
		.body = body,
		.body_len = le32_to_cpu(hdr->body_len),
	};
	struct forward *f;

	TAILQ_FOREACH(f, &m->forwards, next)
		if (f->tag == le64_to_cpu(hdr->tag) && f->op == le16_to_cpu(hdr->op))
			break;
	if (!f)
		return;		/* it was canceled */
	if (answer.wire_status == ARCHIL_ST_OVER) {
		mount_over(m);
		return;
	}
	job_answer(m->agent, &f->job, &answer);
	forward_free(f);
}

/* Is it what may be sent on a control connection with a session? */
static bool forward_ok(const struct upcall *up)
{
	struct archil_hdr hdr;

	if (up->op >= ARCHIL_OP_MAX || up->body_len > ARCHIL_BODY_MAX ||
	    !(archil_op_table[up->op].flags & ARCHIL_SLOTTED))
		return false;
	archil_hdr_fill(&hdr, up->op, 0, MOUNT_TAG_FIRST, up->body_len, 0);
	return !archil_hdr_check(&hdr, ARCHIL_CONN_CONTROL, false) &&
	       !archil_body_check(&hdr, up->body);
}

void mount_forward(struct agent *agent, const struct upcall *up)
{
	struct mount *m = mount_get(agent, up->mount);
	struct answer answer = { .id = up->id, .fd = -1 };
	struct forward *f = NULL;

	if (m && m->state == MOUNT_OVER) {
		answer.wire = true;
		answer.wire_status = ARCHIL_ST_OVER;
	} else if (!forward_ok(up)) {
		answer.status = EINVAL;
	} else {
		f = m ? calloc(1, sizeof(*f) + up->body_len) : NULL;
		if (!f)
			answer.status = ENOMEM;
	}
	if (!f) {
		agent->kernel->answer(agent, &answer);
		return;
	}
	job_add(agent, &f->job, up->id, m, forward_cancel);
	f->tag = m->next_tag++;
	f->op = up->op;
	f->body_len = up->body_len;
	memcpy(f->body, up->body, up->body_len);
	TAILQ_INSERT_TAIL(&m->forwards, f, next);
	forward_send(f);
}

/* ---- RESUME and CLOSED ---- */

void mount_resume(struct agent *agent, const struct upcall *up)
{
	struct mount *m = mount_get(agent, up->mount);
	struct answer answer = { .id = up->id, .fd = -1 };
	struct reconnect *r;
	char err[ERR_TEXT];
	int rc;

	if (!m) {
		answer.status = ENOMEM;
		agent->kernel->answer(agent, &answer);
		return;
	}
	if (m->state == MOUNT_UNKNOWN) {
		rc = up->session ? describe(m, up, err) : EINVAL;
		if (rc == EINVAL || rc == ENOMEM) {
			answer.status = rc;
			agent->kernel->answer(agent, &answer);
			mount_free(m);
			return;
		}
		/* without a token it stays alive, and gets on when there is one */
		if (rc)
			log_err("%s: %s", m->name, err);
		m->session = up->session;
		m->state = MOUNT_LIVE;
		log_info("%s: session %llu goes on", m->name, (unsigned long long)m->session);
		control_conn_start(m);
		TAILQ_FOREACH(r, &m->reconnects, next)
			bind_start(&r->bind, m, reconnect_done, reconnect_failed);
	}
	agent->kernel->answer(agent, &answer);
}

void mount_closed(struct agent *agent, const struct upcall *up)
{
	struct mount *m = mount_find(agent, up->mount);
	struct answer answer = { .id = up->id, .fd = -1 };

	agent->kernel->answer(agent, &answer);
	if (!m)
		return;
	log_info("%s: unmounted", m->name);
	begin_closing(m);
}
