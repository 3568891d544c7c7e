/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The options of a kernel's configuration that firn's features rest on, and those that people take for such. The
 * names and what they depend on are those of the kernel's Kconfig files, from Linux 5.15 on.
 */

enum config_arch { CONFIG_ARCH_ANY, CONFIG_ARCH_X86_64, CONFIG_ARCH_AARCH64, CONFIG_ARCH_OTHER };

enum config_need {
	CONFIG_NEEDED, /* a plain process tree cannot be dumped and restored without */
	CONFIG_USEFUL, /* programs that use some sort of object cannot, or firn is slower or says less */
	CONFIG_UNUSED, /* nothing of firn's: listed because it is asked for elsewhere */
};

/* Kernel versions as numbers that compare: 5.19 is 519, 6.1 is 601. */
#define CONFIG_VERSION(major, minor) ((major)*100 + (minor))

struct config_option {
	const char *name;  /* with CONFIG_ */
	const char *group; /* what of firn's it belongs to; the options of a group stand together */
	enum config_need need;
	enum config_arch arch; /* the only one that has it; CONFIG_ARCH_ANY: all */
	unsigned since;	       /* CONFIG_VERSION() that brought it; 0: before 5.15 */
	/* Another option that turns this one on: it selects it, or this one has no prompt and follows it. NULL: none. */
	const char *implied_by;
	const char *module; /* what it is called as a module; NULL: the option is y or n */
	bool expert;	    /* on, and visible only with CONFIG_EXPERT, which allows to turn it off */
	const char *purpose;
	const char *missing; /* what breaks without */
};

extern const struct config_option config_options[];
extern const size_t n_config_options;

/* The row of @name ("CONFIG_EPOLL" or "EPOLL", @len bytes, not terminated), or -1. */
int config_option_find(const char *name, size_t len);
