// SPDX-License-Identifier: GPL-2.0
/* Paths: from the user to the kernel, and from the disk to what the user sees. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "util.h"

int ctl_open_mount(const char *path, enum ctl_exit *status)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? ctl_open(path, false, status) : fd;
}

int ctl_open(const char *path, bool may_write, enum ctl_exit *status)
{
	struct stat st;
	int fd;

	*status = CTL_ERROR;
	if (stat(path, &st)) {
		ctl_complain("%s: %s", path, strerror(errno));
		return -1;
	}
	/* opening a device or a FIFO may do something */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		ctl_complain("%s is neither a regular file nor a directory", path);
		return -1;
	}
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	/* this may take ownership by itself, which is what is about to be asked for */
	if (fd < 0 && errno == EACCES && may_write && S_ISREG(st.st_mode))
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			*status = CTL_PERMISSION;
		else if (errno == EBUSY)
			*status = CTL_OWNED;
		ctl_complain("%s: %s", path, strerror(errno));
	}
	return fd;
}

/* The kernel writes blanks and the like in mountinfo as \040. */
static void unescape(const char *from, char *out, size_t size)
{
	size_t n = 0;
	unsigned int c;

	while (*from && n + 1 < size) {
		if (from[0] == '\\' && sscanf(from + 1, "%3o", &c) == 1 && strlen(from) >= 4) {
			out[n++] = (char)c;
			from += 4;
		} else {
			out[n++] = *from++;
		}
	}
	out[n] = '\0';
}

static long mount_number(int fd)
{
	char path[64], line[256];
	long number = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "mnt_id: %ld", &number) == 1)
			break;
	fclose(f);
	return number;
}

static bool find_mount(long number, struct where *w)
{
	char *line = NULL, root[ARCHIL_IOC_PATH_LEN], point[ARCHIL_IOC_PATH_LEN];
	bool found = false;
	size_t cap = 0;
	long id;
	FILE *f;

	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (!found && getline(&line, &cap, f) > 0) {
		if (sscanf(line, "%ld %*d %*s %4095s %4095s", &id, root, point) != 3 ||
		    id != number)
			continue;
		unescape(root, w->root, sizeof(w->root));
		unescape(point, w->mountpoint, sizeof(w->mountpoint));
		found = true;
	}
	free(line);
	fclose(f);
	return found;
}

bool where_is(int fd, struct where *w)
{
	char link[64];
	ssize_t n;

	memset(w, 0, sizeof(*w));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, w->path, sizeof(w->path) - 1);
	if (n < 0)
		return false;
	return find_mount(mount_number(fd), w);
}

/* What is left of path beneath dir, from the '/' on; NULL: it is not beneath. */
static const char *beneath(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len && dir[len - 1] == '/')
		len--;
	if (strncmp(path, dir, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path + len;
}

bool where_local(const struct where *w, const char *from_root, char *out, size_t size)
{
	const char *rest = beneath(from_root, w->root);
	const char *point = w->mountpoint;

	if (!*point || !rest) {
		snprintf(out, size, "%s", from_root);
		return false;
	}
	if (!strcmp(rest, "/"))
		rest = "";
	if (!strcmp(point, "/") && *rest)
		point = "";
	snprintf(out, size, "%s%s", point, rest);
	return true;
}

bool where_on_disk(const struct where *w, const char *subdir, const char *from_disk, char *out,
		   size_t size)
{
	char path[ARCHIL_IOC_PATH_LEN + 1], dir[ARCHIL_IOC_PATH_LEN + 1];
	const char *rest;

	snprintf(path, sizeof(path), "%s%s", *from_disk == '/' ? "" : "/", from_disk);
	snprintf(dir, sizeof(dir), "%s%s", *subdir == '/' ? "" : "/", subdir);
	rest = beneath(path, dir);
	if (rest && where_local(w, *rest ? rest : "/", out, size))
		return true;
	snprintf(out, size, "%s (of the disk)", path);
	return false;
}

void ctl_holder_path(int fd, const struct archil_ioc_holder *holder, char *out, size_t size)
{
	struct archil_ioc_status status = { .size = sizeof(status) };
	struct where w;

	out[0] = '\0';
	if (!holder->path[0])
		return;
	if (!where_is(fd, &w) || ioctl(fd, ARCHIL_IOC_STATUS, &status))
		snprintf(out, size, "%s (of the disk)", holder->path);
	else
		where_on_disk(&w, status.subdir, holder->path, out, size);
}
