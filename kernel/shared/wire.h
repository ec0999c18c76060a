/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The wire: what archil.ko and archil-agent say to archil-server.
 *
 * A connection is TCP and carries frames both ways. A frame is
 *
 *	struct archil_hdr | body | payload
 *
 * The body is the fixed structure of its opcode followed by the variable parts
 * whose lengths that structure gives; nothing may be left over. The payload is
 * bulk: file data, log records, directory entries, lists. All integers are
 * little-endian, all structures packed, all times are seconds and nanoseconds
 * since 1970 UTC. Names and paths are bytes without NUL, not terminated.
 *
 * There are two kinds of connection. The *control* connection is the agent's,
 * one a session. The *data* connection is made and authenticated by the agent
 * and then handed to the kernel. Both begin with HELLO and AUTH; then control
 * says OPEN_SESSION or RESUME, data says BIND. Which opcode may travel on
 * which is in the table (archil_op_table).
 *
 * A request has a tag of the requester's choice; the reply carries the same
 * tag and opcode and ARCHIL_F_REPLY. Replies come in any order. A push has
 * ARCHIL_F_PUSH, tag 0, and no reply. A reply's status is 0, an errno (Linux's
 * asm-generic numbers whatever the machine) or one of enum archil_status. A
 * reply with a status other than 0 has, as its body, either nothing or a
 * struct archil_error with its variable parts, but that of ARCHIL_ST_CLOSED is
 * a struct archil_closed; it has no payload.
 *
 * Whoever receives a frame checks it with archil_hdr_check() and
 * archil_body_check() before anything looks inside; a frame that fails ends
 * the connection.
 *
 * Synchronous changes (GRANT, CHECKIN, CHANGE) carry a slot and a sequence
 * number, as in NFSv4.1 (RFC 8881, 2.10.6): each session has ARCHIL_SLOTS
 * slots, a slot has one request outstanding, its sequence starts at 1 and
 * moves by one. The server stores the reply in the same commit as the effect,
 * and answers a repeated sequence number from there: exactly once.
 *
 * Changelog
 *	1	the first
 */
#ifndef ARCHIL_WIRE_H
#define ARCHIL_WIRE_H

#include "port.h"

#define ARCHIL_PROTO_MIN	1
#define ARCHIL_PROTO_MAX	1
#define ARCHIL_PORT		7464
#define ARCHIL_MAGIC		0x0a0d4c4948435241ull	/* "ARCHIL\r\n" */

/* Limits, in bytes unless said otherwise. */
enum {
	ARCHIL_NAME_LEN		= 255,		/* one name */
	ARCHIL_PATH_LEN		= 4095,		/* a path, a symlink's target */
	ARCHIL_DISK_LEN		= 63,		/* a disk's name */
	ARCHIL_CLIENT_LEN	= 63,		/* a client id */
	ARCHIL_TEXT_LEN		= 255,		/* a message for people */
	ARCHIL_XATTR_SIZE	= 65536,	/* an xattr's value; a list of names */
	ARCHIL_BODY_MAX		= 12288,	/* any body */
	ARCHIL_PAYLOAD_MAX	= 2 << 20,	/* any payload */
	ARCHIL_INLINE_MAX	= 16384,	/* small contents; the server may say less */
	ARCHIL_BATCH_MAX	= 192 << 20,	/* parts of a session's LOG batches, see there */
	ARCHIL_PART_MIN		= 65536,	/* what a part counts for at least, of these */
	ARCHIL_SLOTS		= 64,		/* slots a session */
	ARCHIL_KEY_LEN		= 32,		/* nonces, proofs, signatures, salt */
	ARCHIL_UUID_LEN		= 16,
	ARCHIL_ERRNO_MAX	= 133,		/* the greatest errno that may travel */
};

#define ARCHIL_INO_ROOT		1ull
#define ARCHIL_INO_MAX		((1ull << 48) - 1)
#define ARCHIL_COOKIE_MAX	((1ull << 63) - 1)
/* Cookies 0..2 are the start, "." and ".."; a directory's own begin here. */
#define ARCHIL_COOKIE_FIRST	3ull

/* Frame flags. A bit of the low byte that is not known ends the connection. */
enum {
	ARCHIL_F_REPLY		= 0x0001,
	ARCHIL_F_PUSH		= 0x0002,
	ARCHIL_F_MANDATORY	= 0x00ff,
	ARCHIL_F_URGENT		= 0x0100,	/* somebody waits for this one */
};

struct archil_hdr {
	__le32	len;		/* of the frame, this header included */
	__le16	op;		/* enum archil_op */
	__le16	flags;		/* ARCHIL_F_* */
	__le64	tag;		/* the requester's; 0 in a push */
	__le32	status;		/* of a reply; 0 in a request */
	__le32	body_len;	/* the payload is what remains */
	__le64	commit;		/* reply: the commit at which this was read or made */
} __packed;

enum archil_op {
	/* setting up, either connection */
	ARCHIL_OP_HELLO		= 1,	/* version, disk, nonces */
	ARCHIL_OP_AUTH		= 2,	/* proofs, both ways */
	ARCHIL_OP_PING		= 3,	/* either side asks, the other answers */
	/* control */
	ARCHIL_OP_OPEN_SESSION	= 4,	/* a mount */
	ARCHIL_OP_RESUME	= 5,	/* control of a live session, again */
	ARCHIL_OP_BIND		= 6,	/* data: the first request after AUTH */
	ARCHIL_OP_CLOSE_SESSION	= 7,	/* either: release everything, end */
	/* pushes, on both connections */
	ARCHIL_OP_REVOKE	= 8,	/* a delegation was taken */
	ARCHIL_OP_NOTIFY	= 9,	/* data only: links of an owned inode changed */
	ARCHIL_OP_SESSION_OVER	= 10,	/* the session was ended by the server */

	/* reading, data */
	ARCHIL_OP_LOOKUP	= 16,
	ARCHIL_OP_GETATTR	= 17,
	ARCHIL_OP_READDIR	= 18,
	ARCHIL_OP_READ		= 19,
	ARCHIL_OP_SEEK		= 20,
	ARCHIL_OP_GETXATTR	= 21,
	ARCHIL_OP_LISTXATTR	= 22,
	ARCHIL_OP_STATFS	= 23,
	ARCHIL_OP_READ_SMALL	= 24,	/* of several files */

	/* changing under a delegation, data */
	ARCHIL_OP_LOG		= 32,	/* a batch of records */
	ARCHIL_OP_WRITE		= 33,	/* bulk bytes beside the log */
	ARCHIL_OP_CREDIT	= 34,	/* space */
	ARCHIL_OP_INOS		= 35,	/* a range of inode numbers */

	/* synchronous changes with a slot, either connection */
	ARCHIL_OP_GRANT		= 48,	/* checkout; dynamic ownership of a file */
	ARCHIL_OP_CHECKIN	= 49,
	ARCHIL_OP_CHANGE	= 50,	/* one record that no single log can carry */

	ARCHIL_OP_MAX		= 64,
};

/* Status values of the protocol's own, above every errno. Any other is EPROTO. */
enum archil_status {
	ARCHIL_ST_TAKEN		= 1001,	/* LOG, WRITE: this delegation was taken by force */
	ARCHIL_ST_CLOSED	= 1002,	/* LOG, WRITE: it was closed; body: struct archil_closed */
	ARCHIL_ST_OVER		= 1003,	/* the session is over */
	ARCHIL_ST_BAD_SEQ	= 1004,	/* a slot's sequence was neither the next nor the last */
};

struct archil_time {
	__le64	sec;		/* signed */
	__le32	nsec;		/* 0..999999999 */
} __packed;

/* wattr.flags */
enum {
	ARCHIL_AF_BULK		= 0x1,	/* contents are in a data file, not small */
	ARCHIL_AF_OTHER		= 0x2,	/* another session owns it */
	ARCHIL_AF_ORPHAN	= 0x4,	/* has no name any more */
	ARCHIL_AF_XATTR		= 0x8,	/* has at least one xattr */
};

/* An inode's attributes. */
struct archil_wattr {
	__le64	ino;
	__le64	change;		/* moves with every change that a reader could see, to the number of
				 * the commit that made it; a rename changes what is renamed, too
				 */
	__le64	size;
	__le64	bytes;		/* of storage used; a directory: the cookie that its next
				 * entry may have */
	__le64	parent;		/* directory of the home link; own number for the disk's root */
	__le64	deleg;		/* the asking session's delegation that covers it, or 0 */
	struct archil_time atime, mtime, ctime, btime;
	__le32	mode;		/* type and permissions, as in stat(2) */
	__le32	nlink;
	__le32	uid, gid;
	__le32	rdev_major, rdev_minor;
	__le32	flags;		/* ARCHIL_AF_* */
	__le32	pad;		/* 0 */
} __packed;
static_assert(sizeof(struct archil_wattr) == 128, "wattr");

/* A delegation, as granted. */
struct archil_grant {
	__le64	number;		/* never used again, never 0; all 0 if nothing was granted */
	__le64	ino;		/* its root */
	__le64	commit;		/* at which it was made */
	__le64	since;		/* server's clock, ns since 1970 */
	__le32	origin;		/* enum archil_origin */
	__le32	flags;		/* ARCHIL_GF_* */
} __packed;

enum archil_origin {
	ARCHIL_ORIGIN_MOUNT	= 1,
	ARCHIL_ORIGIN_CHECKOUT	= 2,
	ARCHIL_ORIGIN_DYNAMIC	= 3,
};

enum {
	ARCHIL_GF_COVERED	= 0x1,	/* already owned, through this one */
};

/* Body of a reply that failed and has more to say than its status. */
struct archil_error {
	__le64	since;		/* EBUSY: the holder's delegation, ns since 1970; else 0 */
	__le64	deleg;		/* EBUSY: its number; else 0 */
	__le16	client_len;	/* EBUSY: the holder's client id */
	__le16	path_len;	/* EBUSY: where its delegation begins, from the disk's root */
	__le16	text_len;	/* a sentence for people, or nothing */
	__le16	pad;
	/* client, path, text */
} __packed;

/* ---- setting up ---- */

enum archil_conn_kind { ARCHIL_CONN_CONTROL = 1, ARCHIL_CONN_DATA = 2 };

struct archil_hello_req {
	__le64	magic;		/* ARCHIL_MAGIC */
	__le16	min_version;	/* the range the client speaks */
	__le16	max_version;
	__le16	kind;		/* enum archil_conn_kind */
	__le16	disk_len;
	u8	nonce[ARCHIL_KEY_LEN];
	/* disk name */
} __packed;

/*
 * EPROTO: no version in common; the text names both ranges. A disk that does
 * not exist is answered like one that does, and its AUTH with ENOENT; so
 * whoever has no token learns which disks there are. Names are no secret.
 */
struct archil_hello_rep {
	__le16	version;	/* the one to speak */
	__le16	pad[3];
	u8	nonce[ARCHIL_KEY_LEN];
	u8	salt[ARCHIL_KEY_LEN];
} __packed;

/* EACCES: the token is wrong. ENOENT: no such disk. */
struct archil_auth_req {
	u8	proof[ARCHIL_KEY_LEN];
} __packed;

struct archil_auth_rep {
	u8	signature[ARCHIL_KEY_LEN];
} __packed;

enum {
	ARCHIL_OS_SHARED	= 0x1,	/* ask for nothing */
	ARCHIL_OS_FORCE		= 0x2,	/* take what is in the way */
	ARCHIL_OS_RO		= 0x4,	/* never owns */
};

/*
 * Open a session. Asking again with the same (client, incarnation, mount)
 * finds the session that was opened: a lost reply costs nothing.
 * EBUSY with a holder: somebody owns something in the subdirectory (exclusive).
 * EBUSY with a text and no holder: the client id is in use by a living host.
 * ENOENT, ENOTDIR: the subdirectory.
 */
struct archil_open_session_req {
	u8	incarnation[ARCHIL_UUID_LEN];	/* this boot, this load of the module */
	u8	mount[ARCHIL_UUID_LEN];		/* this mount; random */
	__le32	flags;				/* ARCHIL_OS_* */
	__le16	client_len;
	__le16	path_len;			/* subdirectory, "a/b"; 0 = the disk's root */
	/* client id, path */
} __packed;

struct archil_open_session_rep {
	__le64	session;			/* never used again on this disk */
	__le64	max_file_size;
	__le32	inline_max;			/* small contents, bytes; at most ARCHIL_INLINE_MAX */
	__le32	payload_max;			/* of WRITE, LOG, READ; a power of two >= 128 KiB */
	struct archil_grant grant;		/* exclusive: on the root */
	struct archil_wattr root;
} __packed;

/* Control of a live session again (agent restarted, connection lost). ST_OVER. */
struct archil_resume_req {
	__le64	session;
	u8	mount[ARCHIL_UUID_LEN];		/* proves that it is the same mount */
} __packed;

/*
 * Make this a data connection of a session. Epoch 0 begins a new epoch: it is
 * answered when the session's older data connections are closed and what was
 * submitted from them has ended. Another epoch joins that one, or is ESTALE.
 */
struct archil_bind_req {
	__le64	session;
	__le64	epoch;
	u8	mount[ARCHIL_UUID_LEN];
} __packed;

struct archil_bind_rep {
	__le64	epoch;
} __packed;

/* REVOKE: the delegation is gone; nothing more under it is accepted. */
struct archil_revoke {
	__le64	number;
} __packed;

/* NOTIFY: link count and ctime as they are now, of an inode that you own. */
struct archil_notify {
	struct archil_wattr attr;
} __packed;

/* ---- reading ---- */

struct archil_lookup_req {
	__le64	dir;
	__le16	name_len;
	__le16	pad[3];
	/* name */
} __packed;

/* LOOKUP and GETATTR. ENOENT: no such name. ESTALE: no such inode. */
struct archil_attr_rep {
	struct archil_wattr attr;
	__le64	dir_change;	/* LOOKUP: of the directory; GETATTR: 0 */
	__le16	target_len;	/* a symlink's target */
	__le16	pad[3];
	/* target */
} __packed;

struct archil_getattr_req {
	__le64	ino;
} __packed;

/*
 * Entries in cookie order, those with a cookie above the given one. "." and
 * ".." are not entries. The first `len` bytes of the payload are a sequence of struct
 * archil_dirent, each padded with zeros to a multiple of 8 bytes.
 *
 * Who walks a tree asks ahead: behind a listing that reached its end come those of
 * further directories, each a struct archil_dirlist and all its entries, as
 * many as the server likes and as fit in `ahead` bytes. They are what a walk visits next:
 * subdirectories, then their parents' later ones, as far as `top`.
 */
struct archil_readdir_req {
	__le64	dir;
	__le64	cookie;		/* below ARCHIL_COOKIE_FIRST: from the start */
	__le64	top;		/* a directory above dir, or dir */
	__le32	max;		/* bytes of payload, at most payload_max */
	__le32	ahead;		/* bytes of it for further directories; 0: none */
} __packed;

enum { ARCHIL_RD_EOF = 0x1 };

struct archil_readdir_rep {
	__le64	dir_change;
	__le32	count;		/* entries in the listing */
	__le32	flags;		/* ARCHIL_RD_EOF: there are no more */
	__le32	len;		/* bytes of payload that are the listing */
	__le32	pad;
} __packed;

/* A whole listing that was not asked for by name. */
struct archil_dirlist {
	__le64	dir;
	__le64	dir_change;
	__le32	len;		/* bytes of its entries, which follow */
	__le32	pad;
} __packed;

struct archil_dirent {
	__le64	cookie;
	__le16	name_len;
	__le16	target_len;	/* of a symlink; 0: ask */
	__le16	pad[2];
	struct archil_wattr attr;
	/* name, target, padding to 8 */
} __packed;

/* @text_len: of name and target */
#define ARCHIL_DIRENT_SIZE(text_len) \
	((sizeof(struct archil_dirent) + (text_len) + 7) & ~(size_t)7)

/*
 * OWNER: past the committed size too, what this session's WRITEs have put
 * there before its SIZE_UP record; ignored for whoever does not own the inode.
 */
enum { ARCHIL_READ_OWNER = 0x1 };

struct archil_read_req {
	__le64	ino;
	__le64	off;
	__le32	len;		/* at most payload_max */
	__le32	flags;		/* ARCHIL_READ_* */
} __packed;

/*
 * The payload ends where data does; from there to min(off + len, size): zeros.
 * `size` is the committed one.
 */
struct archil_read_rep {
	__le64	change;
	__le64	size;
} __packed;

#define ARCHIL_READ_SMALL_MAX	512	/* files of one request */

/*
 * The committed contents of small files, whole. The payload is their numbers (__le64),
 * ARCHIL_READ_SMALL_MAX at most. That of the reply is, for as many of them as fit, in order,
 * a struct archil_small and its bytes, padded with zeros to a multiple of 8.
 */
struct archil_read_small_req {
	__le32	max;		/* bytes of the reply's payload, at most payload_max */
	__le32	pad;
} __packed;

struct archil_read_small_rep {
	__le32	count;		/* of struct archil_small */
	__le32	pad;
} __packed;

struct archil_small {
	__le64	ino;
	__le64	change;
	__le64	size;		/* zeros follow the bytes, up to here */
	__le32	len;
	__le32	status;		/* 0, or an errno, and nothing else is set; EFBIG: it is not small */
} __packed;

struct archil_seek_req {
	__le64	ino;
	__le64	off;
	__le32	whence;		/* 3 = SEEK_DATA, 4 = SEEK_HOLE, as in lseek(2) */
	__le32	pad;
} __packed;

/* ENXIO as lseek(2) says. */
struct archil_seek_rep {
	__le64	off;
} __packed;

/* The payload is the value. ENODATA: there is none. */
struct archil_getxattr_req {
	__le64	ino;
	__le16	name_len;
	__le16	pad[3];
	/* name, with its prefix ("user.") */
} __packed;

/* The payload is the names, each ended by NUL, as listxattr(2) gives them. */
struct archil_listxattr_req {
	__le64	ino;
} __packed;

struct archil_statfs_rep {
	__le64	total;		/* bytes */
	__le64	free;
	__le64	avail;
	__le64	files;		/* inodes in use */
} __packed;

/* ---- changing ---- */

enum {
	ARCHIL_LOG_MORE		= 0x1,	/* more parts of this batch follow */
};

/*
 * A batch, or one part of it: records first_seq .. first_seq + count - 1 of
 * this delegation's log. A batch is applied atomically and in order, answered
 * when durable. Records that were applied before are passed over; a gap is
 * EPROTO. The payload is the records (record.h). ST_TAKEN, ST_CLOSED.
 *
 * A batch that is longer than a payload comes in parts, all but the last with
 * ARCHIL_LOG_MORE:
 * 1. Each part is a request with a tag of its own and whole records, at least
 *    one. Parts of one batch come in order over one connection, without a gap
 *    in their numbers; anything else may come in between, parts of other
 *    delegations' batches too.
 * 2. They are answered together, each with the batch's status and `applied`;
 *    what is granted stands in the last one's `credit` alone.
 * 3. A part that does not follow the one before is EPROTO, and so are all that
 *    came before it.
 * 4. Parts of an incomplete batch are forgotten with their connection: send
 *    all of them again on the next.
 * 5. In a session, parts that are not answered have at most ARCHIL_BATCH_MAX
 *    bytes of payload, each counted as ARCHIL_PART_MIN if it has less; a batch
 *    of one frame is not counted. The part that goes beyond ends its connection.
 * 6. A WRITE whose `after` is in a batch is sent behind its last part. Parts
 *    are received whatever else is outstanding, but nothing is when 64 MiB of
 *    WRITEs wait.
 */
struct archil_log_req {
	__le64	deleg;
	__le64	first_seq;	/* from 1 */
	__le32	count;		/* of this part; not 0 */
	__le32	flags;		/* ARCHIL_LOG_* */
} __packed;

struct archil_log_rep {
	__le64	applied;	/* everything up to here is durable */
	__le64	credit;		/* granted besides, bytes */
} __packed;

struct archil_closed {
	__le64	seq;		/* closed at this record */
} __packed;

enum {
	ARCHIL_WRITE_SIZE_UP	= 0x1,	/* the file is at least `size` long */
	ARCHIL_WRITE_TIMES	= 0x2,	/* mtime and ctime are its times */
};

/*
 * Bulk bytes. Run when record `after` of the delegation's log is committed;
 * answered when the bytes are durable. By itself it does not move the size: a SETATTR
 * record with SIZE_UP does, afterwards. ST_TAKEN, ST_CLOSED, ESTALE.
 *
 * With flags it can spare that record: behind the bytes, size and times are made durable, too,
 * before it is answered. They must not overtake what was done before, nor what is done later.
 * So `after` is the last record that was appended at all, and later ones have higher numbers; the
 * server does it if the log stood no further when the WRITE was run, and the inode has not
 * changed since. The reply says whether it did (GROWN); if not, the record is needed.
 *
 * What WRITEs have put past the committed size belongs to their delegation:
 * when that is gone, those bytes must never be seen. So the server notes,
 * durably and before it answers, under which delegation an inode was first
 * written past its size; and before an inode grows or is written past its size
 * under another one, it cuts the data file to the committed size.
 */
struct archil_write_req {
	__le64	deleg;
	__le64	ino;
	__le64	off;
	__le64	after;		/* 0: nothing to wait for */
	__le64	size;		/* with SIZE_UP: bytes; nothing below it is missing then */
	struct archil_time mtime, ctime;	/* with TIMES */
	__le32	flags;		/* ARCHIL_WRITE_* */
	__le32	pad;
} __packed;

enum { ARCHIL_WRITE_GROWN = 0x1 };

struct archil_write_rep {
	__le64	credit;		/* granted besides, bytes */
	__le32	flags;		/* ARCHIL_WRITE_GROWN */
	__le32	pad;
} __packed;

/*
 * Space. The client may accept a growing change only against credit: 4 KiB a
 * dirty page (aligned, so WRITE of [off, off+len) settles whole pages), and
 * archil_record_charge() a record. Sent first on every new data connection,
 * with everything that the client holds: unused, or charged to changes that
 * are not acknowledged. The reply's grant comes on top of `have`.
 */
struct archil_credit_req {
	__le64	have;
	__le64	want;
} __packed;

struct archil_credit_rep {
	__le64	credit;		/* granted on top, bytes; may be 0: the disk is full */
} __packed;

/* A range of inode numbers that nobody else gets, durably. */
struct archil_inos_req {
	__le32	want;		/* 1..65536 */
	__le32	pad;
} __packed;

struct archil_inos_rep {
	__le64	first;
	__le32	count;		/* at least 1 */
	__le32	pad;
} __packed;

/* ---- synchronous changes ---- */

struct archil_slot {
	__le32	slot;		/* below ARCHIL_SLOTS */
	__le32	seq;		/* the slot's last plus one; the last again: a repetition */
} __packed;

enum { ARCHIL_GR_FORCE = 0x1 };

/*
 * Own this inode. What the session itself holds beneath is swallowed: those
 * delegations are closed, in the same commit, at what is applied of their
 * logs; a client drains them before it asks. EAGAIN: one of them has a number above
 * `known`, so the client did not know of it when it drained; nothing has happened.
 * EBUSY with the holder. EINVAL: neither a regular file nor a directory (or a
 * directory, with ORIGIN_DYNAMIC).
 * If it is covered already, `grant` is what covers it, with GF_COVERED.
 */
struct archil_grant_req {
	struct archil_slot slot;
	__le64	ino;
	__le32	origin;		/* ARCHIL_ORIGIN_CHECKOUT or _DYNAMIC */
	__le32	flags;		/* ARCHIL_GR_FORCE */
	__le64	known;		/* CHECKOUT: all its delegations up to this one are known */
} __packed;

struct archil_grant_rep {
	struct archil_grant grant;
	struct archil_wattr attr;	/* of the inode, at the grant's commit */
} __packed;

/*
 * Release what the session holds at this inode and beneath; each log is closed
 * at what is applied of it, so a client drains first. EAGAIN: as with GRANT. ENOENT: it
 * holds nothing there. EBUSY with path: a larger delegation of its own covers it.
 */
struct archil_checkin_req {
	struct archil_slot slot;
	__le64	ino;
	__le64	known;		/* as in struct archil_grant_req */
} __packed;

struct archil_checkin_rep {
	__le32	released;	/* how many delegations */
	__le32	pad;
} __packed;

enum { ARCHIL_CH_GRANT = 0x1 };

/*
 * One record (the payload) that is not under one delegation: a create where
 * nobody owns the directory (ARCHIL_CH_GRANT: and own the new inode), and link,
 * unlink, rename across delegations or of a file whose home is elsewhere; the
 * session must own everything that semantics.md 3 asks for, or it is EROFS or
 * EBUSY. ESTALE: a create in a directory that a delegation of the session's own covers; it
 * belongs in that log. Otherwise the errnos of the system call.
 */
struct archil_change_req {
	struct archil_slot slot;
	__le32	flags;		/* ARCHIL_CH_* */
	__le32	pad;
} __packed;

struct archil_change_rep {
	struct archil_grant grant;	/* zeros if none */
	struct archil_wattr attr;	/* of the inode that was made, linked, unlinked or moved */
	__le64	dir_change;		/* of the (new) directory */
	__le64	old_dir_change;		/* of the old directory, rename; else 0 */
} __packed;

/* ---- the opcode table ---- */

enum archil_op_flags {
	ARCHIL_ON_CONTROL	= 0x01,
	ARCHIL_ON_DATA		= 0x02,
	ARCHIL_SETUP		= 0x04,	/* before the session is there */
	ARCHIL_IS_PUSH		= 0x08,	/* server to client, no reply */
	ARCHIL_SLOTTED		= 0x10,	/* the body begins with struct archil_slot */
	ARCHIL_REQ_PAYLOAD	= 0x20,	/* the request may have a payload */
	ARCHIL_REP_PAYLOAD	= 0x40,	/* the reply may have one */
};

/* A variable part: where its __le16 length is in the fixed one, and its limit. */
struct archil_var {
	u16	at;
	u16	max;		/* 0: there is no such part */
};

struct archil_op_desc {
	const char *name;	/* NULL: no such opcode */
	u16	flags;		/* enum archil_op_flags */
	u16	req_size;	/* fixed part of the request (or push) */
	u16	rep_size;	/* fixed part of a reply with status 0 */
	u16	flags_at;	/* where the request has an __le32 of flags; 0: nowhere */
	u16	flags_known;	/* the bits that it may have */
	struct archil_var req_var[2];
	struct archil_var rep_var[1];
};

extern const struct archil_op_desc archil_op_table[ARCHIL_OP_MAX];

const char *archil_op_name(unsigned int op);

/**
 * archil_hdr_check - is this header one that may be received?
 * @hdr:	sizeof(*hdr) bytes
 * @kind:	the connection's, enum archil_conn_kind
 * @from_server: who sent it
 *
 * Checks lengths and their limits, the opcode, the flags, and that the two go
 * together on such a connection. PING goes both ways. Whether ARCHIL_SETUP is
 * over is for the caller to know. Returns 0 or -EPROTO.
 */
int archil_hdr_check(const struct archil_hdr *hdr, enum archil_conn_kind kind, bool from_server);

/**
 * archil_body_check - is this body well formed for its header?
 * @hdr:	a checked header
 * @body:	hdr->body_len bytes, of any alignment
 *
 * After 0, the fixed structure is there whole, each variable part lies within
 * the body and its limit, none holds a NUL, nothing is left over, flags are
 * known ones, and a slot is one. The values of other fields are the handler's
 * to judge. For a reply with a status other than 0 the body is a struct
 * archil_closed (ST_CLOSED), or empty, or a struct archil_error with its parts.
 * Returns 0 or -EPROTO.
 */
int archil_body_check(const struct archil_hdr *hdr, const void *body);

/**
 * archil_hdr_fill - the header of a frame
 * @body_len, @payload_len: bytes
 */
void archil_hdr_fill(struct archil_hdr *hdr, unsigned int op, unsigned int flags, u64 tag,
		     u32 body_len, u32 payload_len);

static inline u32 archil_payload_len(const struct archil_hdr *hdr)
{
	return le32_to_cpu(hdr->len) - sizeof(*hdr) - le32_to_cpu(hdr->body_len);
}

/**
 * archil_dirent_next - step through the payload of READDIR
 * @buf, @len:	the payload
 * @pos:	where the next entry begins; moved behind it. Start with 0
 * @name:	set to the entry's name, @name_len bytes in @buf
 *
 * Returns 1 and the entry in @de (copied: @buf needs no alignment), 0 at the
 * end, or -EPROTO: too short, an empty or overlong name, a name with NUL or
 * '/', or "." or "..", a cookie out of range, a target that is overlong or not a symlink's,
 * padding that is not zero. The target follows the name.
 */
int archil_dirent_next(const void *buf, size_t len, size_t *pos, struct archil_dirent *de,
		       const char **name, unsigned int *name_len);

/**
 * archil_dirent_put - append an entry
 * @buf, @cap:	the payload being made, and its room
 * @pos:	its length so far; moved
 * @de:		cookie and attr filled in; the lengths are set here
 * @target, @target_len: of a symlink, at most ARCHIL_PATH_LEN; else NULL, 0
 *
 * Returns 0, or -ENOSPC and nothing changed.
 */
int archil_dirent_put(void *buf, size_t cap, size_t *pos, struct archil_dirent *de,
		      const char *name, unsigned int name_len,
		      const char *target, unsigned int target_len);

/**
 * archil_dirlist_next - step through what READDIR gave ahead
 * @buf, @len:	the payload
 * @pos:	where the next listing begins; moved behind it. Start with the reply's len
 * @entries:	set to where its entries are in @buf; @dl has their length
 *
 * Returns 1 and the header in @dl (copied), 0 at the end, or -EPROTO: too short.
 */
int archil_dirlist_next(const void *buf, size_t len, size_t *pos, struct archil_dirlist *dl,
			const void **entries);

/**
 * archil_small_next - step through the payload of a reply to READ_SMALL
 * @buf, @len:	the payload
 * @pos:	where the next file begins; moved behind it. Start with 0
 * @data:	set to where its bytes are in @buf
 *
 * Returns 1 and the file in @small (copied), 0 at the end, or -EPROTO: too short, or more
 * bytes than the file has.
 */
int archil_small_next(const void *buf, size_t len, size_t *pos, struct archil_small *small,
		      const void **data);

/**
 * archil_small_put - append a file
 * @small:	all of it filled in; @data: small->len bytes
 *
 * Returns 0, or -ENOSPC and nothing changed.
 */
int archil_small_put(void *buf, size_t cap, size_t *pos, const struct archil_small *small,
		     const void *data);

/* Is this a name that can stand in a directory? */
bool archil_name_ok(const char *name, size_t len);

#endif /* ARCHIL_WIRE_H */
