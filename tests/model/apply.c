// SPDX-License-Identifier: GPL-2.0
/*
 * The server's namespace against a naive one (apply_model.h): random records,
 * as clients send them under delegations and as synchronous changes, in groups;
 * delegations granted, checked in, taken; data files written; orphans reaped.
 *
 * At random commits (in the first rounds at every one) the disk is closed and
 * opened again, now and then with a group that never was committed; batches sent
 * again must change nothing, refused ones leave nothing behind. The whole tree is
 * read and compared, and fs_check() finds nothing.
 *
 * SEED=n repeats a run; LOOPS=n makes it longer.
 */
#include <time.h>

#include "apply_gen.h"
#include "../logparts.h"

#define ROUNDS		6
#define REAP_DELAY	50
#define SESSIONS	2

static u64 session[SESSIONS];
static u8 *sent[4096];		/* every batch, freed at the end of a round */
static int n_sent;
static unsigned long applied, refused, restarts, crashes, again;

/* ---- steps of a group; a batch each ---- */

/* A batch under a random delegation; some hold a record that must be refused. */
static void step_log(struct fs_txn *txn)
{
	struct m_deleg *deleg, *now;
	struct archil_record rec;
	struct fs_log_result res;
	struct model *before;
	struct fs_deleg mine;
	struct m_who who = {};
	static struct parts p;
	u64 number, first;
	size_t len = 0;
	u8 *buf;
	int want = 0, err, n, count = 0;

	if (!m->delegs || n_sent == ARRAY_SIZE(sent))
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	number = deleg->rec.number;
	first = deleg->rec.applied + 1;
	mine = deleg->rec;
	who.deleg = number;
	before = m_copy(m);
	buf = sent[n_sent++] = malloc(ARCHIL_PAYLOAD_MAX);

	n = rnd_range(&rnd, 1, 12);
	for (int tries = 0; count < n && tries < 200 && !want && !full(); tries++) {
		deleg = m_deleg(m, number);
		if (!deleg)
			break;	/* it released its orphan */
		gen(&rec, &p, deleg);
		err = m_apply(m, &who, &rec, max_file_size);
		if (err && !rnd_one_in(&rnd, 100))
			continue;
		want = err;
		SAME(archil_record_put(buf, ARCHIL_PAYLOAD_MAX, &len, &rec), 0);
		count++;
	}
	err = log_split(&rnd, txn, &mine, first, count, buf, len, &res);
	if (want) {
		SAME(err, -EUCLEAN);
		SAME(res.bad_seq, first + count - 1);
		SAME(mine.applied, first - 1);
		m_drop(m);
		m = before;
		refused++;
		return;
	}
	m_drop(before);
	SAME(err, 0);
	SAME(mine.applied, first + count - 1);
	applied += count;
	now = m_deleg(m, number);
	SAME(res.ended, now ? 0 : number);
	if (!now) {
		fs_batch_begin(txn);
		SAME(fs_deleg_close(txn, number, FS_CLOSED, NULL, NULL), 0);
		SAME(fs_batch_end(txn), 0);
		return;
	}
	now->rec = mine;
	if (!count)
		return;
	now->batch = buf;
	now->len = len;
	now->first_seq = first;
	now->count = count;
}

static int may(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	u64 chain[M_DEPTH];
	size_t n = m_chain(m, place->ino, chain);

	SAME(place->n, n);
	for (size_t i = 0; i < n; i++)
		SAME(place->chain[i], chain[n - 1 - i]);
	SAME(place->orphan_of, m_node(m, place->ino)->orphan_of);
	return m_may(m, *(u64 *)ctx, what, place->ino);
}

static u64 cover(void *ctx, const struct fs_place *place)
{
	return m_cover(m, *(u64 *)ctx, place->ino);
}

static void step_change(struct fs_txn *txn)
{
	u64 *ses = &session[rnd_below(&rnd, SESSIONS)];
	struct m_who who = { .session = *ses };
	struct fs_who fs_who = { .may = may, .cover = cover, .ctx = ses };
	struct m_deleg *mine = NULL;
	struct archil_record rec;
	struct fs_result res;
	static struct parts p;
	struct model *before;
	u64 keep;
	int want, err;

	if (full())
		return;
	if (m->delegs && !rnd_one_in(&rnd, 3))
		mine = &m->deleg[rnd_below(&rnd, m->delegs)];
	gen(&rec, &p, rnd_one_in(&rnd, 2) ? mine : NULL);
	/* ours asks the model as it is before */
	fs_batch_begin(txn);
	err = fs_apply(txn, &fs_who, &rec, &res);
	before = m_copy(m);
	want = m_apply(m, &who, &rec, max_file_size);
	if (err != want)
		FAIL("%s: %d instead of %d", archil_record_name(rec.type), err, want);
	if (err) {
		fs_batch_abort(txn);
	} else {
		SAME(res.ino, rec.ino);
		if (res.ended) {
			keep = m_deleg(before, res.ended)->rec.ino;
			SAME(keep, rec.ino);
			SAME(fs_deleg_close(txn, res.ended, FS_CLOSED, NULL, NULL), 0);
		}
		SAME(m->delegs, before->delegs - !!res.ended);
		SAME(fs_batch_end(txn), 0);
		applied++;
	}
	m_drop(before);
}

static void step_inos(struct fs_txn *txn)
{
	u64 first;

	fs_batch_begin(txn);
	SAME(fs_alloc_inos(txn, 100, &first), 0);
	SAME(first, m->next_ino);
	if (rnd_one_in(&rnd, 8)) {
		fs_batch_abort(txn);
		return;
	}
	SAME(fs_batch_end(txn), 0);
	m->next_ino += 100;
}

static void step_grant(struct fs_txn *txn)
{
	u64 ino = random_node(NULL, rnd_one_in(&rnd, 3));
	struct m_node *node = m_node(m, ino);
	struct fs_deleg *rec;

	if (!node || node->orphan || m_owner(m, ino) || full() ||
	    (!S_ISDIR(node->mode) && !S_ISREG(node->mode)) || (ino == 1 && !rnd_one_in(&rnd, 4)))
		return;
	for (int i = 0; i < m->delegs; i++)
		if (!m_node(m, m->deleg[i].rec.ino)->orphan && m_under(m, m->deleg[i].rec.ino, ino))
			return;
	memset(&m->deleg[m->delegs], 0, sizeof(m->deleg[0]));
	rec = &m->deleg[m->delegs++].rec;
	fs_batch_begin(txn);
	*rec = (struct fs_deleg){
		.number = fs_alloc_deleg(txn),
		.ino = ino,
		.session = session[rnd_below(&rnd, SESSIONS)],
		.commit = fs_txn_nr(txn),
		.since = m->now,
		.origin = ARCHIL_ORIGIN_CHECKOUT,
	};
	SAME(fs_deleg_put(txn, rec), 0);
	SAME(fs_batch_end(txn), 0);
}

static int made(void *ctx, const struct fs_deleg *rec)
{
	struct m_node *node = m_node(m, rec->ino);

	EXPECT(node->orphan);
	SAME(node->orphan_of, *(u64 *)ctx);
	EXPECT(rec->flags & FS_DELEG_ORPHAN);
	node->orphan_of = rec->number;
	memset(&m->deleg[m->delegs], 0, sizeof(m->deleg[0]));
	m->deleg[m->delegs++].rec = *rec;
	return 0;
}

static void step_close(struct fs_txn *txn)
{
	enum fs_close_how how = FS_CLOSED + rnd_below(&rnd, 3);
	struct m_deleg *deleg;
	struct fs_tomb tomb;
	struct fs_deleg old;
	u64 number;
	int err;

	if (!m->delegs)
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	old = deleg->rec;
	number = old.number;
	fs_batch_begin(txn);
	SAME(fs_deleg_close(txn, number, how, made, &number), 0);
	err = fs_tomb_get(fs_txn_view(txn), number, &tomb);
	if (how == FS_ENDED) {
		SAME(err, -ENOENT);
	} else {
		SAME(err, 0);
		SAME(tomb.how, how);
		SAME(tomb.session, old.session);
		SAME(tomb.applied, old.applied);
		if (rnd_one_in(&rnd, 2))
			SAME(fs_tomb_del(txn, number), 0);
	}
	SAME(fs_batch_end(txn), 0);
	/* those that found no new keeper are released */
	for (int i = 0; i < m->nodes; i++) {
		if (m->node[i].orphan_of == number) {
			EXPECT(how != FS_CLOSED || old.flags & FS_DELEG_ORPHAN);
			m_orphan(m, &m->node[i], 0);
		}
	}
	deleg = m_deleg(m, number);
	*deleg = m->deleg[--m->delegs];
}

/* ---- what takes more than one transaction ---- */

/* WRITE, with or without the size record that would make it seen. */
static void do_write(void)
{
	static u8 data[8192];
	struct m_deleg *deleg;
	struct m_node *node;
	struct fs_txn *txn;
	u64 off, len, ino;

	if (!m->delegs)
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	ino = random_node(deleg, true);
	node = m_node(m, ino);
	if (!node || !S_ISREG(node->mode) || m_owner(m, ino) != deleg)
		return;
	txn = begin();
	fs_batch_begin(txn);
	SAME(fs_bulk_begin(txn, ino, deleg->rec.number, deleg->rec.ino), 0);
	SAME(fs_touch_change(txn, ino), 0);
	SAME(fs_set_bytes(txn, ino, 4096), 0);
	SAME(fs_batch_end(txn), 0);
	commit(txn);
	m_take_over(node, deleg->rec.number);
	node->bulk = true;
	node->writer = deleg->rec.number;
	node->change = m->nr;
	settle(true);

	off = rnd_below(&rnd, M_DATA - sizeof(data));
	len = rnd_range(&rnd, 1, sizeof(data));
	rnd_bytes(&rnd, data, len);
	SAME(run(STORE_WRITE, ino, off, len, data), len);
	SAME(run(STORE_FLUSH, ino, 0, 0, NULL), 0);
	memcpy(m_data(node) + off, data, len);
}

static void do_reap(void)
{
	u64 before = m->now > REAP_DELAY ? m->now - REAP_DELAY : 0, oldest, want = UINT64_MAX;
	struct fs_view *view;
	struct fs_txn *txn;
	int max, r;

	do {
		txn = begin();
		fs_batch_begin(txn);
		max = rnd_range(&rnd, 1, 10);
		r = fs_reap(txn, before, max);
		EXPECT(r >= 0 && r <= max);
		SAME(fs_batch_end(txn), 0);
		commit(txn);
	} while (r);
	for (int i = 0; i < m->nodes; i++) {
		if (!m->node[i].orphan || m->node[i].orphan_of)
			continue;
		if (m->node[i].released <= before)
			m_remove(m, i--);
		else if (m->node[i].released < want)
			want = m->node[i].released;
	}
	view = fs_view_get(fs);
	r = fs_reap_next(view, &oldest);
	SAME(r, want == UINT64_MAX ? -ENOENT : 0);
	if (!r)
		SAME(oldest, want);
	fs_view_put(view);
}

static int count_one(void *ctx, const struct fs_deleg *deleg)
{
	struct m_deleg *mine = m_deleg(m, deleg->number);

	EXPECT(mine && !memcmp(&mine->rec, deleg, sizeof(*deleg)));
	++*(int *)ctx;
	return 0;
}

static void reopen(void)
{
	struct fs_view *view;
	int n = 0;

	close_disk();
	open_disk();
	view = fs_view_get(fs);
	SAME(fs_delegs_each(view, count_one, &n), 0);
	SAME(n, m->delegs);
	SAME(fs_intents_load(view, &pending), 0);
	fs_view_put(view);
	if (rnd_one_in(&rnd, 2))
		settle(false);	/* and it dies again before they are forgotten */
	restarts++;
}

/* The client did not hear: every last batch again, and a gap is refused. */
static void resend(void)
{
	struct fs_log_result res;
	struct fs_deleg deleg;
	struct fs_txn *txn;

	txn = begin();
	for (int i = 0; i < m->delegs; i++) {
		struct m_deleg *d = &m->deleg[i];

		if (!d->batch)
			continue;
		deleg = d->rec;
		SAME(log_split(&rnd, txn, &deleg, d->first_seq, d->count, d->batch, d->len, &res), 0);
		EXPECT(!memcmp(&deleg, &d->rec, sizeof(deleg)));
		SAME(log_split(&rnd, txn, &deleg, d->rec.applied + 2, d->count, d->batch, d->len,
				  &res), -EPROTO);
		SAME(log_split(&rnd, txn, &deleg, d->first_seq, d->count + 1, d->batch, d->len,
				  &res), -EPROTO);
		again++;
	}
	SAME(fs_txn_bytes(txn) > 100, false);
	SAME(fs_txn_commit(txn), 0);
}

static void do_group(bool every)
{
	struct model *before = m_copy(m);
	struct fs_txn *txn = begin();
	bool crash = rnd_one_in(&rnd, 25);
	int n;

	if (m->fresh + 60 > m->next_ino)
		step_inos(txn);
	for (n = rnd_range(&rnd, 1, 6); n; n--) {
		switch (rnd_below(&rnd, 20)) {
		case 0:
		case 1:
			step_grant(txn);
			break;
		case 2:
			if (rnd_one_in(&rnd, 3))
				step_close(txn);
			break;
		case 3 ... 8:
			step_change(txn);
			break;
		default:
			step_log(txn);
		}
	}
	if (crash) {
		if (rnd_one_in(&rnd, 2))
			fs_batch_begin(txn);
		fs_txn_abort(txn);
		before->now = m->now;
		m_drop(m);
		m = before;
		crashes++;
	} else {
		commit(txn);
		m_drop(before);
	}
	if (crash ? rnd_one_in(&rnd, 2) : every || rnd_one_in(&rnd, 40)) {
		reopen();
		resend();
	}
}

static void open_sessions(void)
{
	struct fs_txn *txn = begin();
	struct fs_session rec = { .root = 1 };

	fs_batch_begin(txn);
	for (int i = 0; i < SESSIONS; i++) {
		session[i] = rec.id = fs_alloc_session(txn);
		SAME(fs_session_put(txn, &rec), 0);
	}
	SAME(fs_batch_end(txn), 0);
	commit(txn);
}

static void round_of(unsigned int groups, bool every)
{
	struct scram_verifier verifier = {};
	char *msg = NULL;

	m = calloc(1, sizeof(*m));
	m_init(m, 1000);
	if (store_create(path, &msg) || store_open(path, NULL, &store, &msg))
		FAIL("store: %s", msg);
	SAME(fs_format(store, &verifier, m->now), 0);
	store_close(store);
	open_disk();
	open_sessions();
	for (unsigned int i = 0; i < groups; i++) {
		do_group(every);
		if (rnd_one_in(&rnd, 4))
			do_write();
		if (rnd_one_in(&rnd, 6))
			settle(rnd_one_in(&rnd, 2));
		if (rnd_one_in(&rnd, 12) || full())
			do_reap();
		if (rnd_one_in(&rnd, 12))
			compare(rnd_one_in(&rnd, 3));
	}
	compare(true);
	close_disk();
	m_drop(m);
	while (n_sent)
		free(sent[--n_sent]);
	if (store_destroy(path, &msg))
		FAIL("store_destroy: %s", msg);
}

int main(void)
{
	const char *tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	const char *env = getenv("SEED");
	unsigned int groups;

	seed = env ? strtoull(env, NULL, 0) : (u64)getpid() << 20 ^ time(NULL);
	rnd.state = seed;
	env = getenv("LOOPS");
	groups = env ? atoi(env) : 150;
	printf("apply: SEED=%llu LOOPS=%u\n", (unsigned long long)seed, groups);
	snprintf(dir, sizeof(dir), "%s/archil-apply.XXXXXX", tmp);
	if (!mkdtemp(dir))
		FAIL("mkdtemp: %s", dir);
	snprintf(path, sizeof(path), "%s/disk", dir);
	for (int i = 0; i < ROUNDS; i++)
		round_of(i < 2 ? groups / 4 : groups, i < 2);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("apply: %lu records, %lu batches refused, %lu sent again, %lu restarts, %lu crashes\n",
	       applied, refused, again, restarts, crashes);
	EXPECT(applied > groups && refused && again && restarts && crashes);
	return 0;
}
