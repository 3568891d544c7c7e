// SPDX-License-Identifier: LGPL-2.1-or-later
/* timers FOLDER itimer|posix|alarm: interval timers and POSIX timers: remaining time, interval, ids with gaps, the ways to
 * notify, and that they go off afterwards. */
#include "check.h"

#include <pthread.h>
#include <sys/time.h>

static volatile int alarms, ticks, thread_ticks;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void on_tick(int sig, siginfo_t *si, void *c)
{
	(void)sig;
	(void)c;
	if (si->si_code == SI_TIMER && si->si_value.sival_int == 99)
		ticks++;
}

static void on_thread_tick(int sig, siginfo_t *si, void *c)
{
	(void)sig;
	(void)si;
	(void)c;
	if (syscall(SYS_gettid) == getpid())
		thread_ticks++;
}

static void check_left(const char *what, double left, double want)
{
	/* time goes on or stands still while it is stored, but never back; half a minute is the slowest machine */
	CHECK(left <= want && left > want - 30, "%s: %.3f s left of %.0f", what, left, want);
}

static double tv(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double ts(struct timespec t)
{
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void itimers(void)
{
	struct itimerval real = { { 300, 0 }, { 200, 0 } }, virt = { { 0, 0 }, { 100, 0 } }, prof = { { 7, 500000 }, { 90, 0 } };

	MUST(setitimer(ITIMER_REAL, &real, NULL));
	MUST(setitimer(ITIMER_VIRTUAL, &virt, NULL));
	MUST(setitimer(ITIMER_PROF, &prof, NULL));
	check_ready();
	getitimer(ITIMER_REAL, &real);
	getitimer(ITIMER_VIRTUAL, &virt);
	getitimer(ITIMER_PROF, &prof);
	check_left("ITIMER_REAL", tv(real.it_value), 200);
	check_left("ITIMER_VIRTUAL", tv(virt.it_value), 100.1);
	check_left("ITIMER_PROF", tv(prof.it_value), 90.1);
	CHECK(tv(real.it_interval) == 300, "interval of ITIMER_REAL: %f", tv(real.it_interval));
	CHECK(tv(virt.it_interval) == 0, "interval of ITIMER_VIRTUAL: %f", tv(virt.it_interval));
	CHECK(tv(prof.it_interval) == 7.5, "interval of ITIMER_PROF: %f", tv(prof.it_interval));
}

static timer_t make(clockid_t clock, int notify, int sig, int value, double first, double interval)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = value };
	struct itimerspec it = { { (time_t)interval, (long)((interval - (double)(time_t)interval) * 1e9) },
				 { (time_t)first, (long)((first - (double)(time_t)first) * 1e9) } };
	int id = -1;

	if (notify & SIGEV_THREAD_ID)
		ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	/* the raw call: the kernel's own ids */
	MUST(syscall(SYS_timer_create, clock, &ev, &id));
	MUST(syscall(SYS_timer_settime, id, 0, &it, NULL));
	return (timer_t)(intptr_t)id;
}

static void check_timer(timer_t t, const char *what, double left, double interval)
{
	struct itimerspec it = { 0 };

	if (syscall(SYS_timer_gettime, (int)(intptr_t)t, &it)) {
		FAIL("%s: timer_gettime: %s", what, strerror(errno));
		return;
	}
	if (left == 0)
		CHECK(ts(it.it_value) == 0, "%s: %.3f s left of a disarmed timer", what, ts(it.it_value));
	else
		check_left(what, ts(it.it_value), left);
	CHECK(ts(it.it_interval) == interval, "%s: interval %.3f", what, ts(it.it_interval));
}

static void *busy(void *arg)
{
	(void)arg;
	check_wait_trigger();
	return NULL;
}

static void posix(void)
{
	struct sigaction sa = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART };
	timer_t a, b, c, d, e, gap, tick, thread_tick;
	pthread_t t;

	sigaction(SIGRTMIN, &sa, NULL);
	sa.sa_sigaction = on_thread_tick;
	sigaction(SIGRTMIN + 1, &sa, NULL);
	pthread_create(&t, NULL, busy, NULL);
	a = make(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 1, 500, 0);
	gap = make(CLOCK_REALTIME, SIGEV_NONE, 0, 0, 1, 0);
	b = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR2, 2, 400, 33.25);
	c = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, 3, 300, 0);
	d = make(CLOCK_BOOTTIME, SIGEV_THREAD_ID, SIGUSR1, 4, 250, 0);
	e = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 5, 0, 0);
	tick = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 99, 0.01, 0.01);
	thread_tick = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 1, 0, 0.01, 0.01);
	MUST(syscall(SYS_timer_delete, (int)(intptr_t)gap));
	WAIT_FOR(ticks > 2);
	check_announce();
	check_wait_trigger();
	ticks = thread_ticks = 0;
	check_timer(a, "SIGEV_SIGNAL", 500, 0);
	check_timer(b, "with an interval", 400, 33.25);
	check_timer(c, "SIGEV_NONE", 300, 0);
	check_timer(d, "SIGEV_THREAD_ID", 250, 0);
	check_timer(e, "disarmed", 0, 0);
	CHECK(syscall(SYS_timer_getoverrun, (int)(intptr_t)gap) == -1, "the deleted timer is back");
	for (int i = 0; i < 2000 && (ticks < 3 || thread_ticks < 3); i++)
		sleep_ms(1);
	CHECK(ticks >= 3, "the ticking timer ticked %d times", ticks);
	CHECK(thread_ticks >= 3, "the thread's timer ticked %d times", thread_ticks);
	(void)tick;
	(void)thread_tick;
	pthread_join(t, NULL);
}

static void alarm_later(void)
{
	struct itimerval it = { { 0, 20000 }, { 0, 20000 } };
	int before;

	signal(SIGALRM, on_alarm);
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	WAIT_FOR(alarms > 0);
	check_ready();
	before = alarms;
	for (int i = 0; i < 2000 && alarms < before + 3; i++)
		sleep_ms(1);
	CHECK(alarms >= before + 3, "the alarm went off %d times", alarms - before);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "itimer";

	check_begin(argc, argv);
	if (!strcmp(kind, "itimer"))
		itimers();
	else if (!strcmp(kind, "posix"))
		posix();
	else
		alarm_later();
	return check_end();
}
