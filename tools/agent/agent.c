// SPDX-License-Identifier: GPL-2.0
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "mount.h"

void agent_init(struct agent *agent, struct loop *loop, const struct kernel_ops *kernel)
{
	memset(agent, 0, sizeof(*agent));
	agent->loop = loop;
	agent->kernel = kernel;
	settings_init(&agent->settings);
	htable_init(&agent->mounts);
	htable_init(&agent->jobs);
	TAILQ_INIT(&agent->all);
	TAILQ_INIT(&agent->closing);
}

void agent_destroy(struct agent *agent)
{
	while (!TAILQ_EMPTY(&agent->all))
		mount_free(TAILQ_FIRST(&agent->all));
	while (!TAILQ_EMPTY(&agent->closing))
		mount_free(TAILQ_FIRST(&agent->closing));
	htable_destroy(&agent->mounts);
	htable_destroy(&agent->jobs);
	settings_free(&agent->settings);
}

void agent_registered(struct agent *agent, const uint8_t incarnation[ARCHIL_UUID_LEN])
{
	struct mount *m, *next;

	if (agent->registered_once &&
	    memcmp(agent->incarnation, incarnation, sizeof(agent->incarnation))) {
		for (m = TAILQ_FIRST(&agent->closing); m; m = next) {
			next = TAILQ_NEXT(m, all);
			mount_orphaned(m);
		}
		while (!TAILQ_EMPTY(&agent->all))
			mount_orphaned(TAILQ_FIRST(&agent->all));
	}
	memcpy(agent->incarnation, incarnation, sizeof(agent->incarnation));
	agent->registered_once = true;
}

/* ---- upcalls ---- */

static struct job *job_find(struct agent *agent, uint64_t id)
{
	struct hlink *link = htable_find(&agent->jobs, htable_hash(0, id));

	return link ? container_of(link, struct job, link) : NULL;
}

void job_add(struct agent *agent, struct job *job, uint64_t id, struct mount *mount,
	     void (*cancel)(struct job *job))
{
	job->id = id;
	job->mount = mount;
	job->cancel = cancel;
	htable_add(&agent->jobs, &job->link, htable_hash(0, id));
}

void job_del(struct agent *agent, struct job *job)
{
	if (!job->id)
		return;
	htable_del(&agent->jobs, &job->link);
	job->id = 0;
}

/* What a server says may end up on a terminal. */
static void make_fit(const char *text, char out[static MESSAGE_TEXT])
{
	size_t i;

	for (i = 0; i < MESSAGE_TEXT - 1 && text[i]; i++)
		out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	out[i] = '\0';
}

int job_answer(struct agent *agent, struct job *job, struct answer *answer)
{
	struct answer failure = { .status = EIO, .fd = -1 };
	char message[MESSAGE_TEXT];
	int rc;

	if (!job->id)
		return -ENOENT;
	answer->id = job->id;
	job_del(agent, job);
	if (answer->message) {
		make_fit(answer->message, message);
		answer->message = message;
	}
	rc = agent->kernel->answer(agent, answer);
	/* Refused, as when a new connection was dead already: somebody still waits. */
	if (rc && rc != -ENOENT && !answer->status) {
		failure.id = answer->id;
		agent->kernel->answer(agent, &failure);
	}
	return rc;
}

void agent_upcall(struct agent *agent, const struct upcall *up)
{
	struct answer answer = { .id = up->id, .status = EINVAL, .fd = -1 };

	/* one that is worked on already: told again after registering again */
	if (!up->id || job_find(agent, up->id))
		return;
	switch (up->type) {
	case ARCHIL_UPCALL_OPEN:
		mount_open(agent, up);
		break;
	case ARCHIL_UPCALL_FORWARD:
		mount_forward(agent, up);
		break;
	case ARCHIL_UPCALL_CONNECT:
		mount_connect(agent, up);
		break;
	case ARCHIL_UPCALL_RESUME:
		mount_resume(agent, up);
		break;
	case ARCHIL_UPCALL_CLOSED:
		mount_closed(agent, up);
		break;
	default:
		log_err("the kernel asks for something unknown (%u)", up->type);
		agent->kernel->answer(agent, &answer);
	}
}

void agent_cancel(struct agent *agent, uint64_t id)
{
	struct job *job = job_find(agent, id);

	if (!job)
		return;
	job_del(agent, job);
	job->cancel(job);
}
