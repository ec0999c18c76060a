// SPDX-License-Identifier: GPL-2.0
/*
 * A disk that fills up. The client accepts changes against credit only, as a
 * client does: whatever it accepts must find room, and when there is no more
 * credit, removing must work and make room again.
 *
 *	test: mount namespace of its own, a small tmpfs
 *	  +-- server, its store on that
 */
#include <sched.h>
#include <sys/mount.h>

#include "protoclient.h"

enum { FILE_BYTES = 256 << 10, FILES_MAX = 2000 };

static uint64_t credit;

static uint64_t ask_credit(struct client *cl, uint64_t want)
{
	struct archil_credit_req req = {
		.have = cpu_to_le64(credit), .want = cpu_to_le64(want),
	};
	struct archil_credit_rep rep;

	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	credit += le64_to_cpu(rep.credit);
	return le64_to_cpu(rep.credit);
}

static bool need(struct client *cl, uint64_t bytes)
{
	while (credit < bytes)
		if (!ask_credit(cl, bytes - credit))
			return false;
	return true;
}

/* Appends a record that was accepted against credit; what comes back is ours again. */
static void log_one(struct client *cl, const struct archil_record *rec)
{
	struct archil_log_rep rep;

	ck_assert_uint_ge(credit, archil_record_charge(rec));
	ck_assert_uint_eq(cl_do(cl, rec), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	credit += le64_to_cpu(rep.credit) - archil_record_charge(rec);
}

/* Makes a file of FILE_BYTES if there is credit for all of it; returns its inode or 0. */
static uint64_t make_file(struct client *cl, int i, const void *data)
{
	struct archil_record create, size;
	struct archil_write_rep rep;
	char name[16];
	uint64_t ino;

	snprintf(name, sizeof(name), "f%d", i);
	rec_create(&create, ARCHIL_INO_ROOT, name, 1, 3 + i, S_IFREG | 0644);
	rec_size(&size, 1, ARCHIL_SET_SIZE_UP, FILE_BYTES);
	if (!need(cl, FILE_BYTES + archil_record_charge(&create) + archil_record_charge(&size)))
		return 0;
	ino = cl_ino(cl);
	create.ino = ino;
	size.ino = ino;
	log_one(cl, &create);
	ck_assert_uint_ge(credit, FILE_BYTES);
	ck_assert_uint_eq(cl_write(cl, ino, 0, data, FILE_BYTES), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	credit += le64_to_cpu(rep.credit) - FILE_BYTES;
	log_one(cl, &size);
	return ino;
}

static uint64_t avail(struct client *cl)
{
	struct archil_statfs_rep rep;

	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_STATFS, NULL, 0, NULL, 0), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	return le64_to_cpu(rep.avail);
}

START_TEST(a_full_disk_loses_nothing)
{
	struct client *cl = cl_mount("a", "", 0);
	unsigned char *data = malloc(FILE_BYTES);
	static uint64_t ino[FILES_MAX];
	struct archil_record rec;
	uint64_t start = avail(cl);
	int n, i, again;

	memset(data, 0x77, FILE_BYTES);
	credit = 0;
	for (n = 0; n < FILES_MAX && (ino[n] = make_file(cl, n, data)); n++)
		;
	ck_assert_int_lt(n, FILES_MAX);
	/* most of what was promised by statfs could be used */
	ck_assert_uint_gt((uint64_t)n * FILE_BYTES, start / 2);
	ck_assert_uint_lt(avail(cl), start / 4);
	for (i = 0; i < n; i++)
		cl_expect(cl, ino[i], 0, data, FILE_BYTES);

	/* over a restart, when nobody has said yet what he holds */
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind_on(cl, &cl->data, 0), 0);
	ask_credit(cl, 0);

	/* removing needs no credit, and makes room */
	for (i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, name, ino[i]);
		ck_assert_uint_eq(archil_record_charge(&rec), 0);
		log_one(cl, &rec);
	}
	for (i = 0; avail(cl) < start / 2; i++) {
		ck_assert_int_lt(i, 300);
		ask_credit(cl, 1 << 20);
		usleep(100000);
	}
	for (again = 0; again < n / 2; again++)
		ck_assert_uint_ne(make_file(cl, 5000 + again, data), 0);
	cl_unmount(cl);
	free(data);
}
END_TEST

/* Shrinking and punching work as well when there is nothing left. */
START_TEST(shrinking_a_full_disk)
{
	struct client *cl = cl_mount("a", "", 0);
	unsigned char *data = malloc(FILE_BYTES);
	static uint64_t ino[FILES_MAX];
	struct archil_record rec;
	uint64_t before;
	int n, i;

	memset(data, 0x55, FILE_BYTES);
	credit = 0;
	for (n = 0; n < FILES_MAX && (ino[n] = make_file(cl, n, data)); n++)
		;
	before = avail(cl);
	for (i = 0; i < n; i += 2) {
		rec_size(&rec, ino[i], ARCHIL_SET_SIZE, 100);
		ck_assert_uint_eq(archil_record_charge(&rec), 0);
		log_one(cl, &rec);
	}
	for (i = 0; avail(cl) <= before + n / 4 * FILE_BYTES; i++) {
		ck_assert_int_lt(i, 100);
		usleep(100000);
	}
	for (i = 0; i < n; i += 2)
		cl_expect(cl, ino[i], 0, data, 100);
	for (i = 1; i < n; i += 2)
		cl_expect(cl, ino[i], 0, data, FILE_BYTES);
	cl_unmount(cl);
	free(data);
}
END_TEST

/* Small contents that nothing can make smaller, in batches as large as credit allows. */
static uint64_t small_files(struct client *cl, int round, uint64_t *cookie, uint64_t max)
{
	static unsigned char data[ARCHIL_INLINE_MAX];
	static uint64_t tags[ARCHIL_BATCH_MAX >> 20];
	struct archil_record create, content;
	struct archil_log_rep rep;
	uint64_t used = 0, cost;
	unsigned int n = 0;
	char name[32];
	bool more;

	do {
		struct archil_log_req req = { .deleg = cpu_to_le64(cl->deleg) };

		req.first_seq = cpu_to_le64(cl->seq + 1);
		for (;;) {
			for (size_t i = 0; i < sizeof(data); i++)
				data[i] = rand();
			snprintf(name, sizeof(name), "small%d-%llu", round,
				 (unsigned long long)*cookie);
			rec_create(&create, ARCHIL_INO_ROOT, name, 1, *cookie, S_IFREG | 0644);
			rec_content(&content, 1, 0, data, sizeof(data));
			cost = archil_record_charge(&create) + archil_record_charge(&content);
			more = used + cost <= max && need(cl, used + cost);
			if (!more || cl->batch_len + archil_record_size(&create) +
				     archil_record_size(&content) > sizeof(cl->batch))
				break;
			create.ino = content.ino = cl->inos++;
			++*cookie;
			cl_add(cl, &create);
			cl_add(cl, &content);
			used += cost;
		}
		if (!cl->batch_n)
			break;
		req.count = cpu_to_le32(cl->batch_n);
		more = more && n + 1 < ARRAY_SIZE(tags);
		req.flags = cpu_to_le32(more ? ARCHIL_LOG_MORE : 0);
		tags[n++] = pc_send(&cl->data, ARCHIL_OP_LOG, 0, &req, sizeof(req), cl->batch,
				    cl->batch_len);
		cl->seq += cl->batch_n;
		cl->batch_len = cl->batch_n = 0;
	} while (more);
	for (unsigned int i = 0; i < n; i++) {
		ck_assert_uint_eq(pc_wait(&cl->data, tags[i]), 0);
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		credit += le64_to_cpu(rep.credit);
	}
	credit -= used;
	return used;
}

static void fill_with_small(uint64_t max)
{
	struct client *cl = cl_mount("a", "", 0);
	uint64_t cookie = 3, used, sum = 0, start = avail(cl);
	struct archil_inos_req req = { .want = cpu_to_le32(65536) };
	struct archil_inos_rep rep;
	int round, waited = 0;

	credit = 0;
	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_INOS, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	cl->inos = le64_to_cpu(rep.first);
	for (round = 0; round < 1000 && waited < 20; round++) {
		used = small_files(cl, round, &cookie, max);
		sum += used;
		if (used)
			continue;
		/* what large batches took besides comes back by itself */
		usleep(100000);
		waited++;
	}
	ck_assert_uint_gt(sum, start / 4 * 3);
	cl_unmount(cl);
}

START_TEST(a_disk_full_of_small_files)
{
	fill_with_small(1 << 19);
}
END_TEST

START_TEST(a_disk_full_of_large_batches)
{
	fill_with_small(ARCHIL_BATCH_MAX);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(a_full_disk_loses_nothing),
		PS_TEST(shrinking_a_full_disk),
		PS_TEST(a_disk_full_of_small_files),
		PS_TEST(a_disk_full_of_large_batches),
		{ }
	};
	char dir[] = "/tmp/archil-full.XXXXXX";
	int failed;

	if ((unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		printf("skipped: no mount namespace: %m\n");
		return 77;
	}
	if (!mkdtemp(dir) || mount("small", dir, "tmpfs", 0, "size=160m")) {
		printf("skipped: no tmpfs: %m\n");
		rmdir(dir);
		return 77;
	}
	setenv("TMPDIR", dir, 1);
	failed = ps_run("server: full disk", tests);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return failed;
}
