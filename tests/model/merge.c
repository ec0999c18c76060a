// SPDX-License-Identifier: GPL-2.0
/*
 * The merge rules against a naive filesystem in memory. Random operations are
 * applied to one tree record by record as they come, and as merged batches to
 * another; after each batch the two must be the same: names, cookies, contents,
 * attributes, extended attributes, times. The naive filesystem is as strict as
 * the server: a record that does not fit the tree ends the test. Contents that are withdrawn
 * are taken from the first tree, too.
 *
 *	merge [-n SEQUENCES] [-s SEED] [-v]
 *	merge -t
 *
 * SEED may be in the environment, and ARCHIL_LONG, for a hundred times as many.
 * Sequence i uses seed SEED + i; what fails says which. Before that, each rule is
 * seen to do what it says.
 */
#include <unistd.h>

#include "merge_rules.h"
#include "merge_time.h"

#define SEQUENCES	25000

/* A record for which there is no memory leaves nothing behind. */
static void check_no_memory(void)
{
	struct archil_record rec = {
		.type = ARCHIL_REC_RENAME, .ino = 2, .dir = 3, .new_dir = 4, .target = 5,
		.name = "a", .name_len = 1, .new_name = "b", .new_name_len = 1, .cookie = 3,
	};
	struct archil_batch_rec *e;
	int n = 0;

	do {
		alloc_left = n++;
		e = archil_batch_rec_new(&rec);
	} while (!e);
	alloc_left = -1;
	archil_batch_rec_free(e);
	MUST(n == 5, "a RENAME takes %d allocations", n - 1);
}

static void sequence(void)
{
	unsigned int steps, total = 0, dice, i, k;
	size_t max = sizeof(sealed_buf);

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		total += ops[i].weight;
	alloc_fails = rnd_one_in(&rnd, 4) ? rnd_range(&rnd, 1, 4) : 0;
	no_seal = rnd_one_in(&rnd, 2500);
	/* now and then long ones: the index grows, the looks back end */
	if (no_seal)
		steps = rnd_range(&rnd, 3000, 12000);
	else if (rnd_one_in(&rnd, 32))
		steps = rnd_range(&rnd, 300, 900);
	else
		steps = rnd_range(&rnd, 2, 90);
	if (!no_seal && rnd_one_in(&rnd, 4))
		max = rnd_range(&rnd, 256, 2048);
	start(max);
	for (; steps; steps--) {
		dice = rnd_below(&rnd, total);
		for (k = 0; dice >= ops[k].weight; k++)
			dice -= ops[k].weight;
		ops[k].run();
	}
	if (rnd_one_in(&rnd, 16)) {
		give_up(&batch);
		give_up(&twin);
	} else {
		seal();
	}
	alloc_fails = 0;
}

int main(int argc, char **argv)
{
	u64 n = getenv("ARCHIL_LONG") ? 100 * SEQUENCES : SEQUENCES, i;
	const char *env = getenv("SEED");
	int opt;

	seed = env ? strtoull(env, NULL, 0) : 1;
	while ((opt = getopt(argc, argv, "n:s:tv")) != -1) {
		if (opt == 'n') {
			n = strtoull(optarg, NULL, 0);
		} else if (opt == 's') {
			seed = strtoull(optarg, NULL, 0);
		} else if (opt == 't') {
			time_all();
			return 0;
		} else if (opt == 'v') {
			verbose = true;
		} else {
			fprintf(stderr, "usage: %s [-n SEQUENCES] [-s SEED] [-v] | -t\n", argv[0]);
			return 2;
		}
	}
	printf("seed %" PRIu64 ", %" PRIu64 " sequences\n", seed, n);
	last_ino = INODES - 1;
	for (i = 0; i < ARRAY_SIZE(rules); i++)
		check_rule(&rules[i]);
	check_no_memory();
	all_plain = all_merged = all_withdrawn = 0;
	for (i = 0; i < n; i++, seed++) {
		rnd.state = seed;
		sequence();
	}
	printf("%" PRIu64 " records, merged %" PRIu64 ", contents withdrawn %" PRIu64 " times\n",
	       all_plain, all_merged, all_withdrawn);
	return 0;
}

