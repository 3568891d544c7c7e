// SPDX-License-Identifier: LGPL-2.1-or-later
#include "check.h"

#include <stdarg.h>
#include <sys/mman.h>

char check_dir[PATH_MAX];

/* Failures of all tasks of the program: shared by fork. */
struct report {
	_Atomic unsigned count;
	_Atomic size_t used;
	char text[4096 - 2 * sizeof(size_t)];
};
static struct report *report;

static void path_in_dir(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/%s", check_dir, name);
}

/* Under a temporary name first: who sees the file sees it whole. */
static void publish(const char *name, const char *text)
{
	char path[PATH_MAX + 32], tmp[PATH_MAX + 64];
	size_t len = strlen(text);
	int fd;

	path_in_dir(path, sizeof(path), name);
	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, getpid());
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len || rename(tmp, path)) {
		fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
		_exit(3);
	}
	close(fd);
}

void check_begin(int argc, char **argv)
{
	if (argc < 2 || !realpath(argv[1], check_dir)) {
		fprintf(stderr, "usage: %s FOLDER [ARGUMENT…]\n", argv[0]);
		exit(2);
	}
	if (chdir(check_dir))
		DIE("chdir %s: %s", check_dir, strerror(errno));
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
}

bool check_triggered(void)
{
	char path[PATH_MAX + 32];

	path_in_dir(path, sizeof(path), "trigger");
	return access(path, F_OK) == 0;
}

void check_announce(void)
{
	publish("ready", "ready\n");
}

void check_wait_trigger(void)
{
	while (!check_triggered())
		sleep_ms(2);
}

void check_ready(void)
{
	check_announce();
	check_wait_trigger();
}

void check_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char buf[512];
	size_t n, at;
	va_list ap;

	n = (size_t)snprintf(buf, sizeof(buf), "FAIL: %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	n += (size_t)vsnprintf(buf + n, sizeof(buf) - n, fmt, ap);
	va_end(ap);
	if (n > sizeof(buf) - 2)
		n = sizeof(buf) - 2;
	buf[n++] = '\n';
	fwrite(buf, 1, n, stderr);
	if (!report)
		exit(3);
	report->count++;
	at = report->used;
	while (at + n < sizeof(report->text)) {
		if (__atomic_compare_exchange_n((size_t *)&report->used, &at, at + n, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST)) {
			memcpy(report->text + at, buf, n);
			break;
		}
	}
}

void check_die(const char *file, int line, const char *fmt, ...)
{
	char buf[600] = "DIE: ", msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	snprintf(buf, sizeof(buf), "DIE: %s:%d: %s\n", file, line, msg);
	fputs(buf, stderr);
	if (check_dir[0])
		publish("result", buf);
	_exit(3);
}

void check_skip(const char *fmt, ...)
{
	char buf[600], msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	snprintf(buf, sizeof(buf), "SKIP: %s\n", msg);
	publish("result", buf);
	_exit(77);
}

int check_end(void)
{
	char buf[sizeof(report->text) + 64];

	if (!report->count) {
		publish("result", "PASS\n");
		return 0;
	}
	snprintf(buf, sizeof(buf), "%.*s", (int)report->used, report->text);
	publish("result", buf);
	return 1;
}

pid_t check_fork(int (*body)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid < 0)
		DIE("fork: %s", strerror(errno));
	if (pid == 0) {
		unsigned before = report->count;
		int r = body(arg);

		_exit(r ? r : report->count > before);
	}
	return pid;
}

void check_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		FAIL("waitpid %d: %s", pid, strerror(errno));
	else if (status)
		FAIL("child %d ended with status 0x%x", pid, status);
}

static uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352du;
	x ^= x >> 15;
	x *= 0x846ca68bu;
	x ^= x >> 16;
	return x;
}

void pattern_fill(void *p, size_t len, uint32_t seed)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(mix(seed + (uint32_t)(i >> 6)) >> (i & 7));
}

bool pattern_check(const void *p, size_t len, uint32_t seed, size_t *ret_bad)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++) {
		if (b[i] != (uint8_t)(mix(seed + (uint32_t)(i >> 6)) >> (i & 7))) {
			*ret_bad = i;
			return false;
		}
	}
	return true;
}

char *slurp(const char *path)
{
	size_t len = 0, room = 1 << 16;
	char *buf = malloc(room);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf + len, room - len - 1)) > 0) {
		len += (size_t)n;
		if (room - len < 4096)
			buf = realloc(buf, room *= 2);
	}
	if (fd >= 0)
		close(fd);
	buf[len] = 0;
	return buf;
}

char *proc_line(const char *path, const char *key)
{
	char *text = slurp(path), *at = text, *ret = NULL;
	size_t len = strlen(key);

	while (at && *at && !ret) {
		char *end = strchr(at, '\n');

		if (end)
			*end = 0;
		if (!strncmp(at, key, len))
			ret = strdup(at + len);
		at = end ? end + 1 : NULL;
	}
	free(text);
	return ret ? ret : strdup("");
}

void make_file(const char *path, size_t len, uint32_t seed)
{
	char *buf = malloc(len ? len : 1);
	int fd = (int)MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	pattern_fill(buf, len, seed);
	if (write(fd, buf, len) != (ssize_t)len)
		DIE("write %s: %s", path, strerror(errno));
	close(fd);
	free(buf);
}

void sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}
