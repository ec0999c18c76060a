// SPDX-License-Identifier: GPL-2.0
/* fsync-fd FD: fsync of a descriptor that was inherited; says why not. */
#include <unistd.h>

#include "prog.h"

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: fsync-fd FD\n", stderr);
		return 2;
	}
	if (fsync(atoi(argv[1]))) {
		printf("fsync: %m\n");
		return 1;
	}
	return 0;
}
