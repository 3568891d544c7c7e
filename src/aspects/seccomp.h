/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* dump: seccomp.img, without filters when there are none. Worker thread; 0 or -errno, raised. */
int seccomp_write(struct operation *op);
