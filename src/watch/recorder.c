/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "watch/ring.h"

struct recorder *recorder;
/* Steps are many: the kernel is asked once in each thread. */
static _Thread_local pid_t own_tid;
int log_verbosity = LOG_WARN;

static const char *const stage_names[STAGE_COUNT] = {
	[STAGE_START] = "start",   [STAGE_SEIZE] = "seize",	[STAGE_COLLECT] = "collect",
	[STAGE_PUPPET] = "puppet", [STAGE_FILES] = "files",	[STAGE_MEMORY] = "memory",
	[STAGE_IMAGES] = "images", [STAGE_RELEASE] = "release", [STAGE_OBJECTS] = "objects",
	[STAGE_TREE] = "tree",	   [STAGE_STATE] = "state",	[STAGE_ROLLBACK] = "rollback",
	[STAGE_DONE] = "done",
};

const char *stage_name(enum stage s)
{
	return (unsigned)s < STAGE_COUNT ? stage_names[s] : "?";
}

static pid_t get_own_tid(void)
{
	if (!own_tid)
		own_tid = (pid_t)syscall(SYS_gettid);
	return own_tid;
}

static void forget_own_tid(void)
{
	own_tid = 0;
}

int recorder_init(void)
{
	/* Pages of the mapping come into being when they are first written: the table of targets and the ring cost
	 * nothing until they are used. */
	struct recorder *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED)
		return -errno;
	/* An earlier mapping stays: a scribe that was left behind may still read it. */
	r->start_ns = monotonic_ns();
	atomic_store(&r->engine_result, RECORDER_RUNNING);
	recorder = r;
	return -pthread_atfork(NULL, NULL, forget_own_tid);
}

/* Makes the sequence odd; false when another thread is writing: its step is as good as ours. */
static bool step_lock(struct recorder_step *s, unsigned *ret_sequence)
{
	for (int i = 0; i < 1000; i++) {
		unsigned sequence = atomic_load(&s->sequence);

		if (sequence % 2 == 0 && atomic_compare_exchange_strong(&s->sequence, &sequence, sequence + 1)) {
			*ret_sequence = sequence;
			return true;
		}
	}
	return false;
}

static void copy_text(char *dst, size_t size, const char *src)
{
	size_t len = strnlen(src, size - 1);

	memcpy(dst, src, len);
	dst[len] = '\0';
}

void recorder_stage(enum stage s)
{
	struct recorder_step *step;
	unsigned sequence;

	if (!recorder)
		return;
	step = &recorder->step;
	if (step_lock(step, &sequence)) {
		step->stage = s;
		step->pid = 0;
		step->tid = get_own_tid();
		step->comm[0] = '\0';
		step->call[0] = '\0';
		step->object[0] = '\0';
		step->since_ns = monotonic_ns();
		atomic_store(&step->sequence, sequence + 2);
	}
	atomic_fetch_add(&recorder->progress, 1);
	log_info(0, "stage begins");
}

void recorder_step(pid_t pid, const char *comm, const char *call, const char *fmt, ...)
{
	struct recorder_step *step;
	char object[sizeof(step->object)];
	unsigned sequence;
	va_list ap;

	if (!recorder)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(object, sizeof(object), fmt, ap);
	va_end(ap);
	/* The log first: whatever the front tells of an engine that was killed stands there too. */
	log_debug(pid, "%s: %s", call, object);
	step = &recorder->step;
	if (step_lock(step, &sequence)) {
		step->pid = pid;
		step->tid = get_own_tid();
		copy_text(step->comm, sizeof(step->comm), comm ? comm : "");
		copy_text(step->call, sizeof(step->call), call);
		copy_text(step->object, sizeof(step->object), object);
		step->since_ns = monotonic_ns();
		atomic_store(&step->sequence, sequence + 2);
	}
	atomic_fetch_add(&recorder->progress, 1);
}

void recorder_moved(uint64_t bytes)
{
	if (!recorder)
		return;
	atomic_fetch_add(&recorder->bytes, bytes);
	atomic_fetch_add(&recorder->progress, 1);
}

bool recorder_read_step(struct recorder_step *ret)
{
	if (!recorder)
		return false;
	/* A writer that was killed in the middle leaves the sequence odd for ever: then a torn copy is the best there
	 * is. It is text of our own, always terminated. */
	for (int i = 0; i < 1000; i++) {
		unsigned before = atomic_load(&recorder->step.sequence);

		memcpy(ret, &recorder->step, sizeof(*ret));
		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 && before == atomic_load(&recorder->step.sequence))
			break;
	}
	ret->comm[sizeof(ret->comm) - 1] = '\0';
	ret->call[sizeof(ret->call) - 1] = '\0';
	ret->object[sizeof(ret->object) - 1] = '\0';
	return true;
}

/* Slots that one search may pass: long runs come only with more targets than the table was made for. */
#define TARGET_PROBES 1024u

void recorder_target_add(pid_t pid, pid_t tid)
{
	struct recorder_target *free_slot = NULL;

	if (!recorder)
		return;
	for (unsigned i = 0; i < TARGET_PROBES; i++) {
		struct recorder_target *t = &recorder->targets[((unsigned)tid + i) % RECORDER_TARGETS];
		pid_t have = atomic_load(&t->tid);

		if (have == tid)
			return;
		if (have <= 0 && (!free_slot || have == -tid))
			free_slot = t;
		if (have == 0 || have == -tid)
			break;
	}
	if (!free_slot)
		return;
	if (atomic_load(&free_slot->tid) == 0)
		atomic_fetch_add(&recorder->target_slots, 1);
	atomic_store(&free_slot->pid, pid);
	atomic_store(&free_slot->tid, tid);
	atomic_fetch_add(&recorder->target_count, 1);
}

void recorder_target_remove(pid_t tid)
{
	if (!recorder)
		return;
	for (unsigned i = 0; i < TARGET_PROBES; i++) {
		struct recorder_target *t = &recorder->targets[((unsigned)tid + i) % RECORDER_TARGETS];
		pid_t have = atomic_load(&t->tid);

		if (have == tid) {
			atomic_store(&t->tid, -tid);
			atomic_fetch_sub(&recorder->target_count, 1);
			return;
		}
		if (have == 0)
			return;
	}
}

void recorder_segment_add(int id)
{
	for (size_t i = 0; recorder && i < RECORDER_SEGMENTS; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&recorder->segments[i], &none, id + 1))
			return;
	}
}

void recorder_segment_remove(int id)
{
	for (size_t i = 0; recorder && i < RECORDER_SEGMENTS; i++) {
		int mine = id + 1;

		if (atomic_compare_exchange_strong(&recorder->segments[i], &mine, 0))
			return;
	}
}

void recorder_name_add(const char *path)
{
	size_t len = strlen(path);

	if (!recorder || len == 0 || len >= RECORDER_NAME_SIZE)
		return;
	for (size_t i = 0; i < RECORDER_NAMES; i++) {
		char *name = recorder->names[i];

		if (name[0])
			continue;
		/* The first byte last: an engine that is killed meanwhile leaves the whole name, or none. */
		memcpy(name + 1, path + 1, len);
		atomic_thread_fence(memory_order_release);
		*(volatile char *)name = path[0];
		return;
	}
}

void recorder_name_remove(const char *path)
{
	for (size_t i = 0; recorder && i < RECORDER_NAMES; i++)
		if (strcmp(recorder->names[i], path) == 0)
			*(volatile char *)recorder->names[i] = '\0';
}

bool recorder_cancelled(void)
{
	if (!recorder || !atomic_load(&recorder->cancelled))
		return false;
	return (recorder->step.stage != STAGE_ROLLBACK && recorder->step.stage != STAGE_PUPPET) ||
	       atomic_load(&recorder->hurry);
}

bool recorder_end_asked(void)
{
	return recorder && atomic_load(&recorder->cancelled);
}

bool recorder_target_known(pid_t tid)
{
	if (!recorder)
		return false;
	if (atomic_load(&recorder->restored_root) == tid)
		return true;
	for (unsigned i = 0; i < TARGET_PROBES; i++) {
		pid_t have = atomic_load(&recorder->targets[((unsigned)tid + i) % RECORDER_TARGETS].tid);

		if (have == tid || have == -tid)
			return true;
		if (have == 0)
			return false;
	}
	return false;
}

static const char *const level_names[] = { "Note", "Error", "Warn", "Info", "Debug", "Trace" };

/* A target chooses its name and its paths: control characters must not reach a terminal or fake a line of the log. */
static void make_printable(char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
			s[i] = '?';
}

void log_write(enum log_level level, pid_t pid, const char *fmt, ...)
{
	char line[RING_RECORD_MAX], task[16];
	uint64_t us;
	va_list ap;
	int prefix, len;

	if (!recorder || (int)level > log_verbosity)
		return;
	us = (monotonic_ns() - recorder->start_ns) / 1000;
	(void)snprintf(task, sizeof(task), pid ? "%d" : "-", pid);
	prefix = snprintf(line, sizeof(line), "(%02llu.%06llu) %-5s %s %s: ", (unsigned long long)(us / 1000000),
			  (unsigned long long)(us % 1000000), level_names[level], task,
			  stage_name(recorder->step.stage));
	va_start(ap, fmt);
	len = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	len = prefix + (int)strnlen(line + prefix, sizeof(line) - (size_t)prefix - 1);
	make_printable(line + prefix, (size_t)(len - prefix));
	line[len++] = '\n';
	ring_put(recorder, line, (size_t)len, level <= LOG_WARN);
}
