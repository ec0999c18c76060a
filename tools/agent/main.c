// SPDX-License-Identifier: GPL-2.0
/* archil-agent: connects the mounts of one network namespace to their servers. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "kernel.h"
#include "log.h"
#include "settings.h"
#include "util.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

struct program {
	struct agent agent;
	struct loop loop;
	struct kernel *kernel;
	char *config;			/* absolute, or NULL: the usual one */
	const char *client_id;		/* of the command line, or NULL */
	int signal_fd;
	struct loop_op signal_op;
	struct signalfd_siginfo signal;
	int status;			/* of the exit */
};

static const char usage_text[] =
"Usage: archil-agent [--client-id ID] [--config FILE]\n"
"\n"
"Connects this network namespace's archil mounts to their servers, and carries\n"
"checkouts and checkins. Runs in the foreground, logs to stderr or the journal.\n"
"Mounts go on working while it is not running; mounting, checkout, checkin and\n"
"reconnecting wait for it.\n"
"\n"
"  --client-id ID   the name under which servers know this client: at most 63\n"
"                   letters, digits and -_.:@; otherwise the one in the\n"
"                   configuration, otherwise one that is made once and kept in\n"
"                   " CLIENT_ID_FILE "\n"
"  --config FILE    default " SETTINGS_FILE ", which need not exist\n"
"  --debug          log more\n"
"  --help, --version\n"
"\n"
"The configuration:\n"
"\n"
"  # comment\n"
"  client_id = web-2\n"
"  [files.example.org/models]           SERVER[:PORT]/DISK\n"
"  token = archil1-...                  or: tokenfile = FILE\n"
"\n"
"A disk's token there is used by mounts that come without one. With a token in it\n"
"the file must be open to its owner only. SIGHUP reads the tokens anew.\n"
"SIGTERM ends the agent. Exit status: 0, or 1 after an error, 2 for wrong usage.\n";

/* Returns 0, or the status to exit with, or -1: exit with success. */
static int parse_args(struct program *prog, int argc, char **argv)
{
	static const struct option options[] = {
		{ "client-id", required_argument, NULL, 'i' },
		{ "config", required_argument, NULL, 'c' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ }
	};
	int level = LOG_INFO, opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			prog->client_id = optarg;
			break;
		case 'c':
			/* the working directory changes */
			prog->config = realpath(optarg, NULL);
			if (!prog->config) {
				fprintf(stderr, "archil-agent: %s: %m\n", optarg);
				return 1;
			}
			break;
		case 'd':
			level = LOG_DEBUG;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return -1;
		case 'V':
			puts("archil-agent " ARCHIL_VERSION);
			return -1;
		default:
			fputs("Try 'archil-agent --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "archil-agent: '%s' is one argument too many\n", argv[optind]);
		return 2;
	}
	log_init("archil-agent", level, true);
	return 0;
}

/* ---- what is configured ---- */

static int load_settings(struct program *prog, struct settings *set)
{
	const char *problem;
	char err[ERR_TEXT];
	int rc;

	rc = settings_load(set, prog->config ? prog->config : SETTINGS_FILE, prog->config, err);
	if (rc) {
		log_err("%s", err);
		return rc;
	}
	if (prog->client_id) {
		problem = client_id_problem(prog->client_id);
		if (problem) {
			log_err("--client-id: %s", problem);
			return -EINVAL;
		}
		snprintf(set->client_id, sizeof(set->client_id), "%s", prog->client_id);
	}
	if (set->client_id[0])
		return 0;
	rc = client_id_lasting(CLIENT_ID_FILE, set->client_id, err);
	if (rc)
		log_err("%s", err);
	return rc;
}

/* Tokens only: the sessions that are there belong to this client id. */
static void reload(struct program *prog)
{
	struct settings fresh;

	if (load_settings(prog, &fresh)) {
		log_err("the configuration stays as it was");
		return;
	}
	if (strcmp(fresh.client_id, prog->agent.settings.client_id))
		log_warn("a new client id is taken when the agent starts the next time");
	memcpy(fresh.client_id, prog->agent.settings.client_id, sizeof(fresh.client_id));
	settings_free(&prog->agent.settings);
	settings_init(&prog->agent.settings);
	memcpy(prog->agent.settings.client_id, fresh.client_id, sizeof(fresh.client_id));
	STAILQ_CONCAT(&prog->agent.settings.disks, &fresh.disks);
	log_info("configuration read");
}

/* ---- signals ---- */

static void signal_arm(struct program *prog)
{
	io_uring_prep_read(loop_sqe(&prog->loop, &prog->signal_op), prog->signal_fd,
			   &prog->signal, sizeof(prog->signal), 0);
}

static void signal_done(struct loop_op *op, int res)
{
	struct program *prog = container_of(op, struct program, signal_op);

	if (res == sizeof(prog->signal) && prog->signal.ssi_signo == SIGHUP) {
		reload(prog);
	} else if (res == sizeof(prog->signal)) {
		log_info("ending: %s", strsignal(prog->signal.ssi_signo));
		loop_stop(&prog->loop);
		return;
	}
	signal_arm(prog);
}

static int signals_init(struct program *prog)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* before any thread is made: each has this mask */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	prog->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	prog->signal_op.done = signal_done;
	return prog->signal_fd < 0 ? -errno : 0;
}

/* ---- running ---- */

/*
 * Write-back may wait for this process: it must not wait for write-back, nor
 * for its own pages.
 */
static void be_careful(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_warn("PR_SET_IO_FLUSHER: %m");
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_warn("memory cannot be locked: %m");
	if (chdir("/"))
		log_warn("chdir: %m");
}

static void fatal(struct agent *agent)
{
	struct program *prog = container_of(agent, struct program, agent);

	prog->status = 1;
	loop_stop(&prog->loop);
}

static bool turn(void *arg)
{
	struct program *prog = arg;

	kernel_turn(prog->kernel);
	return false;
}

static int run(struct program *prog)
{
	char err[ERR_TEXT];
	int rc;

	rc = kernel_start(&prog->agent, &prog->kernel, fatal, err);
	if (rc) {
		log_err("%s", err);
		return 1;
	}
	prog->loop.turn = turn;
	prog->loop.turn_arg = prog;
	signal_arm(prog);
	rc = loop_run(&prog->loop);
	if (rc) {
		log_err("io_uring: %s", strerror(-rc));
		prog->status = 1;
	}
	kernel_stop(prog->kernel);
	return prog->status;
}

int main(int argc, char **argv)
{
	static struct program prog;
	int rc;

	rc = parse_args(&prog, argc, argv);
	if (rc)
		return rc < 0 ? 0 : rc;
	rc = signals_init(&prog);
	if (rc) {
		log_err("signals: %s", strerror(-rc));
		return 1;
	}
	rc = loop_init(&prog.loop);
	if (rc) {
		log_err("io_uring is needed and cannot be set up: %s", strerror(-rc));
		return 1;
	}
	agent_init(&prog.agent, &prog.loop, &kernel_netlink);
	if (load_settings(&prog, &prog.agent.settings))
		return 1;
	srandom(prog.loop.now ^ getpid());
	be_careful();
	/* what else is there ends with the process: nothing of it needs saying goodbye */
	return run(&prog);
}
