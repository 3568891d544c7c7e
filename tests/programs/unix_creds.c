// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_creds FOLDER pids|groups|scm: who is behind a unix socket: SO_PEERCRED with the pid, of pairs and connections that
 * several processes made (one of which is gone), SO_PEERGROUPS, and SCM_CREDENTIALS in queued messages. */
#include "check.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@') {
		snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", name + 1, getpid());
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
	}
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	return sizeof(*a);
}

/* A child makes the call and shares the descriptors with us; then it ends. */
static void in_child(void (*call)(int *fds), int *fds)
{
	pid_t pid = (pid_t)syscall(SYS_clone, 0x400 /* CLONE_FILES */ | SIGCHLD, 0, 0, 0, 0);
	int file;

	if (pid == 0) {
		call(fds);
		/* the numbers go by a file: the memory is not shared */
		file = (int)MUST(open("numbers", O_WRONLY | O_CREAT | O_TRUNC, 0600));
		MUST(write(file, fds, 2 * sizeof(int)));
		close(file);
		_exit(0);
	}
	check_child(pid);
	file = (int)MUST(open("numbers", O_RDONLY));
	MUST(read(file, fds, 2 * sizeof(int)));
	close(file);
}

static int pair_type;

static void make_pair(int *fds)
{
	MUST(socketpair(AF_UNIX, pair_type, 0, fds));
}

static struct sockaddr_un address;
static socklen_t address_len;

static void make_client(int *fds)
{
	fds[0] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(connect(fds[0], (struct sockaddr *)&address, address_len));
}

static void make_listener(int *fds)
{
	fds[0] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(bind(fds[0], (struct sockaddr *)&address, address_len));
	MUST(listen(fds[0], 5));
}

static void expect_same(const int *fds, const struct ucred *before, int n)
{
	struct ucred now;
	socklen_t len;

	for (int i = 0; i < n; i++) {
		len = sizeof(now);
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_PEERCRED, &now, &len));
		CHECK(now.pid == before[i].pid && now.uid == before[i].uid && now.gid == before[i].gid,
		      "socket %d: peer is pid %d, uid %u, gid %u instead of %d, %u, %u", i, now.pid, now.uid, now.gid,
		      before[i].pid, before[i].uid, before[i].gid);
	}
}

static void pids(void)
{
	static const char *const names[] = { "named", "@firn-test-pids" };
	struct ucred before[32];
	int fds[32], n = 0, late;
	socklen_t len = sizeof(*before);
	char byte;

	/* pairs of our own, and of processes that are gone */
	for (int i = 0; i < 3; i++) {
		pair_type = i == 0 ? SOCK_STREAM : i == 1 ? SOCK_DGRAM : SOCK_SEQPACKET;
		make_pair(fds + n);
		in_child(make_pair, fds + n + 2);
		n += 4;
	}
	/* listeners of ours and of others, clients of ours and of others */
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 2; k++) {
			char name[64];

			snprintf(name, sizeof(name), "%s%d", names[i], k);
			address_len = name_of(&address, name);
			if (k)
				in_child(make_listener, fds + n);
			else
				make_listener(fds + n);
			if (k)
				make_client(fds + n + 1);
			else
				in_child(make_client, fds + n + 1);
			fds[n + 2] = (int)MUST(accept(fds[n], NULL, NULL));
			n += 3;
		}
	}
	for (int i = 0; i < n; i++)
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_PEERCRED, &before[i], &len));
	CHECK(before[0].pid == getpid() && before[2].pid != getpid() && before[14].pid != getpid(), "the set-up");
	check_ready();
	expect_same(fds, before, n);
	for (int i = 0; i < 12; i += 2) {
		CHECK_EQ(send(fds[i], "x", 1, 0), 1, "send");
		CHECK_EQ(recv(fds[i + 1], &byte, 1, MSG_DONTWAIT), 1, "recv");
	}
	for (int i = 12; i < n; i += 3) {
		CHECK_EQ(send(fds[i + 1], "x", 1, 0), 1, "send");
		CHECK_EQ(recv(fds[i + 2], &byte, 1, MSG_DONTWAIT), 1, "recv");
		address_len = sizeof(address);
		MUST(getsockname(fds[i], (struct sockaddr *)&address, &address_len));
		late = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		MUST(connect(late, (struct sockaddr *)&address, address_len));
		expect_same(&late, &before[i], 1);
		close(late);
	}
}

/* Root only: the supplementary groups of the one who connected, who is of another user. */
static void groups(void)
{
	gid_t mine[] = { 7, 8, 9 }, theirs[] = { 11, 4242 }, got[8];
	int l = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c, s, pair[2];
	socklen_t len = name_of(&address, "groups");

	MUST(setgroups(3, mine));
	MUST(bind(l, (struct sockaddr *)&address, len));
	MUST(listen(l, 2));
	MUST(setgroups(2, theirs));
	MUST(setegid(100));
	MUST(seteuid(1000));
	(void)syscall(SYS_setfsuid, 0);
	c = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(connect(c, (struct sockaddr *)&address, len));
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	MUST(seteuid(0));
	MUST(setegid(0));
	MUST(setgroups(0, NULL));
	s = (int)MUST(accept(l, NULL, NULL));
	check_ready();
	len = sizeof(got);
	MUST(getsockopt(c, SOL_SOCKET, SO_PEERGROUPS, got, &len));
	CHECK(len == sizeof(mine) && !memcmp(got, mine, len), "groups of the listener: %d, %u …", (int)len / 4, got[0]);
	for (int i = 0; i < 2; i++) {
		len = sizeof(got);
		MUST(getsockopt(i ? pair[1] : s, SOL_SOCKET, SO_PEERGROUPS, got, &len));
		CHECK(len == sizeof(theirs) && !memcmp(got, theirs, len), "groups of the %s: %d, %u …",
		      i ? "pair" : "client", (int)len / 4, got[0]);
	}
}

struct received {
	pid_t pid;
	uid_t uid;
	char text[16];
};

static bool receive(int fd, struct received *r)
{
	_Alignas(struct cmsghdr) char control[256];
	struct iovec iov = { r->text, sizeof(r->text) - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
	struct ucred cred;

	memset(&r->pid, 0xff, sizeof(r->pid));
	if (n < 0)
		return false;
	r->text[n] = '\0';
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		r->pid = cred.pid;
		r->uid = cred.uid;
	}
	return true;
}

static int scm_pair[2];

static int scm_sender(void *arg)
{
	(void)arg;
	MUST(send(scm_pair[0], "from a child", 12, 0));
	return 0;
}

static int scm_stays(void *arg)
{
	int *ready = arg;

	MUST(send(scm_pair[0], "one that stays", 14, 0));
	MUST(write(ready[1], "r", 1));
	check_wait_trigger();
	return 0;
}

/* From a child that is gone, from one that stays, and from ourselves; in every type. */
static void scm(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int pairs[3][2], ready[2], on = 1;
	pid_t gone[3], stays[3];
	char byte;

	for (int i = 0; i < 3; i++) {
		MUST(socketpair(AF_UNIX, types[i], 0, pairs[i]));
		MUST(pipe(ready));
		MUST(setsockopt(pairs[i][1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
		memcpy(scm_pair, pairs[i], sizeof(scm_pair));
		gone[i] = check_fork(scm_sender, NULL);
		check_child(gone[i]);
		stays[i] = check_fork(scm_stays, ready);
		MUST(read(ready[0], &byte, 1));
		MUST(send(scm_pair[0], "ours", 4, 0));
		close(ready[0]);
		close(ready[1]);
	}
	check_ready();
	for (int i = 0; i < 3; i++) {
		const pid_t want[] = { gone[i], stays[i], getpid() };
		static const char *const text[] = { "from a child", "one that stays", "ours" };

		for (int k = 0; k < 3; k++) {
			struct received r = { 0 };

			CHECK(receive(pairs[i][1], &r), "message %d of pair %d: %s", k, i, strerror(errno));
			CHECK(!strcmp(r.text, text[k]), "message %d of pair %d: '%s'", k, i, r.text);
			CHECK(r.pid == want[k] && r.uid == getuid(), "message %d of pair %d: pid %d, uid %u instead of %d", k, i,
			      r.pid, r.uid, want[k]);
		}
		check_child(stays[i]);
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "pids";

	check_begin(argc, argv);
	if (!strcmp(kind, "groups"))
		groups();
	else if (!strcmp(kind, "scm"))
		scm();
	else
		pids();
	return check_end();
}
