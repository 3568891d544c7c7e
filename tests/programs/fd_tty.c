// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_tty FOLDER modes|several|hung|hung_ctty|closed|unopened|ctty|nofd|group|packet|lines|locks|status|much|console|vt: terminals in all states. */
#include "check.h"

#include <asm/termbits.h>
#include <poll.h>
#include <sys/ioctl.h>

static int open_master(char name[64], bool unlocked)
{
	int master = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY)), zero = 0;
	unsigned n;

	if (unlocked)
		MUST(ioctl(master, TIOCSPTLCK, &zero));
	MUST(ioctl(master, TIOCGPTN, &n));
	snprintf(name, 64, "/dev/pts/%u", n);
	return master;
}

static void set_raw(int fd)
{
	struct termios2 t;

	MUST(ioctl(fd, TCGETS2, &t));
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_oflag &= ~(tcflag_t)OPOST;
	MUST(ioctl(fd, TCSETS2, &t));
}

/* What comes within five seconds. */
static void check_read(int fd, const char *want, size_t len, const char *what)
{
	char buf[256] = "";
	size_t n = 0;

	for (int i = 0; i < 5000 && n < len; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 1) == 1) {
			ssize_t k = read(fd, buf + n, len - n);

			if (k <= 0)
				break;
			n += (size_t)k;
		}
	}
	CHECK(n == len && !memcmp(buf, want, len), "%s: \"%s\" (%zu bytes) instead of \"%s\"", what, buf, n, want);
}

static void check_nothing(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI };

	CHECK(poll(&p, 1, 0) == 0, "%s: something is there (%x)", what, p.revents);
}

static void check_both_ways(int master, int slave)
{
	CHECK_EQ(write(master, "abc", 3), 3, "write to the master");
	check_read(slave, "abc", 3, "from the master to the slave");
	CHECK_EQ(write(slave, "xyz", 3), 3, "write to the slave");
	check_read(master, "xyz", 3, "from the slave to the master");
}

/* Speeds of their own kind, another for input, sizes in pixels, every control character. */
static void modes(void)
{
	struct winsize w = { 41, 137, 1096, 656 }, w2 = { 0 };
	struct termios2 t, t2;
	char name[64];
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));

	MUST(ioctl(slave, TCGETS2, &t));
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CBAUD | CBAUD << IBSHIFT | CSIZE)) | BOTHER | BOTHER << IBSHIFT | CS7 | PARENB | HUPCL;
	t.c_ospeed = 123456;
	t.c_ispeed = 54321;
	t.c_iflag = IXON | ICRNL | IUTF8;
	t.c_oflag = OPOST | ONLCR | TAB3;
	t.c_lflag = ISIG | ICANON | ECHO | ECHOE | IEXTEN | NOFLSH | TOSTOP;
	for (int i = 0; i < 17; i++)
		t.c_cc[i] = (cc_t)(i + 1);
	MUST(ioctl(slave, TCSETS2, &t));
	MUST(ioctl(slave, TCGETS2, &t));
	MUST(ioctl(master, TIOCSWINSZ, &w));
	check_ready();
	MUST(ioctl(slave, TCGETS2, &t2));
	CHECK(t.c_iflag == t2.c_iflag && t.c_oflag == t2.c_oflag && t.c_cflag == t2.c_cflag && t.c_lflag == t2.c_lflag,
	      "flags %x %x %x %x instead of %x %x %x %x", t2.c_iflag, t2.c_oflag, t2.c_cflag, t2.c_lflag, t.c_iflag, t.c_oflag,
	      t.c_cflag, t.c_lflag);
	CHECK_EQ(t2.c_ospeed, t.c_ospeed, "output speed");
	CHECK_EQ(t2.c_ispeed, t.c_ispeed, "input speed");
	CHECK(!memcmp(t.c_cc, t2.c_cc, sizeof(t.c_cc)), "control characters");
	MUST(ioctl(slave, TIOCGWINSZ, &w2));
	CHECK(!memcmp(&w, &w2, sizeof(w)), "size %u %u %u %u", w2.ws_row, w2.ws_col, w2.ws_xpixel, w2.ws_ypixel);
}

/* Several open files of one slave, several pairs, a duplicate. */
static void several(void)
{
	char name[64], name2[64];
	int master = open_master(name, true), master2 = open_master(name2, true);
	int a = (int)MUST(open(name, O_RDWR | O_NOCTTY)), b = (int)MUST(open(name, O_RDONLY | O_NOCTTY | O_NONBLOCK));
	int c = (int)MUST(open(name, O_WRONLY | O_NOCTTY | O_CLOEXEC)), d = (int)MUST(dup(a));
	int e = (int)MUST(open(name2, O_RDWR | O_NOCTTY));

	set_raw(a);
	set_raw(e);
	check_ready();
	CHECK_EQ(fcntl(a, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR, "flags of a");
	CHECK_EQ(fcntl(b, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK, "flags of b");
	CHECK_EQ(fcntl(c, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY, "flags of c");
	CHECK_EQ(fcntl(c, F_GETFD), FD_CLOEXEC, "close-on-exec of c");
	CHECK_EQ(syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, a, d), 0, "a and its duplicate");
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, a, b) != 0, "a and b are one open file");
	check_both_ways(master, a);
	CHECK_EQ(write(master, "1", 1), 1, "write");
	check_read(b, "1", 1, "by another open file");
	CHECK_EQ(write(c, "2", 1), 1, "write by another open file");
	check_read(master, "2", 1, "from another open file");
	check_both_ways(master2, e);
	CHECK_EQ(close(a) | close(b) | close(c) | close(d), 0, "close");
	{
		struct pollfd p = { .fd = master };

		CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP), "the master sees no hang up (%x)", p.revents);
	}
}

/* The master is gone. */
static void hung(void)
{
	char name[64], buf[4];
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY)), other;

	MUST(close(master));
	/* another pty may have the number by now */
	other = open_master(name, true);
	check_ready();
	CHECK_EQ(read(slave, buf, sizeof(buf)), 0, "read of a slave that was hung up");
	CHECK(write(slave, "x", 1) == -1 && errno == EIO, "write to a slave that was hung up: %s", strerror(errno));
	slave = open(name, O_RDWR | O_NOCTTY);
	CHECK(slave >= 0, "%s: %s", name, strerror(errno));
	if (slave >= 0) {
		set_raw(slave);
		check_both_ways(other, slave);
	}
}

static int hung_ctty_child(void *arg)
{
	int *fds = arg, tty;

	(void)signal(SIGHUP, SIG_IGN);
	MUST(setsid());
	MUST(ioctl(fds[1], TIOCSCTTY, 0));
	tty = (int)MUST(open("/dev/tty", O_RDWR));
	MUST(close(fds[1]));
	MUST(close(fds[0]));
	MUST(open("has-terminal", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	WAIT_FOR(write(tty, "x", 1) == -1 && errno == EIO);
	MUST(open("session-ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check_wait_trigger();
	CHECK(write(tty, "x", 1) == -1 && errno == EIO, "write to /dev/tty that was hung up: %s", strerror(errno));
	CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO, "there is a controlling terminal");
	return 0;
}

static void hung_ctty(void)
{
	char name[64];
	int fds[2] = { open_master(name, true), (int)MUST(open(name, O_RDWR | O_NOCTTY)) };
	pid_t pid = check_fork(hung_ctty_child, fds);

	/* the child has its own copies once it says so; then the last master goes */
	WAIT_FOR(access("has-terminal", F_OK) == 0);
	MUST(close(fds[1]));
	MUST(close(fds[0]));
	WAIT_FOR(access("session-ready", F_OK) == 0);
	check_ready();
	check_child(pid);
}

/* The slave was opened and closed; the master reads EIO until it is opened again. */
static void closed(void)
{
	struct pollfd p = { .events = POLLIN };
	char name[64], buf[4];
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));

	set_raw(slave);
	MUST(close(slave));
	check_ready();
	p.fd = master;
	CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP), "no hang up of the master (%x)", p.revents);
	CHECK(read(master, buf, sizeof(buf)) == -1 && errno == EIO, "read of the master: %s", strerror(errno));
	slave = open(name, O_RDWR | O_NOCTTY);
	CHECK(slave >= 0, "%s: %s", name, strerror(errno));
	check_both_ways(master, slave);
}

/* Never opened, and still locked. */
static void unopened(void)
{
	struct winsize w = { 11, 22, 33, 44 }, w2 = { 0 };
	struct termios2 t, t2;
	char name[64];
	int master = open_master(name, false), slave, lock = 0, zero = 0;
	unsigned n = ~0u;

	MUST(ioctl(master, TIOCSWINSZ, &w));
	MUST(ioctl(master, TCGETS2, &t));
	t.c_iflag ^= IXANY;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_oflag &= ~(tcflag_t)OPOST;
	MUST(ioctl(master, TCSETS2, &t));
	check_ready();
	MUST(ioctl(master, TIOCGPTN, &n));
	CHECK_EQ(n, (unsigned)atoi(name + 9), "number");
	MUST(ioctl(master, TIOCGPTLCK, &lock));
	CHECK_EQ(lock, 1, "lock");
	CHECK(open(name, O_RDWR | O_NOCTTY) == -1 && errno == EIO, "a locked slave can be opened");
	MUST(ioctl(master, TCGETS2, &t2));
	CHECK(t.c_iflag == t2.c_iflag && t.c_lflag == t2.c_lflag, "settings");
	MUST(ioctl(master, TIOCGWINSZ, &w2));
	CHECK(!memcmp(&w, &w2, sizeof(w)), "size");
	MUST(ioctl(master, TIOCSPTLCK, &zero));
	slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));
	check_both_ways(master, slave);
}

struct session {
	char name[64];
	bool keep_slave, keep_tty, group;
	int master;
};

static int idle(void *arg)
{
	(void)arg;
	check_wait_trigger();
	return 0;
}

static int session_child(void *arg)
{
	const struct session *s = arg;
	pid_t group = 0;
	int slave, tty = -1, probe;

	(void)signal(SIGTTOU, SIG_IGN);
	MUST(close(s->master));
	MUST(setsid());
	slave = (int)MUST(open(s->name, O_RDWR));    /* becomes the controlling terminal */
	set_raw(slave);
	if (s->keep_tty)
		tty = (int)MUST(open("/dev/tty", O_RDWR | O_NONBLOCK));
	if (s->group) {
		group = check_fork(idle, NULL);
		MUST(setpgid(group, group));
		MUST(ioctl(slave, TIOCSPGRP, &group));
	}
	if (!s->keep_slave)
		MUST(close(slave));
	MUST(open("session-ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check_wait_trigger();
	probe = open("/dev/tty", O_RDWR);
	CHECK(probe >= 0, "/dev/tty: %s", strerror(errno));
	if (probe >= 0) {
		pid_t sid = -1, pgrp = -1;

		CHECK(ioctl(probe, TIOCGSID, &sid) == 0 && sid == getpid(), "session of the terminal: %d", sid);
		CHECK(ioctl(probe, TIOCGPGRP, &pgrp) == 0 && pgrp == (group ? group : getpid()), "foreground group %d", pgrp);
		CHECK_EQ(write(probe, "p", 1), 1, "write to /dev/tty");
	}
	if (tty >= 0) {
		unsigned dev = 0;
		struct stat st;

		CHECK_EQ(write(tty, "t", 1), 1, "write to the old /dev/tty");
		CHECK_EQ(fcntl(tty, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK, "flags of /dev/tty");
		CHECK(fstat(tty, &st) == 0 && st.st_rdev == 0x500, "device of /dev/tty: %lx", (long)st.st_rdev);
		CHECK(ioctl(tty, TIOCGDEV, &dev) == 0 && (dev & 0xff) == (unsigned)atoi(s->name + 9), "terminal behind it: %x", dev);
	}
	if (s->keep_slave)
		CHECK_EQ(write(slave, "s", 1), 1, "write to the slave");
	if (group)
		check_child(group);
	return 0;
}

static void session(bool keep_slave, bool keep_tty, bool group)
{
	struct session s = { .keep_slave = keep_slave, .keep_tty = keep_tty, .group = group };
	char want[4] = "p";
	pid_t pid;

	s.master = open_master(s.name, true);
	/* a terminal that nobody has open is nobody's controlling terminal any more */
	if (!keep_slave)
		MUST(open(s.name, O_RDWR | O_NOCTTY));
	pid = check_fork(session_child, &s);
	WAIT_FOR(access("session-ready", F_OK) == 0);
	check_ready();
	if (keep_tty)
		strcat(want, "t");
	if (keep_slave)
		strcat(want, "s");
	check_read(s.master, want, strlen(want), "what the session wrote");
	check_child(pid);
}

/* Data both ways with a master in packet mode: each read begins with a zero, and no status has come up. */
static void packet(void)
{
	struct pollfd p = { .events = POLLPRI };
	char name[64], buf[64] = "";
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY)), on = 1, waiting = 0, packets = 0;

	set_raw(slave);
	MUST(ioctl(master, TIOCPKT, &on));
	MUST(write(slave, "printed", 7));
	MUST(write(master, "typed", 5));
	WAIT_FOR(ioctl(slave, FIONREAD, &waiting) == 0 && waiting == 5);
	WAIT_FOR(ioctl(master, FIONREAD, &waiting) == 0 && waiting == 7);
	check_ready();
	p.fd = master;
	MUST(ioctl(master, TIOCGPKT, &packets));
	CHECK_EQ(packets, 1, "packet mode");
	CHECK(poll(&p, 1, 0) == 0, "a status has come up: %x", p.revents);
	CHECK(read(master, buf, sizeof(buf)) == 8 && !memcmp(buf, "\0printed", 8), "what was printed: %d %s", buf[0], buf + 1);
	check_read(slave, "typed", 5, "what was typed");
	/* and it works: flushing makes a status */
	MUST(ioctl(slave, TCFLSH, TCIFLUSH));
	CHECK(read(master, buf, sizeof(buf)) == 1 && buf[0] == TIOCPKT_FLUSHREAD, "status %d", buf[0]);
}

/* What is refused: a status of packet mode that waits, and more data than can be put back. */
static void refused(bool status)
{
	static char much[3000], buf[3001];
	char name[64];
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY)), on = 1, waiting = 0;

	set_raw(slave);
	memset(much, 'm', sizeof(much));
	if (status) {
		MUST(ioctl(master, TIOCPKT, &on));
		MUST(ioctl(slave, TCFLSH, TCIFLUSH));
	} else {
		MUST(write(slave, much, sizeof(much)));
		WAIT_FOR(ioctl(master, FIONREAD, &waiting) == 0 && waiting == sizeof(much));
	}
	check_ready();
	if (status) {
		CHECK(read(master, buf, sizeof(buf)) == 1 && buf[0] == TIOCPKT_FLUSHREAD, "status %d", buf[0]);
		on = 0;
		CHECK_EQ(ioctl(master, TIOCPKT, &on), 0, "TIOCPKT");
	} else {
		CHECK_EQ(read(master, buf, sizeof(buf)), sizeof(much), "bytes");
		CHECK(!memcmp(buf, much, sizeof(much)), "content");
	}
	check_both_ways(master, slave);
}

/* Lines wait, and the beginning of one. */
static void lines(void)
{
	char name[64], buf[64] = "";
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY)), waiting = 0;
	struct termios2 t;

	MUST(ioctl(slave, TCGETS2, &t));
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
	MUST(ioctl(slave, TCSETS2, &t));
	MUST(write(master, "one\ntwo\npart", 12));
	WAIT_FOR(ioctl(slave, FIONREAD, &waiting) == 0 && waiting == 8);
	check_ready();
	CHECK(read(slave, buf, sizeof(buf)) == 4 && !memcmp(buf, "one\n", 4), "first line: %s", buf);
	CHECK(read(slave, buf, sizeof(buf)) == 4 && !memcmp(buf, "two\n", 4), "second line: %s", buf);
	check_nothing(slave, "a line without its end");
	MUST(write(master, "ial\n", 4));
	CHECK(read(slave, buf, sizeof(buf)) == 8 && !memcmp(buf, "partial\n", 8), "third line: %s", buf);
	check_nothing(master, "an echo");
}

/* Exclusive and locked at once, with everything open before. */
static void locks(void)
{
	char name[64];
	int master = open_master(name, true), slave = (int)MUST(open(name, O_RDWR | O_NOCTTY)), one = 1, got = 0;

	set_raw(slave);
	MUST(ioctl(slave, TIOCEXCL));
	MUST(ioctl(master, TIOCSPTLCK, &one));
	check_ready();
	MUST(ioctl(slave, TIOCGEXCL, &got));
	CHECK_EQ(got, 1, "exclusive");
	got = 0;
	MUST(ioctl(master, TIOCGEXCL, &got));
	CHECK_EQ(got, 0, "exclusive master");
	MUST(ioctl(master, TIOCGPTLCK, &got));
	CHECK_EQ(got, 1, "locked");
	check_both_ways(master, slave);
	CHECK(open(name, O_RDWR | O_NOCTTY) == -1, "it can be opened");
}

static void device(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	struct stat st, st2;
	struct termios2 t, t2;

	if (fd < 0)
		check_skip("%s: %s", name, strerror(errno));
	MUST(fstat(fd, &st));
	if (ioctl(fd, TCGETS2, &t) < 0)
		check_skip("%s: TCGETS2: %s", name, strerror(errno));
	check_ready();
	MUST(fstat(fd, &st2));
	CHECK_EQ(st2.st_rdev, st.st_rdev, "device");
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK, "flags");
	MUST(ioctl(fd, TCGETS2, &t2));
	CHECK(t.c_iflag == t2.c_iflag && t.c_lflag == t2.c_lflag, "settings");
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "modes";

	check_begin(argc, argv);
	if (!strcmp(kind, "modes"))
		modes();
	else if (!strcmp(kind, "several"))
		several();
	else if (!strcmp(kind, "hung"))
		hung();
	else if (!strcmp(kind, "hung_ctty"))
		hung_ctty();
	else if (!strcmp(kind, "closed"))
		closed();
	else if (!strcmp(kind, "unopened"))
		unopened();
	else if (!strcmp(kind, "ctty"))
		session(false, true, false);
	else if (!strcmp(kind, "nofd"))
		session(false, false, false);
	else if (!strcmp(kind, "group"))
		session(true, true, true);
	else if (!strcmp(kind, "packet"))
		packet();
	else if (!strcmp(kind, "status") || !strcmp(kind, "much"))
		refused(!strcmp(kind, "status"));
	else if (!strcmp(kind, "lines"))
		lines();
	else if (!strcmp(kind, "locks"))
		locks();
	else if (!strcmp(kind, "console"))
		device("/dev/console");
	else if (!strcmp(kind, "vt"))
		device("/dev/tty1");
	else
		DIE("no such kind");
	return check_end();
}
