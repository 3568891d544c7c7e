/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/run.h"

#include <errno.h>
#include <stdio.h>

#include "base/exit_codes.h"
#include "cli/commands.h"
#include "cli/options.h"

static int complain(const struct operation_command *c, const struct error *e)
{
	fprintf(stderr, "firn: %s: %s.%s%s\n", c->name, e->sentence, e->hint[0] ? " " : "", e->hint);
	if (e->number == EOPNOTSUPP)
		return EXIT_REFUSED;
	return e->number == EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int run_operation(const struct operation_command *c, int argc, char **argv)
{
	struct command_line line;
	struct error e = { 0 };
	int r = options_parse(argc, argv, c->command, &line, &e);

	if (!r && line.help) {
		puts(c->usage);
		options_help(c->command);
		print_exit_status();
		r = EXIT_DONE;
	} else if (r || options_check(&line.options, c->command, &e)) {
		r = complain(c, &e);
	} else {
		r = front_run(c->role, &line.options, c->engine, NULL);
	}
	options_release(&line);
	return r;
}
