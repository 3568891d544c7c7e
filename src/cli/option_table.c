/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/options.h"
#include "watch/recorder.h"

/* One setter for each field; a flag is set by NULL and cleared by "no". */
#define FLAG(field)                                                                   \
	static int set_##field(struct options *o, const char *value, struct error *e) \
	{                                                                             \
		(void)e;                                                              \
		o->field = value == NULL;                                             \
		return 0;                                                             \
	}
#define TEXT(field)                                                                   \
	static int set_##field(struct options *o, const char *value, struct error *e) \
	{                                                                             \
		(void)e;                                                              \
		o->field = value ? value : "";                                        \
		return 0;                                                             \
	}
#define SECONDS(field, option)                                                                       \
	static int set_##field(struct options *o, const char *value, struct error *e)                \
	{                                                                                            \
		if (parse_seconds(value, &o->field))                                                 \
			return error_raise(e, EINVAL, option " %s: not a number of seconds", value); \
		return 0;                                                                            \
	}

FLAG(json)
FLAG(restore_detached)
FLAG(restore_sibling)
FLAG(leave_running)
FLAG(leave_stopped)
FLAG(shell_job)
FLAG(display_stats)
FLAG(file_locks)
FLAG(ext_unix_sk)
FLAG(tcp_established)
FLAG(tcp_close)
FLAG(skip_in_flight)
FLAG(skip_timens)
FLAG(link_remap)
FLAG(evasive_devices)
TEXT(images_path)
TEXT(work_path)
TEXT(log_path)
TEXT(pidfile)
TEXT(action_script)
TEXT(root)
TEXT(manage_cgroups)
TEXT(cpu_cap)
TEXT(libdir)
SECONDS(deadline_ms, "--deadline")
SECONDS(stall_ms, "--stall-timeout")
SECONDS(seize_ms, "--timeout")

static int set_tree(struct options *o, const char *value, struct error *e)
{
	long n;

	if (parse_number(value, 1, INT_MAX, &n))
		return error_raise(e, EINVAL, "--tree %s: not a pid", value);
	o->tree = (pid_t)n;
	return 0;
}

static int set_status_fd(struct options *o, const char *value, struct error *e)
{
	long n;

	if (parse_number(value, 0, INT_MAX, &n))
		return error_raise(e, EINVAL, "--status-fd %s: not a descriptor number", value);
	o->status_fd = (int)n;
	return 0;
}

static int set_ghost_limit(struct options *o, const char *value, struct error *e)
{
	if (parse_size(value, &o->ghost_limit))
		return error_raise(e, EINVAL, "--ghost-limit %s: not a size (a number, with K, M or G behind it)",
				   value);
	return 0;
}

static int set_network_lock(struct options *o, const char *value, struct error *e)
{
	if (strcmp(value, "nftables") == 0)
		o->network_lock = NETWORK_LOCK_NFTABLES;
	else if (strcmp(value, "skip") == 0)
		o->network_lock = NETWORK_LOCK_SKIP;
	else if (strcmp(value, "iptables") == 0) {
		error_raise(e, EOPNOTSUPP, "--network-lock iptables is not supported");
		error_hint(e, "firn locks with nftables, which works beside iptables: leave the option out.");
		return -EOPNOTSUPP;
	} else
		return error_raise(e, EINVAL, "--network-lock %s: not a method (nftables or skip)", value);
	return 0;
}

static int set_report(struct options *o, const char *value, struct error *e)
{
	if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
		return error_raise(e, EINVAL, "--report %s: not a form (text or json)", value);
	o->report = value[0] == 'j' ? REPORT_JSON : REPORT_TEXT;
	return 0;
}

/* -v, -vv, -v4, --verbosity=4: each v is one level more than the default. */
static int set_verbosity(struct options *o, const char *value, struct error *e)
{
	long n = o->verbosity + 1;

	if (value && value[0] && value[strspn(value, "v")] == '\0')
		n += (long)strlen(value);
	else if (value && parse_number(value, 0, INT_MAX, &n))
		return error_raise(e, EINVAL, "--verbosity %s: not a level (0 to 4)", value);
	o->verbosity = n > LOG_DEBUG ? LOG_DEBUG : (int)n;
	return 0;
}

static int set_trace(struct options *o, const char *value, struct error *e)
{
	(void)e;
	o->verbosity = value ? LOG_DEBUG : LOG_TRACE;
	return 0;
}

static int add_skip_mnt(struct options *o, const char *value, struct error *e)
{
	(void)e;
	o->skip_mnt[o->n_skip_mnt++] = value;
	return 0;
}

static int add_external(struct options *o, const char *value, struct error *e)
{
	(void)e;
	o->external[o->n_external++] = value;
	return 0;
}

static int add_inherit(struct options *o, const char *value, struct error *e)
{
	(void)e;
	o->inherit[o->n_inherit++] = value;
	return 0;
}

static int add_irmap_scan_path(struct options *o, const char *value, struct error *e)
{
	if (value[0] != '/')
		return error_raise(e, EINVAL, "--irmap-scan-path %s: not an absolute path", value);
	o->irmap_scan_path[o->n_irmap_scan_path++] = value;
	return 0;
}

static int ignore(struct options *o, const char *value, struct error *e)
{
	(void)o;
	(void)value;
	(void)e;
	return 0;
}

#define NONE VALUE_NONE
#define NEEDS VALUE_REQUIRED
#define MAY VALUE_OPTIONAL

const struct option_spec option_table[] = {
	{ "tree", 't', NEEDS, FOR_DUMP, set_tree, "PID", "the root of the process tree to dump" },
	{ "images-dir", 'D', NEEDS, FOR_BOTH, set_images_path, "DIR",
	  "folder of the images (default: the current one)" },
	{ "work-dir", 'W', NEEDS, FOR_BOTH, set_work_path, "DIR",
	  "folder for log, pid file, stall report (default: the images)" },
	{ "log-file", 'o', NEEDS, FOR_BOTH, set_log_path, "FILE", "write the log there (default: standard error)" },
	{ "verbosity", 'v', MAY, FOR_BOTH, set_verbosity, "N",
	  "log level: 0 none, 1 errors, 2 warnings (default), 3 info, 4 every step; -v, -vv, -v4" },
	{ "trace", 0, NONE, FOR_BOTH, set_trace, NULL, "log every system call made in a task as well" },
	{ "leave-running", 'R', NONE, FOR_DUMP, set_leave_running, NULL, "let the tasks run on after the dump" },
	{ "leave-stopped", 's', NONE, FOR_BOTH, set_leave_stopped, NULL, "leave the tasks stopped" },
	{ "shell-job", 'j', NONE, FOR_BOTH, set_shell_job, NULL,
	  "the tree belongs to a terminal's session outside of it" },
	{ "json", 0, NONE, FOR_EXPLAIN, set_json, NULL, "print the answer for programs" },
	{ "restore-detached", 'd', NONE, FOR_RESTORE, set_restore_detached, NULL,
	  "return once the tree runs; do not wait for its end" },
	{ "restore-sibling", 'S', NONE, FOR_RESTORE, set_restore_sibling, NULL,
	  "make the root task a child of firn's parent (not supported yet)" },
	{ "pidfile", 0, NEEDS, FOR_RESTORE, set_pidfile, "FILE", "write the restored root's pid there" },
	{ "status-fd", 0, NEEDS, FOR_BOTH, set_status_fd, "FD", "write a zero byte there when done" },
	{ "display-stats", 0, NONE, FOR_BOTH, set_display_stats, NULL, "print statistics at the end" },
	{ "timeout", 0, NEEDS, FOR_BOTH, set_seize_ms, "SECONDS",
	  "limit for stopping the whole tree (default 10, 0 = none)" },
	{ "stall-timeout", 0, NEEDS, FOR_BOTH, set_stall_ms, "SECONDS",
	  "give up when nothing moved for so long (default 5, 0 = never)" },
	{ "deadline", 0, NEEDS, FOR_BOTH, set_deadline_ms, "SECONDS",
	  "limit for the whole operation (default 600, 0 = none)" },
	{ "report", 0, NEEDS, FOR_BOTH, set_report, "FORM",
	  "of the stall report on standard error: text (default) or json, then also in stall-report.json" },
	{ "file-locks", 'l', NONE, FOR_BOTH, set_file_locks, NULL,
	  "carry file locks and leases; without, a task that holds one is refused" },
	{ "ext-unix-sk", 'x', MAY, FOR_BOTH, set_ext_unix_sk, NULL,
	  "allow unix sockets whose peer is outside of the tree" },
	{ "tcp-established", 0, NONE, FOR_BOTH, set_tcp_established, NULL,
	  "carry TCP connections; their ends notice no more than a pause" },
	{ "tcp-close", 0, NONE, FOR_BOTH, set_tcp_close, NULL,
	  "let TCP connections end with the dump; they come back closed" },
	{ "skip-in-flight", 0, NONE, FOR_BOTH, set_skip_in_flight, NULL,
	  "leave out connections that wait to be accepted; they are reset" },
	{ "skip-timens", 0, NONE, FOR_RESTORE, set_skip_timens, NULL,
	  "make no time namespace: the tasks get this machine's clocks, which may jump" },
	{ "network-lock", 0, NEEDS, FOR_BOTH, set_network_lock, "METHOD",
	  "how connections are kept still between dump and restore: nftables (default) or skip" },
	{ "link-remap", 0, NONE, FOR_BOTH, set_link_remap, NULL,
	  "give deleted files with other hard links a name for the time between" },
	{ "ghost-limit", 0, NEEDS, FOR_DUMP, set_ghost_limit, "SIZE",
	  "largest deleted file carried in the images (default 1M)" },
	{ "irmap-scan-path", 0, NEEDS, FOR_DUMP, add_irmap_scan_path, "DIR",
	  "search there for what inotify and fanotify watch, when nothing else tells its path" },
	{ "evasive-devices", 0, NONE, FOR_DUMP, set_evasive_devices, NULL,
	  "taken and ignored: a device is only found by its own path" },
	{ "skip-mnt", 0, NEEDS, FOR_BOTH, add_skip_mnt, "PATH",
	  "taken and ignored: no mount is carried; may be repeated" },
	{ "action-script", 0, NEEDS, FOR_BOTH, set_action_script, "FILE", "run at certain stages (not supported yet)" },
	{ "root", 'r', NEEDS, FOR_RESTORE, set_root, "DIR",
	  "root of the restored mount namespace (not supported yet)" },
	{ "external", 0, NEEDS, FOR_BOTH, add_external, "TYPE[ID]:VALUE",
	  "what a restore is given from outside: tty[RDEV:DEV], file[MNT_ID:INODE], unix[INODE]" },
	{ "inherit-fd", 0, NEEDS, FOR_RESTORE, add_inherit, "fd[N]:KEY",
	  "descriptor N takes the place of KEY: tty[…], file[…], pipe:[INODE], socket:[INODE] or a path" },
	{ "manage-cgroups", 0, MAY, FOR_BOTH, set_manage_cgroups, "MODE",
	  "control groups: none and ignore are supported" },
	{ "cpu-cap", 0, MAY, FOR_BOTH, set_cpu_cap, "CAP", "processor features to check: none and fpu are supported" },
	{ "libdir", 'L', NEEDS, FOR_BOTH, set_libdir, "DIR", "taken and ignored: firn has no plugins" },
	{ "no-default-config", 0, NONE, FOR_BOTH, ignore, NULL,
	  "taken and ignored: firn reads no configuration files" },
	/* Names that CRIU has. Harmless without their feature: */
	{ "ghost-fiemap", 0, NONE, FOR_DUMP, ignore, NULL, NULL },
	{ "skip-file-rwx-check", 0, NONE, FOR_RESTORE, ignore, NULL, NULL },
	{ "no-ghost-fiemap", 0, NONE, FOR_DUMP, ignore, NULL, NULL },
	{ "force-irmap", 0, NONE, FOR_DUMP, ignore, NULL, NULL },
	{ "mntns-compat-mode", 0, NONE, FOR_RESTORE, ignore, NULL, NULL },
	{ "unprivileged", 0, NONE, FOR_BOTH, ignore, NULL, NULL },
	{ "weak-sysctls", 0, NONE, FOR_RESTORE, ignore, NULL, NULL },
	/* Not harmless: refused by name, so that nobody thinks they were obeyed. */
	{ "address", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "allow-uprobes", 0, NONE, FOR_BOTH, NULL, NULL, NULL },
	{ "auto-dedup", 0, NONE, FOR_BOTH, NULL, NULL, NULL },
	{ "cgroup-dump-controller", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "cgroup-props", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "cgroup-props-file", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "cgroup-root", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "cgroup-yard", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "close", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "config", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "empty-ns", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "enable-fs", 0, MAY, FOR_BOTH, NULL, NULL, NULL },
	{ "exec-cmd", 0, NONE, FOR_RESTORE, NULL, NULL, NULL },
	{ "ext-mount-map", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "file-validation", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "freeze-cgroup", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "join-ns", 'J', NEEDS, FOR_RESTORE, NULL, NULL, NULL },
	{ "lazy-pages", 0, NONE, FOR_BOTH, NULL, NULL, NULL },
	{ "log-pid", 0, NONE, FOR_RESTORE, NULL, NULL, NULL },
	{ "lsm-mount-context", 0, NEEDS, FOR_RESTORE, NULL, NULL, NULL },
	{ "lsm-profile", 0, NEEDS, FOR_RESTORE, NULL, NULL, NULL },
	{ "orphan-pts-master", 0, NONE, FOR_RESTORE, NULL, NULL, NULL },
	{ "page-server", 0, NONE, FOR_DUMP, NULL, NULL, NULL },
	{ "port", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "pre-dump-mode", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "prev-images-dir", 0, NEEDS, FOR_DUMP, NULL, NULL, NULL },
	{ "ps-socket", 0, NEEDS, FOR_BOTH, NULL, NULL, NULL },
	{ "stream", 0, NONE, FOR_BOTH, NULL, NULL, NULL },
	{ "tls", 0, NONE, FOR_BOTH, NULL, NULL, NULL },
	{ "track-mem", 0, NONE, FOR_DUMP, NULL, NULL, NULL },
	{ "veth-pair", 0, NEEDS, FOR_RESTORE, NULL, NULL, NULL },
};

const size_t n_option_table = ARRAY_SIZE(option_table);
