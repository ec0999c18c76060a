// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "cmd.h"
#include "log.h"
#include "server.h"

static const char usage[] =
	"run DIR [--listen ADDR[:PORT]]... [--reap-delay TIME] [--verbose]\n"
	"Serve all disks in the store DIR, in the foreground, until SIGTERM.\n"
	"  --listen ADDR[:PORT]  where to listen; may be given several times. An IPv6\n"
	"                        address stands in brackets; * is all addresses.\n"
	"                        Default: *:7464\n"
	"  --reap-delay TIME     how long a removed file stays readable for those who\n"
	"                        have it open elsewhere; seconds, or 10min, 1h. Default: 10min\n"
	"  --verbose             log more\n";

static const struct option options[] = {
	{ "listen", required_argument, NULL, 'l' },
	{ "reap-delay", required_argument, NULL, 'r' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

static int add_listen(struct server_opts *opts, const char *text)
{
	char err[ERR_TEXT];

	if (opts->n_listen == SERVER_LISTEN_MAX) {
		fprintf(stderr, "archil-server: at most %d addresses to listen on\n",
			SERVER_LISTEN_MAX);
		return -1;
	}
	if (parse_host_port(text, true, &opts->listen[opts->n_listen], err)) {
		fprintf(stderr, "archil-server: --listen %s: %s\n", text, err);
		return -1;
	}
	opts->n_listen++;
	return 0;
}

static int serve(const struct server_opts *opts)
{
	static struct server server;
	sigset_t set;
	int rc;

	/* before any thread is made: all of them leave these to the loop */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/*
	 * A payload's memory is used again: to map, clear and unmap it each time costs more than to
	 * copy it. One heap for all threads, which grows by so much that the kernel can use huge pages.
	 */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 128 << 20);
	mallopt(M_TOP_PAD, 8 << 20);
	mallopt(M_ARENA_MAX, 1);

	do {
		if (server_start(&server, opts))
			return EXIT_FAILED;
		rc = server_signals(&server);
		if (!rc)
			rc = server_run(&server);
		server_destroy(&server);
	} while (rc == -EAGAIN);
	if (rc)
		return EXIT_FAILED;
	log_info("stopped");
	return EXIT_DONE;
}

int cmd_run(int argc, char **argv)
{
	struct server_opts opts = { .reap_ms = 600000 };
	int level = LOG_INFO, c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			if (add_listen(&opts, optarg))
				return EXIT_USAGE;
			break;
		case 'r':
			if (parse_duration(optarg, &opts.reap_ms)) {
				fprintf(stderr, "archil-server: --reap-delay: '%s' is not a time\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case 'v':
			level = LOG_DEBUG;
			break;
		case 'h':
			return cmd_usage(usage, true);
		default:
			return cmd_usage(usage, false);
		}
	}
	if (argc - optind != 1)
		return cmd_usage(usage, false);
	opts.dir = argv[optind];
	log_init("archil-server", level, true);
	return serve(&opts);
}
