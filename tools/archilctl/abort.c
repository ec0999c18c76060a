// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"
#include "util.h"

static enum ctl_exit fail(const char *what, int err)
{
	char text[ARCHIL_IOC_PATH_LEN + 512];
	enum ctl_exit status;

	if (err == EPERM) {
		ctl_complain("%s: only root may abort a session", what);
		return CTL_PERMISSION;
	}
	status = ctl_explain(CTL_DO_ASK, what, err, "", NULL, text, sizeof(text));
	ctl_complain("%s", text);
	return status;
}

static enum ctl_exit abort_number(const char *text, uint64_t number)
{
	struct archil_dev_abort arg = { .size = sizeof(arg), .mount_id = number };
	int fd, err;

	fd = open("/dev/archil", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		err = errno;
		if (err == EACCES || err == EPERM)
			return fail(text, EPERM);
		ctl_complain("/dev/archil: %s: is the archil module loaded?", strerror(err));
		return CTL_NOT_ARCHIL;
	}
	err = ioctl(fd, ARCHIL_DEV_ABORT, &arg) ? errno : 0;
	close(fd);
	if (err == ENOENT) {
		ctl_complain("there is no mount of number %s", text);
		return CTL_ERROR;
	}
	return err ? fail(text, err) : CTL_OK;
}

static enum ctl_exit abort_path(const char *path)
{
	struct archil_ioc_flags arg = { .size = sizeof(arg) };
	enum ctl_exit status;
	int fd, err;

	fd = ctl_open_mount(path, &status);
	if (fd < 0)
		return status;
	err = ioctl(fd, ARCHIL_IOC_ABORT, &arg) ? errno : 0;
	close(fd);
	return err ? fail(path, err) : CTL_OK;
}

static int run(int argc, char **argv)
{
	enum ctl_exit status;
	struct ctl_args args;
	uint64_t number;
	int rc;

	rc = ctl_parse(&ctl_abort, argc, argv, "", 1, 1, &args);
	if (rc >= 0)
		return rc;
	if (!parse_number(args.path[0], 1, UINT64_MAX, &number))
		status = abort_number(args.path[0], number);
	else
		status = abort_path(args.path[0]);
	if (!status)
		printf("%s: aborted; what was not written back is lost. Unmount it\n",
		       args.path[0]);
	return status;
}

const struct ctl_command ctl_abort = {
	.name = "abort",
	.args = "MOUNTPOINT|NUMBER",
	.summary = "end a session, losing what is not written back",
	.help =
"Gives up what is not durable, fails with EIO whatever waits, and ends the session:\n"
"for a mount whose server will not come back. Unmounting it works afterwards.\n"
"\n"
"  NUMBER   of the mount, as 'archilctl status' shows it, where the mount point cannot\n"
"           be reached (a directory of such a name: ./NUMBER)\n",
	.run = run,
};
