/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `firn show --json`: for programs. Keys are stable; docs/images.md and firn-show(8) list them. */
#include <inttypes.h>

#include "cli/show.h"

static void put_threads(const struct show_task *t, FILE *out)
{
	fputs(",\"threads\":[", out);
	for (size_t i = 0; i < t->n_threads; i++) {
		fprintf(out, "%s{\"tid\":%u,", i ? "," : "", t->threads[i].tid);
		put_json_string(out, "comm", t->threads[i].comm, "");
		fputc('}', out);
	}
	fputc(']', out);
}

static void put_argv(const struct show_task *t, FILE *out)
{
	if (!t->argv) {
		fputs(",\"argv\":null", out);
		return;
	}
	fputs(",\"argv\":[", out);
	for (size_t i = 0; i < t->n_argv; i++) {
		fputs(i ? ",\"" : "\"", out);
		put_text(out, t->argv[i], true);
		fputc('"', out);
	}
	fputc(']', out);
}

static void put_descriptors(const struct show *s, const struct show_task *t, FILE *out)
{
	char line[5000], type[32];

	fprintf(out, ",\"descriptors_shared\":%s,\"descriptors\":[", t->fds_shared ? "true" : "false");
	for (size_t i = 0; i < t->n_fds; i++) {
		const FdinfoEntry *fd = t->fds[i];
		const FileEntry *f = show_find_file(s, fd->id);

		fprintf(out, "%s{\"fd\":%u,\"file\":%u,\"cloexec\":%s,", i ? "," : "", fd->fd, fd->id,
			fd->flags & 1 ? "true" : "false");
		put_json_string(out, "type", show_type_name(f ? f->type : fd->type, type, sizeof(type)), "");
		fputc(',', out);
		if (f)
			show_describe_file(s, f, line, sizeof(line));
		put_json_string(out, "text", f ? line : NULL, "");
		fputc('}', out);
	}
	fputc(']', out);
}

static void put_task(const struct show *s, const struct show_task *t, FILE *out)
{
	const CredsEntry *creds = t->core->thread_core ? t->core->thread_core->creds : NULL;

	fprintf(out, "{\"pid\":%u,\"ppid\":%u,\"pgid\":%u,\"sid\":%u,", t->entry->pid, t->entry->ppid, t->entry->pgid,
		t->entry->sid);
	put_json_string(out, "state", show_state_name(t->state), "");
	if (t->state == SHOW_ZOMBIE)
		fprintf(out, ",\"exit_status\":%u,", t->core->tc->exit_code);
	else
		fputs(",\"exit_status\":null,", out);
	put_json_string(out, "comm", t->comm, "");
	fputc(',', out);
	put_json_string(out, "exe", t->exe, "");
	put_argv(t, out);
	if (creds)
		fprintf(out, ",\"uid\":%u,\"gid\":%u", creds->uid, creds->gid);
	else
		fputs(",\"uid\":null,\"gid\":null", out);
	put_threads(t, out);
	if (t->mm)
		fprintf(out, ",\"memory\":{\"areas\":%zu,\"mapped\":%" PRIu64 ",\"present\":%" PRIu64 "},",
			t->mm->n_vmas, t->mapped, t->present);
	else
		fputs(",\"memory\":null,", out);
	put_json_string(out, "cwd", t->fs ? show_file_path(s, t->fs->cwd_id) : NULL, "");
	fputc(',', out);
	put_json_string(out, "root", t->fs ? show_file_path(s, t->fs->root_id) : NULL, "");
	put_descriptors(s, t, out);
	fputc('}', out);
}

void show_print_json(const struct show *s, FILE *out)
{
	fputs("{\"format\":1,", out);
	put_json_string(out, "path", s->path, "");
	fprintf(out, ",\"maker\":\"%s\",\"made\":%lld,\"bytes\":%" PRIu64 ",\"files\":%zu,\"open_files\":%zu",
		s->by_firn ? "firn" : "criu", (long long)s->made, s->bytes, s->n_image_files, s->n_open);
	fprintf(out, ",\"present\":%" PRIu64 ",\"shared_present\":%" PRIu64 ",\"shared_memory\":[", s->present,
		s->shmem_present);
	for (size_t i = 0; i < s->n_shmem; i++)
		fprintf(out, "%s{\"shmid\":%" PRIu64 ",\"present\":%" PRIu64 "}", i ? "," : "", s->shmem[i].shmid,
			s->shmem[i].present);
	fputs("],\"tasks\":[", out);
	for (size_t i = 0; i < s->n_tasks; i++) {
		fputs(i ? ",\n" : "\n", out);
		put_task(s, s->order[i], out);
	}
	fputs("\n]}\n", out);
}
