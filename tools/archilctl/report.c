// SPDX-License-Identifier: GPL-2.0
/* What happened, to whom, and what to do next. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "util.h"

void ctl_printable(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = *text;

		if (c < ' ' || c == 0x7f)
			n += snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = c;
	}
	out[n] = '\0';
}

void ctl_complain(const char *fmt, ...)
{
	char line[4 * ARCHIL_IOC_PATH_LEN], shown[4 * ARCHIL_IOC_PATH_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ctl_printable(line, shown, sizeof(shown));
	fprintf(stderr, "archilctl: %s\n", shown);
}

/* "web-2 (since 12:03:11)" */
static void owner_text(const struct archil_ioc_holder *holder, char *out, size_t size)
{
	char when[TIME_TEXT];

	if (holder->since_ns) {
		format_time(holder->since_ns, realtime_ns(), when);
		snprintf(out, size, "client %.63s (since %s)", holder->client, when);
	} else {
		snprintf(out, size, "client %.63s", holder->client);
	}
}

static enum ctl_exit owned(enum ctl_action action, const char *path, const char *holder_path,
			   const struct archil_ioc_holder *holder, char *text, size_t size)
{
	const char *advice = ": ask it to check in, or use --force";
	char owner[ARCHIL_IOC_CLIENT_LEN + TIME_TEXT + 20];

	if (action == CTL_DO_ASK)
		advice = "";
	if (action == CTL_DO_FORCE)
		advice = ": somebody took it again, try once more";
	owner_text(holder, owner, sizeof(owner));
	if (!*holder_path || !strcmp(path, holder_path))
		snprintf(text, size, "%s is owned by %s%s", path, owner, advice);
	else
		snprintf(text, size, "%s: %s is owned by %s%s", path, holder_path, owner, advice);
	return CTL_OWNED;
}

static enum ctl_exit busy(enum ctl_action action, const char *path, const char *holder_path,
			  const struct archil_ioc_holder *holder, char *text, size_t size)
{
	if (action == CTL_DO_CHECKIN && *holder_path) {
		snprintf(text, size, "%s lies in %s, which is held as a whole: check that in",
			 path, holder_path);
		return CTL_COVERED;
	}
	if (action == CTL_DO_CHECKIN) {
		snprintf(text, size, "%s lies in something larger that is held as a whole", path);
		return CTL_COVERED;
	}
	if (holder && holder->client[0])
		return owned(action, path, holder_path, holder, text, size);
	snprintf(text, size, "%s is owned by another client", path);
	return CTL_OWNED;
}

enum ctl_exit ctl_explain(enum ctl_action action, const char *path, int err,
			  const char *holder_path, const struct archil_ioc_holder *holder,
			  char *text, size_t size)
{
	bool checkin = action == CTL_DO_CHECKIN;

	switch (err) {
	case EBUSY:
		return busy(action, path, holder_path, holder, text, size);
	case ENOENT:
		if (!checkin)
			break;
		snprintf(text, size, "%s: nothing is held there", path);
		return CTL_NOTHING;
	case EINVAL:
		snprintf(text, size, "%s is neither a regular file nor a directory", path);
		return CTL_ERROR;
	case EROFS:
		snprintf(text, size, "%s: mounted read-only, such a mount owns nothing", path);
		return CTL_PERMISSION;
	case EACCES:
		snprintf(text, size, "%s: no permission to write to it", path);
		return CTL_PERMISSION;
	case EPERM:
		snprintf(text, size, "%s: --force is for root and for the owner of the file", path);
		return CTL_PERMISSION;
	case ENOTTY:
		snprintf(text, size, "%s is not in an archil file system", path);
		return CTL_NOT_ARCHIL;
	case ENOTCONN:
		snprintf(text, size, "%s: no agent answers: is archil-agent running in this "
			 "network namespace?", path);
		return CTL_NOT_CONNECTED;
	case ETIMEDOUT:
		snprintf(text, size, "%s: the server does not answer", path);
		return CTL_NOT_CONNECTED;
	case ESTALE:
		snprintf(text, size, "%s is not there any more", path);
		return CTL_ERROR;
	case EIO:
		snprintf(text, size, "%s: %s", path, checkin ?
			 "something of it could not be written back, or the session is over" :
			 "the session is over: unmount it");
		return CTL_ERROR;
	}
	snprintf(text, size, "%s: %s", path, strerror(err));
	return CTL_ERROR;
}
