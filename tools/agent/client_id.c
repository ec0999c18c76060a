// SPDX-License-Identifier: GPL-2.0
/* The name under which the server knows this client, for good. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "settings.h"

const char *client_id_problem(const char *text)
{
	size_t i;

	if (!*text)
		return "a client id has at least one character";
	if (strlen(text) > ARCHIL_CLIENT_LEN)
		return "a client id has at most 63 characters";
	for (i = 0; text[i]; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.:@", text[i]))
			return "a client id is made of letters, digits, '-', '_', '.', ':' and '@'";
	return NULL;
}

static int trouble(const char *path, int rc, char err[static ERR_TEXT])
{
	snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(-rc));
	return rc;
}

/* -ENOENT, without err: there is none. */
static int read_id(const char *path, char id[static ARCHIL_CLIENT_LEN + 1],
		   char err[static ERR_TEXT])
{
	char text[256];
	const char *problem;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : trouble(path, -errno, err);
	n = read_full(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return trouble(path, n, err);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	problem = client_id_problem(text);
	if (problem) {
		snprintf(err, ERR_TEXT, "%.300s: %s: give --client-id, or mend or remove it", path,
			 problem);
		return -EINVAL;
	}
	memcpy(id, text, strlen(text) + 1);
	return 0;
}

static int make_id(char id[static ARCHIL_CLIENT_LEN + 1])
{
	char host[ARCHIL_CLIENT_LEN - 9 + 1];
	uint32_t chance;
	size_t i;

	if (gethostname(host, sizeof(host)) && errno != ENAMETOOLONG)
		return -errno;
	host[sizeof(host) - 1] = '\0';
	for (i = 0; host[i]; i++)
		if (!isalnum((unsigned char)host[i]) && host[i] != '-' && host[i] != '.')
			host[i] = '-';
	if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
		return -EIO;
	snprintf(id, ARCHIL_CLIENT_LEN + 1, "%s-%08x", host[0] ? host : "client", chance);
	return 0;
}

/* A whole file of another name takes the place, unless something stands there. */
static int write_id(const char *path, const char *id)
{
	char temp[PATH_MAX], line[ARCHIL_CLIENT_LEN + 2];
	int fd, rc;

	if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(line, sizeof(line), "%s\n", id);
	rc = write_full(fd, line, strlen(line));
	if (!rc && (fchmod(fd, 0644) || fsync(fd)))
		rc = -errno;
	close(fd);
	if (!rc && link(temp, path) && errno != EEXIST)
		rc = -errno;
	unlink(temp);
	return rc;
}

static int make_directory(const char *path, char dir[static PATH_MAX])
{
	char *slash;

	if (snprintf(dir, PATH_MAX, "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	slash = strrchr(dir, '/');
	if (!slash || slash == dir) {
		snprintf(dir, PATH_MAX, "%s", slash ? "/" : ".");
		return 0;
	}
	*slash = '\0';
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

static void sync_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int client_id_lasting(const char *path, char id[static ARCHIL_CLIENT_LEN + 1],
		      char err[static ERR_TEXT])
{
	char dir[PATH_MAX];
	int rc;

	rc = read_id(path, id, err);
	if (rc != -ENOENT)
		return rc;
	rc = make_directory(path, dir);
	if (!rc)
		rc = make_id(id);
	if (!rc)
		rc = write_id(path, id);
	if (rc)
		return trouble(path, rc, err);
	sync_directory(dir);
	/* somebody else's may have been first */
	rc = read_id(path, id, err);
	return rc == -ENOENT ? trouble(path, rc, err) : rc;
}
