/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/refusals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * Sentences begin with what they are about: "pid 7 (x), fd 3 → /x: reason" or "pid 7 (x) reason". A path or a name may hold
 * anything, so the end of the task's own name is looked for by its length, and that of an object by the first ": ".
 */
static size_t object_len(const struct operation *op, const char *sentence, pid_t *ret_pid)
{
	const struct task *t = NULL;
	const char *colon;
	char task[64];
	size_t len;
	int pid;

	*ret_pid = 0;
	if (sscanf(sentence, "pid %d ", &pid) == 1)
		t = tree_find(&op->tree, pid);
	if (!t)
		return 0;
	*ret_pid = pid;
	len = (size_t)snprintf(task, sizeof(task), "pid %d (%s)", t->pid, t->comm);
	if (strncmp(sentence, task, len) != 0)
		return 0;
	if (sentence[len] == ':' || sentence[len] == ' ')
		return len;
	colon = strstr(sentence + len, ": ");
	return colon ? (size_t)(colon - sentence) : len;
}

/* "With --file-locks it is carried" → "--file-locks" */
static const char *option_of(struct operation *op, const char *hint)
{
	const char *p = strstr(hint, "--");

	if (!p)
		return NULL;
	return arena_printf(&op->arena, "%.*s", (int)(2 + strspn(p + 2, "abcdefghijklmnopqrstuvwxyz-")), p);
}

/* FNV-1a: ten thousand refused descriptors are compared with each other. */
static uint32_t hash_of(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

static struct refusal **bucket_of(struct refusals *all, const char *sentence)
{
	return &all->buckets[hash_of(sentence) % REFUSAL_BUCKETS];
}

static bool known(struct refusals *all, const char *sentence)
{
	for (const struct refusal *r = *bucket_of(all, sentence); r; r = r->next_same)
		if (strcmp(r->sentence, sentence) == 0)
			return true;
	return false;
}

static int keep(struct operation *op, const char *object)
{
	struct refusal *n = arena_alloc(&op->arena, sizeof(*n)), **bucket;
	const char *sentence = op->error->sentence;
	size_t len, skip;

	if (!n)
		return -ENOMEM;
	len = object_len(op, sentence, &n->pid);
	if (object && strncmp(sentence, object, strlen(object)) == 0)
		len = strlen(object);
	skip = len;
	while (len && (sentence[skip] == ':' || sentence[skip] == ',' || sentence[skip] == ' '))
		skip++;
	n->sentence = arena_strdup(&op->arena, sentence);
	n->hint = arena_strdup(&op->arena, op->error->hint);
	n->object = arena_printf(&op->arena, "%.*s", (int)len, sentence);
	n->reason = arena_strdup(&op->arena, sentence + skip);
	if (!n->sentence || !n->hint || !n->object || !n->reason)
		return -ENOMEM;
	n->option = option_of(op, n->hint);
	if (!op->refusals->last)
		op->refusals->last = &op->refusals->first;
	*op->refusals->last = n;
	op->refusals->last = &n->next;
	op->refusals->n++;
	bucket = bucket_of(op->refusals, n->sentence);
	n->next_same = *bucket;
	*bucket = n;
	return 0;
}

int refusal_note_about(struct operation *op, const char *object, int r)
{
	if (r != -EOPNOTSUPP || !op->refusals)
		return r;
	if (!known(op->refusals, op->error->sentence)) {
		r = keep(op, object);
		if (r < 0)
			return r;
	}
	*op->error = (struct error){ 0 };
	return 0;
}

int refusal_note(struct operation *op, int r)
{
	return refusal_note_about(op, NULL, r);
}
