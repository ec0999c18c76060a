// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"

static enum ctl_exit checkin(const char *path)
{
	char text[2 * ARCHIL_IOC_PATH_LEN + 512], shown[4 * ARCHIL_IOC_PATH_LEN];
	char holder_path[ARCHIL_IOC_PATH_LEN + 32] = "";
	struct archil_ioc_checkin arg = { .size = sizeof(arg) };
	enum ctl_exit status;
	int fd, err;

	fd = ctl_open(path, false, &status);
	if (fd < 0)
		return status;
	err = ioctl(fd, ARCHIL_IOC_CHECKIN, &arg) ? errno : 0;
	if (err == EBUSY)
		ctl_holder_path(fd, &arg.holder, holder_path, sizeof(holder_path));
	close(fd);
	if (err) {
		status = ctl_explain(CTL_DO_CHECKIN, path, err, holder_path, &arg.holder, text,
				     sizeof(text));
		ctl_complain("%s", text);
		return status;
	}
	ctl_printable(path, shown, sizeof(shown));
	if (arg.released == 1)
		printf("%s: checked in\n", shown);
	else
		printf("%s: checked in (%u delegations)\n", shown, arg.released);
	return CTL_OK;
}

static int run(int argc, char **argv)
{
	enum ctl_exit worst = CTL_OK, status;
	struct ctl_args args;
	int i, rc;

	rc = ctl_parse(&ctl_checkin, argc, argv, "", 1, INT_MAX, &args);
	if (rc >= 0)
		return rc;
	for (i = 0; i < args.paths; i++) {
		status = checkin(args.path[i]);
		if (status > worst)
			worst = status;
	}
	return worst;
}

const struct ctl_command ctl_checkin = {
	.name = "checkin",
	.args = "PATH...",
	.summary = "give ownership back",
	.help =
"Writes back, durably, what this mount owns at PATH and beneath it, and gives it back.\n"
"Others can own it from then on.\n"
"\n"
"Exit status: 0 given back; 4 nothing is held there; 5 it lies inside something\n"
"larger that is held as a whole; 8 no answer; see archilctl --help.\n",
	.run = run,
};
