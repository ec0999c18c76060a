// SPDX-License-Identifier: GPL-2.0
/*
 * names DIR OPS SEED: random changes of names, sizes and contents beneath DIR,
 * each result compared with a model in memory; at the end the whole tree. What
 * a cache forgets or makes up shows here: run it while caches are dropped.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prog.h"

enum { DIRS = 8, NAMES = 24, BYTES = 40000 };

struct node {
	bool there, isdir;
	unsigned int len;	/* a file's length; each byte is fill */
	char fill;
};

static struct node tree[DIRS][NAMES];
static bool dir_there[DIRS];
static const char *root;
static unsigned long long state;

static unsigned int rnd(unsigned int n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(state >> 33) % n;
}

static char *dpath(char *buf, int d)
{
	sprintf(buf, "%s/d%d", root, d);
	return buf;
}

static char *fpath(char *buf, int d, int n)
{
	sprintf(buf, "%s/d%d/n%d", root, d, n);
	return buf;
}

static void expect(const char *what, const char *path, int ret, int err, int want)
{
	if (want ? (ret != -1 || err != want) : ret == -1)
		wrong("%s %s: %s, wanted %s", what, path, ret == -1 ? strerror(err) : "done",
		      want ? strerror(want) : "done");
}

/* The call first, then its errno: arguments have no order. */
#define TRY(what, path, call, want) ({				\
	int ret_ = (call), err_ = errno;			\
	expect(what, path, ret_, err_, want);			\
	ret_;							\
})

static void write_file(int d, int n)
{
	static char buf[BYTES];
	struct node *x = &tree[d][n];
	unsigned int len = rnd(4) ? rnd(300) : rnd(BYTES);
	char path[512], fill = 'a' + rnd(26);
	int fd, want = !dir_there[d] ? ENOENT : x->there && x->isdir ? EISDIR : 0;

	fpath(path, d, n);
	fd = TRY("write", path, open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), want);
	if (fd < 0)
		return;
	memset(buf, fill, len);
	if (write(fd, buf, len) != (ssize_t)len)
		wrong("write %s: %s", path, strerror(errno));
	close(fd);
	*x = (struct node) { .there = true, .len = len, .fill = fill };
}

static void check_file(int d, int n)
{
	static char buf[BYTES + 1];
	struct node *x = &tree[d][n];
	bool there = dir_there[d] && x->there;
	char path[512];
	struct stat st;
	ssize_t got;
	int fd;
	unsigned int i;

	fpath(path, d, n);
	TRY("stat", path, stat(path, &st), there ? 0 : ENOENT);
	if (!there)
		return;
	if (S_ISDIR(st.st_mode) != x->isdir) {
		wrong("%s is of another type", path);
		return;
	}
	if (x->isdir)
		return;
	if (st.st_size != x->len)
		wrong("%s has %lld bytes, wanted %u", path, (long long)st.st_size, x->len);
	fd = TRY("open", path, open(path, O_RDONLY), 0);
	if (fd < 0)
		return;
	got = read(fd, buf, sizeof(buf));
	close(fd);
	if (got != (ssize_t)x->len)
		wrong("%s gave %zd bytes, wanted %u", path, got, x->len);
	for (i = 0; i < x->len && (ssize_t)i < got; i++) {
		if (buf[i] != x->fill) {
			wrong("%s has %#x at %u, wanted %#x", path, buf[i], i, x->fill);
			break;
		}
	}
}

static void remove_name(int d, int n)
{
	struct node *x = &tree[d][n];
	bool there = dir_there[d] && x->there;
	char path[512];

	fpath(path, d, n);
	if (rnd(8) && x->isdir)
		TRY("rmdir", path, rmdir(path), there ? 0 : ENOENT);
	else if (x->isdir)
		return;
	else
		TRY("unlink", path, unlink(path), there ? 0 : ENOENT);
	x->there = x->isdir = false;
}

static void make_dir(int d, int n)
{
	struct node *x = &tree[d][n];
	char path[512];

	fpath(path, d, n);
	TRY("mkdir", path, mkdir(path, 0755), !dir_there[d] ? ENOENT : x->there ? EEXIST : 0);
	if (dir_there[d] && !x->there)
		*x = (struct node) { .there = true, .isdir = true };
}

static void rename_name(int d, int n, int d2, int n2)
{
	struct node *x = &tree[d][n], *y = &tree[d2][n2];
	bool there = dir_there[d] && x->there;
	char from[512], to[512];
	int want = 0;

	if (d == d2 && n == n2)
		return;
	if (!there || !dir_there[d2])
		want = ENOENT;
	else if (y->there && x->isdir != y->isdir)
		want = x->isdir ? ENOTDIR : EISDIR;
	fpath(from, d, n);
	fpath(to, d2, n2);
	TRY("rename", from, rename(from, to), want);
	if (want)
		return;
	*y = *x;
	x->there = x->isdir = false;
}

static int names_in(int d)
{
	int n, count = 0;

	for (n = 0; n < NAMES; n++)
		count += tree[d][n].there;
	return count;
}

static void list_dir(int d)
{
	char path[512];
	struct dirent *de;
	bool seen[NAMES] = { false };
	int n, count = 0;
	DIR *dir;

	dpath(path, d);
	TRY("opendir", path, (dir = opendir(path)) ? 0 : -1, dir_there[d] ? 0 : ENOENT);
	if (!dir)
		return;
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		if (sscanf(de->d_name, "n%d", &n) != 1 || n < 0 || n >= NAMES || seen[n] ||
		    !tree[d][n].there) {
			wrong("%s lists %s", path, de->d_name);
			continue;
		}
		seen[n] = true;
		count++;
	}
	closedir(dir);
	if (count != names_in(d))
		wrong("%s lists %d names, wanted %d", path, count, names_in(d));
}

static void toggle_dir(int d)
{
	char path[512];

	dpath(path, d);
	if (!dir_there[d]) {
		TRY("mkdir", path, mkdir(path, 0755), 0);
		dir_there[d] = true;
		memset(tree[d], 0, sizeof(tree[d]));
		return;
	}
	TRY("rmdir", path, rmdir(path), names_in(d) ? ENOTEMPTY : 0);
	if (!names_in(d))
		dir_there[d] = false;	/* and its names, which are none */
}

int main(int argc, char **argv)
{
	long i, ops;
	int d, n;

	if (argc != 4) {
		fputs("usage: names DIR OPS SEED\n", stderr);
		return 2;
	}
	root = argv[1];
	ops = atol(argv[2]);
	state = strtoull(argv[3], NULL, 0);
	printf("names: seed %s\n", argv[3]);
	for (i = 0; i < ops && prog_failed < 20; i++) {
		d = rnd(DIRS);
		n = rnd(NAMES);
		switch (rnd(12)) {
		case 0: case 1: case 2:
			write_file(d, n);
			break;
		case 3: case 4: case 5:
			check_file(d, n);
			break;
		case 6: case 7:
			remove_name(d, n);
			break;
		case 8:
			make_dir(d, n);
			break;
		case 9: case 10:
			rename_name(d, n, rnd(DIRS), rnd(NAMES));
			break;
		case 11:
			if (rnd(3))
				list_dir(d);
			else
				toggle_dir(d);
			break;
		}
	}
	for (d = 0; d < DIRS; d++) {
		list_dir(d);
		for (n = 0; n < NAMES; n++)
			check_file(d, n);
	}
	printf("names: %ld operations, %d wrong\n", i, prog_failed);
	return prog_failed != 0;
}
