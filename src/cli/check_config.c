/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/check_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/exit_codes.h"
#include "base/print.h"
#include "kernel/kernel_config.h"

static const char *const state_words[] = {
	[CONFIG_STATE_YES] = "y",
	[CONFIG_STATE_MODULE] = "m",
	[CONFIG_STATE_IMPLIED] = "implied",
	[CONFIG_STATE_ELSEWHERE] = "none",
	[CONFIG_STATE_NOT_SET] = "not set",
	[CONFIG_STATE_ABSENT] = "absent",
	[CONFIG_STATE_NOT_MENTIONED] = "not mentioned",
};

static const char *const need_words[] = {
	[CONFIG_NEEDED] = "needed",
	[CONFIG_USEFUL] = "useful",
	[CONFIG_UNUSED] = "unused",
};

static const char *const arch_words[] = {
	[CONFIG_ARCH_ANY] = NULL,
	[CONFIG_ARCH_X86_64] = "x86_64",
	[CONFIG_ARCH_AARCH64] = "aarch64",
	[CONFIG_ARCH_OTHER] = "another architecture",
};

static bool is_there(const struct kernel_config *c, size_t i)
{
	return kernel_config_state(c, i) < CONFIG_STATE_NOT_SET;
}

static bool is_missing(const struct kernel_config *c, size_t i, enum config_need need)
{
	return config_options[i].need == need && !is_there(c, i);
}

static size_t count_missing(const struct kernel_config *c, enum config_need need)
{
	size_t n = 0;

	for (size_t i = 0; i < n_config_options; i++)
		n += is_missing(c, i, need);
	return n;
}

/* Why an option has the state it has, where that is not plain; "" otherwise. */
static void describe(const struct kernel_config *c, size_t i, char *ret, size_t size)
{
	const struct config_option *o = &config_options[i];
	enum config_state state = kernel_config_state(c, i);

	*ret = '\0';
	if (c->twice[i])
		(void)snprintf(ret, size, "set more than once, the last one counts");
	else if (state == CONFIG_STATE_MODULE && o->need != CONFIG_UNUSED)
		(void)snprintf(ret, size, "modprobe %s first; a guest without modules needs y", o->module);
	else if (state == CONFIG_STATE_IMPLIED)
		(void)snprintf(ret, size, "by %s", o->implied_by);
	else if (state == CONFIG_STATE_ELSEWHERE)
		(void)snprintf(ret, size, "this kernel has no such option");
	else if (state == CONFIG_STATE_NOT_MENTIONED && o->expert)
		(void)snprintf(ret, size, "on unless CONFIG_EXPERT is set or the rest is turned off");
	else if (state == CONFIG_STATE_ABSENT)
		(void)snprintf(ret, size, "something that it depends on is off");
}

static void print_option(const struct kernel_config *c, size_t i)
{
	const struct config_option *o = &config_options[i];
	char detail[128];

	describe(c, i, detail, sizeof(detail));
	printf("  %-30s %-13s %s  %s", o->name, state_words[kernel_config_state(c, i)], need_words[o->need],
	       o->purpose);
	if (*detail)
		printf(" (%s)", detail);
	if (!is_there(c, i) && o->need != CONFIG_UNUSED)
		printf("; without: %s", o->missing);
	putchar('\n');
}

static void print_missing(const struct kernel_config *c, enum config_need need, const char *before)
{
	bool first = true;

	for (size_t i = 0; i < n_config_options; i++) {
		if (!is_missing(c, i, need))
			continue;
		printf("%s %s", first ? before : ",", config_options[i].name);
		first = false;
	}
	if (!first)
		putchar('\n');
}

static void print_text(const struct kernel_config *c, const char *name)
{
	const char *group = "";

	put_text(stdout, name, false);
	if (c->whole)
		printf(": Linux %s, %s\n", c->release, arch_words[c->arch]);
	else if (arch_words[c->arch])
		printf(": a fragment for %s\n", arch_words[c->arch]);
	else
		printf(": a fragment\n");
	for (size_t i = 0; i < n_config_options; i++) {
		if (strcmp(group, config_options[i].group) != 0)
			printf("\n%s\n", config_options[i].group);
		group = config_options[i].group;
		print_option(c, i);
	}
	if (c->version && c->version < CONFIG_VERSION(5, 15))
		printf("\nfirn needs Linux 5.15 or newer.\n");
	else if (count_missing(c, CONFIG_NEEDED))
		printf("\nA plain process tree cannot be dumped and restored with %s.\n",
		       c->whole ? "this kernel" : "what this fragment alone gives");
	else
		printf("\nA plain process tree can be dumped and restored.\n");
	print_missing(c, CONFIG_NEEDED, "Needed and missing:");
	print_missing(c, CONFIG_USEFUL, "Useful and missing:");
}

static void print_json(const struct kernel_config *c, const char *name, bool good)
{
	char detail[128];

	printf("{\n  ");
	put_json_string(stdout, "firn", FIRN_VERSION, ",\n  ");
	put_json_string(stdout, "config", name, ",\n  ");
	put_json_string(stdout, "kernel", c->whole ? c->release : NULL, ",\n  ");
	put_json_string(stdout, "arch", arch_words[c->arch], ",\n");
	printf("  \"fragment\": %s,\n  \"ok\": %s,\n  \"options\": [", c->whole ? "false" : "true",
	       good ? "true" : "false");
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *o = &config_options[i];

		describe(c, i, detail, sizeof(detail));
		printf("%s\n    {", i ? "," : "");
		put_json_string(stdout, "group", o->group, ", ");
		put_json_string(stdout, "name", o->name, ", ");
		put_json_string(stdout, "state", state_words[kernel_config_state(c, i)], ", ");
		printf("\"there\": %s, ", is_there(c, i) ? "true" : "false");
		put_json_string(stdout, "need", need_words[o->need], ", ");
		put_json_string(stdout, "purpose", o->purpose, ", ");
		put_json_string(stdout, "detail", *detail ? detail : NULL, ", ");
		put_json_string(stdout, "missing", o->missing, "}");
	}
	printf("\n  ]\n}\n");
}

int check_config(const char *path, bool json)
{
	bool standard_input = strcmp(path, "-") == 0;
	const char *name = standard_input ? "standard input" : path;
	AUTOCLOSE int fd = standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
	struct error e = { 0 };
	struct kernel_config c;
	bool good;
	int r;

	r = fd < 0 ? error_raise_call(&e, errno, "open", "%s", name) : read_kernel_config(fd, name, &c, &e);
	if (r < 0) {
		(void)fprintf(stderr, "firn: check: ");
		put_text(stderr, e.sentence, false);
		(void)fprintf(stderr, ".%s%s\n", *e.hint ? " " : "", e.hint);
		return EXIT_USAGE;
	}
	good = !count_missing(&c, CONFIG_NEEDED) && (!c.version || c.version >= CONFIG_VERSION(5, 15));
	if (json)
		print_json(&c, name, good);
	else
		print_text(&c, name);
	return good ? EXIT_DONE : EXIT_FAILED;
}

bool config_arch_named(const char *name, enum config_arch *ret)
{
	if (strcmp(name, "x86_64") == 0)
		*ret = CONFIG_ARCH_X86_64;
	else if (strcmp(name, "aarch64") == 0 || strcmp(name, "arm64") == 0)
		*ret = CONFIG_ARCH_AARCH64;
	else
		return false;
	return true;
}

void print_config_fragment(enum config_arch arch, bool kata)
{
	const char *group = "";

	if (kata)
		printf("# Checkpoint and restore of processes with firn\n"
		       "# tools/packaging/kernel/configs/fragments/%s/firn.conf\n",
		       arch == CONFIG_ARCH_AARCH64 ? "arm64" : "x86_64");
	else
		printf("# What firn " FIRN_VERSION
		       " wants of a guest's kernel, %s. Merge it into a configuration with\n"
		       "#     scripts/kconfig/merge_config.sh .config FRAGMENT\n"
		       "# and look at the outcome with firn check --config .config\n",
		       arch_words[arch]);
	/* So that a merge into another architecture's configuration is noticed. */
	printf("\nCONFIG_%s=y\n", arch == CONFIG_ARCH_AARCH64 ? "ARM64" : "X86_64");
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *o = &config_options[i];

		if (o->need == CONFIG_UNUSED || (o->arch != CONFIG_ARCH_ANY && o->arch != arch))
			continue;
		if (strcmp(group, o->group) != 0)
			printf("\n# %s%s\n", kata ? "" : "---- ", o->group);
		group = o->group;
		if (!kata)
			printf("# %s: %s\n", need_words[o->need], o->purpose);
		printf("%s=y\n", o->name);
	}
}
