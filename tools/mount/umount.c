// SPDX-License-Identifier: GPL-2.0
/* umount.archil: umount(8) calls it for type archil; it works by hand as well. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "archil.h"
#include "helper.h"

#define PATIENCE_S	5

const char *helper_name = "umount.archil";

struct request {
	const char *dir;
	const char *namespace;	/* or NULL */
	bool force, lazy, readonly, verbose;
};

static const char usage_text[] =
"Usage: umount DIRECTORY\n"
"       umount.archil DIRECTORY [-fnrlv] [-N NAMESPACE] [-t TYPE]\n"
"\n"
"Writes everything back, gives back what is owned, and unmounts. Writing back can\n"
"be interrupted; then the disk stays mounted.\n"
"\n"
"  -f  do not write back: what is not durable is lost\n"
"  -l  take it out of sight now, and write back when nobody uses it any more\n"
"  -r  if it cannot be unmounted, make it read only\n"
"  -v  say what is done    -n  (nothing; for umount(8))\n"
"  --help, --version\n"
"\n"
"Exit status: 0 unmounted; 1 wrong usage or not permitted; 2 system error;\n"
"32 it could not be unmounted.\n";

/* Returns -1 to go on, else the exit status. */
static int parse_args(struct request *req, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ }
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "fnrlvN:t:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			req->force = true;
			break;
		case 'l':
			req->lazy = true;
			break;
		case 'r':
			req->readonly = true;
			break;
		case 'v':
			req->verbose = true;
			break;
		case 'n':
			break;
		case 'N':
			req->namespace = optarg;
			break;
		case 't':
			if (!type_is_ours(optarg))
				return EX_USAGE;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EX_OK;
		case 'V':
			puts("umount.archil " ARCHIL_VERSION);
			return EX_OK;
		default:
			fputs("Try 'umount.archil --help'.\n", stderr);
			return EX_USAGE;
		}
	}
	if (argc - optind != 1) {
		fputs(usage_text, stderr);
		return EX_USAGE;
	}
	req->dir = argv[optind];
	return -1;
}

/* Says why nothing happens; ends with the process. */
static void *patience(void *arg)
{
	sleep(PATIENCE_S);
	complain("%s: still writing back; is the server reachable? Interrupt to leave it mounted, "
		 "or use umount -f to lose what is not written", (const char *)arg);
	return NULL;
}

/*
 * umount(2) writes back too, but holding a lock on which every sync(2) waits, and
 * not to be interrupted. So most of it is done here.
 */
static void write_back(const struct request *req)
{
	struct archil_ioc_flags arg = { .size = sizeof(arg) };
	pthread_t thread;
	bool waiting;
	int fd;

	fd = open(req->dir, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		/* umount(2) says what is wrong, if anything is */
		return;
	}
	if (req->verbose)
		printf("umount.archil: writing back %s\n", req->dir);
	fflush(stdout);
	waiting = !pthread_create(&thread, NULL, patience, (void *)req->dir);
	if (ioctl(fd, ARCHIL_IOC_SYNC, &arg) && errno != ENOTTY)
		complain("%s: not everything could be written back: %m", req->dir);
	if (waiting) {
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	close(fd);
}

static int fail(const struct request *req, int err)
{
	if (err == EBUSY)
		complain("%s: target is busy", req->dir);
	else if (err == EINVAL)
		complain("%s: not mounted", req->dir);
	else if (err == EPERM)
		complain("%s: must be root to unmount", req->dir);
	else
		complain("%s: %s", req->dir, strerror(err));
	return err == EPERM ? EX_USAGE : err == ENOMEM ? EX_SYSTEM : EX_FAIL;
}

static int do_umount(const struct request *req)
{
	int flags = (req->force ? MNT_FORCE : 0) | (req->lazy ? MNT_DETACH : 0);
	int err;

	if (!umount2(req->dir, flags)) {
		if (req->verbose)
			printf("umount.archil: %s unmounted\n", req->dir);
		return EX_OK;
	}
	err = errno;
	if (err == EBUSY && req->readonly &&
	    !mount(NULL, req->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL)) {
		complain("%s: target is busy: it is read only now", req->dir);
		return EX_OK;
	}
	return fail(req, err);
}

int main(int argc, char **argv)
{
	struct request req = { };
	int status;

	status = parse_args(&req, argc, argv);
	if (status >= 0)
		return status;
	if (req.namespace && !enter_namespace(req.namespace))
		return EX_FAIL;
	if (!req.force && !req.lazy)
		write_back(&req);
	return do_umount(&req);
}
