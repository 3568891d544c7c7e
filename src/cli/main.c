/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/commands.h"

/* The name it is called by (firn, criu) makes no difference. */
int main(int argc, char **argv)
{
	return commands_main(argc, argv);
}
