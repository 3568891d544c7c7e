/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/front_report.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/exit_codes.h"
#include "watch/console.h"

#define REPORT_SIZE (64u * 1024)
#define REPORT_FILE_MS 1000

char *front_path(const struct options *o, const char *name)
{
	const char *folder = o->work_path ? o->work_path : o->images_path;
	char *path;

	if (!name)
		return NULL;
	if (name[0] == '/' || strcmp(name, "-") == 0 || !folder)
		return strdup(name);
	return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* Into the log, line by line. */
static void log_report(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		log_error(0, "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static bool write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd >= 0 && write(fd, text, len) == (ssize_t)len;
}

/* The files may lie on the very file system that hangs: a process of its own writes them. @json: NULL when it is not
 * wanted. */
static void write_report_files(struct front *f, const char *text, size_t len, const char *json, size_t json_len)
{
	char *path = front_path(f->options, "stall-report.txt"),
	     *json_path = front_path(f->options, "stall-report.json");

	f->report_pid = path && json_path ? fork() : -1;
	if (f->report_pid == 0) {
		bool written;

		(void)close_range(0, ~0u, 0);
		written = write_file(path, text, len);
		_exit((!json || write_file(json_path, json, json_len)) && written ? 0 : 1);
	}
	if (f->report_pid < 0)
		f->report_pid = 0;
	free(path);
	free(json_path);
}

static void describe_operation(const struct front *f, char *buf, size_t size)
{
	if (f->role != FRONT_RESTORE)
		(void)snprintf(buf, size, "%s of task %d", f->name, f->options->tree);
	else
		(void)snprintf(buf, size, "restore from %s", f->options->images_path ? f->options->images_path : ".");
}

static unsigned limit_of(const struct front *f)
{
	if (f->verdict == VERDICT_STALL)
		return f->options->stall_ms;
	return f->verdict == VERDICT_SEIZE ? f->options->seize_ms : f->options->deadline_ms;
}

/* At once, for whoever watches: what firn will have done about it is not known yet. */
static void report_first(struct front *f, const char *text, size_t len)
{
	/* Standard error is the log when no log file was named. */
	if (f->options->log_path)
		log_report(text);
	if (f->options->report != REPORT_JSON)
		console_write(&f->console, STDERR_FILENO, text, len);
}

/* For programs: one document, when everything is known. */
static void report_last(struct front *f, const char *outcome, const char *text, size_t len)
{
	size_t json_len = 0;
	char *json = f->options->report == REPORT_JSON ? stall_compose_json(f->facts, outcome, &json_len) : NULL;

	write_report_files(f, text, len, json, json_len);
	if (json)
		console_write(&f->console, STDERR_FILENO, json, json_len);
	free(json);
}

static void report_stall(struct front *f, const char *outcome, bool final)
{
	char operation[256], *text = malloc(REPORT_SIZE);
	size_t len;

	if (!text || !f->facts) {
		free(text);
		return;
	}
	describe_operation(f, operation, sizeof(operation));
	f->facts->operation = operation;
	len = stall_compose(f->facts, outcome, text, REPORT_SIZE);
	if (final)
		report_last(f, outcome, text, len);
	else
		report_first(f, text, len);
	free(text);
}

void front_report_cancel(struct front *f)
{
	char step[640];

	if (f->draw && f->drawn_ns)
		console_printf(&f->console, STDERR_FILENO, "\r\033[K");
	if (f->facts) {
		f->facts->verdict = f->verdict;
		f->facts->limit_ms = limit_of(f);
	}
	if (f->why == END_LIMIT) {
		report_stall(f, "is asking the engine to undo what it did, and ends it if it does not", false);
		return;
	}
	step[0] = '\0';
	if (f->facts)
		step_describe(&f->facts->step, step, sizeof(step));
	/* Standard error gets the sentence of front_report_failure() alone. */
	if (f->options->log_path)
		log_error(0, "%s came in stage %s: cancelling%s%s", strsignal(f->signo),
			  f->facts ? stage_name(f->facts->step.stage) : "?", step[0] ? " while at " : "", step);
}

/* ---- the error's sentence ---- */

static void sentence_of_cancel(const struct front *f, char *buf, size_t size)
{
	char step[640] = "";

	if (f->why == END_LIMIT && f->facts) {
		stall_sentence(f->facts, buf, size);
		return;
	}
	if (f->why == END_LIMIT) {
		(void)snprintf(buf, size, "a time limit passed");
		return;
	}
	if (f->facts)
		step_describe(&f->facts->step, step, sizeof(step));
	(void)snprintf(buf, size, "ended by signal SIG%s in stage %s%s%s", sigabbrev_np(f->signo),
		       f->facts ? stage_name(f->facts->step.stage) : "?", step[0] ? ": " : "", step);
}

static void sentence_of_crash(const struct front *f, char *buf, size_t size)
{
	struct recorder_step s;
	char step[640], how[64];

	if (!recorder_read_step(&s))
		memset(&s, 0, sizeof(s));
	step_describe(&s, step, sizeof(step));
	if (!f->engine_gone)
		(void)snprintf(how, sizeof(how), "the engine (pid %d) cannot be ended", f->engine);
	else if (WIFSIGNALED(f->engine_status))
		(void)snprintf(how, sizeof(how), "the engine was killed by signal SIG%s",
			       sigabbrev_np(WTERMSIG(f->engine_status)) ? sigabbrev_np(WTERMSIG(f->engine_status))
									: "?");
	else
		(void)snprintf(how, sizeof(how), "the engine ended with code %d and without a result",
			       WEXITSTATUS(f->engine_status));
	(void)snprintf(buf, size, "%s in stage %s%s%s", how, stage_name(s.stage), step[0] ? ", at " : "", step);
}

/* What the failure left: from the proof, never from hope. */
static void outcome_of_dump(const struct front *f, char *buf, size_t size)
{
	const struct rollback_proof *p = &f->proof;
	pid_t area_left = atomic_load(&recorder->area_left);

	if (p->held)
		(void)snprintf(buf, size,
			       "%zu of %zu threads are still held by the engine (thread %d of pid %d, state %c): they "
			       "are let go "
			       "when the engine, pid %d, ends",
			       p->held, p->checked, p->held_tid, p->held_pid, p->held_state, f->engine);
	else if (atomic_load(&recorder->images_complete) && !p->gone)
		(void)snprintf(buf, size, "The images are complete; none of %zu threads is held", p->checked);
	else if (atomic_load(&recorder->images_complete))
		(void)snprintf(buf, size, "The images are complete; %zu of %zu threads have ended, none is held",
			       p->gone, p->checked);
	else if (p->gone && recorder->step.stage == STAGE_RELEASE)
		(void)snprintf(buf, size,
			       "It happened while the tasks were let go: %zu of %zu threads have ended, none is held",
			       p->gone, p->checked);
	else if (p->gone)
		(void)snprintf(buf, size, "Nothing was changed; %zu of %zu threads ended meanwhile", p->gone,
			       p->checked);
	else if (area_left)
		(void)snprintf(buf, size, "Nothing was changed, but for memory of firn that is left, unused, in pid %d",
			       area_left);
	else
		(void)snprintf(buf, size, "Nothing was changed");
}

static void outcome_of_restore(const struct front *f, char *buf, size_t size)
{
	if (atomic_load(&recorder->restore_released))
		(void)snprintf(buf, size, "The restored tasks run (root pid %d)",
			       atomic_load(&recorder->restored_root));
	else if (f->left)
		(void)snprintf(buf, size, "%zu restored tasks could not be ended", f->left);
	else
		(void)snprintf(buf, size, "Nothing was left behind");
}

static int exit_code_of(const struct front *f, int number, bool cancelled)
{
	if (cancelled)
		return f->why == END_LIMIT ? EXIT_STALLED : EXIT_INTERRUPTED;
	if (number == EOPNOTSUPP)
		return EXIT_REFUSED;
	return number == EBADMSG ? EXIT_BAD_IMAGES : EXIT_FAILED;
}

int front_report_failure(struct front *f)
{
	const struct error *e = &recorder->error;
	int result = atomic_load(&recorder->engine_result);
	bool crashed = result == RECORDER_RUNNING;
	/* An engine that found a real error while it was being cancelled has the better sentence. */
	bool cancelled = f->why != END_NONE && (crashed || result == -ECANCELED || result == -EINTR);
	char sentence[1600], outcome[320], advice[600] = "";

	if (cancelled)
		sentence_of_cancel(f, sentence, sizeof(sentence));
	else if (crashed)
		sentence_of_crash(f, sentence, sizeof(sentence));
	else
		(void)snprintf(sentence, sizeof(sentence), "%s", e->sentence);
	if (cancelled && f->why == END_LIMIT && f->facts) {
		char what[400];

		stall_advice(f->facts, what, sizeof(what));
		(void)snprintf(advice, sizeof(advice), " Likely cause: %s; %s.", stall_explain(f->facts).cause, what);
	} else if (!cancelled && !crashed && e->hint[0]) {
		(void)snprintf(advice, sizeof(advice), " %c%s%s", toupper((unsigned char)e->hint[0]), e->hint + 1,
			       e->hint[strlen(e->hint) - 1] == '.' ? "" : ".");
		/* It stands behind a full stop; firn itself is written small. */
		if (strncmp(e->hint, "firn ", 5) != 0)
			advice[1] = (char)toupper((unsigned char)advice[1]);
	}
	if (f->role != FRONT_RESTORE)
		outcome_of_dump(f, outcome, sizeof(outcome));
	else
		outcome_of_restore(f, outcome, sizeof(outcome));
	if (f->why == END_LIMIT)
		report_stall(f, outcome, true);
	if (f->options->log_path)
		log_error(0, "%s. %s.%s", sentence, outcome, advice);
	console_printf(&f->console, STDERR_FILENO, "firn: %s: %s. %s.%s\n", f->name, sentence, outcome, advice);
	return exit_code_of(f, crashed ? 0 : -result, cancelled);
}

void front_report_end(struct front *f)
{
	const struct timespec briefly = { 0, 1000000 };

	for (int ms = 0; f->report_pid && ms < REPORT_FILE_MS; ms++) {
		if (waitpid(f->report_pid, NULL, WNOHANG) != 0)
			f->report_pid = 0;
		else
			(void)nanosleep(&briefly, NULL);
	}
	if (f->report_pid)
		(void)kill(f->report_pid, SIGKILL);
}
