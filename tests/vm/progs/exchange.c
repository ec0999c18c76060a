// SPDX-License-Identifier: GPL-2.0
/* exchange A B: renameat2(RENAME_EXCHANGE), which mv of Debian 12 does not have. */
#include <fcntl.h>

#include "prog.h"

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: exchange A B\n", stderr);
		return 2;
	}
	if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE))
		die("%s and %s", argv[1], argv[2]);
	return 0;
}
