/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "kernel/config_options.h"

/* `firn check --config FILE` and `firn check --print-fragment`: neither looks at the machine it runs on. */

/* @path: a file, "-" for standard input. Returns an enum exit_code. */
int check_config(const char *path, bool json);

/* @arch: x86_64 or aarch64. With @kata as Kata Containers keep fragments: no more than the options, a comment on top. */
void print_config_fragment(enum config_arch arch, bool kata);

/* "x86_64", "aarch64" or "arm64"; false: another word. */
bool config_arch_named(const char *name, enum config_arch *ret);
