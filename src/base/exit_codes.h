/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the program's exit code says; documented under EXIT STATUS in firn(8). */
enum exit_code {
	EXIT_DONE = 0,          /* done */
	EXIT_FAILED = 1,        /* failed; the target runs on unchanged, nothing was left behind */
	EXIT_USAGE = 2,         /* the command line is wrong */
	EXIT_REFUSED = 3,       /* something is not supported (-EOPNOTSUPP) */
	EXIT_STALLED = 4,       /* a deadline passed or nothing moved for the stall time */
	EXIT_INTERRUPTED = 5,   /* ended by SIGINT, SIGTERM or SIGHUP */
	EXIT_BAD_IMAGES = 6,    /* the images are damaged or incomplete (-EBADMSG) */
};
