// SPDX-License-Identifier: LGPL-2.1-or-later
/* vsock_sockets FOLDER plain|connected|pending: vsock sockets: new, bound, listening; connections are not carried. */
#include "sockets.h"

#include <linux/vm_sockets.h>

static struct snapshot shot[4];

static int make(int type)
{
	int fd = socket(AF_VSOCK, type, 0);

	if (fd < 0)
		check_skip("vsock: %s", strerror(errno));
	return fd;
}

static void name_of(int fd, struct sockaddr_vm *a)
{
	socklen_t len = sizeof(*a);

	memset(a, 0, sizeof(*a));
	CHECK(!getsockname(fd, (struct sockaddr *)a, &len), "getsockname: %s", strerror(errno));
}

static unsigned long long size_of(int fd, int option)
{
	unsigned long long v = 0;
	socklen_t len = sizeof(v);

	CHECK(!getsockopt(fd, AF_VSOCK, option, &v, &len), "getsockopt: %s", strerror(errno));
	return v;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "plain";
	struct sockaddr_vm any = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY }, names[4], now;
	int fds[4], client;
	unsigned long long size = 300000;
	bool connects;

	check_begin(argc, argv);
	for (int i = 0; i < 4; i++) {
		fds[i] = make(i == 3 ? SOCK_SEQPACKET : SOCK_STREAM);
		if (i > 0 && bind(fds[i], (struct sockaddr *)&any, sizeof(any)))
			check_skip("bind: %s", strerror(errno));
	}
	MUST(setsockopt(fds[1], AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size, sizeof(size)));
	MUST(setsockopt(fds[1], AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)));
	MUST(listen(fds[2], 5));
	MUST(fcntl(fds[2], F_SETFL, O_NONBLOCK));
	for (int i = 0; i < 4; i++) {
		name_of(fds[i], &names[i]);
		snapshot_take(fds[i], &shot[i]);
	}
	now = names[2];
	now.svm_cid = VMADDR_CID_LOCAL;
	client = make(SOCK_STREAM);
	set(client, SOL_SOCKET, SO_SNDBUF, 4096);
	connects = !connect(client, (struct sockaddr *)&now, sizeof(now));
	if (strcmp(mode, "plain") && !connects)
		check_skip("connect: %s", strerror(errno));
	if (connects && strcmp(mode, "pending"))
		fds[0] = (int)MUST(accept(fds[2], NULL, NULL));
	if (!strcmp(mode, "plain")) {
		if (connects)
			close(fds[0]);
		fds[0] = client;
		close(client);
		fds[0] = make(SOCK_STREAM);
		name_of(fds[0], &names[0]);
		snapshot_take(fds[0], &shot[0]);
	}
	check_ready();
	for (int i = 0; i < 4 && !strcmp(mode, "plain"); i++) {
		name_of(fds[i], &now);
		CHECK(!memcmp(&now, &names[i], sizeof(now)), "socket %d: %u:%u instead of %u:%u", i, now.svm_cid, now.svm_port,
		      names[i].svm_cid, names[i].svm_port);
		snapshot_compare(fds[i], &shot[i], "socket");
	}
	CHECK_EQ(size_of(fds[1], SO_VM_SOCKETS_BUFFER_SIZE), size, "size of the buffer");
	CHECK_EQ(size_of(fds[1], SO_VM_SOCKETS_BUFFER_MAX_SIZE), size, "its upper bound");
	if (connects && !strcmp(mode, "plain")) {
		now = names[2];
		now.svm_cid = VMADDR_CID_LOCAL;
		CHECK(!connect(fds[0], (struct sockaddr *)&now, sizeof(now)), "connect: %s", strerror(errno));
		CHECK(accept(fds[2], NULL, NULL) >= 0, "accept: %s", strerror(errno));
	}
	return check_end();
}
