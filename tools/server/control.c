// SPDX-License-Identifier: GPL-2.0
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin.h"
#include "disk.h"
#include "log.h"
#include "server.h"
#include "session.h"

enum {
	LINE_MAX_BYTES	= 64 << 10,
	THREADS_MAX	= 32,
	CLOSE_TRIES	= 500,		/* to see a deleted disk's connections go */
	CLOSE_US	= 20000,
	LOCK_TRIES	= 50,
	LOCK_US		= 20000,
};

struct control {
	struct server *server;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	unsigned int n_threads;		/* protected by lock */
};

struct control_conn {
	struct control *control;
	int fd;
};

/* The socket's address, short however long the path of the store is. 0 or -errno. */
static int address(const char *dir, int *dir_fd, struct sockaddr_un *sa)
{
	*dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return -errno;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/" CONTROL_SOCKET, *dir_fd);
	return 0;
}

int control_lock(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), i;

	if (fd < 0)
		return -errno;
	for (i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		int err = errno;

		if ((err != EWOULDBLOCK && err != EINTR) || i == LOCK_TRIES) {
			close(fd);
			return err == EWOULDBLOCK ? -EBUSY : -err;
		}
		usleep(LOCK_US);
	}
	return fd;
}

/* ---- in the loop, on behalf of a control thread ---- */

struct call {
	struct loop_call loop;
	struct server *server;
	void (*fn)(struct call *call);
	const char *name;		/* of the disk */
	struct disk *disk;
	struct admin_work aw;
	json_t *reply;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;			/* protected by lock */
};

static void call_done(struct call *call)
{
	pthread_mutex_lock(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->wake);
	pthread_mutex_unlock(&call->lock);
}

static void call_run(struct loop_call *loop)
{
	struct call *call = container_of(loop, struct call, loop);

	call->fn(call);
}

/* Runs fn in the loop, and waits until it or what it began calls call_done(). */
static void in_loop(struct call *call, void (*fn)(struct call *call))
{
	call->loop.run = call_run;
	call->fn = fn;
	call->done = false;
	pthread_mutex_init(&call->lock, NULL);
	pthread_cond_init(&call->wake, NULL);
	loop_post(&call->server->loop, &call->loop);
	pthread_mutex_lock(&call->lock);
	while (!call->done)
		pthread_cond_wait(&call->wake, &call->lock);
	pthread_mutex_unlock(&call->lock);
	pthread_cond_destroy(&call->wake);
	pthread_mutex_destroy(&call->lock);
}

static void call_add(struct call *call)
{
	if (server_add_disk(call->server, call->name))
		call->reply = admin_error(EIO, "disk %s was made, but cannot be opened",
					  call->name);
	call_done(call);
}

static void call_list(struct call *call)
{
	json_t *array = json_array();
	struct disk *disk;

	TAILQ_FOREACH(disk, &call->server->disks, all)
		if (!disk->closing)
			json_array_append_new(array, admin_disk_info(disk));
	call->reply = json_pack("{s:o}", "disks", array);
	call_done(call);
}

/* Finds the disk and keeps it. */
static void call_get(struct call *call)
{
	call->disk = server_disk(call->server, call->name);
	if (call->disk)
		disk_get(call->disk);
	else
		call->reply = admin_error(ENOENT, "there is no disk %s", call->name);
	call_done(call);
}

static void call_put(struct call *call)
{
	disk_put(call->disk);
	call_done(call);
}

static void call_sessions(struct call *call)
{
	call->reply = admin_sessions(call->disk);
	call_done(call);
}

static void work_done(struct work *work, int err)
{
	struct call *call = container_of(work, struct call, aw.work);

	call->reply = admin_finish(&call->aw, work->disk, true, err);
	call_done(call);
}

static void call_work(struct call *call)
{
	call->aw.work.done = work_done;
	commit_submit(call->disk, &call->aw.work);
}

/* A disk that nobody has a session on is taken out of service. */
static void call_retire(struct call *call)
{
	struct disk *disk = call->disk;
	struct conn *conn, *tmp;

	if (disk->closing) {
		call->reply = admin_error(EBUSY, "disk %s is being deleted", disk->name);
	} else if (disk->n_sessions) {
		call->reply = admin_error(EBUSY,
			"disk %s has %u session%s: unmount it, or end them by 'session end'",
			disk->name, disk->n_sessions, disk->n_sessions == 1 ? "" : "s");
	} else {
		disk->closing = true;
		TAILQ_FOREACH_SAFE(conn, &call->server->conns, all, tmp)
			if (conn->disk == disk)
				conn_close(conn, "its disk is deleted");
	}
	call_done(call);
}

/* Closes it when ours is the last reference. */
static void call_close(struct call *call)
{
	struct disk *disk = call->disk;

	if (disk->refs == 2 && data_idle(disk) && commit_idle(disk) && !disk_watched(disk)) {
		TAILQ_REMOVE(&call->server->disks, disk, all);
		disk_close(disk);
		call->disk = NULL;
	}
	call_done(call);
}

/* ---- requests to a running server ---- */

static json_t *online_delete(struct call *call)
{
	unsigned int i;

	in_loop(call, call_retire);
	if (call->reply)
		return call->reply;
	for (i = 0; i < CLOSE_TRIES; i++) {
		in_loop(call, call_close);
		if (!call->disk)
			return admin_disk_delete(call->server->opts.dir, call->name);
		usleep(CLOSE_US);
	}
	return admin_error(EBUSY, "disk %s is still in use; it is deleted after a restart",
			   call->name);
}

static int check_one(struct call *call, const char *name, json_t *list,
		     struct fs_counts *counts)
{
	int rc;

	call->name = name;
	in_loop(call, call_get);
	if (!call->disk) {
		json_decref(call->reply);
		call->reply = NULL;
		return 0;
	}
	rc = admin_check(call->disk, list, counts);
	in_loop(call, call_put);
	call->disk = NULL;
	return rc;
}

static json_t *online_check(struct call *call)
{
	json_t *list = json_array(), *disks, *disk;
	struct fs_counts counts = { 0 };
	size_t i;
	int rc;

	in_loop(call, call_list);
	disks = call->reply;
	call->reply = NULL;
	json_array_foreach(json_object_get(disks, "disks"), i, disk) {
		const char *name = json_string_value(json_object_get(disk, "name"));

		rc = check_one(call, name, list, &counts);
		if (rc)
			json_array_append_new(list, json_sprintf("disk %s: cannot be checked: %s",
								 name, strerror(-rc)));
	}
	json_decref(disks);
	return admin_checked(list, i, &counts);
}

/* Those that need an open disk, which is kept meanwhile. */
static json_t *online_on_disk(struct call *call, const char *command, json_t *request)
{
	int rc;

	if (!strcmp(command, "delegations"))
		return admin_delegations(call->disk);
	if (!strcmp(command, "session-list")) {
		in_loop(call, call_sessions);
		return call->reply;
	}
	if (!strcmp(command, "session-end")) {
		admin_end_begin(&call->aw,
				json_integer_value(json_object_get(request, "session")));
		in_loop(call, call_work);
		return call->reply;
	}
	if (!strcmp(command, "disk-token")) {
		rc = admin_token_begin(&call->aw);
		if (rc)
			return admin_error(rc, "cannot make a token: %s", strerror(-rc));
		in_loop(call, call_work);
		return call->reply;
	}
	return admin_error(EINVAL, "unknown command");
}

static json_t *online(struct server *server, json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	struct call call = {
		.server = server,
		.name = json_string_value(json_object_get(request, "disk")),
	};
	json_t *reply;

	if (!command)
		return admin_error(EINVAL, "unknown command");
	if (!strcmp(command, "disk-list")) {
		in_loop(&call, call_list);
		return call.reply;
	}
	if (!strcmp(command, "check"))
		return online_check(&call);
	if (!call.name)
		return admin_error(EINVAL, "no disk given");
	if (!strcmp(command, "disk-create")) {
		reply = admin_disk_create(server->opts.dir, call.name);
		if (json_object_get(reply, "error"))
			return reply;
		in_loop(&call, call_add);
		if (!call.reply)
			return reply;
		json_decref(reply);
		return call.reply;
	}
	in_loop(&call, call_get);
	if (!call.disk)
		return call.reply;
	if (!strcmp(command, "disk-delete"))
		reply = online_delete(&call);
	else
		reply = online_on_disk(&call, command, request);
	if (call.disk)
		in_loop(&call, call_put);
	return reply;
}

/* ---- the server's side of the socket ---- */

/* Reads a line. Returns its length without the newline, or a negative errno. */
static ssize_t read_line(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = recv(fd, buf + len, size - len, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		end = memchr(buf + len, '\n', n);
		if (end)
			return end - buf;
		len += n;
	}
	return -EMSGSIZE;
}

static int send_json(int fd, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0, done = 0;
	int rc = text ? 0 : -ENOMEM;

	if (text)
		text[len++] = '\n';	/* in place of the NUL */
	while (!rc && done < len) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			done += n;
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	return rc;
}

static void *serve_one(void *arg)
{
	struct control_conn *cc = arg;
	struct control *control = cc->control;
	char *line = malloc(LINE_MAX_BYTES);
	json_t *request = NULL, *reply;
	ssize_t len;

	len = line ? read_line(cc->fd, line, LINE_MAX_BYTES) : -ENOMEM;
	if (len >= 0)
		request = json_loadb(line, len, 0, NULL);
	if (request)
		reply = online(control->server, request);
	else
		reply = admin_error(EINVAL, "not a request");
	send_json(cc->fd, reply);
	json_decref(reply);
	json_decref(request);
	free(line);
	close(cc->fd);
	free(cc);
	pthread_mutex_lock(&control->lock);
	control->n_threads--;
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

static void start_one(struct control *control, int fd)
{
	struct timeval patience = { .tv_sec = 10 };
	struct control_conn *cc = malloc(sizeof(*cc));
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	pthread_mutex_lock(&control->lock);
	ok = cc && control->n_threads < THREADS_MAX;
	if (ok)
		control->n_threads++;
	pthread_mutex_unlock(&control->lock);
	if (!ok)
		goto out_close;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	cc->control = control;
	cc->fd = fd;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = !pthread_create(&thread, &attr, serve_one, cc);
	pthread_attr_destroy(&attr);
	if (ok)
		return;
	pthread_mutex_lock(&control->lock);
	control->n_threads--;
	pthread_mutex_unlock(&control->lock);
out_close:
	free(cc);
	close(fd);
}

static void *control_thread(void *arg)
{
	struct control *control = arg;
	int fd;

	for (;;) {
		fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			start_one(control, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			usleep(100000);
		else if (errno != EINTR && errno != ECONNABORTED)
			return NULL;	/* control_stop() shut it down */
	}
}

int control_start(struct server *server)
{
	struct control *control = calloc(1, sizeof(*control));
	struct sockaddr_un sa;
	mode_t mask;
	int rc, dir_fd;

	if (!control)
		return -ENOMEM;
	control->server = server;
	rc = address(server->opts.dir, &dir_fd, &sa);
	if (rc)
		goto out_free;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control->fd < 0) {
		rc = -errno;
		goto out_dir;
	}
	/* the disks are open for us alone, so an old socket is nobody's */
	unlinkat(dir_fd, CONTROL_SOCKET, 0);
	mask = umask(0177);
	rc = bind(control->fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(control->fd, 16) ?
	     -errno : 0;
	umask(mask);
	if (rc)
		goto out_fd;
	pthread_mutex_init(&control->lock, NULL);
	rc = -pthread_create(&control->thread, NULL, control_thread, control);
	if (rc)
		goto out_fd;
	close(dir_fd);
	server->control = control;
	return 0;

out_fd:
	close(control->fd);
out_dir:
	close(dir_fd);
out_free:
	log_err("control socket: %s", strerror(-rc));
	free(control);
	return rc;
}

static bool threads_left(struct control *control)
{
	bool left;

	pthread_mutex_lock(&control->lock);
	left = control->n_threads;
	pthread_mutex_unlock(&control->lock);
	return left;
}

void control_stop(struct server *server)
{
	struct control *control = server->control;
	struct sockaddr_un sa;
	int dir_fd;

	if (!control)
		return;
	if (!address(server->opts.dir, &dir_fd, &sa)) {
		unlinkat(dir_fd, CONTROL_SOCKET, 0);
		close(dir_fd);
	}
	shutdown(control->fd, SHUT_RDWR);
	pthread_join(control->thread, NULL);
	/* what they asked of the loop is still carried out */
	while (threads_left(control))
		loop_once(&server->loop, 20);
	close(control->fd);
	pthread_mutex_destroy(&control->lock);
	free(control);
	server->control = NULL;
}

/* ---- the command's side ---- */

/* Returns the reply of the server that runs on dir; NULL: there is none. */
static json_t *ask(const char *dir, json_t *request)
{
	struct sockaddr_un sa;
	json_t *reply = NULL;
	json_error_t error;
	int dir_fd, fd;
	FILE *file;

	if (address(dir, &dir_fd, &sa))
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		if (fd >= 0 && errno != ENOENT && errno != ECONNREFUSED)
			reply = admin_error(errno, "the server's control socket: %s",
					    strerror(errno));
		if (fd >= 0)
			close(fd);
		close(dir_fd);
		return reply;
	}
	close(dir_fd);
	file = fdopen(fd, "r");
	if (file && !send_json(fd, request))
		reply = json_loadf(file, 0, &error);
	if (!reply)
		reply = admin_error(EPIPE, "the server did not answer");
	if (file)
		fclose(file);
	else
		close(fd);
	return reply;
}

static json_t *offline_on_disk(struct disk *disk, const char *command, json_t *request)
{
	struct admin_work aw;
	int rc;

	if (!strcmp(command, "delegations"))
		return admin_delegations(disk);
	if (!strcmp(command, "session-list"))
		return admin_sessions(disk);
	if (!strcmp(command, "session-end")) {
		admin_end_begin(&aw, json_integer_value(json_object_get(request, "session")));
	} else {
		rc = admin_token_begin(&aw);
		if (rc)
			return admin_error(rc, "cannot make a token: %s", strerror(-rc));
	}
	rc = commit_now(disk, &aw.work);
	return admin_finish(&aw, disk, false, rc);
}

struct walk {
	const char *dir;
	json_t *list;
	unsigned int n;
	struct fs_counts counts;	/* of a check */
};

static int list_one(void *arg, const char *name)
{
	struct walk *walk = arg;
	char err[ERR_TEXT];
	struct disk *disk;
	int rc = disk_open(NULL, walk->dir, name, &disk, err);

	if (rc) {
		json_array_append_new(walk->list,
				      json_pack("{s:s, s:s}", "name", name, "error", err));
		return 0;
	}
	json_array_append_new(walk->list, admin_disk_info(disk));
	disk_close(disk);
	return 0;
}

struct line_ctx {
	const char *name;
	json_t *list;
};

static void check_line(void *arg, const char *text)
{
	struct line_ctx *ctx = arg;

	json_array_append_new(ctx->list, json_sprintf("disk %s: %s", ctx->name, text));
}

static int check_disk(void *arg, const char *name)
{
	struct walk *walk = arg;
	struct line_ctx ctx = { .name = name, .list = walk->list };
	char *path = store_disk_path(walk->dir, name), *why = NULL, err[ERR_TEXT];
	struct disk *disk;
	int rc;

	walk->n++;
	if (!path)
		return -ENOMEM;
	rc = store_check_path(path, check_line, &ctx, &why);
	free(path);
	if (rc < 0)
		json_array_append_new(walk->list, json_sprintf("disk %s: cannot be checked: %s",
							       name, why ? why : strerror(-rc)));
	free(why);
	if (rc)
		return 0;
	rc = disk_open(NULL, walk->dir, name, &disk, err);
	if (rc) {
		json_array_append_new(walk->list, json_string(err));
		return 0;
	}
	rc = admin_check(disk, walk->list, &walk->counts);
	if (rc)
		json_array_append_new(walk->list, json_sprintf("disk %s: %s", name, strerror(-rc)));
	disk_close(disk);
	return 0;
}

static json_t *offline(const char *dir, json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	const char *name = json_string_value(json_object_get(request, "disk"));
	struct walk walk = { .dir = dir };
	char err[ERR_TEXT], *why = NULL;
	struct disk *disk;
	json_t *reply;
	int rc;

	rc = store_root_check(dir, &why);
	if (rc) {
		reply = admin_error(rc, "%s", why ? why : strerror(-rc));
		free(why);
		return reply;
	}
	if (!strcmp(command, "disk-create"))
		return admin_disk_create(dir, name);
	if (!strcmp(command, "disk-delete"))
		return admin_disk_delete(dir, name);
	if (!strcmp(command, "disk-list")) {
		walk.list = json_array();
		store_disk_each(dir, list_one, &walk);
		return json_pack("{s:o}", "disks", walk.list);
	}
	if (!strcmp(command, "check")) {
		walk.list = json_array();
		store_disk_each(dir, check_disk, &walk);
		return admin_checked(walk.list, walk.n, &walk.counts);
	}
	rc = disk_open(NULL, dir, name, &disk, err);
	if (rc)
		return admin_error(rc, "%s", err);
	reply = offline_on_disk(disk, command, request);
	disk_close(disk);
	return reply;
}

json_t *control_request(const char *dir, json_t *request)
{
	json_t *reply = ask(dir, request);
	int lock;

	if (reply)
		return reply;
	lock = control_lock(dir);
	if (lock == -EBUSY) {
		/* a server that has just come, or another command */
		reply = ask(dir, request);
		return reply ? reply : admin_error(EBUSY, "%s is in use: try again", dir);
	}
	if (lock < 0)
		return admin_error(lock, "%s: %s", dir, strerror(-lock));
	reply = offline(dir, request);
	close(lock);
	return reply;
}
