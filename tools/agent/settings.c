// SPDX-License-Identifier: GPL-2.0
#include "settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_MAX	(1 << 20)

struct parser {
	struct settings *set;
	const char *path;
	unsigned int line;
	struct settings_disk *disk;	/* of this section, or NULL */
	bool has_token;			/* in the file itself */
	char *err;			/* ERR_TEXT bytes */
};

void settings_init(struct settings *set)
{
	memset(set, 0, sizeof(*set));
	STAILQ_INIT(&set->disks);
}

void settings_free(struct settings *set)
{
	struct settings_disk *disk;

	while ((disk = STAILQ_FIRST(&set->disks))) {
		STAILQ_REMOVE_HEAD(&set->disks, next);
		scram_token_wipe(&disk->token);
		free(disk);
	}
	settings_init(set);
}

static bool same_server(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && !strcasecmp(a->host, b->host);
}

static struct settings_disk *find_disk(const struct settings *set, const struct host_port *server,
				       const char *disk)
{
	struct settings_disk *d;

	STAILQ_FOREACH(d, &set->disks, next)
		if (same_server(&d->server, server) && !strcmp(d->disk, disk))
			return d;
	return NULL;
}

const struct scram_token *settings_token(const struct settings *set,
					 const struct host_port *server, const char *disk)
{
	const struct settings_disk *d = find_disk(set, server, disk);

	return d && d->has_token ? &d->token : NULL;
}

/* ---- parsing ---- */

static int __attribute__((format(printf, 2, 3)))
bad(struct parser *p, const char *fmt, ...)
{
	char what[ERR_TEXT / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(p->err, ERR_TEXT, "%.200s:%u: %s", p->path, p->line, what);
	return -EINVAL;
}

static int parse_section(struct parser *p, char *line)
{
	char err[ERR_TEXT];
	struct source source;
	size_t len = strlen(line);

	if (line[len - 1] != ']')
		return bad(p, "a section is written [SERVER[:PORT]/DISK]");
	line[len - 1] = '\0';
	if (parse_source(line + 1, &source, err))
		return bad(p, "%.200s", err);
	if (strcmp(source.subdir, "/"))
		return bad(p, "a section names a disk, not a directory in it");
	if (find_disk(p->set, &source.server, source.disk))
		return bad(p, "this disk has a section already");
	p->disk = calloc(1, sizeof(*p->disk));
	if (!p->disk)
		return -ENOMEM;
	p->disk->server = source.server;
	memcpy(p->disk->disk, source.disk, sizeof(p->disk->disk));
	STAILQ_INSERT_TAIL(&p->set->disks, p->disk, next);
	return 0;
}

static int take_token(struct parser *p, const char *text)
{
	char err[ERR_TEXT];

	if (p->disk->has_token)
		return bad(p, "this disk has a token already");
	if (scram_token_parse(text, &p->disk->token, err))
		return bad(p, "%.200s", err);
	p->disk->has_token = true;
	return 0;
}

static int take_tokenfile(struct parser *p, const char *path)
{
	char text[SCRAM_TOKEN_TEXT + 1], err[ERR_TEXT];
	int rc;

	if (read_secret_file(path, text, sizeof(text), err))
		return bad(p, "%.200s", err);
	rc = take_token(p, text);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int parse_entry(struct parser *p, const char *key, const char *value)
{
	const char *problem;

	if (!strcmp(key, "token") || !strcmp(key, "tokenfile")) {
		if (!p->disk)
			return bad(p, "%s belongs in the section of a disk, [SERVER[:PORT]/DISK]",
				   key);
		if (key[5])
			return take_tokenfile(p, value);
		p->has_token = true;
		return take_token(p, value);
	}
	if (!strcmp(key, "client_id")) {
		if (p->disk)
			return bad(p, "client_id belongs before the first section");
		problem = client_id_problem(value);
		if (problem)
			return bad(p, "client_id: %s", problem);
		snprintf(p->set->client_id, sizeof(p->set->client_id), "%s", value);
		return 0;
	}
	return bad(p, "unknown word '%.40s'", key);
}

static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

static int parse_line(struct parser *p, char *line)
{
	char *equals;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	if (*line == '[')
		return parse_section(p, line);
	equals = strchr(line, '=');
	if (!equals)
		return bad(p, "neither a section nor 'key = value'");
	*equals = '\0';
	return parse_entry(p, trim(line), trim(equals + 1));
}

static int parse_all(struct parser *p, char *text)
{
	char *line;
	int rc = 0;

	while (!rc && (line = strsep(&text, "\n"))) {
		p->line++;
		rc = parse_line(p, line);
	}
	return rc;
}

/* ---- the file ---- */

/* Its text, ended by NUL, in memory that the caller wipes. */
static int read_all(int fd, const char *path, const struct stat *st, char **text,
		    char err[static ERR_TEXT])
{
	ssize_t n;

	if (!S_ISREG(st->st_mode) || st->st_size > SETTINGS_MAX) {
		snprintf(err, ERR_TEXT, "%.300s: no regular file of at most %d bytes", path,
			 SETTINGS_MAX);
		return -EINVAL;
	}
	*text = malloc(st->st_size + 1);
	if (!*text) {
		snprintf(err, ERR_TEXT, "out of memory");
		return -ENOMEM;
	}
	n = read_full(fd, *text, st->st_size);
	if (n < 0) {
		snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(-n));
		free(*text);
		return n;
	}
	(*text)[n] = '\0';
	return 0;
}

int settings_load(struct settings *set, const char *path, bool must_exist,
		  char err[static ERR_TEXT])
{
	struct parser p = { .set = set, .path = path, .err = err };
	struct stat st;
	char *text;
	int fd, rc;

	settings_init(set);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		rc = -errno;
		if (rc == -ENOENT && !must_exist)
			return 0;
		snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(-rc));
		return rc;
	}
	if (fstat(fd, &st)) {
		rc = -errno;
		snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(-rc));
		goto out_close;
	}
	rc = read_all(fd, path, &st, &text, err);
	if (rc)
		goto out_close;
	snprintf(err, ERR_TEXT, "out of memory");
	rc = parse_all(&p, text);
	if (!rc && p.has_token && (st.st_mode & 077)) {
		snprintf(err, ERR_TEXT,
			 "%.300s has a token in it and is open to others: chmod 600 it", path);
		rc = -EPERM;
	}
	if (rc)
		settings_free(set);
	OPENSSL_cleanse(text, st.st_size + 1);
	free(text);
out_close:
	close(fd);
	return rc;
}
