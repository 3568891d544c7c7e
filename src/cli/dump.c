/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/dump.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"

int cmd_dump(int argc, char **argv)
{
	static const struct operation_command c = {
		.name = "dump",
		.command = FOR_DUMP,
		.role = FRONT_DUMP,
		.engine = dump_engine,
		.usage = "usage: firn dump -t PID [-D DIR] [options]\n\n"
			 "Freezes the process tree below PID and writes it to DIR. The tasks are killed when the "
			 "images are\n"
			 "complete, unless --leave-running or --leave-stopped is given. When the dump fails they run "
			 "on.\n",
	};

	return run_operation(&c, argc, argv);
}
