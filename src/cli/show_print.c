/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `firn show` for a person. */
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/show.h"

#define INDENT_MAX 20u	/* levels of the tree that still move the text to the right */
#define THREADS_MAX 16u /* threads named one by one */

const char *show_state_name(enum show_state s)
{
	static const char *const names[] = {
		[SHOW_RUNNING] = "running",
		[SHOW_STOPPED] = "stopped",
		[SHOW_ZOMBIE] = "zombie",
		[SHOW_UNKNOWN] = "unknown",
	};

	return names[s];
}

static const char *size_text(uint64_t bytes, char buf[32])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		(void)snprintf(buf, 32, "%u bytes", (unsigned)bytes);
		return buf;
	}
	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(buf, 32, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buf;
}

static void print_head(const struct show *s, FILE *out)
{
	char when[64] = "?", size[32], present[32], shared[32];
	struct tm tm;

	if (localtime_r(&s->made, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
	fputs("checkpoint ", out);
	put_text(out, s->path, false);
	fprintf(out, "\n  made    %s by %s\n", when, s->by_firn ? "firn" : "CRIU (it has no firn.manifest)");
	fprintf(out, "  holds   %zu task%s, %zu thread%s, %zu open file%s\n", s->n_tasks, plural(s->n_tasks),
		s->n_threads, plural(s->n_threads), s->n_open, plural(s->n_open));
	fprintf(out, "  memory  %s of the tasks' own, %s shared\n", size_text(s->present, present),
		size_text(s->shmem_present, shared));
	fprintf(out, "  size    %s in %zu file%s\n\n", size_text(s->bytes, size), s->n_image_files,
		plural(s->n_image_files));
}

static void indent(const struct show_task *t, FILE *out, bool first)
{
	unsigned levels = t->depth < INDENT_MAX ? t->depth : INDENT_MAX;

	fprintf(out, "%*s", (int)(levels * 4 + (first ? 0 : 8)), "");
}

static void print_threads(const struct show_task *t, FILE *out)
{
	if (t->n_threads < 2)
		return;
	indent(t, out, false);
	fprintf(out, "threads %zu:", t->n_threads);
	for (size_t i = 0; i < t->n_threads && i < THREADS_MAX; i++) {
		fprintf(out, "%s %u ", i ? "," : "", t->threads[i].tid);
		put_text(out, t->threads[i].comm, false);
	}
	fputs(t->n_threads > THREADS_MAX ? ", …\n" : "\n", out);
}

static void print_memory(const struct show_task *t, FILE *out)
{
	char mapped[32], present[32];

	indent(t, out, false);
	if (t->mm)
		fprintf(out, "memory  %zu areas, %s mapped, %s in the images\n", t->mm->n_vmas,
			size_text(t->mapped, mapped), size_text(t->present, present));
	else
		fputs("memory  shared with another task\n", out);
}

static void print_descriptors(const struct show *s, const struct show_task *t, FILE *out)
{
	char line[5000];

	if (t->fds_shared) {
		indent(t, out, false);
		fputs("descriptors shared with a task above\n", out);
	}
	for (size_t i = 0; i < t->n_fds; i++) {
		const FileEntry *f = show_find_file(s, t->fds[i]->id);

		indent(t, out, false);
		fprintf(out, "fd %-4u ", t->fds[i]->fd);
		if (f) {
			show_describe_file(s, f, line, sizeof(line));
			put_text(out, line, false);
		} else {
			fprintf(out, "file %u, which files.img does not have", t->fds[i]->id);
		}
		fputs(t->fds[i]->flags & 1 ? ", closed at exec\n" : "\n", out);
	}
}

static void print_state(const struct show_task *t, FILE *out)
{
	uint32_t code = t->core->tc->exit_code;

	fprintf(out, "  %s", show_state_name(t->state));
	if (t->state == SHOW_ZOMBIE && WIFSIGNALED((int)code))
		fprintf(out, ", killed by signal %d", WTERMSIG((int)code));
	else if (t->state == SHOW_ZOMBIE)
		fprintf(out, ", exit code %u", code >> 8 & 0xff);
	else if (t->core->thread_core && t->core->thread_core->creds)
		fprintf(out, ", user %u", t->core->thread_core->creds->uid);
	fputc('\n', out);
}

static void print_path(const struct show *s, const struct show_task *t, const char *what, uint32_t id, FILE *out)
{
	const char *path = show_file_path(s, id);

	indent(t, out, false);
	fprintf(out, "%-7s ", what);
	put_text(out, path ? path : "?", false);
	fputc('\n', out);
}

static void print_task(const struct show *s, const struct show_task *t, FILE *out)
{
	indent(t, out, true);
	fprintf(out, "%-7u ", t->entry->pid);
	put_text(out, t->comm, false);
	print_state(t, out);
	if (t->state == SHOW_ZOMBIE)
		return;
	if (t->argv) {
		indent(t, out, false);
		fputs("command", out);
		for (size_t i = 0; i < t->n_argv; i++) {
			fputc(' ', out);
			put_text(out, t->argv[i], false);
		}
		fputc('\n', out);
	}
	if (t->mm)
		print_path(s, t, "exe", t->mm->exe_file_id, out);
	print_threads(t, out);
	print_memory(t, out);
	if (t->fs)
		print_path(s, t, "cwd", t->fs->cwd_id, out);
	print_descriptors(s, t, out);
}

void show_print_text(const struct show *s, FILE *out)
{
	print_head(s, out);
	for (size_t i = 0; i < s->n_tasks; i++)
		print_task(s, s->order[i], out);
}
