// SPDX-License-Identifier: GPL-2.0
/* Reading names, attributes and xattrs: from one committed state, at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "deleg.h"
#include "disk.h"
#include "handlers.h"
#include "server.h"
#include "session.h"

static struct fs_view *begin(struct req *req)
{
	struct fs_view *view = fs_view_get(req->conn->disk->fs);

	if (!view)
		server_oom();
	req->commit = fs_view_commit(view);
	return view;
}

static void fill_owner(struct req *req, struct fs_view *view, struct archil_wattr *attr)
{
	struct owner_ctx ctx;

	owner_begin(&ctx, req->conn->disk, view, req->conn->session->rec.id);
	owner_fill(&ctx, attr);
	owner_end(&ctx);
}

static void reply_attr(struct req *req, struct fs_view *view, int rc, struct archil_attr_rep *rep,
		       const char *target)
{
	unsigned char body[sizeof(*rep) + ARCHIL_PATH_LEN];
	size_t len = le16_to_cpu(rep->target_len);

	if (!rc)
		fill_owner(req, view, &rep->attr);
	fs_view_put(view);
	if (rc) {
		req_fail(req, rc);
		return;
	}
	memcpy(body, rep, sizeof(*rep));
	memcpy(body + sizeof(*rep), target, len);
	req_reply(req, body, sizeof(*rep) + len, NULL, 0);
}

void handle_lookup(struct req *req)
{
	struct archil_lookup_req *msg = (void *)req->body;
	struct fs_view *view = begin(req);
	struct archil_attr_rep rep = { 0 };
	char target[ARCHIL_PATH_LEN];
	int rc;

	rc = fs_lookup(view, le64_to_cpu(msg->dir), (char *)(msg + 1), le16_to_cpu(msg->name_len),
		       &rep, target);
	reply_attr(req, view, rc, &rep, target);
}

void handle_getattr(struct req *req)
{
	struct archil_getattr_req *msg = (void *)req->body;
	struct fs_view *view = begin(req);
	struct archil_attr_rep rep = { 0 };
	char target[ARCHIL_PATH_LEN];
	int rc;

	rc = fs_getattr(view, le64_to_cpu(msg->ino), &rep, target);
	reply_attr(req, view, rc, &rep, target);
}

void handle_readdir(struct req *req)
{
	struct archil_readdir_req *msg = (void *)req->body;
	struct archil_readdir_rep rep = { 0 };
	uint32_t max = le32_to_cpu(msg->max);
	struct owner_ctx ctx;
	struct fs_list list = { .cap = max, .owner = owner_fill, .enter = owner_enter,
				.ctx = &ctx };
	struct fs_view *view;
	int rc;

	if (max > ARCHIL_PAYLOAD_MAX) {
		req_fail(req, -EINVAL);
		return;
	}
	list.buf = malloc(max ? max : 1);
	if (!list.buf)
		server_oom();
	view = begin(req);
	owner_begin(&ctx, req->conn->disk, view, req->conn->session->rec.id);
	rc = fs_readdir(view, msg, &list, &rep);
	owner_end(&ctx);
	fs_view_put(view);
	if (rc || !list.len) {
		free(list.buf);
		list.buf = NULL;
	}
	if (rc)
		req_fail(req, rc);
	else
		req_reply(req, &rep, sizeof(rep), list.buf, list.len);
}

void handle_read_small(struct req *req)
{
	struct archil_read_small_req *msg = (void *)req->body;
	size_t n = req->payload_len / sizeof(uint64_t), i, cap = le32_to_cpu(msg->max), len = 0, got;
	struct archil_read_small_rep rep = { 0 };
	struct archil_small small;
	struct archil_read_rep one;
	unsigned char *buf, *data;
	struct fs_view *view;
	__le64 ino;
	int rc;

	if (!n || n > ARCHIL_READ_SMALL_MAX || req->payload_len % sizeof(ino) ||
	    cap > ARCHIL_PAYLOAD_MAX) {
		req_fail(req, -EINVAL);
		return;
	}
	buf = malloc(cap ? cap : 1);
	data = malloc(ARCHIL_INLINE_MAX);
	if (!buf || !data)
		server_oom();
	view = begin(req);
	for (i = 0; i < n; i++) {
		memcpy(&ino, (unsigned char *)req->payload + i * sizeof(ino), sizeof(ino));
		memset(&small, 0, sizeof(small));
		small.ino = ino;
		rc = fs_read(view, le64_to_cpu(ino), 0, ARCHIL_INLINE_MAX, data, &got, &one);
		small.status = cpu_to_le32(rc > 0 ? EFBIG : -rc);
		if (!rc) {
			small.change = one.change;
			small.size = one.size;
			small.len = cpu_to_le32(got);
		}
		if (archil_small_put(buf, cap, &len, &small, data))
			break;
	}
	fs_view_put(view);
	free(data);
	rep.count = cpu_to_le32(i);
	if (!len) {
		free(buf);
		buf = NULL;
	}
	req_reply(req, &rep, sizeof(rep), buf, len);
}

static void reply_value(struct req *req, int rc, void *buf, size_t len)
{
	if (rc || !len) {
		free(buf);
		buf = NULL;
	}
	if (rc)
		req_fail(req, rc);
	else
		req_reply(req, NULL, 0, buf, len);
}

void handle_getxattr(struct req *req)
{
	struct archil_getxattr_req *msg = (void *)req->body;
	struct fs_view *view = begin(req);
	void *buf = malloc(ARCHIL_XATTR_SIZE);
	size_t len = 0;
	int rc;

	if (!buf)
		server_oom();
	rc = fs_getxattr(view, le64_to_cpu(msg->ino), (char *)(msg + 1), le16_to_cpu(msg->name_len),
			 buf, ARCHIL_XATTR_SIZE, &len);
	fs_view_put(view);
	reply_value(req, rc, buf, len);
}

void handle_listxattr(struct req *req)
{
	struct archil_listxattr_req *msg = (void *)req->body;
	struct fs_view *view = begin(req);
	void *buf = malloc(ARCHIL_XATTR_SIZE);
	size_t len = 0;
	int rc;

	if (!buf)
		server_oom();
	rc = fs_listxattr(view, le64_to_cpu(msg->ino), buf, ARCHIL_XATTR_SIZE, &len);
	fs_view_put(view);
	reply_value(req, rc, buf, len);
}
