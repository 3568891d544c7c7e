/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CRIU's numbers, as in InventoryEntry.network_lock_method. */
enum network_lock {
	NETWORK_LOCK_IPTABLES,          /* only in images of CRIU's */
	NETWORK_LOCK_NFTABLES,
	NETWORK_LOCK_SKIP,
};

/* The form of the stall report on standard error. */
enum report_form {
	REPORT_TEXT,
	REPORT_JSON,                    /* and in a file of its own */
};

/* What the caller asked for, filled by cli (later also by RPC) and read-only from then on. */
struct options {
	pid_t tree;                     /* -t; 0 = not given */
	const char *images_path;        /* -D; never NULL */
	const char *work_path;          /* -W; NULL = the images folder */
	const char *log_path;           /* -o; NULL = standard error; relative to the work folder */
	int verbosity;                  /* an enum log_level (watch/recorder.h): nothing above it is logged; default LOG_WARN */
	const char *pidfile;            /* relative to the work folder */
	bool json;                      /* explain */
	enum report_form report;
	bool restore_detached;
	bool restore_sibling;
	bool leave_running;
	bool leave_stopped;
	bool shell_job;
	int status_fd;                  /* -1 = not given */
	const char *action_script;
	bool display_stats;
	bool file_locks;
	bool ext_unix_sk;
	bool tcp_established;
	bool tcp_close;
	bool skip_in_flight;
	bool skip_timens;               /* restore: no time namespace is made */
	enum network_lock network_lock;
	bool link_remap;
	bool evasive_devices;
	uint64_t ghost_limit;           /* bytes; default 1 MiB as CRIU has it */
	const char *root;               /* --root */
	const char **skip_mnt;
	size_t n_skip_mnt;
	const char **external;          /* as given: TYPE[ID]:VALUE */
	size_t n_external;
	const char **inherit;           /* restore: as given: fd[N]:KEY, and N is open */
	size_t n_inherit;
	const char **irmap_scan_path;   /* folders to search for what is watched */
	size_t n_irmap_scan_path;
	const char *manage_cgroups;     /* mode, NULL = not given, "" = given without a mode */
	const char *cpu_cap;
	const char *libdir;             /* taken and ignored: firn has no plugins */

	/* 0 = no limit */
	unsigned deadline_ms;           /* the whole operation; default 600,000 */
	unsigned stall_ms;              /* no progress for that long is a stall; default 5,000 */
	unsigned seize_ms;              /* --timeout: completing the tree; default 10,000, as CRIU has it */
};
