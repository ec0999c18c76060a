// SPDX-License-Identifier: GPL-2.0
#include "helper.h"

#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void complain(const char *fmt, ...)
{
	char line[8192], *p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (p = line; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	fprintf(stderr, "%s: %s\n", helper_name, line);
}

bool enter_namespace(const char *which)
{
	char path[64];
	int fd;

	if (*which && strspn(which, "0123456789") == strlen(which)) {
		snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", which);
		which = path;
	}
	fd = open(which, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS)) {
		complain("cannot enter mount namespace %s: %m", which);
		if (fd >= 0)
			close(fd);
		return false;
	}
	close(fd);
	return true;
}

bool type_is_ours(const char *type)
{
	if (!strcmp(type, "archil") || !strncmp(type, "archil.", 7))
		return true;
	complain("type %s is not mine", type);
	return false;
}
