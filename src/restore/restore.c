/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/restore.h"

#include <errno.h>

#include "watch/recorder.h"

int restore_engine(const struct options *o, void *arg)
{
	(void)arg;
	return error_raise(&recorder->error, EOPNOTSUPP, "%s: restoring is not built yet", o->images_path);
}
