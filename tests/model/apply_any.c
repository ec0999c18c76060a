// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever a client sends: any record that the codec lets through, under
 * delegations and as synchronous changes, with any answer to the question of
 * ownership. Most are refused. The disk stays consistent with itself, and no
 * log reaches out of its delegation.
 *
 * SEED=n repeats a run; LOOPS=n makes it longer.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../logparts.h"
#include "../records.h"
#include "fs_meta.h"

#define DIRS	3	/* inodes 2, 3, 4: each the root of a delegation */
#define INOS	60	/* numbers in play; the window moves, for none comes back */

#define MUST(expr)								\
	do {									\
		long long r_ = (expr);						\
		if (r_) {							\
			fprintf(stderr, "SEED=%llu: %s:%d: %s: %lld\n",		\
				(unsigned long long)seed, __FILE__, __LINE__, #expr, r_); \
			abort();						\
		}								\
	} while (0)

static u64 seed;
static struct rnd rnd;
static char dir[64], path[96];
static struct store *store;
static struct fs *fs;
static struct fs_deleg deleg[200];	/* the first DIRS: of the directories; then orphans' */
static int n_deleg;
static u64 top;			/* handed out up to here */
static unsigned long applied, refused;

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(name);
}

static void say(void *arg, const char *text)
{
	fprintf(stderr, "fs_check: %s\n", text);
}

static void reopen(void)
{
	char *msg;

	if (fs) {
		fs_close(fs);
		store_close(store);
	}
	MUST(store_open(path, NULL, &store, &msg));
	MUST(fs_open(store, &fs));
}

/* One that is there, mostly; a directory, mostly, if asked. */
static u64 an_ino(struct fs_view *view, bool is_dir)
{
	struct archil_attr_rep rep;
	u64 ino = 1;

	if (rnd_one_in(&rnd, 30))
		return random_ino(&rnd);
	for (int i = 0; i < 20; i++) {
		ino = rnd_one_in(&rnd, is_dir ? 4 : 40) ? rnd_range(&rnd, 1, 1 + DIRS) :
					    rnd_range(&rnd, top - INOS, top);
		if (fs_getattr(view, ino, &rep, NULL))
			continue;
		if (!is_dir || S_ISDIR(le32_to_cpu(rep.attr.mode)))
			break;
	}
	return ino;
}

static void a_name(char *name, u16 *len)
{
	if (!*len || rnd_one_in(&rnd, 20))
		return;
	*len = rnd_range(&rnd, 1, 2);
	for (u16 i = 0; i < *len; i++)
		name[i] = 'a' + rnd_below(&rnd, 5);
}

static void a_record(struct archil_record *rec, struct rec_parts *parts, struct fs_view *view)
{
	struct archil_attr_rep rep;

	random_record(&rnd, rnd_one_in(&rnd, 4) ? ARCHIL_REC_CREATE :
				    rnd_range(&rnd, 1, ARCHIL_REC_TYPES - 1), rec, parts);
	rec->ino = rec->type == ARCHIL_REC_CREATE ? rnd_range(&rnd, top - INOS, top) :
						    an_ino(view, false);
	if (rec->dir)
		rec->dir = an_ino(view, true);
	if (rec->new_dir)
		rec->new_dir = an_ino(view, true);
	if (rec->target)
		rec->target = an_ino(view, false);
	if (rec->name == parts->name)
		a_name(parts->name, &rec->name_len);
	if (rec->new_name == parts->new_name)
		a_name(parts->new_name, &rec->new_name_len);
	/* and what is behind the names */
	if (rec->type == ARCHIL_REC_UNLINK || rec->type == ARCHIL_REC_RENAME) {
		if (!fs_lookup(view, rec->dir, rec->name, rec->name_len, &rep, NULL))
			rec->ino = le64_to_cpu(rep.attr.ino);
		if (rec->new_name_len && !fs_lookup(view, rec->new_dir, rec->new_name,
						    rec->new_name_len, &rep, NULL))
			rec->target = le64_to_cpu(rep.attr.ino);
		if (rec->target == rec->ino)
			rec->target = 0;
		if (!rec->target)
			rec->flags = 0;
	}
	if (rec->cookie && !rnd_one_in(&rnd, 2000) &&
	    !fs_getattr(view, rec->new_dir ? rec->new_dir : rec->dir, &rep, NULL) &&
	    S_ISDIR(le32_to_cpu(rep.attr.mode)) &&
	    le64_to_cpu(rep.attr.bytes) < ARCHIL_COOKIE_MAX)
		rec->cookie = le64_to_cpu(rep.attr.bytes) + rnd_below(&rnd, 2);
	if (rec->flags == ARCHIL_RENAME_EXCHANGE && rec->type == ARCHIL_REC_RENAME)
		rec->cookie = 0;
}

static int may(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	/* so that the roots stay where they are, and disjoint */
	if (place->ino == ARCHIL_INO_ROOT && what == FS_TOUCH_ENTRIES)
		return -EROFS;
	if (rnd_one_in(&rnd, 6))
		return rnd_one_in(&rnd, 2) ? -EBUSY : -EROFS;
	return 0;
}

static u64 cover(void *ctx, const struct fs_place *place)
{
	return rnd_one_in(&rnd, 4) ? 0 : deleg[rnd_below(&rnd, DIRS)].number;
}

static int made(void *ctx, const struct fs_deleg *new)
{
	deleg[n_deleg++] = *new;
	return 0;
}

static void end_deleg(struct fs_txn *txn, int i, enum fs_close_how how)
{
	struct fs_deleg old = deleg[i];

	fs_batch_begin(txn);
	MUST(fs_deleg_close(txn, old.number, how, made, NULL));
	if (i < DIRS) {
		deleg[i].number = fs_alloc_deleg(txn);
		deleg[i].applied = 0;
		MUST(fs_deleg_put(txn, &deleg[i]));
	} else {
		deleg[i] = deleg[--n_deleg];
	}
	MUST(fs_batch_end(txn));
}

static int find(u64 number)
{
	for (int i = 0; i < n_deleg; i++)
		if (deleg[i].number == number)
			return i;
	MUST(-ENOENT);
	return 0;
}

static void step_log(struct fs_txn *txn)
{
	static u8 buf[ARCHIL_PAYLOAD_MAX];
	int i = rnd_below(&rnd, n_deleg), err, n, count = 0;
	static struct rec_parts parts;
	struct archil_record rec;
	struct fs_log_result res;
	size_t len = 0;

	for (n = rnd_range(&rnd, 1, 2); count < n; count++) {
		a_record(&rec, &parts, fs_txn_view(txn));
		MUST(archil_record_put(buf, sizeof(buf), &len, &rec));
	}
	err = log_split(&rnd, txn, &deleg[i], deleg[i].applied + 1, count, buf, len, &res);
	if (err) {
		MUST(err == -EUCLEAN ? 0 : err);
		refused++;
		return;
	}
	applied += count;
	if (res.ended)
		end_deleg(txn, find(res.ended), FS_CLOSED);
}

static void step_change(struct fs_txn *txn)
{
	struct fs_who who = { .may = may, .cover = cover };
	static struct rec_parts parts;
	struct archil_record rec;
	struct fs_result res;
	int err;

	a_record(&rec, &parts, fs_txn_view(txn));
	fs_batch_begin(txn);
	err = fs_apply(txn, &who, &rec, &res);
	if (err) {
		MUST(err == -EBADMSG || err == -EIO || err == -ENOMEM ? err : 0);
		fs_batch_abort(txn);
		refused++;
		return;
	}
	MUST(fs_batch_end(txn));
	applied++;
	if (res.ended)
		end_deleg(txn, find(res.ended), FS_CLOSED);
}

static void check(void)
{
	struct fs_view *view = fs_view_get(fs);

	MUST(fs_check(view, say, NULL));
	fs_view_put(view);
}

static void set_up(void)
{
	struct scram_verifier verifier = { 0 };
	struct fs_session session = { 0 };
	struct archil_record rec = { .type = ARCHIL_REC_CREATE, .dir = 1, .mode = S_IFDIR | 0755,
				     .name_len = 1 };
	struct fs_who who = { .may = may };
	struct fs_result res;
	struct fs_txn *txn;
	char *msg;
	u64 first;

	MUST(store_create(path, &msg));
	MUST(store_open(path, NULL, &store, &msg));
	MUST(fs_format(store, &verifier, 1));
	store_close(store);
	reopen();
	txn = fs_txn_begin(fs, 1);
	fs_batch_begin(txn);
	MUST(fs_alloc_inos(txn, INOS, &first));
	top = first + INOS;
	session.id = fs_alloc_session(txn);
	MUST(fs_session_put(txn, &session));
	for (int i = 0; i < DIRS; i++) {
		rec.ino = first + i;
		rec.name = &"xyz"[i];
		while (fs_apply(txn, &who, &rec, &res))
			;	/* may() is not always willing */
		deleg[i] = (struct fs_deleg){
			.number = fs_alloc_deleg(txn),
			.ino = first + i,
			.session = session.id,
		};
		MUST(fs_deleg_put(txn, &deleg[i]));
	}
	n_deleg = DIRS;
	MUST(fs_batch_end(txn));
	MUST(fs_txn_commit(txn));
	check();
}

/* Released ones go; new numbers come. */
static void renew(struct fs_txn *txn, u64 now)
{
	u64 first;

	fs_batch_begin(txn);
	MUST(fs_reap(txn, now, 20) < 0);
	MUST(fs_alloc_inos(txn, 10, &first));
	MUST(fs_batch_end(txn));
	top = first + 10;
}

int main(void)
{
	const char *tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	const char *env = getenv("SEED");
	unsigned int loops;
	struct fs_txn *txn;
	u64 now = 1;

	seed = env ? strtoull(env, NULL, 0) : (u64)getpid() << 20 ^ time(NULL);
	rnd.state = seed;
	env = getenv("LOOPS");
	loops = env ? atoi(env) : 3000;
	printf("apply_any: SEED=%llu LOOPS=%u\n", (unsigned long long)seed, loops);
	snprintf(dir, sizeof(dir), "%s/archil-any.XXXXXX", tmp);
	MUST(!mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk", dir);
	set_up();
	for (unsigned int i = 0; i < loops; i++) {
		txn = fs_txn_begin(fs, ++now);
		for (int n = rnd_range(&rnd, 1, 8); n; n--) {
			if (rnd_one_in(&rnd, 2))
				step_log(txn);
			else
				step_change(txn);
		}
		if (rnd_one_in(&rnd, 20))
			renew(txn, now);
		if (rnd_one_in(&rnd, 10) || n_deleg > 100)
			end_deleg(txn, rnd_below(&rnd, n_deleg), rnd_range(&rnd, FS_CLOSED, FS_ENDED));
		MUST(fs_txn_commit(txn));
		if (rnd_one_in(&rnd, 50))
			check();
		if (rnd_one_in(&rnd, 200))
			reopen();
	}
	check();
	fs_close(fs);
	store_close(store);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("apply_any: %lu records applied, %lu refused\n", applied, refused);
	MUST(!applied || !refused);
	return 0;
}
