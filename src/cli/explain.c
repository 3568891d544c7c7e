/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/explain.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"

int cmd_explain(int argc, char **argv)
{
	static const struct operation_command c = {
		.name = "explain",
		.command = FOR_DUMP | FOR_EXPLAIN,
		.role = FRONT_EXPLAIN,
		.engine = explain_engine,
		.usage = "usage: firn explain -t PID [--json] [options of firn dump]\n\n"
			 "Lists everything in the process tree below PID that a dump with the same options would "
			 "refuse, with\n"
			 "the option that would help, and tells how much the dump would write and how long the tree "
			 "would stand\n"
			 "still. Nothing is stopped or changed. The exit status is 0 when the dump would be made, 3 "
			 "when not.\n",
	};

	return run_operation(&c, argc, argv);
}
