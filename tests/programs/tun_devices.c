// SPDX-License-Identifier: LGPL-2.1-or-later
/* tun_devices FOLDER persistent|queues|gone: descriptors of tun and tap devices. Devices are removed at the end. */
#include "sockets.h"

#include <linux/if_tun.h>
#include <net/if.h>

static int open_tun(void)
{
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd < 0)
		check_skip("/dev/net/tun: %s", strerror(errno));
	return fd;
}

static int attach(int fd, const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	return ioctl(fd, TUNSETIFF, &ifr);
}

static void check_iff(int fd, const char *name, int flags)
{
	struct ifreq ifr = { 0 };

	CHECK(!ioctl(fd, TUNGETIFF, &ifr), "TUNGETIFF: %s", strerror(errno));
	CHECK(!strcmp(ifr.ifr_name, name), "device %s", ifr.ifr_name);
	/* 0x1000: IFF_NO_PI, and that there is no filter */
	CHECK((ifr.ifr_flags & 0xefff) == (flags & 0xefff), "flags %x instead of %x", ifr.ifr_flags & 0xffff, flags);
}

static bool queue(int fd, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };

	return !ioctl(fd, TUNSETQUEUE, &ifr);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "persistent";
	bool queues = !strcmp(mode, "queues");
	int fd = open_tun(), fresh = open_tun(), second = open_tun(), size = 77777, value = 0;
	int flags = queues ? IFF_TAP | IFF_MULTI_QUEUE | IFF_VNET_HDR : IFF_TUN | IFF_NO_PI;
	char name[IFNAMSIZ], path[64], *text;
	struct ifreq up = { 0 };
	int ctl = socket(AF_INET, SOCK_DGRAM, 0);

	check_begin(argc, argv);
	(void)snprintf(name, sizeof(name), "firn%d", getpid() % 100000);
	if (attach(fd, name, flags))
		check_skip("TUNSETIFF: %s", strerror(errno));
	if (strcmp(mode, "gone"))
		MUST(ioctl(fd, TUNSETPERSIST, 1));
	if (queues) {
		MUST(attach(second, name, flags));
		CHECK(queue(second, IFF_DETACH_QUEUE), "detach: %s", strerror(errno));
	}
	MUST(ioctl(fd, TUNSETSNDBUF, &size));
	MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
	check_ready();
	check_iff(fd, name, flags | (strcmp(mode, "gone") ? IFF_PERSIST : 0));
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", name);
	text = slurp(path);
	CHECK_EQ(strtol(text, NULL, 16), flags | (strcmp(mode, "gone") ? IFF_PERSIST : 0), "flags of the device");
	free(text);
	CHECK(ioctl(fresh, TUNGETIFF, &up) == -1 && errno == EBADFD, "the fresh one has a device");
	CHECK(!ioctl(fd, TUNGETSNDBUF, &value) && value == size, "TUNGETSNDBUF: %d", value);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
	if (queues) {
		check_iff(second, name, flags | IFF_PERSIST | IFF_DETACH_QUEUE);
		CHECK(queue(second, IFF_ATTACH_QUEUE), "attach: %s", strerror(errno));
		check_iff(second, name, flags | IFF_PERSIST);
	} else {
		/* It has a carrier while somebody holds it. */
		strncpy(up.ifr_name, name, IFNAMSIZ - 1);
		up.ifr_flags = IFF_UP;
		CHECK(!ioctl(ctl, SIOCSIFFLAGS, &up), "SIOCSIFFLAGS: %s", strerror(errno));
		WAIT_FOR(!ioctl(ctl, SIOCGIFFLAGS, &up) && (up.ifr_flags & IFF_RUNNING));
	}
	(void)ioctl(fd, TUNSETPERSIST, 0);
	return check_end();
}
