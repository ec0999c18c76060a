// SPDX-License-Identifier: GPL-2.0
/*
 * torture --self-test SEED
 * torture SEED ROUNDS MILLISECONDS CHECK_EVERY MOUNT...
 *
 * Random operations on several clients, with random faults, against a model. MOUNT...: the mount
 * point of client 1, 2, ...; at each of them the same disk. What operations are is in
 * torture-model.h, what may be found afterwards in torture-check.h.
 *
 * 1. There are directories, each checked out by some client; a worker, a process, does operations in
 *    each, and keeps a log of them in shared memory.
 * 2. A round: the workers work while faults come. Those after which nothing may be
 *    missing: server or agent killed and started again, a cable out and in, a slow network,
 *    caches dropped. Those that lose: force by another client, abort, umount -f.
 * 3. Then the workers stop. Each directory that was not taken from its worker is as the model is: in
 *    its owner's eyes at once, and in another client's after syncfs and cache_ttl. Each
 *    that was is owned by somebody else first, so nothing can arrive any more; then it is in a
 *    state that torture-check.h allows, and a third or the old owner sees the same.
 * 4. Before the next round some directories change hands, by checkin and checkout.
 *
 * Faults that need a shell are asked for on stdout: a line "! COMMAND ARG...", answered by a
 * line on stdin when it is done. All other lines are for people. Operations and faults follow
 * from SEED and the round; how far the workers come does not.
 */
#include <ftw.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "torture-check.h"
#include "torture-disk.h"
#include "torture-self.h"

#define CLIENTS		4
#define LOG_OPS		30000
#define PATIENCE	100		/* seconds until a wait counts as a hang */

/* What a worker tells, in shared memory. */
struct log {
	uint32_t begun, done;		/* operations */
	int err;			/* why it ended; 0: it was told to */
	bool taken;			/* or may be, by a fault */
	struct op op[LOG_OPS];
};

struct dir {
	char path[CLIENTS][PATH];	/* of each client */
	struct model base;		/* what is there when the round begins */
	struct log *log;
	unsigned int owner;		/* client */
	bool owned;			/* by @owner, now */
	bool lost;			/* to force or abort, in this round */
	int taker;			/* client that takes it by force, or -1 */
	pid_t pid;			/* its worker */
	struct trial trial;
};

struct client {
	const char *mnt;
	int fate;			/* in this round: 0, ABORT or UMOUNT */
};

enum fault {
	KILL_SERVER, START_SERVER, KILL_AGENT, START_AGENT, CUT_CABLE, HEAL_CABLE, SLOW, QUICK, DROP_CACHES,
	FORCE, ABORT, UMOUNT, FAULTS
};

static const char *const fault_names[FAULTS] = {
	"kill-server", "start-server", "kill-agent", "start-agent", "cut", "heal", "slow", "quick", "drop",
	"force", "abort", "umount-f",
};

struct event {
	unsigned int ms;		/* after the round began */
	enum fault fault;
	unsigned int who;		/* client, or directory */
};

/* A fault that may wait for others. */
struct strike {
	pthread_t thread;
	enum fault fault;
	char path[PATH];
	int err;
	bool done;
};

static struct client client[CLIENTS];
static unsigned int clients, dirs;
static struct dir *dir;
static bool *stop;			/* shared: workers, come to an end */
static uint64_t seed, rng;
static unsigned int round_no;
static unsigned long total_ops[WHATS], total_faults[FAULTS], total_lost;

/* ---- the shell ---- */

__attribute__((format(printf, 1, 2)))
static void ask(const char *fmt, ...)
{
	char answer[64];
	va_list ap;

	printf("! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		die("the shell has gone");
	if (strcmp(answer, "ok\n"))
		wrong("round %u: the shell says %s", round_no, answer);
}

static void mount_client(unsigned int c)
{
	static const unsigned int commits[] = { 1, 5, 5, 600 };

	ask("mount %u shared,commit=%u,cache_ttl=%u %s", c + 1, commits[rnd(&rng, 4)], !!rnd(&rng, 5),
	    client[c].mnt);
}

/* ---- workers ---- */

static uint32_t get(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* What a syncfs of this client covers. */
static void note_covered(const struct dir *d, struct op *op)
{
	unsigned int i;

	for (i = 0; i < dirs; i++)
		op->covered[i] = &dir[i] != d && dir[i].owner == d->owner ? get(&dir[i].log->done) : 0;
}

/* In a process of its own. */
static void work(struct dir *d)
{
	static const uint32_t rares[] = { 1, 3, 10, 100 };
	static struct model m;
	uint64_t r = rnd_init(seed, round_no, d->base.worker);
	/* by short ways: what leads here is nobody's, so the server is asked for it */
	struct hands h = { .top = ".", .held_fd = -1 };
	struct log *log = d->log;
	struct op *op;
	uint32_t n;

	m = d->base;
	m.rare = rares[rnd(&r, 4)];
	h.buf = aligned_alloc(PAGE, BULK_MAX);
	h.top_fd = open(d->path[d->owner], O_RDONLY);
	/* taken before it had begun */
	if (h.top_fd < 0 && __atomic_load_n(&log->taken, __ATOMIC_ACQUIRE))
		exit(0);
	if (!h.buf || h.top_fd < 0 || fchdir(h.top_fd))
		die("%s", d->path[d->owner]);
	signal(SIGBUS, on_sigbus);
	for (n = 1; n <= LOG_OPS && !__atomic_load_n(stop, __ATOMIC_RELAXED); n++) {
		op = &log->op[n - 1];
		choose(&m, &r, op);
		if (op->what == SYNCFS)
			note_covered(d, op);
		set(&log->begun, n);
		perform(&m, &h, op);
		/* an EIO of syncfs may be about another directory */
		if (op->err && op->what != SYNCFS) {
			log->err = op->err;
			break;
		}
		apply(&m, op);
		look(&m, &h, op, &log->taken);
		set(&log->done, n);
	}
	exit(prog_failed ? 1 : 0);
}

static void start_workers(void)
{
	unsigned int i;
	pid_t parent = getpid();

	*stop = false;
	fflush(stdout);
	for (i = 0; i < dirs; i++) {
		memset(dir[i].log, 0, offsetof(struct log, op));
		dir[i].pid = fork();
		if (dir[i].pid)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		prctl(PR_SET_NAME, strrchr(dir[i].path[0], '/') + 1);
		work(&dir[i]);
	}
}

static void say_stack(pid_t pid)
{
	char path[64], line[200];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		printf("  %s", line);
	if (f)
		fclose(f);
}

static void end_worker(struct dir *d)
{
	unsigned int waited;
	int status;

	for (waited = 0; !waitpid(d->pid, &status, WNOHANG); waited++) {
		if (waited == PATIENCE * 100) {
			const struct op *op = &d->log->op[get(&d->log->begun) - 1];

			printf("round %u: %s hangs in a %s (how %u)\n", round_no, d->path[d->owner],
			       what_names[op->what], op->how);
			say_stack(d->pid);
			ask("hang");
			die("a hang");
		}
		usleep(10000);
	}
	if (status)
		wrong("round %u: the worker of %s ended with status %#x", round_no, d->path[d->owner], status);
	d->pid = 0;
}

/* ---- faults ---- */

static void *strike(void *arg)
{
	struct strike *s = arg;
	struct archil_ioc_flags flags = { .size = sizeof(flags) };
	int fd, rc = 0;

	switch (s->fault) {
	case FORCE:
		rc = own(s->path, true);
		break;
	case ABORT:
		fd = open(s->path, O_RDONLY);
		rc = fd < 0 ? -1 : ioctl(fd, ARCHIL_IOC_ABORT, &flags);
		close(fd);
		break;
	default:
		/* it is busy, as a rule: what it holds is given up all the same */
		rc = umount2(s->path, MNT_FORCE);
		if (rc && errno == EBUSY)
			rc = 0;
	}
	s->err = rc ? errno : 0;
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd < 0 || write(fd, rnd(&rng, 2) ? "3" : "2", 1) != 1)
		die("drop_caches");
	close(fd);
}

static void plan(struct event *e, unsigned int *n, unsigned int ms, enum fault fault, unsigned int who)
{
	unsigned int i;

	for (i = *n; i && e[i - 1].ms > ms; i--)
		e[i] = e[i - 1];
	e[i] = (struct event){ ms, fault, who };
	++*n;
}

/* What will happen in this round of @ms; returns how many events. */
static unsigned int plan_round(struct event *e, unsigned int ms)
{
	unsigned int n = 0, at, c, i;

	for (i = 0; i < dirs; i++)
		dir[i].taker = -1;
	for (c = 0; c < clients; c++)
		client[c].fate = 0;
	if (!rnd(&rng, 3)) {
		at = rnd(&rng, ms);
		plan(e, &n, at, KILL_SERVER, 0);
		plan(e, &n, at + rnd(&rng, 500), START_SERVER, 0);
	}
	if (!rnd(&rng, 3)) {
		at = rnd(&rng, ms);
		c = rnd(&rng, clients);
		plan(e, &n, at, KILL_AGENT, c);
		plan(e, &n, at + rnd(&rng, 500), START_AGENT, c);
	}
	if (!rnd(&rng, 3)) {
		at = rnd(&rng, ms);
		c = rnd(&rng, clients);
		plan(e, &n, at, CUT_CABLE, c);
		plan(e, &n, at + rnd(&rng, 700), HEAL_CABLE, c);
	}
	if (!rnd(&rng, 4)) {
		c = rnd(&rng, clients);
		plan(e, &n, 0, SLOW, c);
		plan(e, &n, ms, QUICK, c);
	}
	for (i = rnd(&rng, 3); i; i--)
		plan(e, &n, rnd(&rng, ms), DROP_CACHES, 0);
	/* what loses */
	if (!rnd(&rng, 4)) {
		c = rnd(&rng, clients);
		client[c].fate = rnd(&rng, 2) ? ABORT : UMOUNT;
		plan(e, &n, ms / 4 + rnd(&rng, ms), client[c].fate, c);
	}
	for (i = 0; i < dirs; i++) {
		c = rnd(&rng, clients);
		if (rnd(&rng, 4) || client[c].fate || c == dir[i].owner)
			continue;
		dir[i].taker = c;
		plan(e, &n, ms / 4 + rnd(&rng, ms), FORCE, i);
	}
	return n;
}

static void begin_strike(struct strike *s, const struct event *e)
{
	unsigned int i;

	for (i = 0; i < dirs; i++)
		if (e->fault == FORCE ? i == e->who : dir[i].owner == e->who)
			__atomic_store_n(&dir[i].log->taken, true, __ATOMIC_RELEASE);
	s->fault = e->fault;
	s->done = false;
	snprintf(s->path, sizeof(s->path), "%s", e->fault == FORCE ? dir[e->who].path[dir[e->who].taker] :
		 client[e->who].mnt);
	if (pthread_create(&s->thread, NULL, strike, s))
		die("thread");
}

static void end_strike(struct strike *s)
{
	unsigned int waited;

	for (waited = 0; !__atomic_load_n(&s->done, __ATOMIC_ACQUIRE); waited++) {
		if (waited == PATIENCE * 100) {
			printf("round %u: %s of %s hangs\n", round_no, fault_names[s->fault], s->path);
			ask("hang");
			die("a hang");
		}
		usleep(10000);
	}
	pthread_join(s->thread, NULL);
	if (s->err)
		wrong("round %u: %s of %s: %s", round_no, fault_names[s->fault], s->path, errname(s->err));
}

static unsigned int now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_until(unsigned int ms)
{
	unsigned int now = now_ms();

	if ((int)(ms - now) > 0)
		usleep((ms - now) * 1000);
}

static void work_and_faults(unsigned int ms)
{
	static struct event event[32];
	static struct strike strikes[WORKERS + 1];
	unsigned int n, i, k = 0, begin;

	n = plan_round(event, ms);
	start_workers();
	begin = now_ms();
	for (i = 0; i < n; i++) {
		const struct event *e = &event[i];

		sleep_until(begin + e->ms);
		printf("# %5u ms %s %u\n", now_ms() - begin, fault_names[e->fault], e->who + 1);
		total_faults[e->fault]++;
		switch (e->fault) {
		case FORCE: case ABORT: case UMOUNT:
			begin_strike(&strikes[k++], e);
			break;
		case DROP_CACHES:
			drop_caches();
			break;
		default:
			ask("%s %u", fault_names[e->fault], e->who + 1);
		}
	}
	sleep_until(begin + ms);
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < dirs; i++)
		end_worker(&dir[i]);
	for (i = 0; i < k; i++)
		end_strike(&strikes[i]);
}

/* ---- after the round ---- */

/* Is an inode that was found a bulk file? What its worker saw when it was made tells. */
static bool is_bulk(void *arg, uint64_t ino, uint32_t *id)
{
	struct dir *d = arg;
	struct node *n = NULL;
	uint32_t i;

	while ((n = node_next(&d->base, n)))
		if (n->ino == ino) {
			*id = n->id;
			return n->kind == BULK;
		}
	for (i = 0; i < d->trial.n + d->trial.more; i++) {
		const struct op *op = &d->log->op[i];

		if (op->what == CREATE && op->seen[0].id == op->id && op->seen[0].ino == ino) {
			*id = op->id;
			return op->kind == BULK;
		}
	}
	return false;
}

/* Reads a directory in a client's eyes, and compares; true if all is well. */
static bool inspect(struct dir *d, unsigned int c, const char *when, struct model *next)
{
	static struct model f;
	struct scan s = { .f = &f, .is_bulk = is_bulk, .arg = d, .worker = d->base.worker };
	struct result result;

	if (!scan(&s, d->path[c]))
		return false;
	result = check_state(&d->trial, &f, next, true);
	if (!result.differences) {
		if (next && d->lost)
			printf("#   %s: state %u of %u, %u to %u were allowed\n", strrchr(d->path[c], '/') + 1,
			       result.k, d->trial.n, d->trial.least, d->trial.n + d->trial.more);
		return true;
	}
	wrong("round %u: %s, %s: it is none of the allowed states", round_no, d->path[c], when);
	return false;
}

static void set_trial(struct dir *d)
{
	struct trial *t = &d->trial;
	unsigned int i, j;

	t->base = &d->base;
	t->ops = d->log->op;
	t->n = get(&d->log->done);
	t->more = get(&d->log->begun) != t->n;
	t->nacks = t->least = 0;
	if (!d->lost) {
		if (t->more) {
			wrong("round %u: %s: a %s of an owner failed with %s", round_no, d->path[d->owner],
			      what_names[t->ops[t->n].what], errname(t->ops[t->n].err));
			say_ops(t, t->n + 1);
		}
		add_ack(t, t->n, 0, t->n);
	} else {
		promises(t);
		/* others' syncfs; what was lost before one of them is told by the first only */
		for (i = 0; i < dirs; i++)
			for (j = 0; &dir[i] != d && j < get(&dir[i].log->done); j++) {
				const struct op *op = &dir[i].log->op[j];

				if (op->what == SYNCFS && op->err)
					break;
				if (op->what == SYNCFS && op->covered[d->base.worker])
					add_ack(t, op->covered[d->base.worker], 0,
						op->covered[d->base.worker]);
			}
	}
	for (i = 0; i < t->n; i++) {
		total_ops[t->ops[i].what]++;
		if (!d->lost && t->ops[i].what == SYNCFS && t->ops[i].err && !client[d->owner].fate) {
			for (j = 0; j < dirs && !(dir[j].lost && dir[j].owner == d->owner); j++)
				;
			if (j == dirs)
				wrong("round %u: syncfs of %s: %s", round_no, d->path[d->owner],
				      errname(t->ops[i].err));
		}
	}
}

/* What was lost is said once, to whoever syncs next: so not to the next round's worker. */
static int hear_error(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd = type == FTW_SL ? -1 : open(path, O_RDONLY);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	return 0;
}

/* The same in the owner's eyes; what is found is where the next round begins. */
static void inspect_settle(struct dir *d, const char *when)
{
	static struct model next;

	if (!inspect(d, d->owner, when, &next))
		return;
	d->base = next;
	d->trial.n = d->trial.least = d->trial.nacks = 0;
	d->trial.more = false;
	add_ack(&d->trial, 0, 0, 0);
}

static int sync_client(unsigned int c)
{
	int fd = open(client[c].mnt, O_RDONLY), rc;

	rc = fd < 0 ? -1 : syncfs(fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void take(struct dir *d, unsigned int c, const char *why)
{
	unsigned int tries;

	/* who has just given it up may still be on the way to say so */
	for (tries = 0; own(d->path[c], tries >= 30); tries++) {
		if (tries == 31 || (errno != EBUSY && errno != ENOENT)) {
			wrong("round %u: checkout of %s, %s: %s", round_no, d->path[c], why, errname(errno));
			return;
		}
		usleep(100000);
	}
	d->owner = c;
	d->owned = true;
}

static void remount(unsigned int c)
{
	unsigned int tries;

	for (tries = 0; umount2(client[c].mnt, 0) && errno != EINVAL; tries++) {
		if (tries == 100) {
			wrong("round %u: umount of %s: %s", round_no, client[c].mnt, errname(errno));
			break;
		}
		usleep(50000);
	}
	mount_client(c);
}

static unsigned int other_client(unsigned int c)
{
	return (c + 1 + rnd(&rng, clients - 1)) % clients;
}

static void inspect_all(void)
{
	unsigned int i, c;

	for (i = 0; i < dirs; i++)
		dir[i].lost = dir[i].taker >= 0 || client[dir[i].owner].fate;
	for (i = 0; i < dirs; i++)
		set_trial(&dir[i]);
	/* what the owner has in memory, before it is made durable */
	for (i = 0; i < dirs; i++)
		if (!dir[i].lost)
			inspect_settle(&dir[i], "in its owner's eyes");
	for (c = 0; c < clients; c++)
		if (client[c].fate)
			remount(c);
	for (i = 0; i < dirs; i++) {
		if (!dir[i].lost)
			continue;
		c = dir[i].owner;
		dir[i].owned = false;
		if (dir[i].taker >= 0)
			take(&dir[i], dir[i].taker, "after force");
		else
			take(&dir[i], rnd(&rng, clients), "after its session was given up");
		/* the second look is the old owner's */
		dir[i].taker = dir[i].owner == c ? (int)other_client(c) : (int)c;
	}
	for (c = 0; c < clients; c++) {
		/* what was lost is said once */
		sync_client(c);
		if (sync_client(c))
			wrong("round %u: syncfs of %s: %s", round_no, client[c].mnt, errname(errno));
	}
	for (i = 0; i < dirs; i++) {
		total_lost += dir[i].lost;
		if (dir[i].lost)
			inspect_settle(&dir[i], "in its new owner's eyes");
	}
	usleep(1100000);
	for (i = 0; i < dirs; i++) {
		c = dir[i].lost ? (unsigned int)dir[i].taker : other_client(dir[i].owner);
		inspect(&dir[i], c, "in another client's eyes", NULL);
		if (dir[i].lost)
			nftw(dir[i].path[c], hear_error, 10, FTW_PHYS);
	}
}

static void change_hands(void)
{
	unsigned int i;

	for (i = 0; i < dirs; i++) {
		if (rnd(&rng, 3))
			continue;
		if (give_back(dir[i].path[dir[i].owner]))
			wrong("round %u: checkin of %s: %s", round_no, dir[i].path[dir[i].owner],
			      errname(errno));
		take(&dir[i], rnd(&rng, clients), "after checkin");
	}
}

static void set_up(char **mnts)
{
	unsigned int c, i;

	stop = mmap(NULL, sizeof(*stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	dirs = clients;
	dir = calloc(dirs, sizeof(*dir));
	if (stop == MAP_FAILED || !dir)
		die("memory");
	for (c = 0; c < clients; c++) {
		client[c].mnt = mnts[c];
		mount_client(c);
	}
	for (i = 0; i < dirs; i++) {
		struct dir *d = &dir[i];

		for (c = 0; c < clients; c++)
			snprintf(d->path[c], PATH, "%s/d%u", client[c].mnt, i + 1);
		d->log = mmap(NULL, sizeof(*d->log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
		if (d->log == MAP_FAILED)
			die("memory");
		d->owner = i % clients;
		if (mkdir(d->path[d->owner], 0755))
			die("%s", d->path[d->owner]);
		d->owned = true;
		model_init(&d->base, i);
		set_trial(d);
		inspect_settle(d, "at the beginning");
	}
}

static void say_totals(void)
{
	unsigned int i;

	printf("# operations:");
	for (i = 0; i < WHATS; i++)
		printf(" %s %lu", what_names[i], total_ops[i]);
	printf("\n# faults:");
	for (i = 0; i < FAULTS; i++)
		printf(" %s %lu", fault_names[i], total_faults[i]);
	printf("\n# %lu directories were lost in the middle\n", total_lost);
}

int main(int argc, char **argv)
{
	unsigned int rounds, ms, every, i, begin, worked;

	if (argc == 3 && !strcmp(argv[1], "--self-test"))
		return self_test(atoi(argv[2]));
	if (argc < 7 || argc > 5 + CLIENTS) {
		fputs("usage: torture --self-test SEED\n"
		      "       torture SEED ROUNDS MILLISECONDS CHECK_EVERY MOUNT MOUNT...\n", stderr);
		return 2;
	}
	seed = atoi(argv[1]);
	rounds = atoi(argv[2]);
	ms = atoi(argv[3]);
	every = atoi(argv[4]);
	clients = argc - 5;
	rng = rnd_init(seed, 0, 0);
	set_up(argv + 5);
	for (round_no = 1; round_no <= rounds; round_no++) {
		rng = rnd_init(seed, round_no, WORKERS);
		begin = now_ms();
		work_and_faults(ms);
		worked = now_ms();
		inspect_all();
		printf("# round %u:", round_no);
		for (i = 0; i < dirs; i++)
			printf(" %u%s", get(&dir[i].log->done), dir[i].lost ? " (lost)" : "");
		printf(", %u + %u ms\n", worked - begin, now_ms() - worked);
		if (prog_failed)
			break;
		change_hands();
		if (!(round_no % every))
			ask("check");
	}
	say_totals();
	return prog_failed != 0;
}
