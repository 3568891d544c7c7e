// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_pty FOLDER pair|session|data: pseudo-terminals: settings, size, number, flags; as the controlling terminal of a session with a foreground
 * group; with data queued both ways. */
#include "check.h"

#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static int child_pid_group;

static int session(void *arg)
{
	int slave;

	MUST(setsid());
	slave = (int)MUST(open(arg, O_RDWR));
	MUST(ioctl(slave, TIOCSCTTY, 0));
	MUST(tcsetpgrp(slave, getpid()));
	MUST(open("session-ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check_wait_trigger();
	CHECK_EQ(tcgetsid(slave), getpid(), "session of the terminal");
	CHECK_EQ(tcgetpgrp(slave), getpid(), "foreground group");
	{
		int tty = open("/dev/tty", O_RDWR);

		CHECK(tty >= 0, "/dev/tty: %s", strerror(errno));
		CHECK_EQ(write(tty, "t", 1), 1, "write to /dev/tty");
	}
	return child_pid_group;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "pair";
	struct winsize ws = { 33, 99, 0, 0 }, ws2;
	int master, slave, n = -1, n2 = -1, lock = 1;
	struct termios t, t2;
	char buf[64] = "", name[64];
	pid_t pid = 0;

	check_begin(argc, argv);
	master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
	MUST(grantpt(master));
	MUST(unlockpt(master));
	MUST(ptsname_r(master, name, sizeof(name)));
	slave = (int)MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
	MUST(ioctl(master, TIOCGPTN, &n));
	MUST(tcgetattr(slave, &t));
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_iflag |= IXANY;
	t.c_cc[VINTR] = 7;
	t.c_cc[VMIN] = 3;
	cfsetospeed(&t, B9600);
	MUST(tcsetattr(slave, TCSANOW, &t));
	MUST(tcgetattr(slave, &t));
	MUST(ioctl(slave, TIOCSWINSZ, &ws));
	if (!strcmp(kind, "session")) {
		pid = check_fork(session, name);
		WAIT_FOR(access("session-ready", F_OK) == 0);
	} else if (!strcmp(kind, "data")) {
		MUST(write(master, "typed", 5));
		MUST(write(slave, "printed", 7));
	}
	check_ready();
	if (pid) {
		check_child(pid);
		CHECK(read(master, buf, sizeof(buf)) == 1 && buf[0] == 't', "what the session wrote");
	}
	MUST(ioctl(master, TIOCGPTN, &n2));
	CHECK_EQ(n2, n, "number");
	MUST(ioctl(master, TIOCGPTLCK, &lock));
	CHECK_EQ(lock, 0, "lock");
	if (!pid) {
		MUST(tcgetattr(slave, &t2));
		CHECK(t.c_iflag == t2.c_iflag && t.c_oflag == t2.c_oflag && t.c_cflag == t2.c_cflag && t.c_lflag == t2.c_lflag,
		      "settings %x %x %x %x instead of %x %x %x %x", t2.c_iflag, t2.c_oflag, t2.c_cflag, t2.c_lflag, t.c_iflag,
		      t.c_oflag, t.c_cflag, t.c_lflag);
		CHECK(!memcmp(t.c_cc, t2.c_cc, NCCS), "control characters");
		MUST(ioctl(slave, TIOCGWINSZ, &ws2));
		CHECK(ws2.ws_row == 33 && ws2.ws_col == 99, "size %dx%d", ws2.ws_col, ws2.ws_row);
		CHECK(fcntl(slave, F_GETFL) & O_NONBLOCK, "flags of the slave");
		CHECK_EQ(fcntl(master, F_GETFD), FD_CLOEXEC, "close-on-exec of the master");
		if (!strcmp(kind, "data")) {
			CHECK(read(slave, buf, sizeof(buf)) == 5 && !memcmp(buf, "typed", 5), "typed data: %s", buf);
			CHECK(read(master, buf, sizeof(buf)) == 7 && !memcmp(buf, "printed", 7), "printed data");
		}
		MUST(write(master, "abc", 3));
		CHECK(read(slave, buf, sizeof(buf)) == 3 && !memcmp(buf, "abc", 3), "from the master to the slave");
		MUST(write(slave, "xyz", 3));
		CHECK(read(master, buf, sizeof(buf)) == 3 && !memcmp(buf, "xyz", 3), "from the slave to the master");
	}
	return check_end();
}
