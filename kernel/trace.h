/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: requests, delegations, logs, connections, upcalls. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM archil

#if !defined(ARCHIL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define ARCHIL_TRACE_H

#include <linux/tracepoint.h>

#include "shared/wire.h"
#include "uapi/archil.h"

/* The last one apart: an initialiser may not end in a comma in __print_symbolic(). */
#define ARCHIL_TRACE_OPS						\
	X(HELLO) X(AUTH) X(PING) X(OPEN_SESSION) X(RESUME) X(BIND)	\
	X(CLOSE_SESSION) X(REVOKE) X(NOTIFY) X(SESSION_OVER)		\
	X(LOOKUP) X(GETATTR) X(READDIR) X(READ) X(SEEK) X(GETXATTR)	\
	X(LISTXATTR) X(STATFS)						\
	X(LOG) X(WRITE) X(CREDIT) X(INOS)				\
	X(GRANT) X(CHECKIN)						\
	LAST(CHANGE)

/* for perf and trace-cmd, which do not know the enum */
#undef X
#undef LAST
#define X(op)				TRACE_DEFINE_ENUM(ARCHIL_OP_##op);
#define LAST(op)			TRACE_DEFINE_ENUM(ARCHIL_OP_##op);
ARCHIL_TRACE_OPS

#undef X
#undef LAST
#define X(op)				{ ARCHIL_OP_##op, #op },
#define LAST(op)			{ ARCHIL_OP_##op, #op }
#define archil_show_op(op)		__print_symbolic(op, ARCHIL_TRACE_OPS)

#define archil_show_upcall(type)				\
	__print_symbolic(type,					\
			 { ARCHIL_UPCALL_OPEN, "OPEN" },	\
			 { ARCHIL_UPCALL_FORWARD, "FORWARD" },	\
			 { ARCHIL_UPCALL_CONNECT, "CONNECT" },	\
			 { ARCHIL_UPCALL_RESUME, "RESUME" },	\
			 { ARCHIL_UPCALL_CLOSED, "CLOSED" })

/* A request is given to the transport. */
TRACE_EVENT(archil_request,
	TP_PROTO(u64 mount, u16 op, u64 tag, u32 body_len, u32 payload_len),
	TP_ARGS(mount, op, tag, body_len, payload_len),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, tag)
		__field(u32, body_len)
		__field(u32, payload_len)
		__field(u16, op)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->tag = tag;
		__entry->body_len = body_len;
		__entry->payload_len = payload_len;
		__entry->op = op;
	),
	TP_printk("mount=%llu %s tag=%llu body=%u payload=%u", __entry->mount,
		  archil_show_op(__entry->op), __entry->tag, __entry->body_len,
		  __entry->payload_len)
);

/* It has ended. @status: 0, an errno, or enum archil_status. */
TRACE_EVENT(archil_reply,
	TP_PROTO(u64 mount, u16 op, u64 tag, u32 status, u64 commit),
	TP_ARGS(mount, op, tag, status, commit),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, tag)
		__field(u64, commit)
		__field(u32, status)
		__field(u16, op)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->tag = tag;
		__entry->commit = commit;
		__entry->status = status;
		__entry->op = op;
	),
	TP_printk("mount=%llu %s tag=%llu status=%u commit=%llu", __entry->mount,
		  archil_show_op(__entry->op), __entry->tag, __entry->status,
		  __entry->commit)
);

/* A delegation is held from now on. @origin: enum archil_origin; 0: an orphan's. */
TRACE_EVENT(archil_grant,
	TP_PROTO(u64 mount, u64 number, u64 ino, u32 origin),
	TP_ARGS(mount, number, ino, origin),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, number)
		__field(u64, ino)
		__field(u32, origin)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->number = number;
		__entry->ino = ino;
		__entry->origin = origin;
	),
	TP_printk("mount=%llu delegation=%llu ino=%llu origin=%s", __entry->mount,
		  __entry->number, __entry->ino,
		  __print_symbolic(__entry->origin,
				   { 0, "orphan" },
				   { ARCHIL_ORIGIN_MOUNT, "mount" },
				   { ARCHIL_ORIGIN_CHECKOUT, "checkout" },
				   { ARCHIL_ORIGIN_DYNAMIC, "dynamic" }))
);

DECLARE_EVENT_CLASS(archil_deleg,
	TP_PROTO(u64 mount, u64 number),
	TP_ARGS(mount, number),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, number)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->number = number;
	),
	TP_printk("mount=%llu delegation=%llu", __entry->mount, __entry->number)
);

/* It begins to drain, to be given back. */
DEFINE_EVENT(archil_deleg, archil_drain,
	TP_PROTO(u64 mount, u64 number),
	TP_ARGS(mount, number)
);

/* It was taken by force, or the session is over. */
DEFINE_EVENT(archil_deleg, archil_lost,
	TP_PROTO(u64 mount, u64 number),
	TP_ARGS(mount, number)
);

/* A record is appended to a delegation's log. */
TRACE_EVENT(archil_log_append,
	TP_PROTO(u64 mount, u64 number, u64 seq, u32 len),
	TP_ARGS(mount, number, seq, len),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, number)
		__field(u64, seq)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->number = number;
		__entry->seq = seq;
		__entry->len = len;
	),
	TP_printk("mount=%llu delegation=%llu seq=%llu len=%u", __entry->mount,
		  __entry->number, __entry->seq, __entry->len)
);

/* A batch is sealed: @count records, the last of them @last. */
TRACE_EVENT(archil_log_batch,
	TP_PROTO(u64 mount, u64 number, u64 last, u32 count),
	TP_ARGS(mount, number, last, count),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, number)
		__field(u64, last)
		__field(u32, count)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->number = number;
		__entry->last = last;
		__entry->count = count;
	),
	TP_printk("mount=%llu delegation=%llu last=%llu count=%u", __entry->mount,
		  __entry->number, __entry->last, __entry->count)
);

/* Records up to @seq are durable. */
TRACE_EVENT(archil_log_ack,
	TP_PROTO(u64 mount, u64 number, u64 seq),
	TP_ARGS(mount, number, seq),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, number)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->number = number;
		__entry->seq = seq;
	),
	TP_printk("mount=%llu delegation=%llu seq=%llu", __entry->mount,
		  __entry->number, __entry->seq)
);

/* The data connection is "up", "lost", "over". */
TRACE_EVENT(archil_conn,
	TP_PROTO(u64 mount, const char *state),
	TP_ARGS(mount, state),
	TP_STRUCT__entry(
		__field(u64, mount)
		__array(char, state, 8)
	),
	TP_fast_assign(
		__entry->mount = mount;
		strscpy(__entry->state, state, sizeof(__entry->state));
	),
	TP_printk("mount=%llu %s", __entry->mount, __entry->state)
);

/* An upcall is queued. @op: of the request that is forwarded, or 0. */
TRACE_EVENT(archil_upcall,
	TP_PROTO(u64 mount, u32 type, u64 id, u16 op),
	TP_ARGS(mount, type, id, op),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, id)
		__field(u32, type)
		__field(u16, op)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->id = id;
		__entry->type = type;
		__entry->op = op;
	),
	TP_printk("mount=%llu %s id=%llu op=%u", __entry->mount,
		  archil_show_upcall(__entry->type), __entry->id, __entry->op)
);

/* It is answered or given up. @status: 0 or a negative errno. */
TRACE_EVENT(archil_upcall_end,
	TP_PROTO(u64 mount, u32 type, u64 id, int status),
	TP_ARGS(mount, type, id, status),
	TP_STRUCT__entry(
		__field(u64, mount)
		__field(u64, id)
		__field(u32, type)
		__field(int, status)
	),
	TP_fast_assign(
		__entry->mount = mount;
		__entry->id = id;
		__entry->type = type;
		__entry->status = status;
	),
	TP_printk("mount=%llu %s id=%llu status=%d", __entry->mount,
		  archil_show_upcall(__entry->type), __entry->id, __entry->status)
);

#endif /* ARCHIL_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

#undef X
#undef LAST
