/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "base/print.h"
#include "cli/check_config.h"
#include "cli/commands.h"
#include "cli/options.h"

/*
 * firn check: a line per feature; see firn-check(8). Everything asked for is found out first, then printed, so that
 * what is printed is whole. Nothing here touches another task than children of its own.
 */

/* A row as it is printed, whatever table it comes from. */
struct result {
	const char *group, *name, *since;
	bool required;
	enum check_state state;
	const char *purpose, *missing, *hint;
	char detail[160];
};

struct report {
	struct result results[96];
	size_t n;
	bool good;
};

static const char *const state_words[] = { [CHECK_NO] = "no", [CHECK_PARTLY] = "partly", [CHECK_YES] = "yes" };

static void report_add(struct report *report, struct result *r)
{
	if (r->required && r->state == CHECK_NO)
		report->good = false;
	if (report->n < ARRAY_SIZE(report->results))
		report->results[report->n++] = *r;
}

static void check_release(struct report *report, const struct features *f)
{
	struct result r = {
		.group = "kernel",
		.name = "linux",
		.required = true,
		.purpose = "firn is written for Linux 5.15 and newer",
		.missing = "older kernels lack what firn cannot do without",
		.hint = "run Linux 5.15 or newer",
	};

	(void)snprintf(r.detail, sizeof(r.detail), "Linux %u.%u", f->release_major, f->release_minor);
	r.state = f->release_major > 5 || (f->release_major == 5 && f->release_minor >= 15) ? CHECK_YES : CHECK_NO;
	report_add(report, &r);
}

static void check_features(struct report *report, const struct features *f)
{
	for (size_t i = 0; i < n_feature_rows; i++) {
		const struct feature *row = &feature_rows[i];
		struct result r = {
			.group = "kernel",
			.name = row->name,
			.since = row->since,
			.required = row->required,
			.state = feature_present(f, row) ? CHECK_YES : CHECK_NO,
			.purpose = row->purpose,
			.missing = row->missing,
			.hint = row->hint,
		};

		if (f->without >> i & 1)
			(void)snprintf(r.detail, sizeof(r.detail), "turned off by FIRN_WITHOUT");
		report_add(report, &r);
	}
}

static void check_rows(struct report *report, const struct check_group *group, const struct features *f)
{
	for (size_t i = 0; i < group->n_rows; i++) {
		const struct check *row = &group->rows[i];
		struct result r = {
			.group = group->name,
			.name = row->name,
			.required = row->required,
			.purpose = row->purpose,
			.missing = row->missing,
			.hint = row->hint,
		};

		r.state = row->probe				 ? row->probe(f, r.detail, sizeof(r.detail))
			  : features_capable(f, row->capability) ? CHECK_YES
								 : CHECK_NO;
		report_add(report, &r);
	}
}

static void print_json(const struct report *report, const char *kernel)
{
	printf("{\n  ");
	put_json_string(stdout, "firn", FIRN_VERSION, ",\n  ");
	put_json_string(stdout, "kernel", kernel, ",\n");
	printf("  \"ok\": %s,\n  \"features\": [", report->good ? "true" : "false");
	for (size_t i = 0; i < report->n; i++) {
		const struct result *r = &report->results[i];

		printf("%s\n    {", i ? "," : "");
		put_json_string(stdout, "group", r->group, ", ");
		put_json_string(stdout, "name", r->name, ", ");
		put_json_string(stdout, "state", state_words[r->state], ", ");
		printf("\"required\": %s, ", r->required ? "true" : "false");
		put_json_string(stdout, "purpose", r->purpose, ", ");
		put_json_string(stdout, "since", r->since, ", ");
		put_json_string(stdout, "detail", *r->detail ? r->detail : NULL, ", ");
		put_json_string(stdout, "missing", r->missing, ", ");
		put_json_string(stdout, "hint", r->hint, "}");
	}
	printf("\n  ]\n}\n");
}

static void print_result(const struct result *r)
{
	printf("  %-24s %-7s %s", r->name, state_words[r->state], r->purpose);
	if (*r->detail)
		printf(" (%s)", r->detail);
	if (r->state != CHECK_YES) {
		printf("; without: %s", r->missing);
		if (r->hint)
			printf("; helps: %s", r->hint);
	}
	putchar('\n');
}

static void print_text(const struct report *report, const char *kernel, const char *machine)
{
	const char *group = "";
	bool first = true;

	printf("firn %s on Linux %s, %s\n", FIRN_VERSION, kernel, machine);
	for (size_t i = 0; i < report->n; i++) {
		if (strcmp(group, report->results[i].group) != 0)
			printf("\n%s\n", report->results[i].group);
		group = report->results[i].group;
		print_result(&report->results[i]);
	}
	if (report->good) {
		printf("\nA plain process tree can be dumped and restored here.\n");
		return;
	}
	printf("\nA plain process tree cannot be dumped and restored here; needed and missing:");
	for (size_t i = 0; i < report->n; i++) {
		if (!report->results[i].required || report->results[i].state != CHECK_NO)
			continue;
		printf("%s %s", first ? "" : ",", report->results[i].name);
		first = false;
	}
	putchar('\n');
}

static int print_one(const struct report *report, const char *asked)
{
	const char *name = asked;

	if (check_other_name(asked, &name) && !name) {
		printf("  %-24s %-7s not carried by this version of firn\n", asked, state_words[CHECK_NO]);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < report->n; i++) {
		if (strcmp(report->results[i].name, name) != 0)
			continue;
		print_result(&report->results[i]);
		return report->results[i].state == CHECK_NO ? EXIT_FAILED : EXIT_DONE;
	}
	(void)fprintf(stderr, "firn: check: there is no feature “%s”; `firn check` lists them\n", asked);
	return EXIT_USAGE;
}

static void print_help(void)
{
	puts("usage: firn check [--json] [--feature NAME]\n"
	     "       firn check [--json] --config FILE\n"
	     "       firn check --print-fragment [x86_64|aarch64] [--kata]\n"
	     "\n"
	     "Tells what this kernel, these privileges and this machine allow, one line per feature; or what a kernel\n"
	     "configuration allows, one line per option.\n"
	     "\n"
	     "  --json             the same for programs\n"
	     "  --feature NAME     one feature alone, also by CRIU's name; the exit code is 0 when it is there, 1 when "
	     "not\n"
	     "  --config FILE      look at that kernel configuration or fragment (also .gz; - is standard input) and "
	     "at\n"
	     "                     nothing of this machine\n"
	     "  --print-fragment   print the fragment of a configuration that a guest's kernel needs (default: for "
	     "this\n"
	     "                     machine's architecture)\n"
	     "  --kata             as Kata Containers keep fragments\n"
	     "  --help             this text\n"
	     "\n"
	     "Exit code: 0 when a plain process tree can be dumped and restored, 1 when not, 2 for wrong usage or a "
	     "file\n"
	     "that is no kernel configuration.\n"
	     "See firn-check(8).");
}

struct arguments {
	bool json, help, kata, fragment;
	const char *feature, *config;
	enum config_arch arch;
};

/* Those behind --help are CRIU's, whose plain check leaves out what they add: here everything is always looked at. */
static const char *const option_names[] = {
	"json",	 "feature",	 "config", "print-fragment",   "kata", "help", "all",
	"extra", "experimental", "ms",	   "no-default-config"
};
enum { FIRST_IGNORED = 6 };

static int unknown_option(const char *word)
{
	const char *near =
		strncmp(word, "--", 2) == 0 ? nearest_name(word + 2, option_names, ARRAY_SIZE(option_names)) : NULL;

	if (near)
		(void)fprintf(stderr, "firn: check: there is no option %s. Did you mean --%s?\n", word, near);
	else
		(void)fprintf(stderr, "firn: check: %s is not understood. See firn check --help.\n", word);
	return EXIT_USAGE;
}

static bool ignored_option(const char *word)
{
	if (strncmp(word, "-v", 2) == 0)
		return true;
	for (size_t i = FIRST_IGNORED; i < ARRAY_SIZE(option_names); i++)
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, option_names[i]) == 0)
			return true;
	return false;
}

/* The value of --@name, in the same word or the next, which is taken then; NULL: argv[*i] is another option. */
static int take_value(int argc, char **argv, int *i, const char *name, const char **ret)
{
	size_t n = strlen(name);

	if (strncmp(argv[*i], "--", 2) != 0 || strncmp(argv[*i] + 2, name, n) != 0)
		return 0;
	if (argv[*i][n + 2] == '=') {
		*ret = argv[*i] + n + 3;
		return 1;
	}
	if (argv[*i][n + 2])
		return 0;
	if (*i + 1 == argc)
		return -EINVAL;
	*ret = argv[++*i];
	return 1;
}

/* --print-fragment, --print-fragment=ARCH, --print-fragment ARCH. */
static int take_fragment(int argc, char **argv, int *i, struct arguments *a)
{
	static const char option[] = "--print-fragment";
	const char *name = argv[*i] + strlen(option);
	struct utsname uts;

	if (strncmp(argv[*i], option, strlen(option)) != 0 || (*name && *name != '='))
		return 0;
	a->fragment = true;
	if (*name == '=') {
		name++;
	} else if (*i + 1 < argc && argv[*i + 1][0] != '-') {
		name = argv[++*i];
	} else {
		(void)uname(&uts);
		name = uts.machine;
	}
	if (config_arch_named(name, &a->arch))
		return 1;
	(void)fprintf(stderr, "firn: check: --print-fragment %s: firn knows x86_64 and aarch64\n", name);
	return -EINVAL;
}

static int usage(const char *sentence)
{
	(void)fprintf(stderr, "firn: check: %s\n", sentence);
	return EXIT_USAGE;
}

static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
	for (int i = 1; i < argc; i++) {
		int feature = take_value(argc, argv, &i, "feature", &ret->feature);
		int config = feature ? 0 : take_value(argc, argv, &i, "config", &ret->config);
		int fragment = feature || config ? 0 : take_fragment(argc, argv, &i, ret);

		if (feature < 0)
			return usage("--feature needs a name; `firn check` lists them");
		if (config < 0)
			return usage("--config needs a file, or - for standard input");
		if (fragment < 0)
			return EXIT_USAGE;
		if (feature || config || fragment)
			continue;
		if (strcmp(argv[i], "--json") == 0)
			ret->json = true;
		else if (strcmp(argv[i], "--kata") == 0)
			ret->kata = true;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			ret->help = true;
		else if (!ignored_option(argv[i]))
			return unknown_option(argv[i]);
	}
	if ((ret->feature != NULL) + (ret->config != NULL) + ret->fragment > 1)
		return usage("--feature, --config and --print-fragment ask different things: give one of them");
	if (ret->kata && !ret->fragment)
		return usage("--kata is a form of --print-fragment, which is not given");
	if (ret->json && ret->fragment)
		return usage("a fragment has no form in JSON: leave out --json or --print-fragment");
	return EXIT_DONE;
}

int cmd_check(int argc, char **argv)
{
	static struct report report; /* 30 KiB, once in the life of the process */
	struct arguments arguments = { 0 };
	struct error e = { 0 };
	struct utsname uts = { 0 };
	struct features f;
	int r = parse_arguments(argc, argv, &arguments);

	if (r != EXIT_DONE)
		return r;
	if (arguments.help) {
		print_help();
		return EXIT_DONE;
	}
	if (arguments.config)
		return check_config(arguments.config, arguments.json);
	if (arguments.fragment) {
		print_config_fragment(arguments.arch, arguments.kata);
		return EXIT_DONE;
	}
	if (features_probe(&f, &e) < 0) {
		(void)fprintf(stderr, "firn: check: %s. %s\n", e.sentence, e.hint);
		return EXIT_USAGE;
	}
	(void)uname(&uts);
	report = (struct report){ .good = true };
	check_release(&report, &f);
	check_features(&report, &f);
	check_rows(&report, &check_tasks, &f);
	check_rows(&report, &check_privileges, &f);
	check_rows(&report, &check_objects, &f);
	if (arguments.feature) {
		r = print_one(&report, arguments.feature);
	} else {
		r = report.good ? EXIT_DONE : EXIT_FAILED;
		if (arguments.json)
			print_json(&report, uts.release);
		else
			print_text(&report, uts.release, uts.machine);
	}
	return r;
}
