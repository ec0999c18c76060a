// SPDX-License-Identifier: GPL-2.0
/*
 * fds: holds descriptors and mappings for a shell script that wants to know what comes
 * of them. Reads one command a line, answers each with one line: "ok", what was read, or
 * the name of an errno or signal. NAME is one the script chooses.
 *
 *	open NAME FLAGS PATH	FLAGS: letters of r w c(reate) x(cl) t(runc) a(ppend) s(ync)
 *				d(irect) D(irectory) T(mpfile)
 *	close NAME		shut NAME (its mapping stays)
 *	write NAME TEXT		pwrite NAME OFF TEXT	fill NAME OFF LEN BYTE
 *	pread NAME OFF LEN	count NAME BYTE (bytes of the file that are BYTE)
 *	trunc NAME SIZE		falloc NAME OFF LEN	punch NAME OFF LEN
 *	chmod NAME MODE		chown NAME UID GID	utime NAME SEC
 *	setxattr NAME KEY VALUE	getxattr NAME KEY
 *	flock NAME ex|sh|un	lock NAME w|r|u
 *	fsync NAME		fdatasync NAME		syncfs NAME
 *	start NAME (writing back, not waiting for its end)
 *	map NAME LEN		of NAME, shared; private with "pmap"
 *	store NAME OFF BYTE	load NAME OFF LEN	msync NAME	unmap NAME
 *	size NAME		nlink NAME		linkat NAME PATH
 */
#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "prog.h"

#define SLOTS 256

static struct slot {
	char name[32];
	int fd;
	char *map;
	size_t map_len;
} slots[SLOTS];

static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static struct slot *slot(const char *name)
{
	struct slot *s;

	for (s = slots; s < slots + SLOTS; s++)
		if (!strcmp(s->name, name))
			return s;
	fprintf(stderr, "fds: no '%s'\n", name);
	exit(2);
}

static struct slot *slot_new(const char *name)
{
	struct slot *s;

	for (s = slots; s < slots + SLOTS; s++) {
		if (!s->name[0]) {
			snprintf(s->name, sizeof(s->name), "%s", name);
			return s;
		}
	}
	fputs("fds: too many\n", stderr);
	exit(2);
}

static int flags_of(const char *letters)
{
	int flags = strchr(letters, 'w') ? strchr(letters, 'r') ? O_RDWR : O_WRONLY : O_RDONLY;

	for (; *letters; letters++) {
		switch (*letters) {
		case 'c': flags |= O_CREAT; break;
		case 'x': flags |= O_EXCL; break;
		case 't': flags |= O_TRUNC; break;
		case 'a': flags |= O_APPEND; break;
		case 's': flags |= O_SYNC; break;
		case 'd': flags |= O_DIRECT; break;
		case 'D': flags |= O_DIRECTORY; break;
		case 'T': flags |= O_TMPFILE; break;
		}
	}
	return flags | O_CLOEXEC;
}

static void say(long ret)
{
	puts(ret < 0 ? errname(errno) : "ok");
}

static void say_bytes(const char *p, ssize_t n)
{
	if (n < 0) {
		say(n);
		return;
	}
	for (; n > 0; n--, p++)
		putchar(isprint((unsigned char)*p) ? *p : *p ? '?' : '.');
	putchar('\n');
}

static long fill(int fd, off_t off, size_t len, int byte)
{
	size_t chunk = len < 1 << 20 ? len : 1 << 20;
	char *buf = malloc(chunk);
	ssize_t n = 0;

	memset(buf, byte, chunk);
	for (; len; len -= n, off += n) {
		n = pwrite(fd, buf, len < chunk ? len : chunk, off);
		if (n < 0)
			break;
	}
	free(buf);
	return n < 0 ? -1 : 0;
}

static void count(int fd, int byte)
{
	static char buf[1 << 16];
	off_t off = 0;
	long sum = 0;
	ssize_t n, i;

	while ((n = pread(fd, buf, sizeof(buf), off)) > 0) {
		for (i = 0; i < n; i++)
			sum += buf[i] == byte;
		off += n;
	}
	if (n < 0)
		say(n);
	else
		printf("%ld\n", sum);
}

static void memory(struct slot *s, const char *cmd, char **arg)
{
	long off = atol(arg[0]);
	int sig = sigsetjmp(fault, 1);

	if (sig) {
		printf("SIG%s\n", sigabbrev_np(sig));
	} else if (!strcmp(cmd, "store")) {
		((volatile char *)s->map)[off] = arg[1][0];
		puts("ok");
	} else {
		long len = atol(arg[1]);
		char *copy = malloc(len);

		memcpy(copy, s->map + off, len);
		say_bytes(copy, len);
		free(copy);
	}
}

static void do_map(struct slot *s, size_t len, bool shared)
{
	int prot = (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDONLY && shared ? PROT_READ :
		   PROT_READ | PROT_WRITE;
	char *map = mmap(NULL, len, prot, shared ? MAP_SHARED : MAP_PRIVATE, s->fd, 0);

	if (map == MAP_FAILED) {
		say(-1);
		return;
	}
	s->map = map;
	s->map_len = len;
	say(0);
}

static void do_lock(struct slot *s, const char *how)
{
	struct flock fl = { .l_whence = SEEK_SET };

	fl.l_type = *how == 'w' ? F_WRLCK : *how == 'r' ? F_RDLCK : F_UNLCK;
	say(fcntl(s->fd, F_SETLK, &fl));
}

static void command(const char *cmd, char **arg)
{
	struct slot *s = strcmp(cmd, "open") ? slot(arg[0]) : slot_new(arg[0]);
	char buf[4096];
	struct stat st;
	ssize_t n;

	if (!strcmp(cmd, "open")) {
		s->fd = open(arg[2], flags_of(arg[1]), 0644);
		n = s->fd;
		if (n < 0)
			s->name[0] = '\0';
		say(n);
	} else if (!strcmp(cmd, "close")) {
		say(close(s->fd));
		s->name[0] = '\0';
	} else if (!strcmp(cmd, "shut")) {
		say(close(s->fd));
		s->fd = -1;
	} else if (!strcmp(cmd, "write")) {
		say(write(s->fd, arg[1], strlen(arg[1])));
	} else if (!strcmp(cmd, "pwrite")) {
		say(pwrite(s->fd, arg[2], strlen(arg[2]), atol(arg[1])));
	} else if (!strcmp(cmd, "fill")) {
		say(fill(s->fd, atol(arg[1]), atol(arg[2]), arg[3][0]));
	} else if (!strcmp(cmd, "pread")) {
		n = atol(arg[2]);
		say_bytes(buf, pread(s->fd, buf, n < 4096 ? n : 4096, atol(arg[1])));
	} else if (!strcmp(cmd, "count")) {
		count(s->fd, arg[1][0]);
	} else if (!strcmp(cmd, "trunc")) {
		say(ftruncate(s->fd, atol(arg[1])));
	} else if (!strcmp(cmd, "falloc")) {
		say(fallocate(s->fd, 0, atol(arg[1]), atol(arg[2])));
	} else if (!strcmp(cmd, "punch")) {
		say(fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, atol(arg[1]),
			      atol(arg[2])));
	} else if (!strcmp(cmd, "chmod")) {
		say(fchmod(s->fd, strtol(arg[1], NULL, 8)));
	} else if (!strcmp(cmd, "chown")) {
		say(fchown(s->fd, atol(arg[1]), atol(arg[2])));
	} else if (!strcmp(cmd, "utime")) {
		struct timespec ts[2] = { { atol(arg[1]), 1 }, { atol(arg[1]), 1 } };

		say(futimens(s->fd, ts));
	} else if (!strcmp(cmd, "setxattr")) {
		say(fsetxattr(s->fd, arg[1], arg[2], strlen(arg[2]), 0));
	} else if (!strcmp(cmd, "getxattr")) {
		say_bytes(buf, fgetxattr(s->fd, arg[1], buf, sizeof(buf)));
	} else if (!strcmp(cmd, "flock")) {
		say(flock(s->fd, LOCK_NB | (!strcmp(arg[1], "ex") ? LOCK_EX :
					    !strcmp(arg[1], "sh") ? LOCK_SH : LOCK_UN)));
	} else if (!strcmp(cmd, "lock")) {
		do_lock(s, arg[1]);
	} else if (!strcmp(cmd, "fsync")) {
		say(fsync(s->fd));
	} else if (!strcmp(cmd, "fdatasync")) {
		say(fdatasync(s->fd));
	} else if (!strcmp(cmd, "start")) {
		say(sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	} else if (!strcmp(cmd, "syncfs")) {
		say(syncfs(s->fd));
	} else if (!strcmp(cmd, "map")) {
		do_map(s, atol(arg[1]), true);
	} else if (!strcmp(cmd, "pmap")) {
		do_map(s, atol(arg[1]), false);
	} else if (!strcmp(cmd, "store") || !strcmp(cmd, "load")) {
		memory(s, cmd, arg + 1);
	} else if (!strcmp(cmd, "msync")) {
		say(msync(s->map, s->map_len, MS_SYNC));
	} else if (!strcmp(cmd, "unmap")) {
		say(munmap(s->map, s->map_len));
	} else if (!strcmp(cmd, "size") || !strcmp(cmd, "nlink")) {
		if (fstat(s->fd, &st))
			say(-1);
		else
			printf("%lld\n", *cmd == 's' ? (long long)st.st_size :
			       (long long)st.st_nlink);
	} else if (!strcmp(cmd, "linkat")) {
		snprintf(buf, sizeof(buf), "/proc/self/fd/%d", s->fd);
		say(linkat(AT_FDCWD, buf, AT_FDCWD, arg[1], AT_SYMLINK_FOLLOW));
	} else {
		fprintf(stderr, "fds: unknown command '%s'\n", cmd);
		exit(2);
	}
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	char line[8192], *word[8], *rest;
	int n;

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		memset(word, 0, sizeof(word));
		line[strcspn(line, "\n")] = '\0';
		rest = line;
		for (n = 0; n < 6 && rest; n++)
			word[n] = strsep(&rest, " ");
		for (; n < 6; n++)
			word[n] = "";
		command(word[0], word + 1);
		fflush(stdout);
	}
	return 0;
}
