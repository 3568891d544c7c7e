/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/registry.h"

#include "base/cleanup.h"

/*
 * Every kind, one line each. The first whose recognise() says yes takes a descriptor, so the special comes before the
 * general: terminals and memfds before regular files, what is refused by name last.
 */
const struct kind *const kinds[] = {
	&kind_pipe,
	&kind_fifo,
	&kind_eventfd,
	&kind_epoll,
	&kind_signalfd,
	&kind_timerfd,
	&kind_inotify,
	&kind_fanotify,
	&kind_pidfd,
	&kind_namespace,
	&kind_unix_socket,
	&kind_udp_socket,
	&kind_raw_socket,
	&kind_inet_socket,
	&kind_netlink_socket,
	&kind_packet_socket,
	&kind_bpf_map,
	&kind_vsock_socket,
	&kind_tun,
	&kind_memfd,
	&kind_tty,
	&kind_message_queue,
	&kind_regular,
	&kind_refused,
};
const size_t n_kinds = ARRAY_SIZE(kinds);
