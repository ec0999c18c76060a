// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "util.h"

/* ---- numbers ---- */

/* Digits from *text on, which moves behind them. */
static int digits(const char **text, uint64_t *out)
{
	uint64_t n = 0;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	for (; isdigit((unsigned char)**text); (*text)++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(**text - '0'), &n))
			return -ERANGE;
	*out = n;
	return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	uint64_t n;
	int err = digits(&text, &n);

	if (err)
		return err;
	if (*text)
		return -EINVAL;
	if (n < min || n > max)
		return -ERANGE;
	*number = n;
	return 0;
}

int parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmgtp";
	unsigned int shift = 0;
	const char *unit;
	uint64_t n;
	int err = digits(&text, &n);

	if (err)
		return err;
	unit = *text ? strchr(units, tolower((unsigned char)*text)) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		text++;
		if (!strcasecmp(text, "ib"))
			text += 2;
	}
	if (!strcasecmp(text, "b"))
		text++;
	if (*text)
		return -EINVAL;
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}

int parse_duration(const char *text, uint64_t *ms)
{
	static const struct { const char *name; uint64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "", 1000 }, { "min", 60 * 1000 },
		{ "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 },
	};
	uint64_t whole, part = 0, scale = 1;
	size_t i;
	int err = digits(&text, &whole);

	if (err)
		return err;
	if (*text == '.') {
		const char *start = ++text;

		err = digits(&text, &part);
		if (err || text - start > 9)
			return -EINVAL;
		for (; start < text; start++)
			scale *= 10;
	}
	for (i = 0; i < ARRAY_SIZE(units) && strcmp(text, units[i].name); i++)
		;
	if (i == ARRAY_SIZE(units) || part * units[i].ms % scale)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, units[i].ms, &whole) ||
	    __builtin_add_overflow(whole, part * units[i].ms / scale, &whole))
		return -ERANGE;
	*ms = whole;
	return 0;
}

/* ---- addresses and sources ---- */

int parse_host_port(const char *text, bool listen, struct host_port *out,
		    char err[static ERR_TEXT])
{
	const char *host = text, *end, *port;
	uint64_t number = ARCHIL_PORT;
	size_t len;

	if (*text == '[') {
		host++;
		end = strchr(host, ']');
		if (!end) {
			snprintf(err, ERR_TEXT, "\"%s\": ']' is missing", text);
			return -EINVAL;
		}
		port = end + 1;
		if (*port && *port != ':') {
			snprintf(err, ERR_TEXT, "\"%s\": only :PORT can follow ']'", text);
			return -EINVAL;
		}
	} else {
		end = strchrnul(host, ':');
		port = end;
		if (*end && strchr(end + 1, ':')) {
			snprintf(err, ERR_TEXT, "\"%s\": write an IPv6 address in brackets, as in [::1] or [::1]:%d",
				 text, ARCHIL_PORT);
			return -EINVAL;
		}
	}
	len = end - host;
	if (listen && len == 1 && *host == '*')
		len = 0;
	if (!len && (!listen || *text == '[')) {
		snprintf(err, ERR_TEXT, "\"%s\": the host name is missing", text);
		return -EINVAL;
	}
	if (len >= sizeof(out->host)) {
		snprintf(err, ERR_TEXT, "the host name is longer than %zu characters",
			 sizeof(out->host) - 1);
		return -EINVAL;
	}
	if (*port && parse_number(port + 1, listen ? 0 : 1, UINT16_MAX, &number)) {
		snprintf(err, ERR_TEXT, "\"%s\": the port must be a number from %d to 65535",
			 text, listen ? 0 : 1);
		return -EINVAL;
	}
	memcpy(out->host, host, len);
	out->host[len] = 0;
	out->port = number;
	return 0;
}

const char *disk_name_problem(const char *name)
{
	const char *c;

	if (!*name)
		return "it is empty";
	if (*name == '.' || *name == '-')
		return "it begins with '.' or '-'";
	for (c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			return "only letters, digits, '.', '_' and '-' can be in it";
	if (c - name > ARCHIL_DISK_LEN)
		return "it is longer than 63 characters";
	return NULL;
}

/* "/a//b/./c/" becomes "/a/b/c". */
static int clean_subdir(const char *text, char out[PATH_MAX], char err[static ERR_TEXT])
{
	size_t len = 0;

	if (*text != '/') {
		snprintf(err, ERR_TEXT, "the subdirectory \"%.200s\" does not begin with '/'", text);
		return -EINVAL;
	}
	for (;;) {
		size_t part;

		text += strspn(text, "/");
		part = strcspn(text, "/");
		if (!part)
			break;
		if (part == 2 && !memcmp(text, "..", 2)) {
			snprintf(err, ERR_TEXT, "\"..\" cannot be in the subdirectory");
			return -EINVAL;
		}
		if (part > ARCHIL_NAME_LEN) {
			snprintf(err, ERR_TEXT, "a name in the subdirectory is longer than %d bytes",
				 ARCHIL_NAME_LEN);
			return -EINVAL;
		}
		if (part != 1 || *text != '.') {
			if (len + 1 + part >= PATH_MAX) {
				snprintf(err, ERR_TEXT, "the subdirectory is longer than %d bytes",
					 PATH_MAX - 1);
				return -EINVAL;
			}
			out[len++] = '/';
			memcpy(out + len, text, part);
			len += part;
		}
		text += part;
	}
	if (!len)
		out[len++] = '/';
	out[len] = 0;
	return 0;
}

int parse_source(const char *text, struct source *out, char err[static ERR_TEXT])
{
	const char *slash = strchr(text, '/'), *disk, *end, *problem;
	char part[sizeof(out->server.host) + 16];

	if (!slash || !slash[1] || slash == text) {
		snprintf(err, ERR_TEXT, "\"%.200s\" is not of the form SERVER[:PORT]/DISK[:/SUBDIR]",
			 text);
		return -EINVAL;
	}
	if ((size_t)(slash - text) >= sizeof(part)) {
		snprintf(err, ERR_TEXT, "the server's name is too long");
		return -EINVAL;
	}
	memcpy(part, text, slash - text);
	part[slash - text] = 0;
	if (parse_host_port(part, false, &out->server, err))
		return -EINVAL;

	disk = slash + 1;
	end = strchrnul(disk, ':');
	if (end - disk > ARCHIL_DISK_LEN) {
		snprintf(err, ERR_TEXT, "the disk's name is longer than %d characters",
			 ARCHIL_DISK_LEN);
		return -EINVAL;
	}
	memcpy(out->disk, disk, end - disk);
	out->disk[end - disk] = 0;
	if (strchr(out->disk, '/')) {
		snprintf(err, ERR_TEXT, "\"%s\" cannot be a disk's name: put ':' before a subdirectory, as in SERVER/DISK:/SUBDIR",
			 out->disk);
		return -EINVAL;
	}
	problem = disk_name_problem(out->disk);
	if (problem) {
		snprintf(err, ERR_TEXT, "\"%s\" cannot be a disk's name: %s", out->disk, problem);
		return -EINVAL;
	}
	return clean_subdir(*end ? end + 1 : "/", out->subdir, err);
}

/* ---- files ---- */

ssize_t read_full(int fd, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(fd, (char *)buf + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		done += got;
	}
	return done;
}

int write_full(int fd, const void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = write(fd, (const char *)buf + done, n - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += put;
	}
	return 0;
}

int read_secret_file(const char *path, char *out, size_t size, char err[static ERR_TEXT])
{
	char buf[4096];
	struct stat st;
	ssize_t len;
	int fd, ret;

	/* non-blocking, so that somebody's FIFO is refused and not waited for */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		ret = -errno;
		snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(errno));
		goto out_close;
	}
	if (!S_ISREG(st.st_mode)) {
		ret = -EINVAL;
		snprintf(err, ERR_TEXT, "%.300s is not a regular file", path);
		goto out_close;
	}
	if (st.st_mode & 077) {
		ret = -EPERM;
		snprintf(err, ERR_TEXT, "%.300s is open to others than its owner (mode %04o): chmod 600 it",
			 path, st.st_mode & 07777);
		goto out_close;
	}
	len = read_full(fd, buf, sizeof(buf) - 1);
	if (len < 0) {
		ret = len;
		snprintf(err, ERR_TEXT, "%.300s: %s", path, strerror(-ret));
		goto out_wipe;
	}
	ret = -EINVAL;
	while (len && isspace((unsigned char)buf[len - 1]))
		len--;
	buf[len] = 0;
	if (!len) {
		snprintf(err, ERR_TEXT, "%.300s is empty", path);
	} else if (strlen(buf) != (size_t)len || strpbrk(buf, "\r\n")) {
		snprintf(err, ERR_TEXT, "%.300s holds more than one line", path);
	} else if ((size_t)len >= size) {
		snprintf(err, ERR_TEXT, "the line in %.300s is longer than %zu characters",
			 path, size - 1);
	} else {
		memcpy(out, buf, len + 1);
		ret = 0;
	}
out_wipe:
	OPENSSL_cleanse(buf, sizeof(buf));
out_close:
	if (fd >= 0)
		close(fd);
	return ret;
}

/* ---- time ---- */

uint64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void format_time(uint64_t when, uint64_t now, char out[static TIME_TEXT])
{
	time_t when_s = when / 1000000000, now_s = now / 1000000000;
	struct tm tm, today;
	bool same;

	localtime_r(&when_s, &tm);
	localtime_r(&now_s, &today);
	same = tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday;
	strftime(out, TIME_TEXT, same ? "%T" : "%F %T", &tm);
}
