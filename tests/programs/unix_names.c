// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_names FOLDER relative|left|long|modes|autobind|chroot|moved|gone_dir: how unix sockets are called: by a path relative to a
 * folder, also to one that is no longer the working folder, by names as long as may be, by the kernel's own names, below
 * another root folder; with owner and mode of the socket file. */
#include "check.h"

#include <sys/socket.h>
#include <sys/un.h>

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);
	int fd = (int)MUST(socket(AF_UNIX, type, 0));

	MUST(bind(fd, (struct sockaddr *)&a, len));
	if (type != SOCK_DGRAM)
		MUST(listen(fd, 5));
	return fd;
}

static void check_bound(int fd, const char *want)
{
	struct sockaddr_un a = { 0 }, w;
	socklen_t len = sizeof(a), want_len = name_of(&w, want);

	MUST(getsockname(fd, (struct sockaddr *)&a, &len));
	CHECK(len == want_len && !strcmp(a.sun_path, want), "its name is %s (%d bytes) instead of %s (%d)", a.sun_path, len, want,
	      want_len);
}

/* A client reaches it by @path; then one byte goes through. */
static void check_reached(int fd, int type, const char *path)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, path);
	int c = (int)MUST(socket(AF_UNIX, type, 0)), s = fd;
	char byte;

	if (connect(c, (struct sockaddr *)&a, len) < 0) {
		FAIL("connect to %s: %s", path, strerror(errno));
		return;
	}
	if (type != SOCK_DGRAM)
		s = (int)MUST(accept(fd, NULL, NULL));
	CHECK_EQ(send(c, "x", 1, 0), 1, "send");
	CHECK_EQ(recv(s, &byte, 1, MSG_DONTWAIT), 1, "recv");
	if (s != fd)
		close(s);
	close(c);
}

static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

/* With connected clients: each accepted socket has the relative name too. */
static void relative(bool leave)
{
	static const char *const paths[] = { "inner0", "./inner1", "../inner2" };
	int fds[3], clients[3], servers[3];
	char full[PATH_MAX];

	MUST(mkdir("sub", 0755));
	MUST(chdir("sub"));
	for (int i = 0; i < 3; i++) {
		struct sockaddr_un a;
		socklen_t len = name_of(&a, paths[i]);

		fds[i] = bound(types[i], paths[i]);
		clients[i] = (int)MUST(socket(AF_UNIX, types[i], 0));
		MUST(connect(clients[i], (struct sockaddr *)&a, len));
		servers[i] = types[i] == SOCK_DGRAM ? fds[i] : (int)MUST(accept(fds[i], NULL, NULL));
		MUST(send(clients[i], "early", 5, 0));
	}
	if (leave)
		MUST(chdir("/"));
	check_ready();
	for (int i = 0; i < 3; i++) {
		char buf[8];

		check_bound(fds[i], paths[i]);
		check_bound(servers[i], paths[i]);
		CHECK(recv(servers[i], buf, 8, MSG_DONTWAIT) == 5, "the data");
		MUST(send(clients[i], "late", 4, 0));
		CHECK(recv(servers[i], buf, 8, MSG_DONTWAIT) == 4, "later data");
		snprintf(full, sizeof(full), "%s/sub/%s", check_dir, paths[i]);
		check_reached(fds[i], types[i], full);
		if (!leave)
			check_reached(fds[i], types[i], paths[i]);
	}
}

static void longest(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX }, got = { 0 };
	int f = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), g = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c;
	socklen_t len;

	/* 108 bytes and no end; an abstract name of as many, with zeros in it */
	memset(a.sun_path, 'p', sizeof(a.sun_path));
	MUST(bind(f, (struct sockaddr *)&a, sizeof(a)));
	MUST(listen(f, 1));
	memset(a.sun_path, 0, sizeof(a.sun_path));
	snprintf(a.sun_path + 1, 30, "firn-long-%d", getpid());
	a.sun_path[107] = 'e';
	MUST(bind(g, (struct sockaddr *)&a, sizeof(a)));
	MUST(listen(g, 1));
	check_ready();
	for (int i = 0; i < 2; i++) {
		len = sizeof(got);
		MUST(getsockname(i ? g : f, (struct sockaddr *)&got, &len));
		if (i == 0)
			memset(a.sun_path, 'p', sizeof(a.sun_path));
		else
			memset(a.sun_path, 0, sizeof(a.sun_path));
		if (i == 1) {
			snprintf(a.sun_path + 1, 30, "firn-long-%d", getpid());
			a.sun_path[107] = 'e';
		}
		CHECK(!memcmp(got.sun_path, a.sun_path, sizeof(a.sun_path)), "name %d", i);
		c = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		CHECK(!connect(c, (struct sockaddr *)&a, sizeof(a)), "connect: %s", strerror(errno));
	}
}

static void modes(void)
{
	int fds[3];
	struct stat st;
	static const char *const paths[] = { "mode0", "mode1", "mode2" };
	static const mode_t want[] = { 0600, 0777, 01660 };
	mode_t inode;

	for (int i = 0; i < 3; i++) {
		fds[i] = bound(types[i], paths[i]);
		MUST(chmod(paths[i], want[i]));
		if (getuid() == 0)
			MUST(chown(paths[i], 1000, 1001));
		if (getuid() == 0)
			MUST(chmod(paths[i], want[i]));
	}
	MUST(fstat(fds[0], &st));
	inode = st.st_mode;
	check_ready();
	for (int i = 0; i < 3; i++) {
		MUST(stat(paths[i], &st));
		CHECK_EQ(st.st_mode & 07777, want[i], "mode of the socket file");
		if (getuid() == 0)
			CHECK(st.st_uid == 1000 && st.st_gid == 1001, "owner %u %u", st.st_uid, st.st_gid);
		if (getuid() == 0)
			check_reached(fds[i], types[i], paths[i]);
	}
	MUST(fstat(fds[0], &st));
	CHECK_EQ(st.st_mode, inode, "mode of the socket itself");
}

/* The kernel's choice of an abstract name of five digits; and a sender that has one by SO_PASSCRED. */
static void autobind(void)
{
	struct sockaddr_un a[2] = { { 0 } }, got;
	socklen_t len[2], l;
	int fds[2], on = 1, other = bound(SOCK_DGRAM, "auto");

	for (int i = 0; i < 2; i++) {
		sa_family_t family = AF_UNIX;
		struct sockaddr_un to;

		fds[i] = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
		if (i == 0) {
			MUST(bind(fds[i], (struct sockaddr *)&family, sizeof(family)));
		} else {
			MUST(setsockopt(fds[i], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
			l = name_of(&to, "auto");
			MUST(connect(fds[i], (struct sockaddr *)&to, l));
		}
		len[i] = sizeof(a[i]);
		MUST(getsockname(fds[i], (struct sockaddr *)&a[i], &len[i]));
		CHECK_EQ(len[i], sizeof(sa_family_t) + 6, "length of the name");
	}
	MUST(send(fds[1], "q", 1, 0));
	check_ready();
	for (int i = 0; i < 2; i++) {
		l = sizeof(got);
		MUST(getsockname(fds[i], (struct sockaddr *)&got, &l));
		CHECK(l == len[i] && !memcmp(&got, &a[i], l), "the name %d is %s instead of %s", i, got.sun_path + 1, a[i].sun_path + 1);
	}
	l = sizeof(got);
	CHECK_EQ(recvfrom(other, &got, 1, MSG_DONTWAIT | MSG_PEEK, NULL, NULL), 1, "the datagram");
	{
		char byte;

		CHECK_EQ(recvfrom(other, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&got, &l), 1, "the datagram");
		CHECK(l == len[1] && !memcmp(&got, &a[1], l), "its sender is %s", got.sun_path + 1);
	}
}

/* The socket file was renamed: the socket goes on under its old name, and is reached by the new path. */
static void moved(void)
{
	int fd = bound(SOCK_STREAM, "old");

	MUST(rename("old", "newer"));
	check_ready();
	check_bound(fd, "old");
	check_reached(fd, SOCK_STREAM, "newer");
}

/* The folder of a relative name is gone, and the name with it. */
static void gone_dir(void)
{
	int fd;

	MUST(mkdir("sub", 0755));
	MUST(chdir("sub"));
	fd = bound(SOCK_STREAM, "inner");
	MUST(chdir(".."));
	MUST(unlink("sub/inner"));
	MUST(rmdir("sub"));
	check_ready();
	check_bound(fd, "inner");
}

/* Below another root folder. */
static void chrooted(void)
{
	int fds[3], clients[3];
	static const char *const paths[] = { "/in-root0", "/in-root1", "in-root2" };

	MUST(mkdir("new", 0755));
	MUST(chdir("new"));
	MUST(chroot("."));
	snprintf(check_dir, sizeof(check_dir), "/");
	for (int i = 0; i < 3; i++) {
		struct sockaddr_un a;
		socklen_t len = name_of(&a, paths[i]);

		fds[i] = bound(types[i], paths[i]);
		clients[i] = (int)MUST(socket(AF_UNIX, types[i], 0));
		MUST(connect(clients[i], (struct sockaddr *)&a, len));
	}
	check_ready();
	for (int i = 0; i < 3; i++) {
		check_bound(fds[i], paths[i]);
		MUST(send(clients[i], "x", 1, 0));
		if (types[i] == SOCK_DGRAM)
			CHECK_EQ(recv(fds[i], &(char){ 0 }, 1, MSG_DONTWAIT), 1, "recv");
		else
			CHECK_EQ(recv((int)MUST(accept(fds[i], NULL, NULL)), &(char){ 0 }, 1, MSG_DONTWAIT), 1, "recv");
		check_reached(fds[i], types[i], paths[i]);
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "";

	check_begin(argc, argv);
	if (!strcmp(kind, "relative") || !strcmp(kind, "left"))
		relative(!strcmp(kind, "left"));
	else if (!strcmp(kind, "long"))
		longest();
	else if (!strcmp(kind, "modes"))
		modes();
	else if (!strcmp(kind, "autobind"))
		autobind();
	else if (!strcmp(kind, "moved"))
		moved();
	else if (!strcmp(kind, "gone_dir"))
		gone_dir();
	else if (!strcmp(kind, "chroot"))
		chrooted();
	else
		DIE("no such mode");
	return check_end();
}
