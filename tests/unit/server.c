// SPDX-License-Identifier: GPL-2.0
/* Connections, authentication, sessions, commands: a real server, spoken to by its protocol. */
#include "protoclient.h"

#include "control.h"

/* ---- setting up ---- */

START_TEST(wrong_tokens_and_disks_are_refused)
{
	struct scram_token token;
	char text[SCRAM_TOKEN_TEXT + 1];
	struct pc *pc = calloc(1, sizeof(*pc));

	ck_assert_int_eq(scram_token_generate(&token), 0);
	scram_token_format(&token, text);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_CONTROL, "d", text), EACCES);
	pc_expect_end(pc);
	pc_close(pc);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "nosuch", ps_token), ENOENT);
	pc_expect_end(pc);
	pc_close(pc);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", ps_token), 0);
	pc_close(pc);
	free(pc);
}
END_TEST

START_TEST(another_version_is_named)
{
	struct archil_hello_req req = {
		.magic = cpu_to_le64(ARCHIL_MAGIC),
		.min_version = cpu_to_le16(7), .max_version = cpu_to_le16(9),
		.kind = cpu_to_le16(ARCHIL_CONN_DATA),
	};
	struct pc *pc = calloc(1, sizeof(*pc));
	char text[256] = "";

	pc->kind = ARCHIL_CONN_DATA;
	pc->fd = pc_dial();
	ck_assert_uint_eq(pc_call(pc, ARCHIL_OP_HELLO, &req, sizeof(req), NULL, 0), EPROTO);
	memcpy(text, pc->in.body + sizeof(struct archil_error),
	       pc->in.body_len - sizeof(struct archil_error));
	ck_assert_msg(strstr(text, "7 to 9") && strstr(text, "1 to 1"), "%s", text);
	pc_expect_end(pc);
	pc_close(pc);
	free(pc);
}
END_TEST

static bool ends(int fd)
{
	char c;

	while (pc_read(fd, &c, 1))
		;
	close(fd);
	return true;
}

/* Whatever arrives that is no frame, or not its turn, ends that connection and no other. */
START_TEST(garbage_ends_the_connection)
{
	static const char http[] = "GET / HTTP/1.0\r\nHost: archil\r\n\r\n and a lot more of it";
	struct client *cl = cl_mount("a", "", ARCHIL_OS_SHARED);
	struct archil_wattr attr;
	struct archil_hdr hdr;
	unsigned char noise[512];
	int fd;

	fd = pc_dial();
	pc_write(fd, http, sizeof(http));
	ck_assert(ends(fd));

	srand(1);
	for (int i = 0; i < 20; i++) {
		for (size_t j = 0; j < sizeof(noise); j++)
			noise[j] = rand();
		fd = pc_dial();
		pc_write(fd, noise, sizeof(noise));
		ck_assert(ends(fd));
	}
	/* a request before HELLO */
	fd = pc_dial();
	archil_hdr_fill(&hdr, ARCHIL_OP_PING, 0, 1, 0, 0);
	pc_write(fd, &hdr, sizeof(hdr));
	ck_assert(ends(fd));
	/* a frame that is too long, one that is shorter than its header says of its body */
	fd = pc_dial();
	archil_hdr_fill(&hdr, ARCHIL_OP_HELLO, 0, 1, 0, 0);
	hdr.len = cpu_to_le32(0x7fffffff);
	pc_write(fd, &hdr, sizeof(hdr));
	ck_assert(ends(fd));
	fd = pc_dial();
	archil_hdr_fill(&hdr, ARCHIL_OP_HELLO, 0, 1, 100, 0);
	hdr.len = cpu_to_le32(sizeof(hdr) + 1);
	pc_write(fd, &hdr, sizeof(hdr));
	ck_assert(ends(fd));
	/* a truncated one: the peer is gone in the middle of it */
	fd = pc_dial();
	archil_hdr_fill(&hdr, ARCHIL_OP_HELLO, 0, 1, sizeof(struct archil_hello_req), 0);
	pc_write(fd, &hdr, sizeof(hdr));
	close(fd);
	/* an authenticated one that turns bad, in mid session */
	archil_hdr_fill(&hdr, ARCHIL_OP_LOOKUP, 0, 1, sizeof(struct archil_lookup_req) - 1, 0);
	pc_write(cl->data.fd, &hdr, sizeof(hdr));
	pc_write(cl->data.fd, noise, sizeof(struct archil_lookup_req) - 1);
	pc_expect_end(&cl->data);

	ck_assert_uint_eq(cl_bind(cl), 0);
	ck_assert_uint_eq(cl_getattr(cl, ARCHIL_INO_ROOT, &attr), 0);
	cl_unmount(cl);
}
END_TEST

START_TEST(a_wrong_stage_ends_the_connection)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	struct archil_getattr_req req = { .ino = cpu_to_le64(1) };

	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", ps_token), 0);
	pc_send(pc, ARCHIL_OP_GETATTR, 0, &req, sizeof(req), NULL, 0);
	pc_expect_end(pc);
	pc_close(pc);
	free(pc);
}
END_TEST

/* Well-formed frames of every opcode with nonsense in them: answered, or the connection's end. */
START_TEST(nonsense_in_every_request)
{
	struct client *cl = cl_mount("a", "", 0);
	uint64_t file = cl_make(cl, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	static unsigned char body[ARCHIL_BODY_MAX], payload[8192];
	unsigned int answered = 0;

	srand(2);
	for (int i = 0; i < 3000; i++) {
		unsigned int op = 16 + rand() % 48;
		const struct archil_op_desc *desc = &archil_op_table[op];
		size_t len = desc->req_size, payload_len = 0;
		uint64_t tag;

		if (!desc->name || !(desc->flags & ARCHIL_ON_DATA))
			continue;
		for (size_t j = 0; j < len; j++)
			body[j] = rand() % 3 ? 0 : rand();
		for (size_t j = 0; j < sizeof(payload); j++)
			payload[j] = rand() % 3 ? 0 : rand();
		/* numbers that exist, often */
		if (len >= 8 && rand() % 2)
			memcpy(body, rand() % 2 ? &cl->deleg : &file, 8);
		if (len >= 16 && rand() % 2)
			memcpy(body + 8, &file, 8);
		if (desc->flags & ARCHIL_SLOTTED)
			memcpy(body, &(struct archil_slot){
				.slot = cpu_to_le32(rand() % ARCHIL_SLOTS),
				.seq = cpu_to_le32(1 + rand() % 3) }, sizeof(struct archil_slot));
		for (int v = 0; v < 2 && desc->req_var[v].max; v++) {
			uint16_t n = rand() % 20;

			memcpy(body + desc->req_var[v].at, &n, 2);
			memset(body + len, 'x', n);
			len += n;
		}
		if (desc->flags_at)
			memset(body + desc->flags_at, 0, 4);
		if (desc->flags & ARCHIL_REQ_PAYLOAD)
			payload_len = rand() % sizeof(payload);
		/* a WRITE whose record never comes is answered when it comes */
		if (op == ARCHIL_OP_WRITE)
			memset(body + offsetof(struct archil_write_req, after), 0, 8);
		tag = pc_send(&cl->data, op, 0, body, len, payload, payload_len);
		if (!pc_next(&cl->data)) {
			ck_assert_uint_eq(cl_bind(cl), 0);
			continue;
		}
		while (pc_aside(&cl->data))
			ck_assert(pc_next(&cl->data));
		ck_assert_uint_eq(cl->data.in.tag, tag);
		cl->data.n_push = 0;
		answered++;
	}
	ck_assert_uint_gt(answered, 500);
	ck_assert_uint_eq(cl_bind(cl), 0);
	cl_unmount(cl);
}
END_TEST

/* A thousand requests sent at once, the answers not read until the end. */
START_TEST(a_slow_reader_only_slows_itself)
{
	enum { N = 5000, SIZE = 65536 };
	struct client *cl = cl_mount("a", "", 0), *other = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t file = cl_make(cl, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	struct archil_read_req req = { .ino = cpu_to_le64(file), .len = cpu_to_le32(SIZE) };
	unsigned char *data = calloc(1, SIZE);
	struct archil_wattr attr;
	pid_t pid;

	cl_put(cl, file, 0, data, SIZE);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		/* blocks when the server stops reading */
		for (int i = 0; i < N; i++)
			pc_send(&cl->data, ARCHIL_OP_READ, 0, &req, sizeof(req), NULL, 0);
		_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		ck_assert_uint_eq(cl_getattr(other, file, &attr), 0);
		usleep(10000);
	}
	for (int i = 0; i < N; i++) {
		ck_assert(pc_next(&cl->data));
		ck_assert_uint_eq(cl->data.in.status, 0);
		ck_assert_uint_eq(cl->data.in.payload_len, SIZE);
	}
	waitpid(pid, NULL, 0);
	cl_unmount(cl);
	cl_unmount(other);
	free(data);
}
END_TEST

START_TEST(who_does_not_authenticate_is_dropped)
{
	struct client *cl;
	time_t start = time(NULL);
	int fd[600];

	/* more than are allowed: the oldest go at once, and others still get in */
	for (int i = 0; i < 600; i++)
		fd[i] = pc_dial();
	cl = cl_mount("a", "", ARCHIL_OS_SHARED);
	for (int i = 0; i < 50; i++)
		ck_assert(ends(fd[i]));
	ck_assert_int_lt(time(NULL) - start, 9);
	/* the rest after ten seconds */
	for (int i = 50; i < 600; i++)
		ck_assert(ends(fd[i]));
	ck_assert_int_ge(time(NULL) - start, 9);
	cl_unmount(cl);
}
END_TEST

START_TEST(ping_is_answered)
{
	struct client *cl = cl_mount("a", "", ARCHIL_OS_SHARED);

	ck_assert_uint_eq(pc_call(&cl->ctl, ARCHIL_OP_PING, NULL, 0, NULL, 0), 0);
	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_PING, NULL, 0, NULL, 0), 0);
	cl_unmount(cl);
}
END_TEST

/* ---- sessions ---- */

START_TEST(open_session_is_idempotent)
{
	struct client *cl = cl_mount("a", "", 0);
	uint64_t session = cl->session;
	struct archil_grant grant = cl->grant;

	ck_assert_uint_ne(le64_to_cpu(grant.number), 0);
	ck_assert_uint_eq(le32_to_cpu(grant.origin), ARCHIL_ORIGIN_MOUNT);
	ck_assert_uint_eq(le64_to_cpu(cl->root.deleg), le64_to_cpu(grant.number));
	ck_assert_uint_eq(cl_open(cl, "", 0), 0);
	ck_assert_uint_eq(cl->session, session);
	ck_assert(!memcmp(&cl->grant, &grant, sizeof(grant)));
	/* over a crash too */
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_open(cl, "", 0), 0);
	ck_assert_uint_eq(cl->session, session);
	ck_assert(!memcmp(&cl->grant, &grant, sizeof(grant)));
	ck_assert_uint_eq(cl_bind(cl), 0);
	cl_unmount(cl);
}
END_TEST

START_TEST(subdirectories)
{
	struct client *a = cl_mount("a", "", 0), *b, *c;
	uint64_t dir = cl_make(a, ARCHIL_INO_ROOT, "x", 3, S_IFDIR | 0755);

	cl_make(a, dir, "y", 3, S_IFDIR | 0755);
	cl_make(a, dir, "file", 4, S_IFREG | 0644);
	cl_make(a, ARCHIL_INO_ROOT, "z", 4, S_IFDIR | 0755);
	cl_unmount(a);

	a = cl_mount("a", "x/y", 0);
	ck_assert_uint_ne(a->root_ino, ARCHIL_INO_ROOT);
	b = cl_mount("b", "z", 0);
	c = cl_new("c");
	ck_assert_uint_eq(cl_open(c, "nosuch", 0), ENOENT);
	ck_assert_uint_eq(cl_open(c, "x/file", 0), ENOTDIR);
	ck_assert_uint_eq(cl_open(c, "x", 0), EBUSY);
	ck_assert_str_eq(pc_holder(&c->ctl), "a:/x/y");
	ck_assert_uint_eq(cl_open(c, "", 0), EBUSY);
	ck_assert_uint_eq(cl_open(c, "x", ARCHIL_OS_SHARED), 0);
	ck_assert_uint_eq(cl_bind(c), 0);
	cl_unmount(c);
	c = cl_mount("c", "x", ARCHIL_OS_RO);
	ck_assert_uint_eq(le64_to_cpu(c->grant.number), 0);
	cl_unmount(c);
	cl_unmount(a);
	c = cl_mount("c", "x", 0);
	cl_unmount(c);
	cl_unmount(b);
}
END_TEST

START_TEST(flags_that_contradict)
{
	struct client *cl = cl_new("a");

	ck_assert_uint_eq(cl_open(cl, "", ARCHIL_OS_FORCE | ARCHIL_OS_SHARED), EINVAL);
	ck_assert_uint_eq(cl_open(cl, "", ARCHIL_OS_FORCE | ARCHIL_OS_RO), EINVAL);
	cl_free(cl);
}
END_TEST

START_TEST(epochs)
{
	struct client *cl = cl_mount("a", "", 0);
	uint64_t first = cl->epoch;
	struct pc *second = calloc(1, sizeof(*second)), *old = calloc(1, sizeof(*old));

	/* another connection of the same epoch */
	ck_assert_uint_eq(cl_bind_on(cl, second, first), 0);
	ck_assert_uint_eq(cl->epoch, first);
	ck_assert_uint_eq(pc_call(second, ARCHIL_OP_PING, NULL, 0, NULL, 0), 0);
	ck_assert_uint_eq(cl_resume(cl), 0);
	ck_assert_uint_eq(pc_call(second, ARCHIL_OP_PING, NULL, 0, NULL, 0), 0);
	/* a new one closes both */
	*old = cl->data;
	cl->data.fd = -1;
	ck_assert_uint_eq(cl_bind(cl), 0);
	ck_assert_uint_ne(cl->epoch, first);
	pc_expect_end(old);
	pc_expect_end(second);
	pc_close(old);
	pc_close(second);
	ck_assert_uint_eq(cl_bind_on(cl, second, first), ESTALE);
	pc_close(second);
	/* epochs are not used again after a restart */
	first = cl->epoch;
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind_on(cl, second, first), ESTALE);
	pc_close(second);
	ck_assert_uint_eq(cl_bind(cl), 0);
	ck_assert_uint_gt(cl->epoch, first);
	cl_unmount(cl);
	free(second);
	free(old);
}
END_TEST

START_TEST(a_silent_client_keeps_everything)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_new("b");

	pc_close(&a->ctl);
	pc_close(&a->data);
	ck_assert_uint_eq(cl_open(b, "", 0), EBUSY);
	ck_assert_str_eq(pc_holder(&b->ctl), "a:/");
	ps_stop();
	ps_start();
	ck_assert_uint_eq(cl_open(b, "", 0), EBUSY);
	ck_assert_uint_eq(cl_resume(a), 0);
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_unmount(a);
	ck_assert_uint_eq(cl_open(b, "", 0), 0);
	ck_assert_uint_eq(cl_bind(b), 0);
	cl_unmount(b);
}
END_TEST

/* The same host after a restart of its machine: nothing of the old one can be left. */
START_TEST(a_new_incarnation_ends_the_old)
{
	struct client *old = cl_mount("a", "", 0), *new = cl_new("a");

	memset(new->incarnation, 0x22, sizeof(new->incarnation));
	pc_close(&old->ctl);
	pc_close(&old->data);
	ck_assert_uint_eq(cl_open(new, "", 0), 0);
	ck_assert_uint_eq(cl_bind(new), 0);
	ck_assert_uint_eq(cl_resume(old), ARCHIL_ST_OVER);
	ck_assert_uint_eq(cl_bind(old), ARCHIL_ST_OVER);
	cl_free(old);
	cl_unmount(new);
}
END_TEST

/* Connected, but it does not answer: 3 s, then the same. */
START_TEST(a_hung_incarnation_is_given_up)
{
	struct client *old = cl_mount("a", "", 0), *new = cl_new("a");

	memset(new->incarnation, 0x22, sizeof(new->incarnation));
	ck_assert_uint_eq(cl_open(new, "", 0), 0);
	ck_assert_uint_eq(cl_bind(new), 0);
	pc_expect_push(&old->ctl, ARCHIL_OP_SESSION_OVER);
	pc_expect_end(&old->ctl);
	pc_expect_push(&old->data, ARCHIL_OP_SESSION_OVER);
	pc_expect_end(&old->data);
	cl_free(old);
	cl_unmount(new);
}
END_TEST

static void *answer_pings(void *arg)
{
	struct pc *pc = arg;

	while (pc_next(pc))
		if (!pc_aside(pc))
			break;
	return NULL;
}

START_TEST(a_living_client_id_is_in_use)
{
	struct client *old = cl_mount("a", "", ARCHIL_OS_SHARED), *new = cl_new("a");
	pthread_t thread;

	memset(new->incarnation, 0x22, sizeof(new->incarnation));
	ck_assert_int_eq(pthread_create(&thread, NULL, answer_pings, &old->ctl), 0);
	ck_assert_uint_eq(cl_open(new, "", ARCHIL_OS_SHARED), EBUSY);
	ck_assert_str_eq(pc_holder(&new->ctl), ":");
	ck_assert_ptr_nonnull(memmem(new->ctl.in.body, new->ctl.in.body_len,
				     "client id in use by 127.0.0.1", 29));
	shutdown(old->ctl.fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	/* another mount of the old one is welcome */
	ck_assert_uint_eq(pc_call(&old->data, ARCHIL_OP_PING, NULL, 0, NULL, 0), 0);
	cl_free(new);
	new = cl_mount("a", "", ARCHIL_OS_SHARED);
	cl_unmount(new);
	cl_unmount(old);
}
END_TEST

/* ---- commands beside the running server ---- */

static json_t *ask(const char *command, const char *disk, json_int_t session)
{
	json_t *request = json_pack("{s:s, s:s, s:I}", "command", command, "disk", disk,
				    "session", session);
	json_t *reply = control_request(ps_dir, request);

	json_decref(request);
	return reply;
}

static json_int_t number(json_t *reply, const char *list, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(json_object_get(reply, list), i),
						  key));
}

static const char *text(json_t *reply, const char *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(reply, list), i),
						 key));
}

START_TEST(commands_while_the_server_runs)
{
	struct client *a = cl_mount("a", "", 0);
	struct stat st;
	char path[256];
	json_t *reply;

	snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, ps_dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);

	reply = ask("delegations", "d", 0);
	ck_assert_str_eq(text(reply, "delegations", 0, "path"), "/");
	ck_assert_str_eq(text(reply, "delegations", 0, "client"), "a");
	ck_assert_str_eq(text(reply, "delegations", 0, "origin"), "mount");
	ck_assert_str_eq(text(reply, "delegations", 0, "state"), "held");
	json_decref(reply);

	reply = ask("session-list", "d", 0);
	ck_assert_int_eq(number(reply, "sessions", 0, "session"), a->session);
	ck_assert_int_eq(number(reply, "sessions", 0, "connections"), 2);
	ck_assert_int_eq(number(reply, "sessions", 0, "delegations"), 1);
	json_decref(reply);

	reply = ask("disk-delete", "d", 0);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "errno")), EBUSY);
	json_decref(reply);
	reply = ask("session-end", "d", 99);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "errno")), ENOENT);
	json_decref(reply);
	reply = ask("session-end", "d", a->session);
	ck_assert_ptr_null(json_object_get(reply, "error"));
	json_decref(reply);
	pc_expect_push(&a->data, ARCHIL_OP_SESSION_OVER);
	pc_expect_end(&a->data);
	ck_assert_uint_eq(cl_resume(a), ARCHIL_ST_OVER);
	cl_free(a);

	reply = ask("disk-create", "e", 0);
	ck_assert_ptr_nonnull(json_string_value(json_object_get(reply, "token")));
	json_decref(reply);
	reply = ask("disk-create", "e", 0);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "errno")), EEXIST);
	json_decref(reply);
	reply = ask("disk-create", "../e", 0);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "errno")), EINVAL);
	json_decref(reply);
	reply = ask("disk-list", "", 0);
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "disks")), 2);
	json_decref(reply);
	reply = ask("check", "", 0);
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "damage")), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "disks")), 2);
	json_decref(reply);
	reply = ask("disk-delete", "e", 0);
	ck_assert_ptr_null(json_object_get(reply, "error"));
	json_decref(reply);
	reply = ask("disk-delete", "e", 0);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "errno")), ENOENT);
	json_decref(reply);
	reply = ask("nonsense", "d", 0);
	ck_assert_ptr_nonnull(json_object_get(reply, "error"));
	json_decref(reply);
}
END_TEST

/* A second server on the same store takes nothing away from the first. */
START_TEST(one_server_a_store)
{
	char out[256];
	json_t *reply;

	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_run, "run", ps_dir, "--listen",
				    "127.0.0.1:0", NULL), 1);
	reply = ask("disk-list", "", 0);
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "disks")), 1);
	json_decref(reply);
	/* not even when it has no disk, whose lock would tell */
	reply = ask("disk-delete", "d", 0);
	ck_assert_ptr_null(json_object_get(reply, "error"));
	json_decref(reply);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_run, "run", ps_dir, "--listen",
				    "127.0.0.1:0", NULL), 1);
	reply = ask("disk-create", "e", 0);
	ck_assert_ptr_null(json_object_get(reply, "error"));
	json_decref(reply);
}
END_TEST

START_TEST(a_new_token_replaces_the_old)
{
	char old[SCRAM_TOKEN_TEXT + 1];
	struct pc *pc = calloc(1, sizeof(*pc));
	json_t *reply = ask("disk-token", "d", 0);

	memcpy(old, ps_token, sizeof(old));
	snprintf(ps_token, sizeof(ps_token), "%s",
		 json_string_value(json_object_get(reply, "token")));
	json_decref(reply);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", old), EACCES);
	pc_close(pc);
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", ps_token), 0);
	pc_close(pc);
	ps_stop();
	ps_start();
	ck_assert_uint_eq(pc_auth(pc, ARCHIL_CONN_DATA, "d", ps_token), 0);
	pc_close(pc);
	free(pc);
}
END_TEST

START_TEST(commands_without_a_server)
{
	struct client *a = cl_mount("a", "", 0);
	char out[4096], id[24];

	ps_stop();
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_delegations, "delegations", ps_dir, "d",
				    NULL), 0);
	ck_assert_ptr_nonnull(strstr(out, "session"));
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_session, "session", "list", ps_dir, "d",
				    "--json", NULL), 0);
	ck_assert_ptr_nonnull(strstr(out, "\"client\": \"a\""));
	snprintf(id, sizeof(id), "%llu", (unsigned long long)a->session);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_session, "session", "end", ps_dir, "d",
				    id, NULL), 0);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_session, "session", "end", ps_dir, "d",
				    id, NULL), 1);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_delegations, "delegations", ps_dir, "d",
				    "--json", NULL), 0);
	ck_assert_str_eq(out, "[]\n");
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "list", ps_dir, NULL), 0);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "create", ps_dir, "d",
				    NULL), 1);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "nonsense", ps_dir,
				    NULL), 2);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "delete", ps_dir, "d",
				    NULL), 0);
	ck_assert_int_eq(ps_command(out, sizeof(out), cmd_disk, "disk", "list", ps_dir, NULL), 0);
	ck_assert_str_eq(out, "");
	cl_free(a);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(wrong_tokens_and_disks_are_refused),
		PS_TEST(another_version_is_named),
		PS_TEST(garbage_ends_the_connection),
		PS_TEST(a_wrong_stage_ends_the_connection),
		PS_TEST(nonsense_in_every_request),
		PS_TEST(a_slow_reader_only_slows_itself),
		PS_TEST(who_does_not_authenticate_is_dropped),
		PS_TEST(ping_is_answered),
		PS_TEST(open_session_is_idempotent),
		PS_TEST(subdirectories),
		PS_TEST(flags_that_contradict),
		PS_TEST(epochs),
		PS_TEST(a_silent_client_keeps_everything),
		PS_TEST(a_new_incarnation_ends_the_old),
		PS_TEST(a_hung_incarnation_is_given_up),
		PS_TEST(a_living_client_id_is_in_use),
		PS_TEST(commands_while_the_server_runs),
		PS_TEST(one_server_a_store),
		PS_TEST(a_new_token_replaces_the_old),
		PS_TEST(commands_without_a_server),
		{ }
	};

	return ps_run("server", tests);
}
