/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/dump.h"

#include <errno.h>

#include "watch/recorder.h"

int dump_engine(const struct options *o, void *arg)
{
	(void)arg;
	return error_raise(&recorder->error, EOPNOTSUPP, "pid %d: dumping is not built yet", o->tree);
}
