// SPDX-License-Identifier: GPL-2.0
/*
 * A server whose syncs to storage hang or fail, or whose data files do. The engine's
 * fdatasync() and the opening of data files are ours here, and what they do is said in memory
 * shared with the server's process.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "control.h"
#include "protoclient.h"

static struct shared {
	_Atomic int hold;	/* syncs wait while this is set */
	_Atomic int waiting;
	_Atomic int fail;	/* errno, or 0 */
	_Atomic int hold_files;	/* data files are not opened to write while this is set */
} *shared;

int fdatasync(int fd)
{
	static int (*real)(int);

	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	if (shared && shared->hold) {
		shared->waiting++;
		while (shared->hold)
			usleep(1000);
		shared->waiting--;
	}
	if (shared && shared->fail) {
		errno = shared->fail;
		return -1;
	}
	return real(fd);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	static int (*real)(int dirfd, const char *path, int flags, ...);
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (!real)
		real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
	if (shared && shared->hold_files && (flags & O_CREAT) && strchr(path, '/')) {
		shared->waiting++;
		while (shared->hold_files)
			usleep(1000);
		shared->waiting--;
	}
	return real(dirfd, path, flags, mode);
}

static void share(void)
{
	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	ps_stop();
	ps_start();
}

static json_int_t commits(void)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "session-list", "disk", "d");
	json_t *reply = control_request(ps_dir, request);
	json_int_t n = json_integer_value(json_object_get(json_object_get(reply, "stats"),
							  "commits"));

	json_decref(request);
	json_decref(reply);
	return n;
}

static void wait_held(void)
{
	while (!shared->waiting)
		usleep(1000);
}

/* What is not durable is seen by nobody; what waits for it goes together. */
START_TEST(a_slow_sync_gathers_a_group)
{
	struct client *a, *b;
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t tags[32];
	json_int_t before;

	share();
	a = cl_mount("a", "", 0);
	b = cl_mount("b", "", ARCHIL_OS_SHARED);
	cl_ino(a);
	before = commits();
	shared->hold = 1;
	for (int i = 0; i < 32; i++) {
		char name[16];

		a->batch_len = a->batch_n = 0;
		snprintf(name, sizeof(name), "f%d", i);
		rec_create(&rec, ARCHIL_INO_ROOT, name, cl_ino(a), 3 + i, S_IFREG | 0644);
		cl_add(a, &rec);
		tags[i] = cl_log_send(a, i + 1);
		if (!i)
			wait_held();
	}
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(cl_lookup(b, ARCHIL_INO_ROOT, "f0", &attr), ENOENT);
		usleep(5000);
	}
	shared->hold = 0;
	for (int i = 0; i < 32; i++)
		ck_assert_uint_eq(pc_wait(&a->data, tags[i]), 0);
	/* the first, and (as all had arrived by then) all others */
	ck_assert_int_le(commits() - before, 3);
	ck_assert_uint_eq(cl_lookup(b, ARCHIL_INO_ROOT, "f31", &attr), 0);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

/* The disk is read-only until a restart; then what was sent again is applied once. */
START_TEST(a_failed_commit)
{
	struct client *a, *b;
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t ino, log, write, ino2;
	uint32_t log_status, write_status;
	struct archil_grant_rep grant;
	struct archil_inos_req inos = { .want = cpu_to_le32(1) };
	char data[100] = "bulk";

	share();
	a = cl_mount("a", "", 0);
	b = cl_mount("b", "", ARCHIL_OS_SHARED);
	ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	rec_content(&rec, ino, 0, "small", 5);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ino2 = cl_ino(a);

	shared->fail = EIO;
	rec_create(&rec, ARCHIL_INO_ROOT, "g", ino2, 4, S_IFREG | 0644);
	cl_add(a, &rec);
	log = cl_log_send(a, a->seq + 1);
	/* it waits for that record */
	a->seq++;
	write = cl_write_send(a, ARCHIL_F_URGENT, ino2, 0, data, sizeof(data));
	pc_wait_both(&a->data, log, &log_status, write, &write_status);
	ck_assert_uint_eq(log_status, EIO);
	ck_assert_uint_eq(write_status, EROFS);
	a->seq--;
	shared->fail = 0;
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, a->seq + 1)), EROFS);
	ck_assert_uint_eq(cl_write(a, ino, 0, "x", 1), EROFS);
	ck_assert_uint_eq(cl_grant(a, ino, ARCHIL_ORIGIN_DYNAMIC, 0, &grant), EROFS);
	a->slot_seq[0]--;
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_INOS, &inos, sizeof(inos), NULL, 0), EROFS);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CLOSE_SESSION, NULL, 0, NULL, 0), EROFS);
	/* reading goes on */
	cl_expect(b, ino, 0, "small", 5);
	ck_assert_uint_eq(cl_lookup(b, ARCHIL_INO_ROOT, "g", &attr), ENOENT);

	ps_stop();
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, a->seq + 1)), 0);
	a->seq++;
	a->batch_len = a->batch_n = 0;
	cl_put(a, ino2, 0, data, sizeof(data));
	ck_assert_uint_eq(cl_bind(b), 0);
	cl_expect(b, ino2, 0, data, sizeof(data));
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

/* Out of room: nobody is told that anything is lost; the server ends, and is asked again. */
START_TEST(a_commit_without_room)
{
	struct client *a;
	struct archil_record rec;
	uint64_t ino, ino2;
	char data[100] = "bulk";
	int status;

	share();
	a = cl_mount("a", "", 0);
	ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	ino2 = cl_ino(a);
	shared->fail = ENOSPC;
	rec_create(&rec, ARCHIL_INO_ROOT, "g", ino2, 4, S_IFREG | 0644);
	cl_add(a, &rec);
	cl_log_send(a, a->seq + 1);
	cl_write_send(a, ARCHIL_F_URGENT, ino, 0, data, sizeof(data));
	pc_expect_end(&a->data);
	ck_assert_int_eq(waitpid(ps_pid, &status, 0), ps_pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "the server ended with %x", status);
	shared->fail = 0;

	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, a->seq + 1)), 0);
	a->seq++;
	a->batch_len = a->batch_n = 0;
	cl_put(a, ino, 0, data, sizeof(data));
	cl_put(a, ino2, 0, data, sizeof(data));
	cl_unmount(a);
}
END_TEST

/* Killed while the sync hangs: not answered, so it may be there or not; sent again it is. */
START_TEST(killed_while_a_commit_hangs)
{
	struct client *a;
	struct archil_record rec;
	uint64_t ino;

	share();
	a = cl_mount("a", "", 0);
	ino = cl_ino(a);
	rec_create(&rec, ARCHIL_INO_ROOT, "f", ino, 3, S_IFREG | 0644);
	cl_add(a, &rec);
	shared->hold = 1;
	cl_log_send(a, 1);
	wait_held();
	ps_kill();
	shared->hold = 0;
	shared->waiting = 0;
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, 1)), 0);
	a->batch_len = a->batch_n = 0;
	a->seq = 1;
	cl_put(a, ino, 0, "x", 1);
	cl_unmount(a);
}
END_TEST

/* A client that goes away while its requests wait leaves nothing behind. */
START_TEST(connections_lost_while_a_commit_hangs)
{
	struct client *a;
	struct archil_record rec;
	struct archil_wattr attr;

	share();
	a = cl_mount("a", "", 0);
	cl_ino(a);
	shared->hold = 1;
	for (int i = 0; i < 10; i++) {
		char name[16];

		a->batch_len = a->batch_n = 0;
		snprintf(name, sizeof(name), "f%d", i);
		rec_create(&rec, ARCHIL_INO_ROOT, name, cl_ino(a), 3 + i, S_IFREG | 0644);
		cl_add(a, &rec);
		cl_log_send(a, i + 1);
		cl_write_send(a, 0, a->inos - 1, 0, "data", 4);
	}
	wait_held();
	pc_close(&a->data);
	pc_close(&a->ctl);
	usleep(50000);
	shared->hold = 0;
	ck_assert_uint_eq(cl_resume(a), 0);
	ck_assert_uint_eq(cl_bind(a), 0);
	/* what was queued is committed all the same, sooner or later */
	for (int i = 0; cl_lookup(a, ARCHIL_INO_ROOT, "f9", &attr); i++) {
		ck_assert_int_lt(i, 1000);
		usleep(10000);
	}
	/* and a stop in that moment waits for the commit */
	shared->hold = 1;
	a->batch_len = a->batch_n = 0;
	rec_create(&rec, ARCHIL_INO_ROOT, "last", cl_ino(a), 30, S_IFREG | 0644);
	cl_add(a, &rec);
	cl_log_send(a, 11);
	wait_held();
	kill(ps_pid, SIGTERM);
	usleep(100000);
	shared->hold = 0;
	ps_stop();
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(cl_lookup(a, ARCHIL_INO_ROOT, "last", &attr), 0);
	cl_unmount(a);
}
END_TEST

/* How many delegations are about to end. */
static unsigned int ending(void)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "delegations", "disk", "d");
	json_t *reply = control_request(ps_dir, request), *d;
	unsigned int n = 0;
	size_t i;

	json_array_foreach(json_object_get(reply, "delegations"), i, d)
		n += !strcmp(json_string_value(json_object_get(d, "state")), "ending");
	json_decref(request);
	json_decref(reply);
	return n;
}

/*
 * A force that has to wait for the old owner's WRITE, and then comes to nothing, because
 * the new owner has got something beneath that it did not know of: the old owner goes on.
 */
START_TEST(a_force_that_comes_to_nothing)
{
	struct client *a, *b;
	struct archil_grant_req force = {
		.origin = cpu_to_le32(ARCHIL_ORIGIN_CHECKOUT), .flags = cpu_to_le32(ARCHIL_GR_FORCE),
	};
	struct archil_change_rep made;
	struct archil_grant_rep own;
	struct archil_record rec;
	uint64_t dir, file, write, grant;

	share();
	a = cl_mount("a", "", 0);
	dir = cl_make(a, ARCHIL_INO_ROOT, "dir", 3, S_IFDIR | 0755);
	file = cl_make(a, dir, "file", 3, S_IFREG | 0644);
	cl_unmount(a);
	a = cl_mount("a", "", ARCHIL_OS_SHARED);
	b = cl_mount("b", "", ARCHIL_OS_SHARED);
	ck_assert_uint_eq(cl_grant(b, file, ARCHIL_ORIGIN_DYNAMIC, 0, &own), 0);
	b->deleg = le64_to_cpu(own.grant.number);
	shared->hold_files = 1;
	write = cl_write_send(b, ARCHIL_F_URGENT, file, 0, "data", 4);
	wait_held();

	force.slot = cl_slot(a, 1);
	force.ino = cpu_to_le64(dir);
	grant = pc_send(&a->ctl, ARCHIL_OP_GRANT, 0, &force, sizeof(force), NULL, 0);
	while (!ending())
		usleep(1000);
	rec_create(&rec, dir, "new", cl_ino(a), 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &made), 0);
	ck_assert_uint_ne(le64_to_cpu(made.grant.number), 0);
	shared->hold_files = 0;

	ck_assert_uint_eq(pc_wait(&a->ctl, grant), EAGAIN);
	ck_assert_uint_eq(pc_wait(&b->data, write), 0);
	ck_assert_uint_eq(ending(), 0);
	rec_size(&rec, file, ARCHIL_SET_SIZE_UP, 4);
	ck_assert_uint_eq(cl_do(b, &rec), 0);
	cl_put(b, file, 4, "more", 4);
	cl_expect(a, file, 0, "datamore", 8);
	/* and can be taken */
	ck_assert_uint_eq(cl_checkout(a, dir, ARCHIL_GR_FORCE), 0);
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(a_slow_sync_gathers_a_group),
		PS_TEST(a_failed_commit),
		PS_TEST(a_commit_without_room),
		PS_TEST(killed_while_a_commit_hangs),
		PS_TEST(connections_lost_while_a_commit_hangs),
		PS_TEST(a_force_that_comes_to_nothing),
		{ }
	};

	return ps_run("server: failures", tests);
}
