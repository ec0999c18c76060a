// SPDX-License-Identifier: GPL-2.0
/* mount.archil: mount(8) calls it for type archil; it works by hand as well. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"
#include "mount8.h"
#include "mount_opts.h"
#include "scram.h"
#include "util.h"

#define TOKEN_VARIABLE	"ARCHIL_MOUNT_TOKEN"

const char *helper_name = "mount.archil";

struct request {
	const char *source, *dir;
	const char *namespace;		/* or NULL */
	bool sloppy, fake, verbose;
	struct mount_opts opts;
	bool has_token;
	char token[SCRAM_TOKEN_TEXT + 1];
};

static const char usage_text[] =
"Usage: mount -t archil [-o OPTIONS] SERVER[:PORT]/DISK[:/SUBDIR] DIRECTORY\n"
"       mount.archil SERVER[:PORT]/DISK[:/SUBDIR] DIRECTORY [-sfnv] [-o OPTIONS]\n"
"\n"
"Mounts a disk, or a directory of it. The archil-agent of this network namespace\n"
"must be running.\n"
"\n"
"  -o shared        own nothing at first; without it the mount owns all of it, and\n"
"                   fails if somebody else owns anything in it\n"
"  -o force         take away what others own in it\n"
"  -o ro            read only; never owns anything\n"
"  -o tokenfile=F   the disk's token is in F, open to its owner only; without it\n"
"                   it is taken from the environment variable " TOKEN_VARIABLE ",\n"
"                   or from the agent's configuration\n"
"  -o cache_ttl=S   what one does not own may be S seconds old (1; 0: always ask)\n"
"  -o commit=S      changes are written back after at most S seconds (5)\n"
"  -o timeo=S       mounting, checkout, checkin give up after S seconds (30)\n"
"  nosuid, nodev, noexec and so on as for any mount\n"
"\n"
"  -s  pass over unknown options    -f  do everything but mount\n"
"  -v  say what is done             -n  (nothing; for mount(8))\n"
"  -N NAMESPACE  mount there        -t TYPE  archil\n"
"  --help, --version\n"
"\n"
"Exit status: 0 mounted; 1 wrong usage or not permitted; 2 system error;\n"
"32 it could not be mounted.\n";

/* ---- arguments ---- */

/* Returns -1 to go on, else the exit status. */
static int parse_args(struct request *req, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ }
	};
	char err[ERR_TEXT];
	int opt;

	while ((opt = getopt_long(argc, argv, "sfnvN:o:t:hV", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			req->sloppy = true;
			break;
		case 'f':
			req->fake = true;
			break;
		case 'n':
			break;
		case 'v':
			req->verbose = true;
			break;
		case 'N':
			req->namespace = optarg;
			break;
		case 'o':
			if (mount_opts_parse(&req->opts, optarg, req->sloppy, err)) {
				complain("%s", err);
				return EX_USAGE;
			}
			break;
		case 't':
			if (!type_is_ours(optarg))
				return EX_USAGE;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EX_OK;
		case 'V':
			puts("mount.archil " ARCHIL_VERSION);
			return EX_OK;
		default:
			fputs("Try 'mount.archil --help'.\n", stderr);
			return EX_USAGE;
		}
	}
	if (argc - optind != 2) {
		fputs(usage_text, stderr);
		return EX_USAGE;
	}
	req->source = argv[optind];
	req->dir = argv[optind + 1];
	req->opts.shared |= mount8_shared(req->dir);
	if (mount_opts_check(&req->opts, err)) {
		complain("%s", err);
		return EX_USAGE;
	}
	return -1;
}

/* ---- the token ---- */

static int check_token(const char *text, const char *where)
{
	struct scram_token token;
	char err[ERR_TEXT];
	int rc = scram_token_parse(text, &token, err);

	scram_token_wipe(&token);
	if (rc)
		complain("%s: %s", where, err);
	return rc;
}

/* Takes it out of the environment: what is started from here does not get it. */
static bool token_from_environment(struct request *req)
{
	char *value = getenv(TOKEN_VARIABLE);
	size_t len;

	if (!value)
		return false;
	len = strlen(value);
	if (len < sizeof(req->token)) {
		memcpy(req->token, value, len + 1);
		req->has_token = len > 0;
	} else {
		strcpy(req->token, "-");	/* no token: refused below */
		req->has_token = true;
	}
	OPENSSL_cleanse(value, len);
	unsetenv(TOKEN_VARIABLE);
	return req->has_token;
}

static int get_token(struct request *req)
{
	bool from_environment = token_from_environment(req);
	char err[ERR_TEXT];

	if (req->opts.tokenfile[0]) {
		if (read_secret_file(req->opts.tokenfile, req->token, sizeof(req->token), err)) {
			complain("%s", err);
			return EX_USAGE;
		}
		req->has_token = true;
		return check_token(req->token, req->opts.tokenfile) ? EX_USAGE : EX_OK;
	}
	if (from_environment && check_token(req->token, TOKEN_VARIABLE))
		return EX_USAGE;
	return EX_OK;
}

/* ---- mounting ---- */

static int exit_status(int err)
{
	if (err == EPERM)
		return EX_USAGE;
	return err == ENOMEM || err == EMFILE || err == ENFILE ? EX_SYSTEM : EX_FAIL;
}

static const char no_agent[] = "is archil-agent running in this network namespace?";

/*
 * Passes on what the kernel says: lines "e archil: text" for an error, "w ..." for a
 * warning. Returns whether there was an error.
 */
static bool pass_on(const struct request *req, int fd, int err)
{
	char line[4096], *text;
	bool said = false;
	ssize_t n;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		line[strcspn(line, "\n")] = '\0';
		text = n > 2 && line[1] == ' ' ? line + 2 : line;
		if (!strncmp(text, "archil: ", 8))
			text += 8;
		said = said || line[0] == 'e';
		if (line[0] == 'e' && err == ENOTCONN && !strstr(text, "archil-agent"))
			complain("%s: %s: %s", req->source, text, no_agent);
		else
			complain("%s: %s", req->source, text);
	}
	return said;
}

/* When the kernel has said nothing. */
static void explain(const struct request *req, const char *what, int err)
{
	if (err == ENOTCONN)
		complain("%s: no agent answered: %s", req->source, no_agent);
	else if (err == ETIMEDOUT)
		complain("%s: the server did not answer in time", req->source);
	else if (err == EPERM)
		complain("%s: %s: %s: are you root?", req->source, what, strerror(err));
	else
		complain("%s: %s: %s", req->source, what, strerror(err));
}

static void load_module(const struct request *req)
{
	char *argv[] = { "modprobe", "archil", NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	pid_t pid;

	if (req->verbose)
		printf("mount.archil: modprobe archil\n");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		execve("/sbin/modprobe", argv, envp);
		execve("/usr/sbin/modprobe", argv, envp);
		_exit(127);
	}
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}

/* Returns a descriptor or a negative errno. */
static int open_context(const struct request *req)
{
	int fd = fsopen("archil", FSOPEN_CLOEXEC), err;

	if (fd < 0 && errno == ENODEV) {
		load_module(req);
		fd = fsopen("archil", FSOPEN_CLOEXEC);
	}
	if (fd >= 0)
		return fd;
	err = errno;
	if (err == ENODEV)
		complain("this kernel does not know archil: is the module installed (modprobe archil)?");
	else
		explain(req, "cannot mount", err);
	return -err;
}

/* Returns 0 or an errno. */
static int set(int fd, const char *key, const char *value)
{
	return fsconfig(fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) ?
	       errno : 0;
}

static int configure(const struct request *req, int fd, const char **what)
{
	const struct mount_opts *o = &req->opts;
	unsigned int i;
	int err = 0;

	*what = "source";
	if (!o->remount)
		err = set(fd, "source", req->source);
	for (i = 0; !err && i < o->params; i++) {
		*what = o->param[i].key;
		err = set(fd, o->param[i].key, o->param[i].value);
	}
	if (!err && o->shared)
		err = set(fd, *what = "shared", NULL);
	if (!err && o->force)
		err = set(fd, *what = "force", NULL);
	if (!err && (o->attr_clear & MOUNT_ATTR_RDONLY))
		err = set(fd, *what = o->ro ? "ro" : "rw", NULL);
	if (!err && req->has_token && !o->remount)
		err = set(fd, *what = "token", req->token);
	return err;
}

/* Returns the new mount, attached to nothing, or a negative errno and what. */
static int create(const struct request *req, int fd, const char **what)
{
	int err = configure(req, fd, what), mfd;

	if (err)
		return -err;
	*what = "cannot mount";
	if (fsconfig(fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	mfd = fsmount(fd, FSMOUNT_CLOEXEC, req->opts.attr_set);
	return mfd < 0 ? -errno : mfd;
}

static int do_mount(const struct request *req)
{
	int fd, mfd, status = EX_OK;
	const char *what;

	fd = open_context(req);
	if (fd < 0)
		return exit_status(-fd);
	mfd = create(req, fd, &what);
	if (!pass_on(req, fd, mfd < 0 ? -mfd : 0) && mfd < 0)
		explain(req, what, -mfd);
	close(fd);
	if (mfd < 0)
		return exit_status(-mfd);
	if (req->namespace && !enter_namespace(req->namespace)) {
		status = EX_FAIL;
	} else if (move_mount(mfd, "", AT_FDCWD, req->dir, MOVE_MOUNT_F_EMPTY_PATH)) {
		status = exit_status(errno);
		explain(req, req->dir, errno);
	}
	close(mfd);
	return status;
}

static int do_remount(const struct request *req)
{
	struct mount_attr attr = {
		.attr_set = req->opts.attr_set,
		.attr_clr = req->opts.attr_clear,
	};
	const char *what;
	int fd, err;

	if (req->namespace && !enter_namespace(req->namespace))
		return EX_FAIL;
	fd = fspick(AT_FDCWD, req->dir, FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT);
	if (fd < 0) {
		complain("%s: %m", req->dir);
		return exit_status(errno);
	}
	err = configure(req, fd, &what);
	if (!err) {
		what = "cannot remount";
		if (fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) ||
		    mount_setattr(AT_FDCWD, req->dir, 0, &attr, sizeof(attr)))
			err = errno;
	}
	if (!pass_on(req, fd, err) && err)
		explain(req, what, err);
	close(fd);
	return err ? exit_status(err) : EX_OK;
}

/* Before the server is asked for anything. */
static int check(const struct request *req)
{
	struct source source;
	struct stat st;
	char err[ERR_TEXT];

	if (!req->opts.remount && parse_source(req->source, &source, err)) {
		complain("%s", err);
		return EX_USAGE;
	}
	/* in another namespace it may be there */
	if (req->namespace)
		return EX_OK;
	if (stat(req->dir, &st)) {
		complain("mount point %s: %m", req->dir);
		return EX_FAIL;
	}
	if (!S_ISDIR(st.st_mode)) {
		complain("mount point %s is not a directory", req->dir);
		return EX_FAIL;
	}
	return EX_OK;
}

int main(int argc, char **argv)
{
	static struct request req;
	int status;

	status = parse_args(&req, argc, argv);
	if (status >= 0)
		return status;
	status = check(&req);
	if (!status)
		status = get_token(&req);
	if (!status && req.verbose)
		printf("mount.archil: %s on %s\n", req.source, req.dir);
	if (!status && !req.fake)
		status = req.opts.remount ? do_remount(&req) : do_mount(&req);
	OPENSSL_cleanse(req.token, sizeof(req.token));
	mount_opts_free(&req.opts);
	return status;
}
