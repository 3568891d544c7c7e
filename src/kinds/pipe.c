/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/common.h"
#include "kinds/registry.h"

const struct kind kind_pipe = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
};
