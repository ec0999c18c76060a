/* SPDX-License-Identifier: GPL-2.0 */
/* One socket: framing, a sending and a receiving thread. */
#ifndef ARCHIL_CONN_H
#define ARCHIL_CONN_H

struct archil_mount;
struct archil_conn;
struct socket;

/* Takes over the caller's reference to the socket, also on failure. ERR_PTR(-ENOMEM), -EINTR. */
struct archil_conn *archil_conn_new(struct archil_mount *m, struct socket *sock);
/* Begin to send and receive. Never blocks. */
void archil_conn_start(struct archil_conn *conn);
/* There is something to send. Any context. */
void archil_conn_kick(struct archil_conn *conn);
/* Shut down, wait for both threads, free. */
void archil_conn_stop(struct archil_conn *conn);

#endif /* ARCHIL_CONN_H */
