// SPDX-License-Identifier: GPL-2.0
/*
 * The mark of an orderly close. While a disk is closed the logs of its engine
 * do not change; the file "clean" then keeps the length and checksum of each:
 *
 *	archil-clean 1
 *	NAME SIZE CRC		CURRENT, the MANIFEST, each write-ahead log
 *	end CRC			of the lines above
 *
 * With it, a log that lost its tail, or is missing, is known as damaged, not
 * taken for one that a crash left unfinished. It is written after the engine is
 * closed and removed before the engine may change anything.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_local.h"
#include "util.h"

#define MARK		"clean"
#define MARK_NEW	"clean.new"
#define FIRST_LINE	"archil-clean 1\n"
#define MARK_MAX	(1u << 20)

static int file_crc(int dirfd, const char *name, uint64_t *size, uint32_t *crc)
{
	int fd, err = 0;
	char buf[16384];
	ssize_t n;

	*size = 0;
	*crc = 0;
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read_full(fd, buf, sizeof(buf))) > 0) {
		*crc = crc32c(*crc, buf, n);
		*size += n;
	}
	if (n < 0)
		err = n;
	close(fd);
	return err;
}

/* Does the mark speak of the file @name of meta/? */
static bool marked(const char *name, const char *manifest)
{
	size_t len = strlen(name);

	return !strcmp(name, "CURRENT") || !strcmp(name, manifest) ||
	       (len > 4 && !strcmp(name + len - 4, ".log"));
}

static int describe(int metafd, FILE *out)
{
	char manifest[MANIFEST_NAME_LEN];
	struct dirent **names;
	int fd, n, err;

	err = current_read(metafd, manifest);
	if (err)
		return err;
	fd = openat(metafd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = scandirat(fd, ".", &names, NULL, alphasort);
	if (n < 0)
		err = -errno;
	close(fd);
	fputs(FIRST_LINE, out);
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		uint64_t size;
		uint32_t crc;

		if (!err && marked(name, manifest)) {
			err = file_crc(metafd, name, &size, &crc);
			fprintf(out, "%s %" PRIu64 " %08x\n", name, size, crc);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return err;
}

int clean_mark_write(int dirfd, int metafd)
{
	char *text = NULL, last[32];
	size_t len = 0;
	FILE *out;
	int fd, err;

	out = open_memstream(&text, &len);
	if (!out)
		return -errno;
	err = describe(metafd, out);
	if (fclose(out) && !err)
		err = -ENOMEM;
	if (err)
		goto out_free;
	snprintf(last, sizeof(last), "end %08x\n", crc32c(0, text, len));
	fd = openat(dirfd, MARK_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		goto out_free;
	}
	err = write_full(fd, text, len);
	if (!err)
		err = write_full(fd, last, strlen(last));
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	if (!err && (renameat(dirfd, MARK_NEW, dirfd, MARK) || fsync(dirfd)))
		err = -errno;
out_free:
	free(text);
	return err;
}

static int read_mark(int dirfd, char **textp)
{
	int fd = openat(dirfd, MARK, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t size = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = fstat(fd, &st) ? -errno : 0;
	if (!n) {
		size = st.st_size < MARK_MAX ? st.st_size : MARK_MAX;
		text = malloc(size + 1);
		n = text ? read_full(fd, text, size) : -ENOMEM;
	}
	close(fd);
	if (n < 0) {
		free(text);
		return n;
	}
	text[n] = 0;
	*textp = text;
	return 0;
}

/* The text of the mark without its last line; NULL when that does not fit. */
static char *mark_body(char *text)
{
	char *end = strstr(text, "\nend ");
	uint32_t crc;
	int n = 0;

	if (!end || strncmp(text, FIRST_LINE, strlen(FIRST_LINE)))
		return NULL;
	end++;
	if (sscanf(end, "end %8x\n%n", &crc, &n) != 1 || !n || end[n] || n != 13 ||
	    crc32c(0, text, end - text) != crc)
		return NULL;
	*end = 0;
	return text + strlen(FIRST_LINE);
}

static int bad_mark(const char *path, char **errmsg)
{
	return store_say(errmsg, -EUCLEAN,
			 "%s/clean is damaged: it has the checksums of the logs in meta/", path);
}

static int verify_line(int metafd, const char *path, const char *line, char **errmsg)
{
	uint64_t size, is_size;
	uint32_t crc, is_crc;
	char name[64];
	int err;

	if (sscanf(line, "%63s %" SCNu64 " %x", name, &size, &crc) != 3)
		return bad_mark(path, errmsg);
	err = file_crc(metafd, name, &is_size, &is_crc);
	if (err == -ENOENT)
		return store_say(errmsg, -EUCLEAN,
				 "%s/meta/%s is missing: it was there when the disk was closed",
				 path, name);
	if (err)
		return store_say(errmsg, err, "%s/meta/%s: %s", path, name, strerror(-err));
	if (size != is_size)
		return store_say(errmsg, -EUCLEAN,
				 "%s/meta/%s is damaged: it has %" PRIu64 " bytes, and had %" PRIu64
				 " when the disk was closed", path, name, is_size, size);
	if (crc != is_crc)
		return store_say(errmsg, -EUCLEAN,
				 "%s/meta/%s is damaged: its bytes are not those of the last close",
				 path, name);
	return 0;
}

int clean_mark_verify(int dirfd, int metafd, const char *path, char **errmsg)
{
	char *text = NULL, *body, *line, *rest;
	int err;

	err = read_mark(dirfd, &text);
	if (err == -ENOENT)
		return 0;
	if (err)
		return store_say(errmsg, err, "%s/clean: %s", path, strerror(-err));
	body = mark_body(text);
	if (!body)
		err = bad_mark(path, errmsg);
	while (!err && (line = strtok_r(body, "\n", &rest))) {
		err = verify_line(metafd, path, line, errmsg);
		body = NULL;
	}
	free(text);
	return err ? err : 1;
}

int clean_mark_remove(int dirfd)
{
	if (unlinkat(dirfd, MARK, 0) && errno != ENOENT)
		return -errno;
	return fsync(dirfd) ? -errno : 0;
}
