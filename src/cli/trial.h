/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One try of firn bisect: firn itself is run, with some of the options, and what it says is kept. */

#define TRIAL_TEXT 16384

struct trial {
	bool dry;             /* `firn explain`: nothing is stopped. Otherwise `firn dump --leave-running` */
	int code;             /* exit status; 128 + the signal that ended it; -1: it could not be started */
	char text[TRIAL_TEXT]; /* what it wrote to standard output and error, cut */
};

/*
 * Runs `firn explain` or `firn dump` with @words, which end with NULL, in @folder for the images, which is emptied after.
 * Blocks as long as that takes: both have deadlines.
 */
void trial_run(bool dry, char *const *words, const char *folder, struct trial *ret);

/* Did @now fail as @first did? Dry: the first refusal is there again. Otherwise: the same code and sentence, numbers aside. */
bool trial_same(const struct trial *first, const struct trial *now);

/* What went wrong, for people: one sentence, malloc'd. NULL: no memory. */
char *trial_sentence(const struct trial *t);
