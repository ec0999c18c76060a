/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What answers each opcode. A handler is called in the loop with a checked
 * request that its connection's stage allows, and answers it sooner or later.
 */
#ifndef ARCHIL_HANDLERS_H
#define ARCHIL_HANDLERS_H

struct req;

/* hello.c */
void handle_hello(struct req *req);
void handle_auth(struct req *req);
/* open.c */
void handle_open_session(struct req *req);
/* session.c */
void handle_resume(struct req *req);
void handle_bind(struct req *req);
void handle_close_session(struct req *req);
/* read.c */
void handle_lookup(struct req *req);
void handle_getattr(struct req *req);
void handle_readdir(struct req *req);
void handle_read_small(struct req *req);
void handle_getxattr(struct req *req);
void handle_listxattr(struct req *req);
/* data_read.c */
void handle_read(struct req *req);
void handle_seek(struct req *req);
/* data_write.c */
void handle_write(struct req *req);
/* space.c */
void handle_statfs(struct req *req);
void handle_credit(struct req *req);
/* oplog.c */
void handle_log(struct req *req);
void handle_inos(struct req *req);
/* grant.c */
void handle_grant(struct req *req);
void handle_checkin(struct req *req);
/* change.c */
void handle_change(struct req *req);

#endif
