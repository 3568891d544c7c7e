/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Takes as many descriptors as the hard limit allows: an operation holds one for each open file and task of the tree. Best
 * effort: no CAP_SYS_RESOURCE is asked for (man 2 getrlimit). */
void limits_raise_descriptors(void);
