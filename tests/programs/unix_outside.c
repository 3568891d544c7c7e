// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_outside FOLDER dgram|stream: a unix socket whose other end a process outside has: a datagram socket connected to the
 * name "outside", or the stream socket at descriptor 99. After the trigger it sends "after". */
#include "check.h"

#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "outside" };
	int fd = 99;

	check_begin(argc, argv);
	if (argc < 3 || strcmp(argv[2], "stream")) {
		fd = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
		MUST(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	}
	MUST(send(fd, "before", 6, 0));
	check_ready();
	CHECK_EQ(send(fd, "after", 5, MSG_NOSIGNAL), 5, "send");
	return check_end();
}
