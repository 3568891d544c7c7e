/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stall report for programs: one line of JSON. docs/hangs.md lists the keys; "format" counts up when one changes. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/print.h"
#include "kernel/syscalls.h"
#include "watch/stall.h"

#define NOT_EMPTY(text) ((text)[0] ? (text) : NULL)

static void put_state(FILE *out, const struct glance *g)
{
	char state[2] = { g->state, '\0' };

	fprintf(out, "\"pid\": %d, \"tid\": %d, ", g->pid, g->tid);
	put_json_string(out, "name", g->gone ? NULL : g->name, ", ");
	put_json_string(out, "state", g->gone ? NULL : state, "");
}

static void put_syscall(FILE *out, const struct glance *g)
{
	const char *sorts = syscall_arguments(g->syscall);

	if (g->syscall < 0) {
		fputs("\"syscall\": null, ", out);
		return;
	}
	fprintf(out, "\"syscall\": {\"number\": %ld, ", g->syscall);
	put_json_string(out, "name", syscall_name(g->syscall), ", ");
	put_json_string(out, "arguments", g->arguments, ", \"values\": [");
	for (int i = 0; sorts[i]; i++)
		fprintf(out, "%s\"%#" PRIx64 "\"", i ? ", " : "", g->args[i]);
	fputs("]}, ", out);
}

static void put_stack(FILE *out, const char *stack)
{
	static const char arrow[] = " ← ";

	if (!stack[0]) {
		fputs("\"stack\": null", out);
		return;
	}
	fputs("\"stack\": [", out);
	for (const char *at = stack, *end; at; at = end ? end + strlen(arrow) : NULL) {
		char name[128];

		end = strstr(at, arrow);
		(void)snprintf(name, sizeof(name), "%.*s", end ? (int)(end - at) : (int)strlen(at), at);
		fputs(at == stack ? "\"" : ", \"", out);
		put_text(out, name, true);
		fputc('"', out);
	}
	fputc(']', out);
}

static void put_glance(FILE *out, const char *key, const struct glance *g)
{
	if (key)
		fprintf(out, "\"%s\": ", key);
	if (!g->pid) {
		fputs("null", out);
		return;
	}
	fputc('{', out);
	put_state(out, g);
	fprintf(out, ", \"tracer\": %d, ", g->tracer);
	put_json_string(out, "wchan", NOT_EMPTY(g->wchan), ", ");
	put_syscall(out, g);
	put_stack(out, g->stack);
	fputc('}', out);
}

static void put_mount(FILE *out, const struct stall_object *o)
{
	if (!o->mounted) {
		fputs("\"mount\": null, ", out);
		return;
	}
	fprintf(out, "\"mount\": {\"id\": %d, \"device\": \"%u:%u\", ", o->mnt_id, o->dev_major, o->dev_minor);
	put_json_string(out, "type", o->fs_type, ", ");
	put_json_string(out, "point", o->mount_point, ", ");
	put_json_string(out, "source", o->source, "}, ");
}

static void put_servers(FILE *out, const struct stall_object *o)
{
	if (!o->fuse) {
		fputs("\"fuse\": null, ", out);
		return;
	}
	fprintf(out, "\"fuse\": {\"connection\": %u, \"waiting\": ", o->dev_minor);
	fprintf(out, o->waiting < 0 ? "null" : "%ld", o->waiting);
	fprintf(out, ", \"servers_sure\": %s, \"servers\": [", o->servers_sure ? "true" : "false");
	for (size_t i = 0; i < o->n_servers; i++) {
		fputs(i ? ", {" : "{", out);
		put_state(out, &o->servers[i]);
		fputc('}', out);
	}
	fputs("]}, ", out);
}

static void put_locks(FILE *out, const struct stall_object *o)
{
	fputs("\"locks\": [", out);
	for (size_t i = 0; i < o->n_holders; i++) {
		const struct stall_holder *holder = &o->holders[i];

		fputs(i ? ", {" : "{", out);
		put_json_string(out, "sort", stall_lock_name(holder->sort), ", ");
		fprintf(out, "\"breaking\": %s, \"writing\": %s, \"pid\": ", holder->breaking ? "true" : "false",
			holder->breaking	  ? "null"
			: holder->type == F_WRLCK ? "true"
						  : "false");
		fprintf(out, holder->pid > 0 ? "%d, " : "null, ", holder->pid);
		put_json_string(out, "name", NOT_EMPTY(holder->name), "}");
	}
	fputc(']', out);
}

static void put_object(FILE *out, const struct stall_object *o)
{
	if (!o->path[0]) {
		fputs("\"object\": null, ", out);
		return;
	}
	fputs("\"object\": {", out);
	fprintf(out, o->pid ? "\"pid\": %d, \"fd\": %d, " : "\"pid\": null, \"fd\": null, ", o->pid, o->fd);
	put_json_string(out, "path", o->path, ", ");
	put_mount(out, o);
	put_servers(out, o);
	put_locks(out, o);
	fputs("}, ", out);
}

static void put_step(FILE *out, const struct stall_facts *f)
{
	put_json_string(out, "stage", stage_name(f->step.stage), ", ");
	fprintf(out, "\"elapsed\": %.3f, ", (double)f->elapsed_ns / 1e9);
	if (!f->step.call[0]) {
		fputs("\"call\": null, ", out);
		return;
	}
	fputs("\"call\": {", out);
	put_json_string(out, "name", f->step.call, ", ");
	put_json_string(out, "object", f->step.object, ", ");
	fprintf(out, "\"seconds\": %.3f}, ", (double)f->step_ns / 1e9);
}

static void put_limit(FILE *out, const struct stall_facts *f)
{
	static const char *const limits[] = {
		[VERDICT_DEADLINE] = "deadline", [VERDICT_STALL] = "stall-timeout", [VERDICT_SEIZE] = "timeout"
	};

	fputs("\"limit\": {", out);
	put_json_string(out, "option", limits[f->verdict], ", ");
	fprintf(out, "\"seconds\": %.3f}, ", f->limit_ms / 1000.0);
}

char *stall_compose_json(const struct stall_facts *f, const char *outcome, size_t *ret_len)
{
	char sentence[896], advice[512], *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (!out)
		return NULL;
	stall_sentence(f, sentence, sizeof(sentence));
	stall_advice(f, advice, sizeof(advice));
	fputs("{\"format\": 1, \"report\": \"stall\", ", out);
	put_json_string(out, "firn", FIRN_VERSION, ", ");
	put_json_string(out, "operation", f->operation, ", ");
	put_json_string(out, "what", sentence, ", ");
	put_limit(out, f);
	put_step(out, f);
	put_object(out, &f->object);
	put_glance(out, "task", &f->task);
	fputs(", ", out);
	put_glance(out, "engine", &f->engine);
	fputs(", ", out);
	put_glance(out, "tracer", &f->tracer);
	fprintf(out, ", \"held\": %zu, \"tasks\": [", f->held);
	for (size_t i = 0; i < f->n_tasks; i++) {
		fputs(i ? ", " : "", out);
		put_glance(out, NULL, &f->tasks[i]);
	}
	fputs("], ", out);
	put_json_string(out, "not_seen", NOT_EMPTY(f->unfinished), ", ");
	put_json_string(out, "cause", stall_explain(f).cause, ", ");
	put_json_string(out, "outcome", outcome, ", ");
	put_json_string(out, "advice", advice, "}\n");
	return fclose(out) ? NULL : text;
}
