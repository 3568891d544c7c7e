/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/restore.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"

int cmd_restore(int argc, char **argv)
{
	static const struct operation_command c = {
		.name = "restore",
		.command = FOR_RESTORE,
		.role = FRONT_RESTORE,
		.engine = restore_engine,
		.usage = "usage: firn restore [-D DIR] [options]\n\n"
			 "Restores the process tree in DIR with the pids it had, and waits until its root task ends, "
			 "unless\n"
			 "--restore-detached is given. When the restore fails nothing is left behind.\n",
	};

	return run_operation(&c, argc, argv);
}
