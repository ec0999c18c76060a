// SPDX-License-Identifier: GPL-2.0
#include "kernel.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	RECEIVE_BUFFER	= 1 << 20,
	RECEIVE_MAX	= 64 << 10,	/* the longest that is read at once */
	SEND_MAX	= 16 << 10,
	BUSY_RETRY_MS	= 200,
	BUSY_LIMIT_MS	= 3000,		/* a dead agent's socket may linger a little */
};

/* An upcall, or (type 0) a cancellation, that was read and not acted upon. */
struct event {
	STAILQ_ENTRY(event) next;
	struct upcall up;
	char data[];			/* source, token, body */
};

struct kernel {
	struct agent *agent;
	void (*fatal)(struct agent *agent);
	struct nl_sock *sock;		/* rule 1 */
	struct nl_sock *notify;		/* rule 4 */
	int family;			/* number, or 0: the module is not there */
	bool registered;
	bool waiting_told;
	bool dump_wanted;
	bool dumping;			/* a dump was asked for, its end has not come */
	uint64_t busy_since;
	STAILQ_HEAD(, event) events;
	struct loop_op sock_op, notify_op;
	struct loop_timer retry;

	/* of the exchange that is going on */
	unsigned int wait_seq;
	bool wait_done;
	int wait_result;
	bool got_incarnation;
	uint8_t incarnation[ARCHIL_UUID_LEN];
};

static struct nla_policy policy[ARCHIL_A_MAX + 1] = {
	[ARCHIL_A_INCARNATION]	= { .type = NLA_UNSPEC, .minlen = ARCHIL_UUID_LEN,
				    .maxlen = ARCHIL_UUID_LEN },
	[ARCHIL_A_MODULE_VERSION] = { .type = NLA_STRING },
	[ARCHIL_A_ID]		= { .type = NLA_U64 },
	[ARCHIL_A_TYPE]		= { .type = NLA_U32 },
	[ARCHIL_A_MOUNT]	= { .type = NLA_U64 },
	[ARCHIL_A_MOUNT_UUID]	= { .type = NLA_UNSPEC, .minlen = ARCHIL_UUID_LEN,
				    .maxlen = ARCHIL_UUID_LEN },
	[ARCHIL_A_SOURCE]	= { .type = NLA_STRING },
	[ARCHIL_A_TOKEN]	= { .type = NLA_STRING },
	[ARCHIL_A_FLAGS]	= { .type = NLA_U32 },
	[ARCHIL_A_TIMEOUT_MS]	= { .type = NLA_U32 },
	[ARCHIL_A_SESSION]	= { .type = NLA_U64 },
	[ARCHIL_A_OP]		= { .type = NLA_U32 },
	[ARCHIL_A_BODY]		= { .type = NLA_UNSPEC, .maxlen = ARCHIL_BODY_MAX },
};

/* ---- what is read ---- */

static uint64_t u64_of(struct nlattr **attr, int type)
{
	return attr[type] ? nla_get_u64(attr[type]) : 0;
}

static uint32_t u32_of(struct nlattr **attr, int type)
{
	return attr[type] ? nla_get_u32(attr[type]) : 0;
}

static char *keep(char **at, const void *data, size_t len)
{
	char *p = *at;

	memcpy(p, data, len);
	p[len] = '\0';
	*at += len + 1;
	return p;
}

static void queue_event(struct kernel *k, struct nlattr **attr, uint32_t type)
{
	static const int kept[] = { ARCHIL_A_SOURCE, ARCHIL_A_TOKEN, ARCHIL_A_BODY };
	struct event *ev;
	size_t size = 0, i;
	char *at;

	for (i = 0; i < ARRAY_SIZE(kept); i++)
		size += attr[kept[i]] ? nla_len(attr[kept[i]]) + 1 : 0;
	ev = calloc(1, sizeof(*ev) + size);
	if (!ev) {
		/* it stays with the kernel as fetched; only its time limit can help */
		log_err("out of memory: an upcall is lost");
		return;
	}
	ev->up.id = u64_of(attr, ARCHIL_A_ID);
	ev->up.type = type;
	ev->up.mount = u64_of(attr, ARCHIL_A_MOUNT);
	ev->up.flags = u32_of(attr, ARCHIL_A_FLAGS);
	ev->up.timeout_ms = u32_of(attr, ARCHIL_A_TIMEOUT_MS);
	ev->up.session = u64_of(attr, ARCHIL_A_SESSION);
	ev->up.op = u32_of(attr, ARCHIL_A_OP);
	if (attr[ARCHIL_A_MOUNT_UUID]) {
		ev->up.has_uuid = true;
		memcpy(ev->up.uuid, nla_data(attr[ARCHIL_A_MOUNT_UUID]), ARCHIL_UUID_LEN);
	}
	at = ev->data;
	if (attr[ARCHIL_A_SOURCE])
		ev->up.source = keep(&at, nla_data(attr[ARCHIL_A_SOURCE]),
				     nla_len(attr[ARCHIL_A_SOURCE]));
	if (attr[ARCHIL_A_TOKEN])
		ev->up.token = keep(&at, nla_data(attr[ARCHIL_A_TOKEN]),
				    nla_len(attr[ARCHIL_A_TOKEN]));
	if (attr[ARCHIL_A_BODY]) {
		ev->up.body_len = nla_len(attr[ARCHIL_A_BODY]);
		ev->up.body = keep(&at, nla_data(attr[ARCHIL_A_BODY]), ev->up.body_len);
	} else {
		ev->up.body = "";
	}
	STAILQ_INSERT_TAIL(&k->events, ev, next);
}

static void event_free(struct event *ev)
{
	if (ev->up.token)
		explicit_bzero((char *)ev->up.token, strlen(ev->up.token));
	free(ev);
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct nlattr *attr[ARCHIL_A_MAX + 1];
	struct kernel *k = arg;

	if (!k->family || nlh->nlmsg_type != k->family)
		return NL_OK;
	if (genlmsg_parse(nlh, 0, attr, ARCHIL_A_MAX, policy) < 0) {
		log_err("the kernel sent a message that is not as it must be");
		return NL_OK;
	}
	switch (genlmsg_hdr(nlh)->cmd) {
	case ARCHIL_CMD_REGISTER:
		if (attr[ARCHIL_A_INCARNATION]) {
			memcpy(k->incarnation, nla_data(attr[ARCHIL_A_INCARNATION]),
			       sizeof(k->incarnation));
			k->got_incarnation = true;
		}
		break;
	case ARCHIL_CMD_PENDING:
		k->dump_wanted = true;
		break;
	case ARCHIL_CMD_UPCALL:
		queue_event(k, attr, u32_of(attr, ARCHIL_A_TYPE));
		break;
	case ARCHIL_CMD_CANCEL:
		queue_event(k, attr, 0);
		break;
	}
	return NL_OK;
}

static int on_finish(struct nl_msg *msg, void *arg)
{
	struct kernel *k = arg;

	k->dumping = false;
	return NL_OK;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct kernel *k = arg;

	if (nlmsg_hdr(msg)->nlmsg_seq == k->wait_seq) {
		k->wait_done = true;
		k->wait_result = 0;
	}
	return NL_OK;
}

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *err, void *arg)
{
	struct kernel *k = arg;

	if (k->wait_seq && err->msg.nlmsg_seq == k->wait_seq) {
		k->wait_done = true;
		k->wait_result = err->error;
	} else if (k->dumping) {
		k->dumping = false;
		if (err->error == -EBUSY)
			k->dump_wanted = true;
		else
			log_err("fetching upcalls: %s", strerror(-err->error));
	}
	return NL_OK;
}

/* Everything that is there. */
static void read_all(struct kernel *k)
{
	int rc, short_of_memory = 0;

	do {
		rc = nl_recvmsgs_default(k->sock);
		/* an overflow, or really no memory: doorbells may be lost */
		if (rc == -NLE_NOMEM) {
			k->dump_wanted = true;
			short_of_memory++;
		}
	} while ((rc >= 0 || rc == -NLE_NOMEM || rc == -NLE_INTR || rc == -NLE_DUMP_INTR) &&
		 short_of_memory < 3);
	if (rc != -NLE_AGAIN && rc != -NLE_NOMEM)
		log_err("netlink: %s", nl_geterror(rc));
}

/* ---- what is sent ---- */

static struct nl_msg *message(struct kernel *k, uint8_t cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(SEND_MAX);

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, k->family, 0, flags, cmd,
				ARCHIL_GENL_VERSION)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/*
 * Frees msg. 0 or the kernel's errno, negative; -ENOBUFS: the kernel has acted,
 * and what it said was lost.
 */
static int transact(struct kernel *k, struct nl_msg *msg)
{
	int rc;

	nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	nl_complete_msg(k->sock, msg);
	k->wait_seq = nlmsg_hdr(msg)->nlmsg_seq;
	k->wait_done = false;
	rc = nl_send(k->sock, msg);
	nlmsg_free(msg);
	if (rc < 0) {
		k->wait_seq = 0;
		return rc == -NLE_NOMEM ? -ENOMEM : -EIO;
	}
	read_all(k);
	k->wait_seq = 0;
	return k->wait_done ? k->wait_result : -ENOBUFS;
}

static void ask_dump(struct kernel *k)
{
	struct nl_msg *msg = message(k, ARCHIL_CMD_UPCALL, NLM_F_REQUEST | NLM_F_DUMP);
	int rc;

	k->dump_wanted = false;
	if (!msg) {
		k->dump_wanted = true;
		return;
	}
	nl_complete_msg(k->sock, msg);
	k->dumping = true;
	rc = nl_send(k->sock, msg);
	nlmsg_free(msg);
	if (rc < 0) {
		log_err("fetching upcalls: %s", nl_geterror(rc));
		k->dumping = false;
		return;
	}
	read_all(k);
}

static struct kernel *kernel_of(struct agent *agent)
{
	return agent->kernel_private;
}

static int put_answer(struct nl_msg *msg, const struct answer *a)
{
	int rc = nla_put_u64(msg, ARCHIL_A_ID, a->id);

	rc = rc ? rc : nla_put_u32(msg, ARCHIL_A_STATUS, a->status);
	if (!rc && a->message)
		rc = nla_put_string(msg, ARCHIL_A_MESSAGE, a->message);
	if (!rc && a->server)
		rc = nla_put_string(msg, ARCHIL_A_SERVER, a->server);
	if (!rc && a->open)
		rc = nla_put(msg, ARCHIL_A_OPEN_REPLY, sizeof(*a->open), a->open);
	if (!rc && a->session)
		rc = nla_put_u64(msg, ARCHIL_A_SESSION, a->session);
	if (!rc && a->fd >= 0) {
		rc = nla_put_u64(msg, ARCHIL_A_EPOCH, a->epoch);
		rc = rc ? rc : nla_put_u32(msg, ARCHIL_A_SOCKET, a->fd);
	}
	if (!rc && a->wire) {
		rc = nla_put_u32(msg, ARCHIL_A_WIRE_STATUS, a->wire_status);
		rc = rc ? rc : nla_put_u64(msg, ARCHIL_A_COMMIT, a->commit);
		rc = rc ? rc : nla_put(msg, ARCHIL_A_BODY, a->body_len, a->body ? a->body : "");
	}
	return rc;
}

static int kernel_answer(struct agent *agent, const struct answer *a)
{
	struct kernel *k = kernel_of(agent);
	struct nl_msg *msg;
	int rc;

	if (!k->registered)
		return -ENOENT;
	msg = message(k, ARCHIL_CMD_ANSWER, 0);
	if (!msg)
		return -ENOMEM;
	if (put_answer(msg, a)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	rc = transact(k, msg);
	if (rc && rc != -ENOENT)
		log_err("answering upcall %llu: %s", (unsigned long long)a->id, strerror(-rc));
	return rc == -ENOBUFS ? 0 : rc;
}

static void tell(struct agent *agent, uint8_t cmd, uint64_t mount, uint64_t number)
{
	struct kernel *k = kernel_of(agent);
	struct nl_msg *msg;
	int rc;

	if (!k->registered)
		return;
	msg = message(k, cmd, 0);
	if (!msg || nla_put_u64(msg, ARCHIL_A_MOUNT, mount) ||
	    (number && nla_put_u64(msg, ARCHIL_A_NUMBER, number))) {
		nlmsg_free(msg);
		log_err("out of memory");
		return;
	}
	rc = transact(k, msg);
	if (rc && rc != -ENOENT)
		log_err("telling the kernel: %s", strerror(-rc));
}

static void kernel_revoke(struct agent *agent, uint64_t mount, uint64_t number)
{
	tell(agent, ARCHIL_CMD_REVOKE, mount, number);
}

static void kernel_over(struct agent *agent, uint64_t mount)
{
	tell(agent, ARCHIL_CMD_OVER, mount, 0);
}

const struct kernel_ops kernel_netlink = {
	.answer = kernel_answer,
	.revoke = kernel_revoke,
	.over = kernel_over,
};

/* ---- registering ---- */

static void register_again(struct kernel *k, const char *why)
{
	struct loop *loop = k->agent->loop;

	if (!k->busy_since)
		k->busy_since = loop->now;
	if (loop->now - k->busy_since < BUSY_LIMIT_MS) {
		loop_timer_set(loop, &k->retry, BUSY_RETRY_MS);
		return;
	}
	log_err("%s", why);
	k->fatal(k->agent);
}

static void try_register(struct kernel *k)
{
	struct nl_msg *msg = message(k, ARCHIL_CMD_REGISTER, 0);
	int rc = -ENOMEM;

	k->got_incarnation = false;
	if (msg)
		rc = transact(k, msg);
	if (rc == -EBUSY) {
		register_again(k, "another agent is running in this network namespace");
	} else if (rc == -EPERM) {
		log_err("registering with the kernel needs CAP_NET_ADMIN");
		k->fatal(k->agent);
	} else if (rc == -ENOENT || rc == -EOPNOTSUPP) {
		k->family = 0;		/* the module has just gone */
	} else if (rc || !k->got_incarnation) {
		register_again(k, rc ? strerror(-rc) : "the kernel does not say which it is");
	} else {
		k->busy_since = 0;
		k->registered = true;
		k->dump_wanted = true;
		log_info("registered with the kernel as client %s",
			 k->agent->settings.client_id);
		agent_registered(k->agent, k->incarnation);
	}
}

static void retry_fire(struct loop_timer *timer)
{
	struct kernel *k = container_of(timer, struct kernel, retry);

	if (k->family && !k->registered)
		try_register(k);
}

static void family_came(struct kernel *k, int family)
{
	if (k->family == family)
		return;
	k->family = family;
	k->registered = false;
	try_register(k);
}

static void family_went(struct kernel *k)
{
	if (!k->family)
		return;
	log_info("the archil module is gone: waiting until it is loaded again");
	k->family = 0;
	k->registered = false;
	k->dumping = false;
	k->dump_wanted = false;
}

static int on_notify(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct nlattr *attr[CTRL_ATTR_MAX + 1];
	struct kernel *k = arg;

	if (nlh->nlmsg_type != GENL_ID_CTRL ||
	    genlmsg_parse(nlh, 0, attr, CTRL_ATTR_MAX, NULL) < 0 ||
	    !attr[CTRL_ATTR_FAMILY_NAME] ||
	    nla_strcmp(attr[CTRL_ATTR_FAMILY_NAME], ARCHIL_GENL_NAME))
		return NL_OK;
	if (genlmsg_hdr(nlh)->cmd == CTRL_CMD_NEWFAMILY && attr[CTRL_ATTR_FAMILY_ID])
		family_came(k, nla_get_u16(attr[CTRL_ATTR_FAMILY_ID]));
	else if (genlmsg_hdr(nlh)->cmd == CTRL_CMD_DELFAMILY)
		family_went(k);
	return NL_OK;
}

/* Asks for the family; that loads the module where it can be. */
static void look_for_family(struct kernel *k)
{
	struct nl_sock *sock = nl_socket_alloc();
	int family = -1;

	if (sock && !genl_connect(sock))
		family = genl_ctrl_resolve(sock, ARCHIL_GENL_NAME);
	nl_socket_free(sock);
	if (family > 0)
		family_came(k, family);
	else if (!k->waiting_told)
		log_info("the archil module is not loaded: waiting for it");
	k->waiting_told = true;
}

/* ---- on the loop ---- */

static void arm(struct kernel *k, struct loop_op *op, struct nl_sock *sock)
{
	io_uring_prep_poll_add(loop_sqe(k->agent->loop, op), nl_socket_get_fd(sock), POLLIN);
}

static void sock_ready(struct loop_op *op, int res)
{
	struct kernel *k = container_of(op, struct kernel, sock_op);

	if (res == -ECANCELED)
		return;
	read_all(k);
	arm(k, op, k->sock);
}

static void notify_ready(struct loop_op *op, int res)
{
	struct kernel *k = container_of(op, struct kernel, notify_op);
	int rc;

	if (res == -ECANCELED)
		return;
	do {
		rc = nl_recvmsgs_default(k->notify);
		if (rc == -NLE_NOMEM)
			look_for_family(k);
	} while (rc >= 0 || rc == -NLE_NOMEM);
	arm(k, op, k->notify);
}

void kernel_turn(struct kernel *k)
{
	struct event *ev;

	for (;;) {
		while ((ev = STAILQ_FIRST(&k->events))) {
			STAILQ_REMOVE_HEAD(&k->events, next);
			if (ev->up.type)
				agent_upcall(k->agent, &ev->up);
			else
				agent_cancel(k->agent, ev->up.id);
			event_free(ev);
		}
		if (!k->registered || !k->dump_wanted || k->dumping)
			return;
		ask_dump(k);
	}
}

static struct nl_sock *open_socket(struct kernel *k, int (*valid)(struct nl_msg *, void *))
{
	struct nl_sock *sock = nl_socket_alloc();

	if (!sock)
		return NULL;
	nl_socket_disable_seq_check(sock);
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, valid, k);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, k);
	nl_socket_modify_cb(sock, NL_CB_ACK, NL_CB_CUSTOM, on_ack, k);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, on_error, k);
	if (genl_connect(sock) || nl_socket_set_nonblocking(sock)) {
		nl_socket_free(sock);
		return NULL;
	}
	nl_socket_set_msg_buf_size(sock, RECEIVE_MAX);
	nl_socket_set_buffer_size(sock, RECEIVE_BUFFER, RECEIVE_BUFFER);
	return sock;
}

static int join_notifications(struct kernel *k)
{
	struct nl_sock *sock = nl_socket_alloc();
	int group = -1;

	if (sock && !genl_connect(sock))
		group = genl_ctrl_resolve_grp(sock, "nlctrl", "notify");
	nl_socket_free(sock);
	return group < 0 ? group : nl_socket_add_membership(k->notify, group);
}

int kernel_start(struct agent *agent, struct kernel **out, void (*fatal)(struct agent *agent),
		 char err[static ERR_TEXT])
{
	struct kernel *k = calloc(1, sizeof(*k));

	snprintf(err, ERR_TEXT, "no generic netlink socket");
	if (!k)
		return -ENOMEM;
	k->agent = agent;
	k->fatal = fatal;
	k->sock_op.done = sock_ready;
	k->notify_op.done = notify_ready;
	k->retry.fire = retry_fire;
	STAILQ_INIT(&k->events);
	agent->kernel_private = k;

	k->notify = open_socket(k, on_notify);
	k->sock = open_socket(k, on_message);
	if (!k->notify || !k->sock || join_notifications(k)) {
		nl_socket_free(k->notify);
		nl_socket_free(k->sock);
		free(k);
		return -EIO;
	}
	arm(k, &k->notify_op, k->notify);
	arm(k, &k->sock_op, k->sock);
	look_for_family(k);
	*out = k;
	return 0;
}

void kernel_stop(struct kernel *k)
{
	struct event *ev;

	while ((ev = STAILQ_FIRST(&k->events))) {
		STAILQ_REMOVE_HEAD(&k->events, next);
		event_free(ev);
	}
	nl_socket_free(k->sock);
	nl_socket_free(k->notify);
	free(k);
}
