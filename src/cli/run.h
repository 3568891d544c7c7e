/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "watch/front.h"

/* The body of dump and restore: parse, check, run under supervision. */
struct operation_command {
	const char *name;
	unsigned command;               /* FOR_DUMP or FOR_RESTORE */
	enum front_role role;
	engine_fn engine;
	const char *usage;              /* printed by --help above the options */
};

/* An enum exit_code. Blocks until the operation ended, within its limits. */
int run_operation(const struct operation_command *c, int argc, char **argv);
