// SPDX-License-Identifier: GPL-2.0
/*
 * files create|mkdir|stat|rename|unlink DIR N [FROM]: on the names in DIR with the
 *	numbers from FROM (0) to N, in order
 * files create-tree|stat-tree|unlink-tree DIR N: the same with a directory for each hundred
 *
 * After rename the names are other ones; stat and unlink find out which there are.
 */
#include <sys/stat.h>

#include "bench.h"

#define PER_DIR	100

static char kind = 'f';

static const char *name(char first, unsigned long n)
{
	static char text[2][32];
	static int turn;
	char *p = text[turn++ % 2];

	snprintf(p, 32, "%c%07lu", first, n);
	return p;
}

static void create(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0 || close(fd))
		die("%s", path);
}

static void do_create(unsigned long n)
{
	create(name('f', n));
}

static void do_mkdir(unsigned long n)
{
	if (mkdir(name('d', n), 0755))
		die("mkdir %lu", n);
}

static void do_stat(unsigned long n)
{
	struct stat st;

	if (stat(name(kind, n), &st))
		die("stat %lu", n);
}

static void do_rename(unsigned long n)
{
	if (rename(name(kind, n), name(kind == 'f' ? 'g' : 'f', n)))
		die("rename %lu", n);
}

static void do_unlink(unsigned long n)
{
	if (unlink(name(kind, n)))
		die("unlink %lu", n);
}

static const char *in_tree(unsigned long n)
{
	static char path[64];

	snprintf(path, sizeof(path), "t%05lu/f%02lu", n / PER_DIR, n % PER_DIR);
	return path;
}

static void do_create_tree(unsigned long n)
{
	char dir[32];

	snprintf(dir, sizeof(dir), "t%05lu", n / PER_DIR);
	if (!(n % PER_DIR) && mkdir(dir, 0755))
		die("mkdir %s", dir);
	create(in_tree(n));
}

static void do_stat_tree(unsigned long n)
{
	struct stat st;

	if (stat(in_tree(n), &st))
		die("stat %s", in_tree(n));
}

static void do_unlink_tree(unsigned long n)
{
	char dir[32];

	if (unlink(in_tree(n)))
		die("unlink %s", in_tree(n));
	snprintf(dir, sizeof(dir), "t%05lu", n / PER_DIR);
	if (n % PER_DIR == PER_DIR - 1 && rmdir(dir))
		die("rmdir %s", dir);
}

static const struct {
	const char *name;
	void (*run)(unsigned long n);
} ops[] = {
	{ "create", do_create },
	{ "mkdir", do_mkdir },
	{ "stat", do_stat },
	{ "rename", do_rename },
	{ "unlink", do_unlink },
	{ "create-tree", do_create_tree },
	{ "stat-tree", do_stat_tree },
	{ "unlink-tree", do_unlink_tree },
};

int main(int argc, char **argv)
{
	unsigned long i, from, to;
	double begin;
	size_t op;

	for (op = 0; argc >= 4 && op < sizeof(ops) / sizeof(*ops); op++)
		if (!strcmp(argv[1], ops[op].name))
			break;
	if (argc < 4 || op == sizeof(ops) / sizeof(*ops)) {
		fputs("usage: files OPERATION DIR N [FROM]\n", stderr);
		return 2;
	}
	to = strtoul(argv[3], NULL, 10);
	from = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	if (chdir(argv[2]))
		die("%s", argv[2]);
	if (access(name(kind, from), F_OK))
		kind = 'g';
	begin = now();
	for (i = from; i < to; i++)
		ops[op].run(i);
	printf("%.6f\n", now() - begin);
	return 0;
}
