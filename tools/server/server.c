// SPDX-License-Identifier: GPL-2.0
#include "server.h"
#include "space.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "disk.h"
#include "log.h"

enum {
	SHUTDOWN_MS		= 10000,
	BUFFERS_PART		= 16,		/* of the memory */
	WRITE_BUFFER_MIN	= 4 << 20,
};

void server_oom(void)
{
	/* Nothing that was acknowledged is lost; clients send the rest again. */
	log_err("out of memory");
	abort();
}

struct disk *server_disk(struct server *server, const char *name)
{
	struct disk *disk;

	TAILQ_FOREACH(disk, &server->disks, all)
		if (!strcmp(disk->name, name) && !disk->closing)
			return disk;
	return NULL;
}

void server_fake_salt(struct server *server, const char *name, unsigned char salt[32])
{
	unsigned int len = 32;

	if (!HMAC(EVP_sha256(), server->salt_key, sizeof(server->salt_key),
		  (const unsigned char *)name, strlen(name), salt, &len))
		memset(salt, 0x5a, 32);
}

/* ---- start ---- */

static int count_disk(void *arg, const char *name)
{
	struct server *server = arg;

	server->n_found++;
	return 0;
}

size_t server_write_buffer(const struct server *server)
{
	uint64_t part = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / BUFFERS_PART;
	const struct disk *disk;
	unsigned int n = 1;

	TAILQ_FOREACH(disk, &server->disks, all)
		n++;
	part /= 2 * (n > server->n_found ? n : server->n_found);
	return part > WRITE_BUFFER_MIN ? part : WRITE_BUFFER_MIN;
}

static int open_disk(void *arg, const char *name)
{
	struct server *server = arg;

	return server_add_disk(server, name);
}

int server_add_disk(struct server *server, const char *name)
{
	char err[ERR_TEXT];
	struct disk *disk;
	int rc = disk_open(server, server->opts.dir, name, &disk, err);

	if (!rc) {
		rc = disk_serve(disk, err);
		if (rc)
			disk_close(disk);
	}
	if (rc) {
		log_err("%s", err);
		return rc;
	}
	TAILQ_INSERT_TAIL(&server->disks, disk, all);
	return 0;
}

/* Every connection and data file is a descriptor: take all that there are. */
static void raise_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
}

static bool turn(void *arg)
{
	struct server *server = arg;
	struct disk *disk;

	conn_resume_all(server);
	TAILQ_FOREACH(disk, &server->disks, all)
		disk_turn(disk);
	conn_send_all(server);
	/* answers made room for more to be read */
	return !TAILQ_EMPTY(&server->resumers);
}

/* There is room again for a store that had none: it must be opened again. */
static void server_anew(struct server *server)
{
	log_info("there is room again");
	server->anew = true;
	server_stop(server);
}

static void second(struct loop_timer *timer)
{
	struct server *server = container_of(timer, struct server, second);
	struct disk *disk;

	conn_expire(server);
	TAILQ_FOREACH(disk, &server->disks, all) {
		space_look(disk);
		if (store_failed(disk->store) == -ENOSPC && space_again(disk))
			server_anew(server);
	}
	loop_timer_set(&server->loop, timer, 1000);
}

int server_start(struct server *server, const struct server_opts *opts)
{
	char *why = NULL;
	int rc;

	memset(server, 0, sizeof(*server));
	server->opts = *opts;
	server->signal_fd = -1;
	TAILQ_INIT(&server->listeners);
	TAILQ_INIT(&server->conns);
	TAILQ_INIT(&server->unauth);
	TAILQ_INIT(&server->senders);
	TAILQ_INIT(&server->resumers);
	TAILQ_INIT(&server->disks);
	server->epoch = realtime_ns();
	if (getrandom(server->salt_key, sizeof(server->salt_key), 0) != sizeof(server->salt_key))
		return -EIO;
	raise_limit();
	/* our writing out must not wait for memory that waits for our writing out */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_debug("PR_SET_IO_FLUSHER: %m");

	rc = store_root_check(opts->dir, &why);
	if (rc) {
		log_err("%s", why ? why : strerror(-rc));
		free(why);
		return rc;
	}
	server->lock_fd = control_lock(opts->dir);
	if (server->lock_fd < 0) {
		log_err("%s: %s", opts->dir, server->lock_fd == -EBUSY ?
			"another server or command is at work on it" : strerror(-server->lock_fd));
		return server->lock_fd;
	}
	rc = loop_init(&server->loop);
	if (rc) {
		log_err("io_uring: %s", strerror(-rc));
		close(server->lock_fd);
		return rc;
	}
	server->loop.turn = turn;
	server->loop.turn_arg = server;
	server->second.fire = second;
	loop_timer_set(&server->loop, &server->second, 1000);

	rc = store_root_sweep(opts->dir);
	if (rc)
		log_warn("what an interrupted command left in %s can not be removed: %s", opts->dir,
			 strerror(-rc));
	rc = store_disk_each(opts->dir, count_disk, server);
	if (!rc)
		rc = store_disk_each(opts->dir, open_disk, server);
	if (!rc)
		rc = control_start(server);
	if (!rc)
		rc = listen_start(server);
	if (rc)
		server_destroy(server);
	return rc;
}

/* ---- signals and systemd ---- */

static void signalled(struct loop_op *op, int res)
{
	struct server *server = container_of(op, struct server, signal_op);

	if (res > 0) {
		log_info("stopping");
		server->anew = false;
		server_stop(server);
	}
}

int server_signals(struct server *server)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (server->signal_fd < 0)
		return -errno;
	server->signal_op.done = signalled;
	io_uring_prep_read(loop_sqe(&server->loop, &server->signal_op), server->signal_fd,
			   server->signal_buf, sizeof(server->signal_buf), 0);
	return 0;
}

/* Tells systemd, if it asked to be told. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, len);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
		   offsetof(struct sockaddr_un, sun_path) + len) < 0)
		log_debug("NOTIFY_SOCKET: %m");
	close(fd);
}

/* ---- run and stop ---- */

int server_run(struct server *server)
{
	struct disk *disk;
	unsigned int n = 0;
	int rc;

	TAILQ_FOREACH(disk, &server->disks, all)
		n++;
	log_info("ready: %u disk%s in %s", n, n == 1 ? "" : "s", server->opts.dir);
	notify("READY=1");
	store_thread();
	rc = loop_run(&server->loop);
	if (rc)
		log_err("event loop: %s", strerror(-rc));
	else if (server->anew)
		return -EAGAIN;
	notify("STOPPING=1");
	return rc;
}

void server_stop(struct server *server)
{
	loop_stop(&server->loop);
}

/* Is anything at the store or in the ring that refers to us? */
static bool busy(struct server *server)
{
	struct disk *disk;

	if (!TAILQ_EMPTY(&server->conns) || listen_busy(server))
		return true;
	TAILQ_FOREACH(disk, &server->disks, all)
		if (!data_idle(disk) || !commit_idle(disk))
			return true;
	return false;
}

/* Lets what is under way come to its end: commits, data, the last frames. */
static void wind_down(struct server *server)
{
	struct conn *conn, *tmp;
	uint64_t end = server->loop.now + SHUTDOWN_MS;

	listen_stop(server);
	TAILQ_FOREACH_SAFE(conn, &server->conns, all, tmp)
		conn_close(conn, NULL);
	while (busy(server) && server->loop.now < end)
		loop_once(&server->loop, 50);
}

void server_destroy(struct server *server)
{
	struct disk *disk;

	control_stop(server);
	wind_down(server);
	loop_timer_clear(&server->loop, &server->second);
	while ((disk = TAILQ_FIRST(&server->disks))) {
		TAILQ_REMOVE(&server->disks, disk, all);
		disk_close(disk);
	}
	listen_destroy(server);
	loop_destroy(&server->loop);
	if (server->signal_fd >= 0)
		close(server->signal_fd);
	close(server->lock_fd);
}
