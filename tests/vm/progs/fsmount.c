// SPDX-License-Identifier: GPL-2.0
/*
 * fsmount SOURCE [KEY | KEY=VALUE]...: mounts archil as the kernel takes it, without a
 * helper that judges before, attaches it nowhere, and says how that ended: "ok" or the
 * errno's name, and what the kernel wrote about it.
 *
 * fsmount --begin N: begins N mounts (fsopen(2) alone), says "begun", and lets go of them when its
 * standard input ends.
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "prog.h"

static int begin(int n)
{
	char c;

	while (n--)
		if (fsopen("archil", FSOPEN_CLOEXEC) < 0)
			die("fsopen");
	puts("begun");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	char text[4096], *value;
	int fd, err = 0, i;
	ssize_t n;

	if (argc < 2) {
		fputs("usage: fsmount SOURCE [KEY[=VALUE]]... | --begin N\n", stderr);
		return 2;
	}
	if (argc == 3 && !strcmp(argv[1], "--begin"))
		return begin(atoi(argv[2]));
	fd = fsopen("archil", FSOPEN_CLOEXEC);
	if (fd < 0)
		die("fsopen");
	if (fsconfig(fd, FSCONFIG_SET_STRING, "source", argv[1], 0))
		err = errno;
	for (i = 2; !err && i < argc; i++) {
		value = strchr(argv[i], '=');
		if (value)
			*value++ = '\0';
		if (fsconfig(fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, argv[i], value, 0))
			err = errno;
	}
	if (!err && fsconfig(fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		err = errno;
	puts(errname(err));
	while ((n = read(fd, text, sizeof(text) - 1)) > 0)
		printf("%.*s", (int)n, text);
	return err != 0;
}
