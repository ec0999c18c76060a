// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"

struct attempt {
	const char *path;
	int fd;
	struct archil_ioc_checkout arg;
	char holder_path[ARCHIL_IOC_PATH_LEN + 32];
	int err;
};

static void try(struct attempt *a, bool force)
{
	memset(&a->arg, 0, sizeof(a->arg));
	a->arg.size = sizeof(a->arg);
	a->arg.flags = force ? ARCHIL_CHECKOUT_FORCE : 0;
	a->holder_path[0] = '\0';
	a->err = ioctl(a->fd, ARCHIL_IOC_CHECKOUT, &a->arg) ? errno : 0;
	if (!a->err || a->err == EBUSY)
		ctl_holder_path(a->fd, &a->arg.holder, a->holder_path, sizeof(a->holder_path));
}

static enum ctl_exit explain(const struct attempt *a, enum ctl_action action, char *text,
			     size_t size)
{
	/* the path as the user wrote it, where it is the same thing */
	const char *holder_path = a->holder_path;
	struct where w;

	if (*holder_path && where_is(a->fd, &w) && !strcmp(w.path, holder_path))
		holder_path = a->path;
	return ctl_explain(action, a->path, a->err, holder_path, &a->arg.holder, text, size);
}

/* Whoever is there is asked; who owns it is known by now. */
static bool confirm(const struct attempt *a)
{
	char text[2 * ARCHIL_IOC_PATH_LEN + 512], shown[2 * ARCHIL_IOC_PATH_LEN + 512], answer[16];

	explain(a, CTL_DO_ASK, text, sizeof(text));
	ctl_printable(text, shown, sizeof(shown));
	fprintf(stderr, "archilctl: %s\n"
		"What was not written back there will be lost. Take it away? [y/N] ", shown);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	return answer[0] == 'y' || answer[0] == 'Y';
}

static void report(const struct attempt *a)
{
	char path[4 * ARCHIL_IOC_PATH_LEN], through[4 * ARCHIL_IOC_PATH_LEN];
	struct where w;

	ctl_printable(a->path, path, sizeof(path));
	ctl_printable(a->holder_path, through, sizeof(through));
	if (!a->arg.covered)
		printf("%s: checked out\n", path);
	else if (*through && !(where_is(a->fd, &w) && !strcmp(w.path, a->holder_path)))
		printf("%s: owned already, through %s\n", path, through);
	else
		printf("%s: owned already\n", path);
}

static enum ctl_exit checkout(const char *path, const struct ctl_args *args)
{
	char text[2 * ARCHIL_IOC_PATH_LEN + 512];
	struct attempt a = { .path = path };
	bool forced = args->force && args->yes;
	enum ctl_exit status;

	a.fd = ctl_open(path, true, &status);
	if (a.fd < 0)
		return status;
	try(&a, forced);
	if (a.err == EBUSY && args->force && !args->yes) {
		if (!confirm(&a)) {
			ctl_complain("%s: left as it is", path);
			close(a.fd);
			return CTL_OWNED;
		}
		forced = true;
		try(&a, true);
	}
	status = CTL_OK;
	if (a.err) {
		status = explain(&a, forced ? CTL_DO_FORCE : CTL_DO_CHECKOUT, text, sizeof(text));
		ctl_complain("%s", text);
	} else {
		report(&a);
	}
	close(a.fd);
	return status;
}

static int run(int argc, char **argv)
{
	enum ctl_exit worst = CTL_OK, status;
	struct ctl_args args;
	int i, rc;

	rc = ctl_parse(&ctl_checkout, argc, argv, "fy", 1, INT_MAX, &args);
	if (rc >= 0)
		return rc;
	if (args.force && !args.yes && !isatty(STDIN_FILENO)) {
		ctl_complain("--force takes away what others own: without a terminal to ask at it "
			     "needs --yes");
		return CTL_USAGE;
	}
	for (i = 0; i < args.paths; i++) {
		status = checkout(args.path[i], &args);
		if (status > worst)
			worst = status;
	}
	return worst;
}

const struct ctl_command ctl_checkout = {
	.name = "checkout",
	.args = "[--force] [--yes] PATH...",
	.summary = "own files or directories",
	.help =
"Takes ownership of each PATH: a regular file, or a directory and all beneath it.\n"
"It stays until it is checked in, unmounted, or taken away. What one owns beneath is\n"
"merged into it. Needs write permission. A file that may be written but not read\n"
"is opened for writing.\n"
"\n"
"  --force   take away what other clients own there, at once; what they have not\n"
"            written back is lost, and their programs get errors. For root and the\n"
"            owner of the file. At a terminal it asks first\n"
"  --yes     do not ask; needed where there is no terminal\n"
"\n"
"Exit status: 0 owned; 3 owned by another client; 6 no permission; 8 no answer;\n"
"see archilctl --help.\n",
	.run = run,
};
