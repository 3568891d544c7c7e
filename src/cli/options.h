/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/options.h"

/* The command line: CRIU's names and syntax, and firn's own few. */

enum option_command { FOR_DUMP = 1 << 0, FOR_RESTORE = 1 << 1, FOR_BOTH = FOR_DUMP | FOR_RESTORE,
		      FOR_EXPLAIN = 1 << 2 /* together with FOR_DUMP, whose options it takes */ };
enum option_value { VALUE_NONE, VALUE_REQUIRED, VALUE_OPTIONAL };

/* One row of the table in option_table.c. */
struct option_spec {
	const char *name;               /* without the dashes */
	char letter;                    /* 0 = none */
	enum option_value value;
	unsigned commands;              /* FOR_*: the ones that have it; others take it and do nothing */
	/* Stores the option. @value is NULL for a flag without a value or an optional value that is not there; a flag
	 * negated as --no-NAME comes with "no". 0, or -EINVAL raised. NULL: known from CRIU, refused by name. */
	int (*apply)(struct options *o, const char *value, struct error *e);
	const char *metavar;
	const char *help;               /* NULL: not shown by --help */
};

extern const struct option_spec option_table[];
extern const size_t n_option_table;

struct command_line {
	struct options options;
	bool help;
	const char **values;            /* owned: room for skip_mnt, external, inherit and irmap_scan_path */
};

/*
 * Parses argv[1…] for one command (FOR_DUMP, FOR_RESTORE or FOR_DUMP | FOR_EXPLAIN). The strings of @ret point into argv. 0, -EINVAL raised
 * (the command line is wrong), or -EOPNOTSUPP raised (an option that firn does not carry yet).
 */
int options_parse(int argc, char **argv, unsigned command, struct command_line *ret, struct error *e);
void options_release(struct command_line *c);

/* What is asked for and not carried yet, once the whole command line is known. Raises -EOPNOTSUPP. */
int options_check(const struct options *o, unsigned command, struct error *e);

/* How many arguments from argv[i] on belong to the option there: 1 or 2. For finding the subcommand behind options. */
int option_span(int argc, char **argv, int i);

/* The options of one command, for --help. */
void options_help(unsigned command);

/* ---- parts, tested by themselves ---- */

/* The known name closest to @word: a unique longer one that begins with it, or one a few letters away. NULL = none. */
const char *nearest_name(const char *word, const char *const *names, size_t n);
/* "10", "0.5" seconds → ms. 0 or -EINVAL. */
int parse_seconds(const char *text, unsigned *ret_ms);
/* "4096", "512K", "1M", "2G" → bytes. 0 or -EINVAL. */
int parse_size(const char *text, uint64_t *ret);
/* A whole number within the bounds. 0 or -EINVAL. */
int parse_number(const char *text, long min, long max, long *ret);
