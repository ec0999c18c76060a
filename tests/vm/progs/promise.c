// SPDX-License-Identifier: GPL-2.0
/*
 * What a client was told is durable, and whether a disk has it after a power cut.
 *
 * promise work DEV SEED SECONDS DIR...	a worker in each DIR changes what is in it
 * promise look DEV SECONDS DIR...	reads there, through another mount
 * promise check SEED TOP ENTRIES	is TOP, with the first so many ENTRIES of DEV's log
 *					replayed, what was promised? stdin: what replay-log says
 *
 * 1. A worker's operations follow from SEED and the name of its directory alone; each is one
 *    system call. So operation K stands for all that was done up to it.
 * 2. When an operation that makes something durable has returned, and before the next one, a
 *    mark "NAME K" goes into the log of DEV (dm-log-writes). The file "now" is given the
 *    number of an operation now and then; who reads it there marks "look NAME K", for
 *    readers see durable state only.
 * 3. Names, attributes and small contents must be as they were after some operation J, from
 *    the last promised one to the last that can have been issued: that of the next mark.
 * 4. Each word of a bulk file names the file, the write that it came by and its place. It came by the
 *    last write that was made durable or a later one. Only if there is a later one
 *    may the size be another.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>

#include "archil.h"
#include "prog.h"

#define DIRS	3		/* the worker's own and two in it */
#define NAMES	8		/* in each */
#define SLOTS	(DIRS * NAMES)
#define PAGE	4096
#define SMALL	(3 * PAGE)	/* small files are no larger, bulk files are no smaller */
#define BULK	(200 << 10)
#define PATH	512
#define FILES	(1 << 16)	/* of one worker, over its life */

/* ---- the model ---- */

enum kind { SMALL_FILE, BULK_FILE, SYMLINK, DIRECTORY };

struct inode {
	enum kind kind;
	unsigned int id, links, mode, xattr, size;
	unsigned int gen;		/* of bulk: counts writes */
	unsigned int durable;		/* of bulk: its gen at the last sync */
	unsigned long changed;		/* operation that changed it last, but bulk data */
	unsigned char *data;		/* of small files */
};

enum what {
	SETUP, NOW, CREATE, WRITE, CUT, BULK_WRITE, BULK_CUT, BULK_STORE, CHMOD, SETXATTR, RENAME, EXCHANGE,
	LINK, UNLINK, SYNC_FILE, SYNC_DIR, SYNC_ALL, CHECKIN, CHECKOUT, IDLE
};

struct op {
	enum what what;
	int a, b;			/* slots; a directory */
	unsigned int at, len, value;
	bool sync;			/* O_SYNC */
};

struct model {
	uint64_t seed;
	unsigned long ops;		/* done, of which the last is this less one */
	unsigned int made;
	struct inode *slot[SLOTS];
	unsigned long dir_changed[DIRS];
	int dir, last;			/* changed by the last operation: directory and slot, or -1 */
	unsigned long now;
	unsigned long promised;		/* all up to this one is durable */
	enum what phase;		/* CHECKIN: it is checked in */
};

static unsigned int rnd(struct model *m, unsigned int below)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return (m->seed >> 11) % below;
}

static void model_init(struct model *m, unsigned long seed, const char *name)
{
	memset(m, 0, sizeof(*m));
	m->seed = fnv(FNV_INIT + seed, name, strlen(name)) | 1;
	m->phase = IDLE;
	m->dir = m->last = -1;
}

static void drop(struct inode *in)
{
	if (--in->links)
		return;
	free(in->data);
	free(in);
}

static void model_end(struct model *m)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (m->slot[i])
			drop(m->slot[i]);
}

static void small_contents(unsigned char *buf, unsigned long op, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		buf[i] = 'a' + (op + i / 7 + i % 11) % 26;
}

static uint64_t bulk_word(const struct inode *in, unsigned int gen, unsigned int at)
{
	return (uint64_t)gen << 48 | (uint64_t)in->id << 24 | at / 8;
}

static bool is_file(const struct inode *in, enum kind kind)
{
	return in && in->kind == kind;
}

/* May a take b's place? */
static bool may_replace(const struct inode *a, const struct inode *b)
{
	return !b || (a != b && (a->kind == DIRECTORY) == (b->kind == DIRECTORY));
}

/* The next operation; it is possible. */
static struct op choose(struct model *m)
{
	struct op op = { .what = IDLE };
	struct inode *a, *b;

	if (!m->ops)
		return (struct op){ .what = SETUP };
	if (m->phase == CHECKIN)
		return (struct op){ .what = rnd(m, 2) ? CHECKOUT : IDLE };
	if ((m->last >= 0 || m->dir >= 0) && !rnd(m, 4)) {
		op.what = m->last >= 0 && m->slot[m->last] && m->slot[m->last]->kind != SYMLINK ?
			SYNC_FILE : m->dir >= 0 ? SYNC_DIR : IDLE;
		op.a = op.what == SYNC_FILE ? m->last : m->dir;
		if (op.what != IDLE)
			return op;
	}
	for (;;) {
		op.a = rnd(m, SLOTS);
		op.b = rnd(m, SLOTS);
		op.value = rnd(m, 1 << 20);
		op.sync = !rnd(m, 12);
		a = m->slot[op.a];
		b = m->slot[op.b];
		switch (rnd(m, 24)) {
		case 0: case 1:
			op.what = NOW;
			return op;
		case 2: case 3: case 4:
			op.what = CREATE;
			if (a || m->made >= FILES - 1)
				break;
			return op;
		case 5: case 6: case 7: case 8:
			op.what = WRITE;
			if (!is_file(a, SMALL_FILE))
				break;
			op.at = rnd(m, 3) ? 0 : a->size;
			op.len = rnd(m, 3) ? 1 + rnd(m, 500) : 1 + rnd(m, SMALL);
			if (op.at + op.len > SMALL)
				break;
			return op;
		case 9:
			op.what = CUT;
			if (!is_file(a, SMALL_FILE))
				break;
			op.len = rnd(m, 2) ? 0 : rnd(m, SMALL);
			return op;
		case 10: case 11:
			op.what = BULK_WRITE;
			if (!is_file(a, BULK_FILE) || a->gen > 60000)
				break;
			op.len = 20000 + rnd(m, (BULK - 20000) / 8) * 8;
			if (op.len < a->size)
				op.len = a->size;
			return op;
		case 12:
			op.what = rnd(m, 3) ? BULK_STORE : BULK_CUT;
			if (!is_file(a, BULK_FILE) || !a->size || a->gen > 60000)
				break;
			return op;
		case 13:
			op.what = CHMOD;
			if (!a || a->kind == SYMLINK)
				break;
			return op;
		case 14:
			op.what = SETXATTR;
			if (!a || a->kind == SYMLINK)
				break;
			return op;
		case 15: case 16:
			op.what = RENAME;
			if (!a || op.a == op.b || !may_replace(a, b))
				break;
			return op;
		case 17:
			op.what = EXCHANGE;
			if (!a || !b || a == b)
				break;
			return op;
		case 18:
			op.what = LINK;
			if (!a || b || a->kind == DIRECTORY)
				break;
			return op;
		case 19: case 20:
			op.what = UNLINK;
			if (!a)
				break;
			return op;
		case 21:
			op.what = SYNC_FILE;
			if (!a || a->kind == SYMLINK)
				break;
			return op;
		case 22:
			op.what = SYNC_DIR;
			op.a = rnd(m, DIRS);
			return op;
		case 23:
			if (rnd(m, 8))
				break;
			op.what = rnd(m, 3) ? SYNC_ALL : CHECKIN;
			return op;
		}
	}
}

static bool is_sync(const struct op *op)
{
	switch (op->what) {
	case SETUP: case SYNC_FILE: case SYNC_DIR: case SYNC_ALL: case CHECKIN: case CHECKOUT: case IDLE:
		return true;
	case WRITE: case BULK_WRITE:
		return op->sync;
	default:
		return false;
	}
}

static struct inode *make(struct model *m, const struct op *op)
{
	static const enum kind kinds[] = {
		SMALL_FILE, SMALL_FILE, SMALL_FILE, BULK_FILE, BULK_FILE, SYMLINK, DIRECTORY,
	};
	struct inode *in = calloc(1, sizeof(*in));

	if (!in)
		die("memory");
	in->kind = kinds[op->value % 7];
	in->id = ++m->made;
	in->links = 1;
	in->mode = in->kind == DIRECTORY ? 0755 : 0644;
	if (in->kind == SMALL_FILE) {
		in->data = calloc(1, SMALL);
		if (!in->data)
			die("memory");
	}
	return in;
}

static void all_durable(struct model *m)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (m->slot[i])
			m->slot[i]->durable = m->slot[i]->gen;
	m->promised = m->ops;
}

static void promise(struct model *m, unsigned long op)
{
	if (op > m->promised)
		m->promised = op;
}

static void touch(struct model *m, struct inode *in, int slot)
{
	if (in)
		in->changed = m->ops;
	m->last = slot;
}

static void touch_dir(struct model *m, int slot)
{
	m->dir = slot / NAMES;
	m->dir_changed[m->dir] = m->ops;
}

/* What a write does to a small file, up to a byte of it. */
static void small_write(struct model *m, const struct op *op, unsigned int from, unsigned int to)
{
	struct inode *in = m->slot[op->a];
	unsigned char buf[SMALL];

	small_contents(buf, m->ops, op->len);
	memcpy(in->data + op->at + from, buf + from, to - from);
	if (in->size < op->at + to)
		in->size = op->at + to;
}

/* Does an operation to the model. */
static void apply(struct model *m, const struct op *op)
{
	struct inode *a = m->slot[op->a], *b = m->slot[op->b];

	if (op->what != SYNC_FILE && op->what != SYNC_DIR && op->what != IDLE)
		m->dir = m->last = -1;
	switch (op->what) {
	case SETUP: case SYNC_ALL:
		all_durable(m);
		break;
	case CHECKIN:
		all_durable(m);
		m->phase = CHECKIN;
		break;
	case CHECKOUT:
		m->phase = IDLE;
		break;
	case IDLE:
		break;
	case NOW:
		m->now = m->ops;
		break;
	case CREATE:
		a = m->slot[op->a] = make(m, op);
		touch(m, a, op->a);
		touch_dir(m, op->a);
		break;
	case WRITE:
		small_write(m, op, 0, op->len);
		touch(m, a, op->a);
		break;
	case CUT:
		if (op->len < a->size)
			memset(a->data + op->len, 0, a->size - op->len);
		a->size = op->len;
		touch(m, a, op->a);
		break;
	case BULK_WRITE:
		a->size = op->len;
		a->gen++;
		m->last = op->a;
		break;
	case BULK_CUT:
		a->size = 0;
		a->gen++;
		m->last = op->a;
		break;
	case BULK_STORE:
		a->gen++;
		m->last = op->a;
		break;
	case CHMOD:
		a->mode = 0600 + op->value % 64 + (a->kind == DIRECTORY ? 0100 : 0);
		touch(m, a, op->a);
		break;
	case SETXATTR:
		a->xattr = op->value + 1;
		touch(m, a, op->a);
		break;
	case RENAME:
		m->slot[op->a] = NULL;
		m->slot[op->b] = a;
		if (b)
			drop(b);
		touch(m, a, op->b);
		touch_dir(m, op->a);
		touch_dir(m, op->b);
		break;
	case EXCHANGE:
		m->slot[op->a] = b;
		m->slot[op->b] = a;
		touch(m, b, op->a);
		touch(m, a, op->b);
		touch_dir(m, op->a);
		touch_dir(m, op->b);
		break;
	case LINK:
		m->slot[op->b] = a;
		a->links++;
		touch(m, a, op->b);
		touch_dir(m, op->b);
		break;
	case UNLINK:
		m->slot[op->a] = NULL;
		a->changed = m->ops;
		drop(a);
		touch_dir(m, op->a);
		break;
	case SYNC_FILE:
		promise(m, a->changed);
		a->durable = a->gen;
		break;
	case SYNC_DIR:
		promise(m, m->dir_changed[op->a]);
		break;
	}
	if (op->sync && op->what == WRITE)
		promise(m, m->ops);
	if (op->sync && op->what == BULK_WRITE) {
		promise(m, a->changed);
		a->durable = a->gen;
	}
	m->ops++;
}

/* ---- doing it ---- */

static void path_of(char *path, const char *top, int slot)
{
	static const char *const dirs[DIRS] = { "", "/s1", "/s2" };

	snprintf(path, PATH, "%.400s%s/n%d", top, dirs[slot / NAMES], slot % NAMES);
}

static void dir_path(char *path, const char *top, int dir)
{
	snprintf(path, PATH, dir ? "%.400s/s%d" : "%.400s", top, dir);
}

/* For symlinks and xattrs: a text that says which. */
static void text_of(char *text, const char *what, unsigned int n)
{
	snprintf(text, 64, "%s %u", what, n);
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags, 0644);

	if (fd < 0)
		die("open %s", path);
	return fd;
}

static void sync_path(const char *path, bool all)
{
	int fd = opened(path, O_RDONLY);

	if (all ? syncfs(fd) : fsync(fd))
		die("sync %s", path);
	close(fd);
}

static void write_all(const char *path, const void *buf, unsigned int len, unsigned int at, int flags)
{
	int fd = opened(path, O_WRONLY | flags);

	if (pwrite(fd, buf, len, at) != (ssize_t)len)
		die("write %s", path);
	close(fd);
}

static void bulk_fill(uint64_t *words, const struct inode *in, unsigned int gen, unsigned int len)
{
	unsigned int at;

	for (at = 0; at < len; at += 8)
		words[at / 8] = bulk_word(in, gen, at);
}

static void bulk_store(const char *path, const struct inode *in)
{
	int fd = opened(path, O_RDWR);
	void *map = mmap(NULL, in->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		die("mmap %s", path);
	bulk_fill(map, in, in->gen + 1, in->size);
	munmap(map, in->size);
	close(fd);
}

static void setup(const char *top)
{
	char path[PATH];
	int i;

	if (mkdir(top, 0755))
		die("mkdir %s", top);
	for (i = 1; i < DIRS; i++) {
		dir_path(path, top, i);
		if (mkdir(path, 0755))
			die("mkdir %s", path);
	}
	snprintf(path, sizeof(path), "%.400s/now", top);
	write_all(path, "0000000000", 10, 0, O_CREAT | O_EXCL);
	sync_path(top, true);
}

static int create(const char *path, enum kind kind, unsigned int id)
{
	char text[64];

	switch (kind) {
	case SYMLINK:
		text_of(text, "nowhere", id);
		return symlink(text, path);
	case DIRECTORY:
		return mkdir(path, 0755);
	default:
		return mknod(path, S_IFREG | 0644, 0);
	}
}

static int own(const char *path, bool give_back)
{
	struct archil_ioc_checkout out = { .size = sizeof(out) };
	struct archil_ioc_checkin in = { .size = sizeof(in) };
	int fd = opened(path, O_RDONLY | O_DIRECTORY), rc;

	rc = give_back ? ioctl(fd, ARCHIL_IOC_CHECKIN, &in) : ioctl(fd, ARCHIL_IOC_CHECKOUT, &out);
	close(fd);
	return rc;
}

/* Does an operation to the disk; the model is as it was before. */
static void perform(struct model *m, const struct op *op, const char *top)
{
	char path[PATH], to[PATH], text[64];
	static __thread uint64_t bulk[BULK / 8];
	struct inode *a = m->slot[op->a];
	unsigned char small[SMALL];
	struct op now = *op;
	int rc = 0;

	path_of(path, top, op->a);
	path_of(to, top, op->b);
	switch (op->what) {
	case SETUP:
		setup(top);
		break;
	case NOW:
		snprintf(path, sizeof(path), "%.400s/now", top);
		snprintf(text, sizeof(text), "%010lu", m->ops);
		write_all(path, text, 10, 0, 0);
		break;
	case CREATE: {
		/* what kind it is, the model says */
		struct model probe = { 0 };
		struct inode *in = make(&probe, &now);

		rc = create(path, in->kind, m->made + 1);
		drop(in);
		break;
	}
	case WRITE:
		small_contents(small, m->ops, op->len);
		write_all(path, small, op->len, op->at, op->sync ? O_SYNC : 0);
		break;
	case CUT:
		rc = truncate(path, op->len);
		break;
	case BULK_WRITE:
		bulk_fill(bulk, a, a->gen + 1, op->len);
		write_all(path, bulk, op->len, 0, op->sync ? O_SYNC : 0);
		break;
	case BULK_CUT:
		rc = truncate(path, 0);
		break;
	case BULK_STORE:
		bulk_store(path, a);
		break;
	case CHMOD:
		rc = chmod(path, 0600 + op->value % 64 + (a->kind == DIRECTORY ? 0100 : 0));
		break;
	case SETXATTR:
		text_of(text, "value", op->value + 1);
		rc = setxattr(path, "user.promise", text, strlen(text), 0);
		break;
	case RENAME:
		rc = rename(path, to);
		break;
	case EXCHANGE:
		rc = renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_EXCHANGE);
		break;
	case LINK:
		rc = link(path, to);
		break;
	case UNLINK:
		rc = a->kind == DIRECTORY ? rmdir(path) : unlink(path);
		break;
	case SYNC_FILE:
		sync_path(path, false);
		break;
	case SYNC_DIR:
		dir_path(path, top, op->a);
		sync_path(path, false);
		break;
	case SYNC_ALL:
		sync_path(top, true);
		break;
	case CHECKIN: case CHECKOUT:
		rc = own(top, op->what == CHECKIN);
		break;
	case IDLE:
		break;
	}
	if (rc)
		die("%s: operation %lu, a %d %s", top, m->ops, op->what, path);
}

/* ---- marks ---- */

static int dm_fd;
static const char *dm_name;

__attribute__((format(printf, 1, 2)))
static void mark(const char *fmt, ...)
{
	struct {
		struct dm_ioctl head;
		struct dm_target_msg msg;
		char text[128];
	} arg;
	va_list ap;
	size_t n;

	memset(&arg, 0, sizeof(arg));
	arg.head.version[0] = DM_VERSION_MAJOR;
	arg.head.data_size = sizeof(arg);
	arg.head.data_start = offsetof(typeof(arg), msg);
	snprintf(arg.head.name, sizeof(arg.head.name), "%s", dm_name);
	/* words are split at blanks: one is one word */
	n = sprintf(arg.msg.message, "mark ");
	va_start(ap, fmt);
	vsnprintf(arg.msg.message + n, sizeof(arg.text) - n, fmt, ap);
	va_end(ap);
	if (ioctl(dm_fd, DM_TARGET_MSG, &arg))
		die("mark %s", arg.msg.message);
}

static void marks_open(const char *name)
{
	dm_name = name;
	dm_fd = opened("/dev/mapper/control", O_RDWR);
}

struct worker {
	pthread_t thread;
	const char *top, *name;
	unsigned long seed, ops, marks;
	time_t end;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct model m;
	struct op op;

	model_init(&m, w->seed, w->name);
	while (time(NULL) < w->end || m.phase == CHECKIN) {
		op = choose(&m);
		perform(&m, &op, w->top);
		if (is_sync(&op)) {
			mark("%s:%lu", w->name, m.ops);
			w->marks++;
		}
		apply(&m, &op);
	}
	mark("done:%s", w->name);
	w->ops = m.ops;
	model_end(&m);
	return NULL;
}

static void *look(void *arg)
{
	struct worker *w = arg;
	unsigned long now, last = 0;
	char path[PATH], text[32];
	int fd, err;
	ssize_t n;

	snprintf(path, sizeof(path), "%.400s/now", w->top);
	while (time(NULL) < w->end) {
		fd = open(path, O_RDONLY);
		n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		err = errno;
		if (fd >= 0)
			close(fd);
		if (n > 0) {
			text[n] = '\0';
			now = strtoul(text, NULL, 10);
			if (now < last)
				wrong("%s: %lu after %lu was read", path, now, last);
			if (now > last) {
				mark("look:%s:%lu", w->name, now);
				w->marks++;
			}
			last = now;
		} else if (n < 0 && err != ENOENT) {
			wrong("%s: %s", path, errname(err));
		}
		usleep(20000);
	}
	return NULL;
}

static int run(void *(*func)(void *arg), unsigned long seed, int seconds, int n, char **dirs)
{
	struct worker *w = calloc(n, sizeof(*w));
	unsigned long ops = 0, marks = 0;
	int i;

	for (i = 0; i < n; i++) {
		w[i].top = dirs[i];
		w[i].name = strrchr(dirs[i], '/') + 1;
		w[i].seed = seed;
		w[i].end = time(NULL) + seconds;
		if (pthread_create(&w[i].thread, NULL, func, &w[i]))
			die("thread");
	}
	for (i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		ops += w[i].ops;
		marks += w[i].marks;
	}
	printf("%lu operations, %lu marks\n", ops, marks);
	free(w);
	return prog_failed != 0;
}

/* ---- is it there? ---- */

/* What is found in a slot. */
struct found {
	struct stat st;			/* st_mode 0: nothing */
	char target[64], xattr[64];
	unsigned char *data;
};

static struct found found[SLOTS];
static char found_now[32];
/* By id: of bulk, the gen that is promised, and the last that can be there, and its size. */
static unsigned int durable[FILES], last_gen[FILES], last_size[FILES];

static void load(struct found *f, const char *path)
{
	ssize_t n;
	int fd;

	memset(f, 0, sizeof(*f));
	if (lstat(path, &f->st)) {
		if (errno != ENOENT)
			wrong("%s: %s", path, errname(errno));
		memset(f, 0, sizeof(*f));
		return;
	}
	if (S_ISLNK(f->st.st_mode)) {
		n = readlink(path, f->target, sizeof(f->target) - 1);
		if (n < 0)
			wrong("%s: readlink: %s", path, errname(errno));
		return;
	}
	n = getxattr(path, "user.promise", f->xattr, sizeof(f->xattr) - 1);
	if (n < 0 && errno != ENODATA)
		wrong("%s: getxattr: %s", path, errname(errno));
	if (!S_ISREG(f->st.st_mode))
		return;
	f->data = malloc(f->st.st_size + 1);
	fd = open(path, O_RDONLY);
	n = f->data && fd >= 0 ? read(fd, f->data, f->st.st_size) : -1;
	if (n != f->st.st_size)
		wrong("%s: of %lld bytes, %zd were read: %s", path, (long long)f->st.st_size, n,
		      n < 0 ? errname(errno) : "");
	close(fd);
}

/* Nothing is there but the names that a worker uses. */
static void only_known(const char *top, int dir)
{
	char path[PATH];
	struct dirent *e;
	DIR *d;

	dir_path(path, top, dir);
	d = opendir(path);
	if (!d) {
		wrong("%s: %s", path, errname(errno));
		return;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || (e->d_name[0] == 'n' && e->d_name[1] >= '0' &&
					    e->d_name[1] < '0' + NAMES && !e->d_name[2]))
			continue;
		if (!dir && (!strcmp(e->d_name, "now") || !strcmp(e->d_name, "s1") ||
			     !strcmp(e->d_name, "s2")))
			continue;
		wrong("%s/%s: nobody made it", path, e->d_name);
	}
	closedir(d);
}

static void load_all(const char *top)
{
	char path[PATH];
	ssize_t n;
	int i, fd;

	for (i = 0; i < DIRS; i++)
		only_known(top, i);
	for (i = 0; i < SLOTS; i++) {
		free(found[i].data);
		path_of(path, top, i);
		load(&found[i], path);
	}
	memset(found_now, 0, sizeof(found_now));
	snprintf(path, sizeof(path), "%.400s/now", top);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, found_now, sizeof(found_now) - 1);
	if (n < 0)
		wrong("%s: %s", path, errname(errno));
	close(fd);
}

/* What differs in a slot, but a bulk file's data; NULL: nothing. */
static const char *differs(struct model *m, int slot)
{
	static const mode_t types[] = { S_IFREG, S_IFREG, S_IFLNK, S_IFDIR };
	struct inode *in = m->slot[slot];
	struct found *f = &found[slot];
	char text[64] = "";
	int i;

	if (!in || !f->st.st_mode)
		return !in == !f->st.st_mode ? NULL : in ? "not there" : "there";
	if ((f->st.st_mode & S_IFMT) != types[in->kind])
		return "its type";
	for (i = 0; i < SLOTS; i++)
		if (found[i].st.st_mode &&
		    (m->slot[i] == in) != (found[i].st.st_ino == f->st.st_ino))
			return "who it is";
	if (in->kind == SYMLINK) {
		text_of(text, "nowhere", in->id);
		return strcmp(text, f->target) ? "where it points" : NULL;
	}
	if ((f->st.st_mode & 07777) != in->mode)
		return "its mode";
	if (in->xattr)
		text_of(text, "value", in->xattr);
	if (strcmp(text, f->xattr))
		return "its xattr";
	if (in->kind == DIRECTORY)
		return NULL;
	if (f->st.st_nlink != in->links)
		return "its links";
	if (in->kind == BULK_FILE)
		return NULL;
	if (f->st.st_size != in->size)
		return "its size";
	return memcmp(f->data, in->data, in->size) ? "what is in it" : NULL;
}

/* How many slots differ; tells of them. */
static int compare(struct model *m, bool tell)
{
	char text[32];
	const char *what;
	int i, n = 0;

	snprintf(text, sizeof(text), "%010lu", m->now);
	if (strcmp(text, found_now)) {
		n++;
		if (tell)
			printf("    now: is %s, not %s\n", found_now, text);
	}
	for (i = 0; i < SLOTS; i++) {
		what = differs(m, i);
		if (!what)
			continue;
		n++;
		if (tell)
			printf("    s%d/n%d (%u): %s\n", i / NAMES, i % NAMES,
			       m->slot[i] ? m->slot[i]->id : 0, what);
	}
	return n;
}

/* Does a bulk file have what it may? Tells what it should not. */
static bool check_bulk(const char *top, const struct inode *in, const struct found *f, bool tell)
{
	unsigned int least = durable[in->id], most = last_gen[in->id];
	const uint64_t *words = (const uint64_t *)f->data;
	unsigned int i, n = f->st.st_size / 8, gen;
	bool good = true;

	if (f->st.st_size % 8 || f->st.st_size > BULK ||
	    (least == most && f->st.st_size != last_size[in->id])) {
		good = false;
		if (tell)
			wrong("%s: bulk file %u has %lld bytes; promised is write %u, the last is %u of %u bytes",
			      top, in->id, (long long)f->st.st_size, least, most, last_size[in->id]);
	}
	for (i = 0; i < n; i++) {
		gen = words[i] >> 48;
		if (gen >= least && gen && gen <= most && words[i] == bulk_word(in, gen, i * 8))
			continue;
		if (tell)
			wrong("%s: bulk file %u at %u: %016llx; promised is write %u, the last is %u", top,
			      in->id, i * 8, (unsigned long long)words[i], least, most);
		return false;
	}
	return good;
}

static bool check_bulks(const char *top, struct model *m, bool tell)
{
	bool good = true;
	int i;

	for (i = 0; i < SLOTS; i++)
		if (is_file(m->slot[i], BULK_FILE))
			good &= check_bulk(top, m->slot[i], &found[i], tell);
	return good;
}

/* Also in the middle of a write of several pages, if the next operation is one. */
static int least_different(struct model *m, const struct op *op)
{
	int n = compare(m, false), some;
	unsigned int page, from = 0;

	if (!op || op->what != WRITE)
		return n;
	for (page = op->at / PAGE + 1; n && page * PAGE < op->at + op->len; page++) {
		small_write(m, op, from, page * PAGE - op->at);
		from = page * PAGE - op->at;
		some = compare(m, false);
		n = some < n ? some : n;
	}
	return n;
}

/* SEEN was promised by who looked, what was done up to MARKED and then up to NEXT by the worker. */
static void check_one(unsigned long seed, const char *top, const char *name, long marked, long next,
		      unsigned long seen)
{
	bool last = next < 0;
	unsigned long promised = 0, best = 0;
	int n, least = INT_MAX, i;
	bool good = false;
	struct model m;
	struct op op;

	/* it has marked nothing any more, so it did not do much */
	if (last)
		next = marked + 1000;
	load_all(top);
	memset(durable, 0, sizeof(durable));
	model_init(&m, seed, name);
	do {
		op = choose(&m);
		apply(&m, &op);
		if ((long)m.ops == marked + 1) {
			promised = m.promised;
			printf("own %s %s\n", name, m.phase == CHECKIN ? "no" : "yes");
			for (i = 0; i < SLOTS; i++)
				if (m.slot[i])
					durable[m.slot[i]->id] = m.slot[i]->durable;
		}
		for (i = 0; i < SLOTS; i++)
			if (m.slot[i]) {
				last_gen[m.slot[i]->id] = m.slot[i]->gen;
				last_size[m.slot[i]->id] = m.slot[i]->size;
			}
	} while ((long)m.ops <= next);
	if (last || op.what == CHECKIN || op.what == CHECKOUT)
		printf("own %s maybe\n", name);
	model_end(&m);
	if (seen > promised)
		promised = seen;

	/* Names alike may be of bulk files that are not: of two that were exchanged. */
	model_init(&m, seed, name);
	while ((long)m.ops <= next + 1 && !good) {
		op = choose(&m);
		if (m.ops > promised) {
			n = least_different(&m, (long)m.ops <= next ? &op : NULL);
			if (n < least) {
				least = n;
				best = m.ops;
			}
			if (!n && check_bulks(top, &m, false)) {
				best = m.ops;
				good = true;
			}
		}
		apply(&m, &op);
	}
	model_end(&m);
	if (good) {
		printf("%s: operation %lu, promised %lu, in flight up to %ld\n", name, best - 1,
		       promised, next);
		return;
	}
	wrong("%s: promised is operation %lu, in flight up to %ld; it looks most like %lu:", top,
	      promised, next, best - 1);
	model_init(&m, seed, name);
	while (m.ops < best) {
		op = choose(&m);
		apply(&m, &op);
	}
	compare(&m, true);
	check_bulks(top, &m, true);
	model_end(&m);
}

/* Who has marked, and how far. */
static struct marks {
	char name[64];
	long marked, next;
	unsigned long seen;
} all[64];

static struct marks *marks_of(const char *name)
{
	struct marks *w;

	for (w = all; w < all + 63 && w->name[0]; w++)
		if (!strcmp(w->name, name))
			return w;
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->marked = w->next = -1;
	return w;
}

static int check(unsigned long seed, const char *top, unsigned long upto)
{
	char line[128], name[64], path[PATH];
	unsigned long place, number, checked = 0;
	struct marks *w;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%lu look:%63[^:]:%lu", &place, name, &number) == 3) {
			w = marks_of(name);
			if (place <= upto && number > w->seen)
				w->seen = number;
		} else if (sscanf(line, "%lu %63[^:]:%lu", &place, name, &number) == 3) {
			w = marks_of(name);
			if (place <= upto)
				w->marked = number;
			else if (w->next < 0)
				w->next = number;
		}
	}
	for (w = all; w->name[0]; w++) {
		if (w->marked < 0)
			continue;
		snprintf(path, sizeof(path), "%.300s/%.63s", top, w->name);
		check_one(seed, path, w->name, w->marked, w->next, w->seen);
		checked++;
	}
	if (!checked)
		wrong("nothing was promised by then");
	return prog_failed != 0;
}

int main(int argc, char **argv)
{
	umask(0);
	if (argc >= 6 && !strcmp(argv[1], "work")) {
		marks_open(argv[2]);
		return run(work, strtoul(argv[3], NULL, 10), atoi(argv[4]), argc - 5, argv + 5);
	}
	if (argc >= 5 && !strcmp(argv[1], "look")) {
		marks_open(argv[2]);
		return run(look, 0, atoi(argv[3]), argc - 4, argv + 4);
	}
	if (argc == 5 && !strcmp(argv[1], "check"))
		return check(strtoul(argv[2], NULL, 10), argv[3], strtoul(argv[4], NULL, 10));
	fputs("usage: promise work DEV SEED SECONDS DIR... | look DEV SECONDS DIR... |\n"
	      "       check SEED TOP ENTRIES\n", stderr);
	return 2;
}
