// SPDX-License-Identifier: GPL-2.0
/*
 * The store's keys against a naive model: sorted arrays, one committed and one
 * as the batch has it, savepoints as whole copies. Random puts, deletes, gets,
 * scans (with changes under the iterator), savepoints, rollbacks, commits,
 * snapshots, closes, and deaths: a process is killed, and what it had committed
 * must be there for the next. Buffers are tiny, so that the engine flushes, compacts,
 * and keeps several logs. At the end the check of the disk finds nothing.
 *
 * usage: store_model [SEED [OPERATIONS]], or SEED in the environment
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../random.h"
#include "store.h"

#define KEYS		400	/* different ones */
#define VALUE_MAX	9000	/* blob files begin at 4096 */
#define DEPTH_MAX	4
#define LARGE		60	/* so many times fewer commits, where batches are large */

static uint64_t seed;
static struct rnd rnd;
static long op;

#define CHECK(cond)							\
	do {								\
		if (cond)						\
			break;						\
		fprintf(stderr, "%s:%d: %s; seed %" PRIu64 " operation %ld\n",	\
			__FILE__, __LINE__, #cond, seed, op);		\
		abort();						\
	} while (0)

struct model_entry {
	uint16_t key;
	uint16_t len;
	uint64_t fill;		/* the value is made of this */
};

struct model {
	struct model_entry e[KEYS];
	int n;
};

static struct model committed, now, saved[DEPTH_MAX];
static int depth;
static uint64_t commits;
static bool changed, large;

static char dir[64], disk[80];
static struct store *store;
static struct store_batch *batch;

/* ---- the model ---------------------------------------------------------------- */

/* First entry with a key not below @key. */
static int model_find(const struct model *m, int key)
{
	int i = 0;

	while (i < m->n && m->e[i].key < key)
		i++;
	return i;
}

static const struct model_entry *model_get(const struct model *m, int key)
{
	int i = model_find(m, key);

	return i < m->n && m->e[i].key == key ? &m->e[i] : NULL;
}

static void model_del(struct model *m, int key)
{
	int i = model_find(m, key);

	if (i == m->n || m->e[i].key != key)
		return;
	memmove(&m->e[i], &m->e[i + 1], (m->n - i - 1) * sizeof(m->e[0]));
	m->n--;
}

static void model_put(struct model *m, struct model_entry entry)
{
	int i;

	model_del(m, entry.key);
	i = model_find(m, entry.key);
	memmove(&m->e[i + 1], &m->e[i], (m->n - i) * sizeof(m->e[0]));
	m->e[i] = entry;
	m->n++;
}

/* ---- keys and values ------------------------------------------------------------ */

/* Of different lengths, some the beginning of others, in the order of the numbers. */
static size_t key_text(int key, char text[static 32])
{
	int n = snprintf(text, 32, key < KEYS / 2 ? "k%03d" : "l-with-a-long-head-%03d", key / 4);

	for (int i = 0; i < key % 4; i++)
		text[n++] = 0;
	return n;
}

static const uint8_t *value_bytes(const struct model_entry *entry)
{
	static uint8_t bytes[VALUE_MAX];
	struct rnd r = { entry->fill };

	for (int i = 0; i < entry->len; i++)
		bytes[i] = i % 8 ? (uint8_t)(bytes[i - 1] + 1) : (uint8_t)rnd64(&r);
	return bytes;
}

static bool value_is(const void *data, size_t len, const struct model_entry *entry)
{
	return len == entry->len && !memcmp(data, value_bytes(entry), len);
}

static struct model_entry random_entry(void)
{
	struct model_entry entry = {
		.key = rnd_below(&rnd, KEYS),
		.len = rnd_one_in(&rnd, 8) ? rnd_below(&rnd, VALUE_MAX) : rnd_below(&rnd, 100),
		.fill = rnd64(&rnd),
	};

	return entry;
}

/* ---- steps ---------------------------------------------------------------------- */

static void change_one(void)
{
	struct model_entry entry = random_entry();
	char key[32];
	size_t klen = key_text(entry.key, key);

	if (rnd_one_in(&rnd, 3)) {
		CHECK(!store_batch_delete(batch, key, klen));
		model_del(&now, entry.key);
	} else {
		CHECK(!(entry.len && rnd_one_in(&rnd, 2) ? store_batch_rewrite : store_batch_put)(
			batch, key, klen, value_bytes(&entry), entry.len));
		model_put(&now, entry);
	}
	changed = true;
}

static void check_get(int err, struct store_value *val, const struct model_entry *entry)
{
	CHECK(err == (entry ? 0 : -ENOENT));
	if (!entry)
		return;
	CHECK(value_is(val->data, val->len, entry));
	store_value_put(val);
}

static void get_one(void)
{
	int key = rnd_below(&rnd, KEYS);
	struct store_value val;
	char text[32];
	size_t klen = key_text(key, text);

	check_get(store_batch_get(batch, text, klen, &val), &val, model_get(&now, key));
	check_get(store_get(store, NULL, text, klen, &val), &val, model_get(&committed, key));
}

static void check_at(struct store_iter *it, int stands, const struct model *m, int i, int hi)
{
	size_t klen, vlen;
	const void *key, *val;
	char text[32];

	CHECK(stands == (i >= 0 && i < m->n && m->e[i].key < hi));
	if (!stands)
		return;
	key = store_iter_key(it, &klen);
	CHECK(klen == key_text(m->e[i].key, text) && !memcmp(key, text, klen));
	val = store_iter_value(it, &vlen);
	CHECK(value_is(val, vlen, &m->e[i]));
}

/* A walk, through the batch or of the committed state; @m is what it must show. */
static void scan(struct store_iter *it, const struct model *m, int hi, bool may_change)
{
	int from = rnd_below(&rnd, KEYS), i = model_find(m, from);
	char text[32];
	size_t klen = key_text(from, text);
	int stands = store_iter_seek(it, text, klen), key;

	check_at(it, stands, m, i, hi);
	for (int steps = rnd_below(&rnd, 40); stands && steps; steps--) {
		key = m->e[i].key;
		if (may_change && rnd_one_in(&rnd, 6))
			change_one();
		i = model_find(m, key + 1);
		stands = store_iter_next(it);
		check_at(it, stands, m, i, hi);
	}
}

static void scan_one(void)
{
	int hi = rnd_one_in(&rnd, 3) ? KEYS : (int)rnd_below(&rnd, KEYS);
	struct store_iter *it;
	char text[32];
	size_t hilen = hi == KEYS ? 0 : key_text(hi, text);

	it = store_batch_iter_open(batch, text, hilen);
	scan(it, &now, hi, true);
	store_iter_close(it);
	it = store_iter_open(store, NULL, text, hilen);
	scan(it, &committed, hi, false);
	store_iter_close(it);
}

static void savepoint(void)
{
	if (depth == DEPTH_MAX)
		return;
	store_batch_savepoint(batch);
	saved[depth++] = now;
}

static void rollback(void)
{
	int err = store_batch_rollback(batch);

	CHECK(err == (depth ? 0 : -EINVAL));
	if (depth)
		now = saved[--depth];
}

/* The batch is empty. */
static void model_clear(void)
{
	now = committed;
	depth = 0;
	changed = false;
}

static void commit(void)
{
	struct store_snap *snap = store_snapshot(store);
	struct model before = committed;
	uint64_t nr;
	struct store_iter *it;

	/* all of it may have been rolled back: then it is no commit */
	nr = store_batch_nr(batch);
	CHECK(nr == commits + 1);
	CHECK(!store_batch_commit(batch));
	CHECK(!store_commit_nr(store, NULL, &nr));
	CHECK(nr == commits || (changed && nr == commits + 1));
	commits = nr;
	committed = now;
	model_clear();

	it = store_iter_open(store, snap, NULL, 0);
	scan(it, &before, KEYS, false);
	store_iter_close(it);
	store_snap_put(snap);
}

static void clear(void)
{
	store_batch_clear(batch);
	model_clear();
}

static void open_disk(void)
{
	struct store_opts opts = { .write_buffer_bytes = 64 << 10, .cache_bytes = 1 << 20 };
	char *msg = NULL;
	uint64_t nr;
	int err;

	if (access(disk, F_OK))
		CHECK(!store_create(disk, &msg));
	err = store_open(disk, &opts, &store, &msg);
	if (err)
		fprintf(stderr, "store_open: %s\n", msg);
	CHECK(!err);
	batch = store_batch_new(store);
	CHECK(!store_commit_nr(store, NULL, &nr) && nr == commits);
}

static void close_disk(void)
{
	store_batch_free(batch);
	store_close(store);
	model_clear();
}

static void whole_scan(void)
{
	struct store_iter *it = store_iter_open(store, NULL, NULL, 0);
	int stands = store_iter_seek(it, NULL, 0);

	for (int i = 0; ; i++) {
		check_at(it, stands, &committed, i, KEYS);
		if (!stands)
			break;
		stands = store_iter_next(it);
	}
	store_iter_close(it);
}

static void run(long n)
{
	static void (*const steps[])(void) = {
		change_one, change_one, change_one, change_one, change_one, change_one,
		get_one, get_one, scan_one, savepoint, rollback, commit,
	};

	for (; n; n--, op++) {
		void (*step)(void) = steps[rnd_below(&rnd, ARRAY_SIZE(steps))];

		if (rnd_one_in(&rnd, 300))
			step = clear;
		if (large && (step == clear || step == rollback || step == commit) &&
		    !rnd_one_in(&rnd, LARGE))
			step = change_one;
		step();
	}
	commit();
}

static void show(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

/* What a process leaves to the next. */
struct news {
	struct model committed;
	uint64_t commits;
	struct rnd rnd;
	long op;
};

static void tell(int fd)
{
	struct news news = { committed, commits, rnd, op };

	for (size_t done = 0; done < sizeof(news); ) {
		ssize_t put = write(fd, (char *)&news + done, sizeof(news) - done);

		CHECK(put > 0);
		done += put;
	}
}

static void hear(int fd)
{
	struct news news;

	for (size_t got = 0; got < sizeof(news); ) {
		ssize_t more = read(fd, (char *)&news + got, sizeof(news) - got);

		CHECK(more > 0);
		got += more;
	}
	committed = news.committed;
	commits = news.commits;
	rnd = news.rnd;
	op = news.op;
	model_clear();
}

/*
 * One process's life with the disk; it ends with a close or a SIGKILL. (Always a
 * new process: the engine's threads do not survive a fork.)
 */
static void live(long n, bool killed)
{
	int fds[2], status;
	pid_t pid;

	CHECK(!pipe(fds));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(fds[0]);
		open_disk();
		large = rnd_one_in(&rnd, 2);
		run(n);
		whole_scan();
		if (killed) {
			tell(fds[1]);
			change_one();	/* not committed: it dies too */
			pause();
		}
		if (rnd_one_in(&rnd, 4))
			CHECK(store_check(store, show, NULL) == 0);
		close_disk();
		tell(fds[1]);
		exit(0);
	}
	close(fds[1]);
	hear(fds[0]);
	close(fds[0]);
	if (killed)
		kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(killed ? WIFSIGNALED(status) : status == 0);
}

int main(int argc, char **argv)
{
	const char *env = getenv("SEED"), *tmp = getenv("TMPDIR");
	long left = argc > 2 ? atol(argv[2]) : getenv("ARCHIL_LONG") ? 400000 : 12000;
	char *msg = NULL;

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : env ? strtoull(env, NULL, 0) :
							     (uint64_t)time(NULL);
	rnd.state = seed;
	printf("seed %" PRIu64 "\n", seed);
	fflush(stdout);
	snprintf(dir, sizeof(dir), "%s/archil-model.XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	CHECK(mkdtemp(dir));
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	while (left > 0) {
		long n = 200 + rnd_below(&rnd, 2000);

		live(n, rnd_one_in(&rnd, 2));
		left -= n;
	}
	live(0, false);
	CHECK(store_check_path(disk, show, NULL, &msg) == 0);
	CHECK(!store_destroy(disk, &msg));
	CHECK(!rmdir(dir));
	return 0;
}
