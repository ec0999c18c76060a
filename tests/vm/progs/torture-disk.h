/* SPDX-License-Identifier: GPL-2.0 */
/*
 * torture: operations on a real directory, and what is found in one.
 */
#ifndef TORTURE_DISK_H
#define TORTURE_DISK_H

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "archil.h"
#include "prog.h"
#include "torture-model.h"

#define PATH	400

/* What a worker has open. */
struct hands {
	const char *top;		/* its directory, in its mount */
	int top_fd;			/* since the round began: hears of all that is lost */
	int held_fd;			/* of model.held, or -1 */
	void *buf;			/* BULK_MAX bytes, page aligned */
};

static int own(const char *path, bool force)
{
	struct archil_ioc_checkout arg = {
		.size = sizeof(arg), .flags = force ? ARCHIL_CHECKOUT_FORCE : 0
	};
	int fd = open(path, O_RDONLY), rc, err;

	if (fd < 0)
		return -1;
	rc = ioctl(fd, ARCHIL_IOC_CHECKOUT, &arg);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static int give_back(const char *path)
{
	struct archil_ioc_checkin arg = { .size = sizeof(arg) };
	int fd = open(path, O_RDONLY), rc, err;

	if (fd < 0)
		return -1;
	rc = ioctl(fd, ARCHIL_IOC_CHECKIN, &arg);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static void dir_path(struct model *m, uint32_t dir, const char *top, char *path)
{
	struct node *n = node_of(m, dir);
	size_t len;

	if (dir == TOP) {
		snprintf(path, PATH, "%s", top);
		return;
	}
	dir_path(m, n->parent, top, path);
	len = strlen(path);
	snprintf(path + len, PATH - len, "/n%u", n->name);
}

static void name_path(struct model *m, uint32_t dir, uint32_t name, const char *top, char *path)
{
	size_t len;

	dir_path(m, dir, top, path);
	len = strlen(path);
	snprintf(path + len, PATH - len, "/n%u", name);
}

/* An xattr's value, of a length that follows from its number. */
static size_t xattr_value(char *buf, uint32_t number)
{
	size_t len = 10 + number % 200;

	memset(buf, 'a' + number % 26, len);
	snprintf(buf, 10, "%09u", number);
	buf[9] = ' ';
	return len;
}

/* ---- bytes ---- */

static __thread sigjmp_buf bus_error;
static __thread volatile sig_atomic_t in_store;

static void on_sigbus(int sig)
{
	if (in_store)
		siglongjmp(bus_error, 1);
	_exit(99);
}

/* SIGBUS is EIO here. */
static int store(int fd, const void *buf, uint32_t len, uint32_t at)
{
	uint32_t from = at % PAGE;
	char *volatile map;
	volatile int rc = 0;

	map = mmap(NULL, len + from, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at - from);
	if (map == MAP_FAILED)
		return -1;
	if (!sigsetjmp(bus_error, 1)) {
		in_store = 1;
		memcpy(map + from, buf, len);
	} else {
		rc = -1;
	}
	in_store = 0;
	munmap(map, len + from);
	if (rc)
		errno = EIO;
	return rc;
}

static int write_how(const struct hands *h, const char *path, const struct op *op)
{
	static const int flags[] = {
		[BY_APPEND] = O_APPEND, [BY_SYNC] = O_SYNC, [BY_DIRECT] = O_DIRECT,
	};
	int fd = op->how == BY_HELD ? h->held_fd :
		open(path, op->how == BY_STORE ? O_RDWR : O_WRONLY | flags[op->how]);
	ssize_t rc;
	int err;

	if (fd < 0)
		return -1;
	if (op->how == BY_STORE)
		rc = store(fd, h->buf, op->len, op->at) ? -1 : (ssize_t)op->len;
	else if (op->how == BY_APPEND)
		rc = write(fd, h->buf, op->len);
	else
		rc = pwrite(fd, h->buf, op->len, op->at);
	err = rc < 0 ? errno : EIO;	/* a short write */
	if (op->how != BY_HELD)
		close(fd);
	errno = err;
	return rc == op->len ? 0 : -1;
}

static void fill(struct model *m, const struct op *op, void *buf)
{
	uint32_t gen = m->before + m->n + 1, at;
	uint64_t *words = buf;

	if (op->what == WRITE) {
		small_fill(buf, gen, op->at, op->len);
		return;
	}
	for (at = 0; at < op->len; at += 8)
		words[at / 8] = bulk_word(m->worker, op->id, gen, op->at + at);
}

/* ---- operations ---- */

static int create(const char *path, uint64_t *ino)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644), rc;
	struct stat st;

	if (fd < 0)
		return -1;
	rc = fstat(fd, &st);
	if (!rc)
		*ino = st.st_ino;
	close(fd);
	return rc;
}

static int fsync_path(const struct hands *h, const char *path, struct node *n)
{
	int fd, rc, err;

	if (n->id == TOP)
		return fsync(h->top_fd);
	/* opened for writing: who has lost the file cannot */
	fd = open(path, n->kind == DIRECTORY ? O_RDONLY : O_RDWR);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static int punch(const char *path, const struct op *op)
{
	int fd = open(path, O_RDWR), rc, err;

	if (fd < 0)
		return -1;
	rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op->at, op->len);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static int release(const struct hands *h, struct op *op)
{
	if (give_back(h->top))
		return -1;
	op->value = 1;	/* all before is durable */
	return own(h->top, false);
}

static uint64_t ns(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000ull + ts->tv_nsec;
}

/* Does @op, the next one; sets op->err. */
static void perform(struct model *m, struct hands *h, struct op *op)
{
	char path[PATH], to[PATH] = "", text[256];
	struct node *n = node_of(m, op->id);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } }, now;
	uint64_t ino = 0;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	op->began = ns(&now);
	if (op->dir)
		name_path(m, op->dir, op->name, h->top, path);
	if (op->dir2)
		name_path(m, op->dir2, op->name2, h->top, to);
	switch (op->what) {
	case CREATE:
		rc = create(path, &ino);
		break;
	case MKDIR:
		rc = mkdir(path, 0755);
		break;
	case MKSYMLINK:
		snprintf(text, sizeof(text), "to %u", op->id);
		rc = symlink(text, path);
		break;
	case WRITE: case BULK_WRITE:
		fill(m, op, h->buf);
		rc = write_how(h, path, op);
		break;
	case CUT: case BULK_CUT:
		rc = truncate(path, op->len);
		break;
	case PUNCH:
		rc = punch(path, op);
		break;
	case CHMOD:
		rc = chmod(path, op->value);
		break;
	case UTIMES:
		times[1].tv_sec = op->value * 1000000001ull / 1000000000;
		times[1].tv_nsec = op->value * 1000000001ull % 1000000000;
		rc = utimensat(AT_FDCWD, path, times, 0);
		break;
	case SETXATTR:
		snprintf(to, sizeof(to), "user.t%u", op->at);
		rc = setxattr(path, to, text, xattr_value(text, op->value), 0);
		break;
	case RMXATTR:
		snprintf(to, sizeof(to), "user.t%u", op->at);
		rc = removexattr(path, to);
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
		rc = unlink(path);
		break;
	case RMDIR:
		rc = rmdir(path);
		break;
	case HOLD:
		if (h->held_fd >= 0)
			close(h->held_fd);
		h->held_fd = rc = open(path, O_RDWR);
		break;
	case FSYNC:
		rc = fsync_path(h, path, n);
		break;
	case SYNCFS:
		rc = syncfs(h->top_fd);
		break;
	case RELEASE:
		/* a descriptor from before would not do any more */
		if (h->held_fd >= 0)
			close(h->held_fd);
		h->held_fd = -1;
		m->held = 0;
		rc = release(h, op);
		break;
	case WHATS:
		break;
	}
	op->err = rc < 0 ? errno : 0;
	if (ino)
		op->seen[0] = (struct seen){ .id = op->id, .ino = ino };
}

/*
 * After apply(): what the disk says of the nodes that @op touched. Nothing, if it was @taken away
 * meanwhile: that may be the server's state already. perform() has told a new file's number.
 */
static void look(struct model *m, const struct hands *h, struct op *op, const bool *taken)
{
	struct stat st[SEEN];
	uint32_t dir, name;
	unsigned int i, k = 0;
	char path[PATH];
	struct node *n, *seen[SEEN];

	for (i = 0; i < m->ntouched; i++) {
		n = node_of(m, m->touched[i]);
		if (!n)
			continue;
		if (n->kind == DIRECTORY)
			dir_path(m, n->id, h->top, path);
		else if (find_name(m, n->id, &dir, &name))
			name_path(m, dir, name, h->top, path);
		if (!lstat(path, &st[k]) && (!n->ino || n->ino == st[k].st_ino))
			seen[k++] = n;
	}
	if (__atomic_load_n(taken, __ATOMIC_ACQUIRE))
		return;
	for (i = 0; i < k; i++) {
		n = seen[i];
		if (n->mtime && n->mtime != ns(&st[i].st_mtim))
			wrong("%u: mtime %lu after a %s, should be %lu", n->id, ns(&st[i].st_mtim),
			      what_names[op->what], n->mtime);
		n->ino = st[i].st_ino;
		n->mtime = ns(&st[i].st_mtim);
		n->ctime = ns(&st[i].st_ctim);
		op->seen[i] = (struct seen){ n->id, n->ino, n->mtime, n->ctime };
	}
}

/* ---- what is there ---- */

struct scan {
	struct model *f;
	/* which inodes are bulk files, and their ids */
	bool (*is_bulk)(void *arg, uint64_t ino, uint32_t *id);
	void *arg;
	uint32_t worker;
	unsigned int errors;
	char path[PATH];		/* for people; the working directory is the one that is read */
};

__attribute__((format(printf, 2, 3)))
static void scan_wrong(struct scan *s, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!s->errors++)
		wrong("%s: %s", s->path, text);
}

/* A word of which the first bytes are @a's and the others @b's. */
static bool is_torn(uint64_t word, uint64_t a, uint64_t b)
{
	unsigned int bits;

	for (bits = 8; bits < 64; bits += 8)
		if (word == ((a & ((1ull << bits) - 1)) | (b >> bits << bits)))
			return true;
	return false;
}

/* Who wrote a word; or BLOCK_BAD. */
static uint32_t word_writer(uint64_t word, uint32_t worker, uint32_t id, uint32_t at)
{
	uint32_t gen = word >> 20 & 0xffffff;

	return !word || (gen && word == bulk_word(worker, id, gen, at)) ? gen : BLOCK_BAD;
}

static uint64_t word_of(uint32_t gen, uint32_t worker, uint32_t id, uint32_t at)
{
	return gen ? bulk_word(worker, id, gen, at) : 0;
}

/* Who wrote a block. */
static void scan_block(struct bulk_data *data, uint32_t block, const uint64_t *words, uint32_t worker,
		       uint32_t id)
{
	uint32_t at = block * BLOCK, i, who, last, next;

	last = word_writer(words[0], worker, id, at);
	block_set(data, block, last);
	for (i = 1; i < BLOCK / 8 && data->block[block] != BLOCK_BAD; i++) {
		at += 8;
		if (words[i] == word_of(last, worker, id, at))
			continue;
		who = word_writer(words[i], worker, id, at);
		next = i + 1 < BLOCK / 8 ? word_writer(words[i + 1], worker, id, at + 8) : BLOCK_BAD;
		if (next != BLOCK_BAD && next != who &&
		    is_torn(words[i], word_of(last, worker, id, at), word_of(next, worker, id, at)))
			continue;
		if (who == BLOCK_BAD)
			block_set(data, block, BLOCK_BAD);
		else if (!block_has(data, block, who))
			block_mix(data, block, who);
		last = who;
	}
}

/* A block that is nobody's or several writers': what begins where, for people. */
static void say_words(struct scan *s, uint32_t at, const uint64_t *words)
{
	uint32_t i;

	printf("#   %s: block %u, in the words from", s->path, at / BLOCK);
	for (i = 0; i < BLOCK / 8; i++)
		if (!i || words[i] - words[i - 1] != !!words[i])
			printf(" %u: %016lx", i, words[i]);
	putchar('\n');
}

static void scan_contents(struct scan *s, struct node *n, uint32_t id, int fd, const struct stat *st)
{
	static uint64_t buf[BULK_MAX / 8];
	ssize_t want = n->kind == SMALL ? SMALL_MAX : BULK_MAX, got = 0, rc = 0;
	uint32_t at, mixes = 0;

	n->size = st->st_size;
	if (st->st_size > want)
		scan_wrong(s, "size %ld", st->st_size);
	while (got < want && (rc = read(fd, (char *)buf + got, want - got)) > 0)
		got += rc;
	if (rc < 0)
		scan_wrong(s, "read: %s", errname(errno));
	else if (got != st->st_size)
		scan_wrong(s, "%ld bytes were read, the size is %ld", got, st->st_size);
	else if (n->kind == SMALL)
		memcpy(n->data, buf, got);
	else
		for (at = 0; at + BLOCK <= got; at += BLOCK) {
			scan_block(&n->bulk, at / BLOCK, buf + at / 8, s->worker, id);
			if (n->bulk.block[at / BLOCK] == BLOCK_BAD || n->bulk.mixes != mixes)
				say_words(s, at, buf + at / 8);
			mixes = n->bulk.mixes;
		}
}

static void scan_xattrs(struct scan *s, struct node *n, int fd)
{
	char name[16], value[256], want[256];
	ssize_t len, sum = 0, list = flistxattr(fd, value, sizeof(value));
	unsigned int i;

	for (i = 0; i < XATTRS && list; i++) {
		snprintf(name, sizeof(name), "user.t%u", i);
		len = fgetxattr(fd, name, value, sizeof(value) - 1);
		if (len < 0) {
			if (errno != ENODATA)
				scan_wrong(s, "%s: %s", name, errname(errno));
			continue;
		}
		sum += strlen(name) + 1;
		value[len] = '\0';
		n->xattr[i] = strtoul(value, NULL, 10);
		if (len != (ssize_t)xattr_value(want, n->xattr[i]) || memcmp(value, want, len))
			scan_wrong(s, "%s is '%s'", name, value);
	}
	if (list != sum)
		scan_wrong(s, "the list of xattrs is %ld bytes, should be %ld", list, sum);
}

static uint32_t scan_node(struct scan *s, const char *name);

static void scan_entries(struct scan *s, struct node *n, int fd, const struct stat *st)
{
	size_t len = strlen(s->path);
	unsigned int name, subdirs = 0;
	DIR *d = fdopendir(dup(fd));
	struct dirent *e;
	char end;

	if (!d || fchdir(fd)) {
		scan_wrong(s, "opendir: %s", errname(errno));
		return;
	}
	while ((errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (sscanf(e->d_name, "n%u%c", &name, &end) != 1 || name >= NAMES || n->slot[name]) {
			scan_wrong(s, "the listing has '%s'", e->d_name);
			continue;
		}
		snprintf(s->path + len, sizeof(s->path) - len, "/n%u", name);
		n->slot[name] = scan_node(s, e->d_name);
		if (n->slot[name]) {
			struct node *child = node_of(s->f, n->slot[name]);

			subdirs += child->kind == DIRECTORY;
			if (child->ino != e->d_ino)
				scan_wrong(s, "inode %lu, %lu in the listing", child->ino, e->d_ino);
		}
		s->path[len] = '\0';
		/* the one beneath may have changed it */
		if (fchdir(fd))
			scan_wrong(s, "fchdir: %s", errname(errno));
	}
	if (errno)
		scan_wrong(s, "readdir: %s", errname(errno));
	closedir(d);
	if (st->st_nlink != 2 + subdirs)
		scan_wrong(s, "%lu links with %u subdirectories", st->st_nlink, subdirs);
}

/* Reads what is at @name; its id in s->f, or 0. */
static uint32_t scan_node(struct scan *s, const char *name)
{
	int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	struct node *n = NULL;
	uint32_t id = 0;
	struct stat st;
	char text[64];
	ssize_t len;

	if ((fd < 0 && errno != ELOOP) || (fd < 0 ? lstat(name, &st) : fstat(fd, &st))) {
		scan_wrong(s, "%s", errname(errno));
		goto out_close;
	}
	while ((n = node_next(s->f, n)))
		if (n->ino == st.st_ino && n->kind != DIRECTORY)
			goto out_close;
	n = node_new(s->f, ++s->f->last_id, SYMLINK);
	if (!n) {
		scan_wrong(s, "there are too many files");
		goto out_close;
	}
	n->ino = st.st_ino;
	n->mode = st.st_mode & 07777;
	n->links = st.st_nlink;
	n->mtime = ns(&st.st_mtim);
	n->ctime = ns(&st.st_ctim);
	if (S_ISDIR(st.st_mode)) {
		n->kind = DIRECTORY;
		n->links = 1;
		scan_xattrs(s, n, fd);
		scan_entries(s, n, fd, &st);
	} else if (S_ISREG(st.st_mode)) {
		n->kind = s->is_bulk(s->arg, st.st_ino, &id) ? BULK : SMALL;
		scan_xattrs(s, n, fd);
		scan_contents(s, n, id, fd, &st);
	} else if (S_ISLNK(st.st_mode)) {
		len = readlink(name, text, sizeof(text) - 1);
		text[len > 0 ? len : 0] = '\0';
		if (sscanf(text, "to %u", &n->size) != 1)
			scan_wrong(s, "the target is '%s'", text);
	} else {
		scan_wrong(s, "mode %o", st.st_mode);
	}
out_close:
	if (fd >= 0)
		close(fd);
	return n ? n->id : 0;
}

/* False: it could not be read, or is nothing like what workers make; that was told. */
static bool scan(struct scan *s, const char *top)
{
	uint32_t id;

	memset(s->f, 0, sizeof(*s->f));
	s->errors = 0;
	snprintf(s->path, sizeof(s->path), "%s", top);
	id = scan_node(s, top);
	if (chdir("/"))
		die("/");
	return id == TOP && !s->errors;
}

#endif
