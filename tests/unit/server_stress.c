// SPDX-License-Identifier: GPL-2.0
/*
 * Several clients at once take places from each other, by force too, while they
 * write there: every answer is one of those that can be, nobody waits for ever,
 * what was answered as durable is there, and the store is whole in the end.
 *
 *	/d0 ... /d5, each with files f0 ... f3
 */
#include "protoclient.h"

enum { CLIENTS = 5, DIRS = 6, FILES = 4, STEPS = 400, SIZE = 20000 };

static uint64_t dirs[DIRS], files[DIRS][FILES];

struct worker {
	pthread_t thread;
	struct client *cl;
	unsigned int seed;
	uint64_t deleg[DIRS], seq[DIRS];	/* 0: not ours, as far as we know */
	unsigned int forced, lost, done, refused;
};

static void must(const struct worker *w, uint32_t status, const uint32_t *allowed, size_t n,
		 const char *what)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (status == allowed[i])
			return;
	fprintf(stderr, "client %s: %s was answered %u\n", w->cl->id, what, status);
	abort();
}

#define MUST(w, status, what, ...) do {						\
	const uint32_t allowed_[] = { __VA_ARGS__ };				\
										\
	must(w, status, allowed_, ARRAY_SIZE(allowed_), what);			\
} while (0)

static void checkout(struct worker *w, int d)
{
	struct archil_grant_rep rep = { 0 };
	bool force = rand_r(&w->seed) % 4 == 0;
	uint32_t status = cl_grant(w->cl, dirs[d], ARCHIL_ORIGIN_CHECKOUT,
				   force ? ARCHIL_GR_FORCE : 0, &rep);

	MUST(w, status, "GRANT", 0, EBUSY);
	if (status == EBUSY) {
		ck_assert(!force);
		w->refused++;
		return;
	}
	w->forced += force;
	if (le64_to_cpu(rep.grant.number) == w->deleg[d])
		return;
	w->deleg[d] = le64_to_cpu(rep.grant.number);
	w->seq[d] = 0;
}

static void checkin(struct worker *w, int d)
{
	uint32_t status = cl_checkin(w->cl, dirs[d], NULL);

	MUST(w, status, "CHECKIN", 0, ENOENT);
	w->deleg[d] = 0;
}

/* Answers to what was sent under a delegation. Returns true if it was carried out. */
static bool judge(struct worker *w, int d, uint32_t status, const char *what)
{
	MUST(w, status, what, 0, ARCHIL_ST_TAKEN);
	if (status) {
		w->deleg[d] = 0;
		w->lost++;
		return false;
	}
	w->done++;
	return true;
}

/* Several WRITEs at once, then the size. */
static void write_file(struct worker *w, int d)
{
	uint64_t ino = files[d][rand_r(&w->seed) % FILES], tags[4];
	unsigned char data[SIZE];
	struct archil_record rec;
	bool ok = true;

	memset(data, 1 + rand_r(&w->seed) % 255, sizeof(data));
	w->cl->deleg = w->deleg[d];
	w->cl->seq = w->seq[d];
	for (int i = 0; i < 4; i++)
		tags[i] = cl_write_send(w->cl, i % 2 ? ARCHIL_F_URGENT : 0, ino, i * SIZE, data,
					SIZE);
	for (int n = 0; n < 4; n++) {
		int i;

		do
			ck_assert(pc_next(&w->cl->data));
		while (pc_aside(&w->cl->data));
		for (i = 0; i < 4 && tags[i] != w->cl->data.in.tag; i++)
			;
		ck_assert_int_lt(i, 4);
		ok &= judge(w, d, w->cl->data.in.status, "WRITE");
	}
	if (!ok)
		return;
	rec_size(&rec, ino, ARCHIL_SET_SIZE_UP, 4 * SIZE);
	if (judge(w, d, cl_do(w->cl, &rec), "LOG"))
		w->seq[d] = w->cl->seq;
}

static void cut_file(struct worker *w, int d)
{
	struct archil_record rec;

	rec_size(&rec, files[d][rand_r(&w->seed) % FILES], ARCHIL_SET_SIZE,
		 rand_r(&w->seed) % SIZE);
	w->cl->deleg = w->deleg[d];
	w->cl->seq = w->seq[d];
	if (judge(w, d, cl_do(w->cl, &rec), "LOG"))
		w->seq[d] = w->cl->seq;
}

/* Anybody reads at any time. */
static void read_file(struct worker *w)
{
	uint64_t ino = files[rand_r(&w->seed) % DIRS][rand_r(&w->seed) % FILES];
	struct archil_read_rep rep;

	MUST(w, cl_read(w->cl, ino, rand_r(&w->seed) % (4 * SIZE), SIZE, &rep), "READ", 0);
}

/* Made where nobody owns the directory, or not. */
static void create(struct worker *w, int d, int step)
{
	struct archil_change_rep rep;
	struct archil_record rec;
	char name[64];
	uint32_t status;

	snprintf(name, sizeof(name), "%s-%d", w->cl->id, step);
	rec_create(&rec, dirs[d], name, cl_ino(w->cl), 0, S_IFREG | 0644);
	status = cl_change(w->cl, &rec, ARCHIL_CH_GRANT, &rep);
	/* its own directory is changed by its log */
	if (w->deleg[d] && status == ESTALE)
		return;
	MUST(w, status, "CHANGE", 0, EBUSY);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int step = 0; step < STEPS; step++) {
		int d = rand_r(&w->seed) % DIRS;

		w->cl->data.n_push = 0;
		switch (rand_r(&w->seed) % 8) {
		case 0:
			create(w, d, step);
			break;
		case 1:
			read_file(w);
			break;
		case 2:
			checkin(w, d);
			break;
		case 3:
			if (w->deleg[d])
				cut_file(w, d);
			break;
		default:
			if (!w->deleg[d])
				checkout(w, d);
			if (w->deleg[d])
				write_file(w, d);
		}
		/* now and then a mount goes, and comes */
		if (rand_r(&w->seed) % 150 == 0) {
			char id[32];

			snprintf(id, sizeof(id), "%s", w->cl->id);
			cl_unmount(w->cl);
			w->cl = cl_mount(id, "", ARCHIL_OS_SHARED);
			memset(w->deleg, 0, sizeof(w->deleg));
		}
	}
	return NULL;
}

START_TEST(clients_against_each_other)
{
	unsigned int seed = getenv("SEED") ? atoi(getenv("SEED")) : time(NULL);
	struct worker w[CLIENTS] = { 0 };
	unsigned int forced = 0, lost = 0, done = 0;
	struct client *cl = cl_mount("maker", "", 0);
	char name[32];

	printf("SEED=%u\n", seed);
	for (int d = 0; d < DIRS; d++) {
		snprintf(name, sizeof(name), "d%d", d);
		dirs[d] = cl_make(cl, ARCHIL_INO_ROOT, name, 3 + d, S_IFDIR | 0755);
		for (int f = 0; f < FILES; f++) {
			snprintf(name, sizeof(name), "f%d", f);
			files[d][f] = cl_make(cl, dirs[d], name, 3 + f, S_IFREG | 0644);
		}
	}
	cl_unmount(cl);
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		w[i].cl = cl_mount(name, "", ARCHIL_OS_SHARED);
		w[i].seed = seed + i;
	}
	for (int i = 0; i < CLIENTS; i++)
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(w[i].thread, NULL);
		forced += w[i].forced;
		lost += w[i].lost;
		done += w[i].done;
		cl_unmount(w[i].cl);
	}
	printf("%u forced, %u answers lost, %u done\n", forced, lost, done);
	ck_assert_uint_gt(forced, 0);
	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_gt(done, CLIENTS);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(clients_against_each_other),
		{ }
	};

	return ps_run("server: stress", tests);
}
