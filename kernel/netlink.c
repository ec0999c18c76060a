// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family: what agent and kernel say to each other, as
 * uapi/archil.h has it. Nothing that an agent sends is believed before it is
 * checked; what an answer brings (a socket, a reply) is given back when the
 * answer is refused.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "agent.h"
#include "super.h"

/* The longest upcall fits: SOURCE and TOKEN are a page at most, together. */
#define ARCHIL_DUMP_SIZE	8192

static struct genl_family archil_genl_family;

int archil_agent_send(struct archil_agent *agent, u32 portid, u8 cmd, u64 id)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(nla_total_size_64bit(sizeof(u64)), GFP_NOIO);
	if (!skb)
		return -ENOMEM;
	hdr = genlmsg_put(skb, 0, 0, &archil_genl_family, 0, cmd);
	if (!hdr || (id && nla_put_u64_64bit(skb, ARCHIL_A_ID, id, ARCHIL_A_PAD))) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_unicast(agent->net, skb, portid);
}

/* ---- REGISTER ---- */

static struct sk_buff *archil_register_reply(struct genl_info *info)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!skb)
		return NULL;
	hdr = genlmsg_put_reply(skb, info, &archil_genl_family, 0, ARCHIL_CMD_REGISTER);
	if (!hdr ||
	    nla_put(skb, ARCHIL_A_INCARNATION, ARCHIL_UUID_LEN, archil_incarnation) ||
	    nla_put_string(skb, ARCHIL_A_MODULE_VERSION, ARCHIL_VERSION)) {
		nlmsg_free(skb);
		return NULL;
	}
	genlmsg_end(skb, hdr);
	return skb;
}

static int archil_nl_register(struct sk_buff *skb, struct genl_info *info)
{
	struct archil_agent *agent = archil_agent_of(genl_info_net(info));
	struct sk_buff *reply;
	int again, err;

	reply = archil_register_reply(info);
	if (!reply)
		return -ENOMEM;
	again = archil_agent_register(agent, info->snd_portid);
	if (again < 0) {
		if (again == -EBUSY)
			GENL_SET_ERR_MSG(info, "another agent serves this network namespace");
		nlmsg_free(reply);
		return again;
	}
	err = genlmsg_reply(reply, info);
	if (err && !again)
		archil_agent_gone(agent, info->snd_portid);
	else
		archil_agent_ring(agent);
	return err;
}

static bool archil_nl_is_agent(struct net *net, u32 portid)
{
	return READ_ONCE(archil_agent_of(net)->portid) == portid;
}

/* ---- UPCALL: the dump ---- */

static int archil_upcall_fill(struct sk_buff *skb, const struct archil_upcall *up)
{
	const struct archil_mount *m = up->mount;

	if (nla_put_u64_64bit(skb, ARCHIL_A_ID, up->id, ARCHIL_A_PAD) ||
	    nla_put_u32(skb, ARCHIL_A_TYPE, up->type) ||
	    nla_put_u64_64bit(skb, ARCHIL_A_MOUNT, up->mount_id, ARCHIL_A_PAD))
		return -EMSGSIZE;

	switch (up->type) {
	case ARCHIL_UPCALL_OPEN:
	case ARCHIL_UPCALL_RESUME:
		if (nla_put_string(skb, ARCHIL_A_SOURCE, m->source) ||
		    nla_put_u32(skb, ARCHIL_A_FLAGS, m->flags) ||
		    nla_put(skb, ARCHIL_A_MOUNT_UUID, sizeof(m->uuid), &m->uuid) ||
		    (m->token && nla_put_string(skb, ARCHIL_A_TOKEN, m->token)))
			return -EMSGSIZE;
		if (up->type == ARCHIL_UPCALL_OPEN)
			return nla_put_u32(skb, ARCHIL_A_TIMEOUT_MS, m->timeo * MSEC_PER_SEC);
		return nla_put_u64_64bit(skb, ARCHIL_A_SESSION, m->session, ARCHIL_A_PAD);
	case ARCHIL_UPCALL_FORWARD:
		if (nla_put_u32(skb, ARCHIL_A_OP, up->op) ||
		    nla_put(skb, ARCHIL_A_BODY, up->body_len, up->body))
			return -EMSGSIZE;
		break;
	}
	return 0;
}

/* One message; nothing is left in @skb if it does not fit. */
static int archil_upcall_dump_one(struct sk_buff *skb, struct netlink_callback *cb,
				  const struct archil_upcall *up)
{
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			  &archil_genl_family, NLM_F_MULTI, ARCHIL_CMD_UPCALL);
	if (!hdr)
		return -EMSGSIZE;
	if (archil_upcall_fill(skb, up)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

static int archil_nl_upcall_start(struct netlink_callback *cb)
{
	if (!archil_nl_is_agent(sock_net(cb->skb->sk), NETLINK_CB(cb->skb).portid))
		return -EPERM;
	cb->min_dump_alloc = ARCHIL_DUMP_SIZE;
	return 0;
}

/* Called until it adds nothing: what was handed over is not pending any more. */
static int archil_nl_upcall_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct archil_agent *agent = archil_agent_of(sock_net(cb->skb->sk));
	struct archil_upcall *up;
	LIST_HEAD(too_long);

	spin_lock(&agent->lock);
	while ((up = list_first_entry_or_null(&agent->pending, struct archil_upcall, list))) {
		if (!archil_upcall_dump_one(skb, cb, up)) {
			up->fetched = true;
			up->seen_again = up->seen;
			up->seen = true;
			list_move_tail(&up->list, &agent->fetched);
		} else if (!skb->len) {
			archil_upcall_dequeue(up);
			list_add_tail(&up->list, &too_long);
		} else {
			break;
		}
	}
	spin_unlock(&agent->lock);
	archil_upcalls_end(&too_long, -EMSGSIZE);
	return skb->len;
}

/* ---- ANSWER ---- */

/* What comes with an answer and has to be given back if it is not taken. */
struct archil_answer {
	int status;
	struct socket *sock;
	void *rep;
	u32 rep_len;
};

static void archil_answer_free(struct archil_answer *a)
{
	if (a->sock)
		sockfd_put(a->sock);
	kfree(a->rep);
}

/* Established TCP, of this namespace. */
static int archil_answer_socket(struct archil_answer *a, struct genl_info *info)
{
	struct sock *sk;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_SOCKET) || GENL_REQ_ATTR_CHECK(info, ARCHIL_A_EPOCH))
		return -EINVAL;
	a->sock = sockfd_lookup(nla_get_u32(info->attrs[ARCHIL_A_SOCKET]), &err);
	if (!a->sock)
		return -EBADF;
	sk = a->sock->sk;
	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) ||
	    sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP ||
	    READ_ONCE(sk->sk_state) != TCP_ESTABLISHED) {
		GENL_SET_ERR_MSG(info, "not an established TCP connection");
		return -EINVAL;
	}
	if (!net_eq(sock_net(sk), genl_info_net(info))) {
		GENL_SET_ERR_MSG(info, "a socket of another network namespace");
		return -EINVAL;
	}
	return 0;
}

static int archil_answer_open(struct archil_answer *a, struct genl_info *info)
{
	struct archil_open_session_rep rep;
	u64 session;

	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_SERVER) ||
	    GENL_REQ_ATTR_CHECK(info, ARCHIL_A_OPEN_REPLY) ||
	    GENL_REQ_ATTR_CHECK(info, ARCHIL_A_SESSION))
		return -EINVAL;
	nla_memcpy(&rep, info->attrs[ARCHIL_A_OPEN_REPLY], sizeof(rep));
	session = nla_get_u64(info->attrs[ARCHIL_A_SESSION]);
	if (!session || le64_to_cpu(rep.session) != session) {
		GENL_SET_ERR_MSG(info, "SESSION is not that of OPEN_REPLY");
		return -EINVAL;
	}
	return archil_answer_socket(a, info);
}

/* The reply must be one that could have come on a control connection. */
static int archil_answer_forward(struct archil_answer *a, struct genl_info *info, u16 op)
{
	struct nlattr *body = info->attrs[ARCHIL_A_BODY];
	u32 len = body ? nla_len(body) : 0;
	struct archil_hdr hdr;

	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_WIRE_STATUS) ||
	    GENL_REQ_ATTR_CHECK(info, ARCHIL_A_COMMIT))
		return -EINVAL;
	archil_hdr_fill(&hdr, op, ARCHIL_F_REPLY, 0, len, 0);
	hdr.status = cpu_to_le32(nla_get_u32(info->attrs[ARCHIL_A_WIRE_STATUS]));
	if (archil_hdr_check(&hdr, ARCHIL_CONN_CONTROL, true) ||
	    archil_body_check(&hdr, body ? nla_data(body) : NULL)) {
		GENL_SET_ERR_MSG(info, "not a reply to this request");
		return -EINVAL;
	}
	if (!len)
		return 0;
	a->rep = kmemdup(nla_data(body), len, GFP_KERNEL);
	if (!a->rep)
		return -ENOMEM;
	a->rep_len = len;
	return 0;
}

static int archil_answer_check(struct archil_answer *a, struct genl_info *info,
			       const struct archil_upcall *up)
{
	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_STATUS))
		return -EINVAL;
	a->status = -(int)nla_get_u32(info->attrs[ARCHIL_A_STATUS]);
	if (a->status)
		return 0;
	switch (up->type) {
	case ARCHIL_UPCALL_OPEN:
		return archil_answer_open(a, info);
	case ARCHIL_UPCALL_FORWARD:
		return archil_answer_forward(a, info, up->op);
	case ARCHIL_UPCALL_CONNECT:
		return archil_answer_socket(a, info);
	}
	return 0;
}

/* Into an upcall that nobody else ends. */
static void archil_answer_take(struct archil_answer *a, struct genl_info *info,
			       struct archil_upcall *up)
{
	struct nlattr **attrs = info->attrs;

	up->status = a->status;
	if (attrs[ARCHIL_A_MESSAGE])
		nla_strscpy(up->message, attrs[ARCHIL_A_MESSAGE], sizeof(up->message));
	if (a->status)
		return;
	if (up->type == ARCHIL_UPCALL_OPEN) {
		nla_strscpy(up->server, attrs[ARCHIL_A_SERVER], sizeof(up->server));
		nla_memcpy(&up->open, attrs[ARCHIL_A_OPEN_REPLY], sizeof(up->open));
		up->session = nla_get_u64(attrs[ARCHIL_A_SESSION]);
	}
	if (up->type == ARCHIL_UPCALL_FORWARD) {
		up->wire_status = nla_get_u32(attrs[ARCHIL_A_WIRE_STATUS]);
		up->commit = nla_get_u64(attrs[ARCHIL_A_COMMIT]);
	}
	if (a->sock)
		up->epoch = nla_get_u64(attrs[ARCHIL_A_EPOCH]);
	swap(up->sock, a->sock);
	swap(up->rep, a->rep);
	up->rep_len = a->rep_len;
}

static int archil_nl_answer(struct sk_buff *skb, struct genl_info *info)
{
	struct archil_agent *agent = archil_agent_of(genl_info_net(info));
	u32 portid = info->snd_portid;
	struct archil_answer a = { };
	struct archil_upcall *up;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_ID))
		return -EINVAL;
	up = archil_upcall_find(agent, portid, nla_get_u64(info->attrs[ARCHIL_A_ID]));
	if (!up)
		return -ENOENT;
	err = archil_answer_check(&a, info, up);
	if (err)
		goto out;

	if (a.status && up->type == ARCHIL_UPCALL_FORWARD && archil_upcall_again(up, portid))
		goto out;
	if (archil_upcall_claim(up, portid)) {
		archil_answer_take(&a, info, up);
		archil_upcall_end(up);
	} else {
		err = -ENOENT;
	}
out:
	archil_answer_free(&a);
	archil_upcall_put(up);
	return err;
}

/* ---- REVOKE, OVER ---- */

/* The mount that a message of the agent's is about, with a reference. */
static struct archil_mount *archil_nl_mount(struct genl_info *info)
{
	struct archil_mount *m;

	if (!archil_nl_is_agent(genl_info_net(info), info->snd_portid))
		return ERR_PTR(-EPERM);
	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_MOUNT))
		return ERR_PTR(-EINVAL);
	m = archil_mount_get(nla_get_u64(info->attrs[ARCHIL_A_MOUNT]));
	if (!m)
		return ERR_PTR(-ENOENT);
	if (!net_eq(m->net, genl_info_net(info))) {
		archil_mount_put(m);
		return ERR_PTR(-ENOENT);
	}
	return m;
}

static int archil_nl_revoke(struct sk_buff *skb, struct genl_info *info)
{
	struct archil_mount *m;

	if (GENL_REQ_ATTR_CHECK(info, ARCHIL_A_NUMBER))
		return -EINVAL;
	m = archil_nl_mount(info);
	if (IS_ERR(m))
		return PTR_ERR(m);
	archil_deleg_revoked(m, nla_get_u64(info->attrs[ARCHIL_A_NUMBER]));
	archil_mount_put(m);
	return 0;
}

static int archil_nl_over(struct sk_buff *skb, struct genl_info *info)
{
	struct archil_mount *m = archil_nl_mount(info);

	if (IS_ERR(m))
		return PTR_ERR(m);
	archil_transport_over_async(m);
	archil_mount_put(m);
	return 0;
}

/* ---- the family ---- */

static const struct nla_policy archil_answer_policy[ARCHIL_A_MAX + 1] = {
	[ARCHIL_A_ID]		= { .type = NLA_U64 },
	[ARCHIL_A_STATUS]	= NLA_POLICY_MAX(NLA_U32, ARCHIL_ERRNO_MAX),
	[ARCHIL_A_MESSAGE]	= { .type = NLA_NUL_STRING,
				    .len = sizeof_field(struct archil_upcall, message) - 1 },
	[ARCHIL_A_SERVER]	= { .type = NLA_NUL_STRING,
				    .len = sizeof_field(struct archil_upcall, server) - 1 },
	[ARCHIL_A_SESSION]	= { .type = NLA_U64 },
	[ARCHIL_A_EPOCH]	= { .type = NLA_U64 },
	[ARCHIL_A_SOCKET]	= { .type = NLA_U32 },
	[ARCHIL_A_OPEN_REPLY]	= NLA_POLICY_EXACT_LEN(sizeof(struct archil_open_session_rep)),
	[ARCHIL_A_BODY]		= { .type = NLA_BINARY, .len = ARCHIL_BODY_MAX },
	[ARCHIL_A_WIRE_STATUS]	= { .type = NLA_U32 },
	[ARCHIL_A_COMMIT]	= { .type = NLA_U64 },
};

static const struct nla_policy archil_mount_policy[ARCHIL_A_MOUNT + 1] = {
	[ARCHIL_A_MOUNT]	= { .type = NLA_U64 },
};

static const struct nla_policy archil_revoke_policy[ARCHIL_A_NUMBER + 1] = {
	[ARCHIL_A_MOUNT]	= { .type = NLA_U64 },
	[ARCHIL_A_NUMBER]	= NLA_POLICY_MIN(NLA_U64, 1),
};

static const struct genl_ops archil_genl_ops[] = {
	{
		.cmd = ARCHIL_CMD_REGISTER,
		.flags = GENL_ADMIN_PERM,
		.doit = archil_nl_register,
	}, {
		.cmd = ARCHIL_CMD_UPCALL,
		.flags = GENL_ADMIN_PERM,
		.start = archil_nl_upcall_start,
		.dumpit = archil_nl_upcall_dump,
	}, {
		.cmd = ARCHIL_CMD_ANSWER,
		.flags = GENL_ADMIN_PERM,
		.doit = archil_nl_answer,
		.policy = archil_answer_policy,
		.maxattr = ARRAY_SIZE(archil_answer_policy) - 1,
	}, {
		.cmd = ARCHIL_CMD_REVOKE,
		.flags = GENL_ADMIN_PERM,
		.doit = archil_nl_revoke,
		.policy = archil_revoke_policy,
		.maxattr = ARRAY_SIZE(archil_revoke_policy) - 1,
	}, {
		.cmd = ARCHIL_CMD_OVER,
		.flags = GENL_ADMIN_PERM,
		.doit = archil_nl_over,
		.policy = archil_mount_policy,
		.maxattr = ARRAY_SIZE(archil_mount_policy) - 1,
	},
};

static struct genl_family archil_genl_family __ro_after_init = {
	.name = ARCHIL_GENL_NAME,
	.version = ARCHIL_GENL_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = archil_genl_ops,
	.n_ops = ARRAY_SIZE(archil_genl_ops),
};

int __init archil_netlink_init(void)
{
	int err;

	err = archil_agents_init();
	if (err)
		return err;
	err = genl_register_family(&archil_genl_family);
	if (err)
		archil_agents_exit();
	return err;
}

void archil_netlink_exit(void)
{
	genl_unregister_family(&archil_genl_family);
	archil_agents_exit();
}
