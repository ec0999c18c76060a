// SPDX-License-Identifier: GPL-2.0
/*
 * orphans DIR SECONDS SEED: threads make files in DIR, open them, take their names away, by
 * unlink, by rename over them, or by never giving them one, and go on with them: write,
 * store through mappings, cut, read, sync. DIR may be given back and checked out meanwhile and
 * the server be killed: names cannot be changed at times, but what has none any more
 * works as if nothing happened, and is always as it was left. Says how many there were.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "prog.h"

#define THREADS	4
#define MAX	(40 * 1024)	/* bytes of a file: small ones and others */
#define KINDS	4

struct worker {
	pthread_t thread;
	unsigned int nr, seed, kind;
	unsigned long made, refused, linked;
	int fd;
	unsigned char *map;
	unsigned char model[MAX];
	unsigned int size;
};

static struct worker workers[THREADS];
static time_t end;

static unsigned int rnd(struct worker *w, unsigned int below)
{
	return rand_r(&w->seed) / 7 % below;
}

static void nap(struct worker *w)
{
	usleep(rnd(w, 8) ? rnd(w, 2000) : rnd(w, 60000));
}

/* A change of names, or of a file with one, where ownership was given back or is being so. */
static bool refused(struct worker *w, const char *what, int rc)
{
	if (rc >= 0)
		return false;
	if (errno == EROFS || errno == EBUSY)
		w->refused++;
	else
		wrong("%u: %s of kind %u: %s", w->nr, what, w->kind, errname(errno));
	return true;
}

/* What may not fail. */
static bool failed(struct worker *w, const char *what, long rc)
{
	if (rc >= 0)
		return false;
	wrong("%u: %s without a name, kind %u, size %u: %s", w->nr, what, w->kind, w->size,
	      errname(errno));
	return true;
}

static bool put(struct worker *w, bool named)
{
	unsigned int off = rnd(w, MAX / 2), len = 1 + rnd(w, 1 + rnd(w, MAX / 2)), i;
	unsigned char buf[MAX];
	ssize_t n;

	for (i = 0; i < len; i++)
		buf[i] = 1 + rnd(w, 255);
	n = pwrite(w->fd, buf, len, off);
	if (named ? refused(w, "write", n) : failed(w, "write", n))
		return false;
	if (n != len) {
		/* while it had a name, ownership may have gone in the middle */
		if (named)
			w->refused++;
		else
			wrong("%u: %zd of %u bytes written without a name", w->nr, n, len);
		return false;
	}
	memcpy(w->model + off, buf, len);
	if (off + len > w->size)
		w->size = off + len;
	return true;
}

static bool look(struct worker *w)
{
	unsigned char buf[MAX + 1];
	ssize_t n = pread(w->fd, buf, sizeof(buf), 0);
	unsigned int i;

	if (failed(w, "read", n))
		return false;
	if (n == w->size && !memcmp(buf, w->model, n))
		return true;
	for (i = 0; i < w->size && i < n && buf[i] == w->model[i]; i++)
		;
	wrong("%u: kind %u: %zd bytes, should be %u; the first that is wrong is %u", w->nr, w->kind,
	      n, w->size, i);
	return false;
}

static bool cut(struct worker *w)
{
	unsigned int size = rnd(w, MAX);

	if (failed(w, "ftruncate", ftruncate(w->fd, size)))
		return false;
	if (size < w->size)
		memset(w->model + size, 0, w->size - size);
	w->size = size;
	return true;
}

static bool punch(struct worker *w)
{
	unsigned int off = rnd(w, MAX), len = 1 + rnd(w, MAX), to = off + len;

	if (failed(w, "punch", fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
					 len)))
		return false;
	if (to > w->size)
		to = w->size;
	if (to > off)
		memset(w->model + off, 0, to - off);
	return true;
}

/* A store that cannot be made kills us: it may not fail either. */
static bool store(struct worker *w)
{
	unsigned int at;

	if (!w->size)
		return true;
	if (!w->map) {
		w->map = mmap(NULL, MAX, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
		if (w->map == MAP_FAILED)
			die("mmap");
	}
	at = rnd(w, w->size);
	w->model[at] = rnd(w, 256);
	w->map[at] = w->model[at];
	return true;
}

/* What a file without a name may do. */
static bool go_on(struct worker *w)
{
	switch (rnd(w, 8)) {
	case 0: case 1:
		return put(w, false);
	case 2:
		return cut(w);
	case 3:
		return punch(w);
	case 4:
		return store(w);
	case 5:
		if (rnd(w, 3))
			return true;
		return !failed(w, "fsync", rnd(w, 2) ? fsync(w->fd) : fdatasync(w->fd));
	case 6:
		return !failed(w, "fchmod", fchmod(w->fd, 0600 + rnd(w, 8)));
	default:
		return look(w);
	}
}

/* An earlier try may have left another name. */
static bool has_name(struct worker *w)
{
	struct stat st;

	if (failed(w, "fstat", fstat(w->fd, &st)) || st.st_nlink) {
		close(w->fd);
		return true;
	}
	return false;
}

/* Opens a file, and takes what names it has. False: there was no ownership for that. */
static bool make(struct worker *w)
{
	char a[32], b[32];
	int i;

	sprintf(a, "a%u", w->nr);
	sprintf(b, "b%u", w->nr);
	memset(w->model, 0, MAX);
	w->size = 0;
	w->kind = rnd(w, KINDS);
	if (w->kind == 0)
		w->fd = open(".", O_RDWR | O_TMPFILE, 0600);
	else
		w->fd = open(a, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (refused(w, "open", w->fd))
		return false;
	for (i = rnd(w, 3); i > 0; i--)
		if (!put(w, w->kind != 0))
			goto out;
	if (rnd(w, 2))
		nap(w);
	if (w->kind == 0)
		return true;
	if (w->kind == 3) {
		if (refused(w, "link", link(a, b) && errno != EEXIST ? -1 : 0))
			goto out;
		if (refused(w, "unlink", unlink(b)))
			goto out;
	}
	if (w->kind == 2) {
		i = open(b, O_WRONLY | O_CREAT, 0600);
		if (refused(w, "open", i))
			goto out;
		close(i);
		if (!refused(w, "rename", rename(b, a)))
			return !has_name(w);
	} else if (!refused(w, "unlink", unlink(a))) {
		return !has_name(w);
	}
out:
	close(w->fd);
	return false;
}

static void tidy(struct worker *w)
{
	char c[32];

	/* one that never had a name may get one; it is the same file then */
	sprintf(c, "c%u", w->nr);
	if (w->kind == 0 && !rnd(w, 3)) {
		char path[64];

		unlink(c);
		sprintf(path, "/proc/self/fd/%d", w->fd);
		if (!linkat(AT_FDCWD, path, AT_FDCWD, c, AT_SYMLINK_FOLLOW)) {
			w->linked++;
			look(w);
		} else if (errno != EEXIST) {
			refused(w, "linkat", -1);
		}
	}
	if (w->map)
		munmap(w->map, MAX);
	w->map = NULL;
	close(w->fd);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int i;

	while (time(NULL) < end && !prog_failed) {
		if (!make(w)) {
			usleep(10000);
			continue;
		}
		w->made++;
		for (i = rnd(w, 12); i > 0 && !prog_failed; i--) {
			if (!go_on(w))
				break;
			nap(w);
		}
		if (!prog_failed)
			look(w);
		tidy(w);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long made = 0, no = 0, linked = 0;
	unsigned int i;

	if (argc != 4) {
		fputs("usage: orphans DIR SECONDS SEED\n", stderr);
		return 2;
	}
	if (chdir(argv[1]))
		die("%s", argv[1]);
	end = time(NULL) + atoi(argv[2]);
	for (i = 0; i < THREADS; i++) {
		workers[i].nr = i;
		workers[i].seed = atoi(argv[3]) * THREADS + i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("pthread_create");
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		made += workers[i].made;
		no += workers[i].refused;
		linked += workers[i].linked;
	}
	printf("%lu files without a name, %lu of them got one; refused %lu times\n", made, linked,
	       no);
	if (!made)
		wrong("nothing was done");
	return prog_failed != 0;
}
