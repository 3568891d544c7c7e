/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernel/config_options.h"

/*
 * A kernel's configuration as a file: a whole one (/proc/config.gz, /boot/config-*, .config; its header names the
 * version) or a fragment for the kernel's scripts/kconfig/merge_config.sh, which says nothing of most options.
 */

enum { CONFIG_OPTIONS_MAX = 128 };
/* More than any: Linux 6.18 with everything on has 400 KiB. */
enum { CONFIG_SIZE_MAX = 4 << 20 };

enum config_value { CONFIG_UNMENTIONED, CONFIG_NO, CONFIG_MODULE, CONFIG_YES };

struct kernel_config {
	bool whole;			    /* no fragment */
	enum config_arch arch;		    /* CONFIG_ARCH_ANY: the file does not tell */
	unsigned version;		    /* CONFIG_VERSION(), 0: the file does not tell */
	char release[32];		    /* "6.1.192"; "" */
	size_t n_settings;		    /* lines that set an option, known or not */
	uint8_t values[CONFIG_OPTIONS_MAX]; /* enum config_value of each row of config_options */
	bool twice[CONFIG_OPTIONS_MAX];	    /* set to different values; the last one counts, as in the kernel's tools */
};

/* 0, or -EBADMSG raised: @text is no kernel configuration, or gives an option a value that it cannot have. @name is
 * what the sentence calls it. */
int parse_kernel_config(const char *text, size_t len, const char *name, struct kernel_config *ret, struct error *e);

enum config_state {
	CONFIG_STATE_YES,
	CONFIG_STATE_MODULE,
	CONFIG_STATE_IMPLIED,	/* a fragment turns it on by another one */
	CONFIG_STATE_ELSEWHERE, /* this kernel or architecture has no such option, and does without */
	CONFIG_STATE_NOT_SET,
	CONFIG_STATE_ABSENT,	    /* a whole configuration without it: what it depends on is off */
	CONFIG_STATE_NOT_MENTIONED, /* by a fragment */
};

/* The state of row @i; those from CONFIG_STATE_NOT_SET on mean that it is not there. */
enum config_state kernel_config_state(const struct kernel_config *c, size_t i);

/*
 * What is in the file @data: itself, or what gzip packed. @ret is the caller's to free, not terminated. 0, -ENOMEM, or
 * -EBADMSG or -EFBIG raised; never more than CONFIG_SIZE_MAX bytes of memory, whatever the file holds.
 */
int unpack_kernel_config(const uint8_t *data, size_t len, const char *name, char **ret, size_t *ret_len,
			 struct error *e);

/* Reads all of @fd, at most CONFIG_SIZE_MAX bytes; may block as reading a file does. 0 or -errno raised. */
int read_kernel_config(int fd, const char *name, struct kernel_config *ret, struct error *e);
