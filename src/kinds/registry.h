/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"

/* The kinds, each from the source file of its name. */
extern const struct kind kind_pipe;
extern const struct kind kind_fifo;
extern const struct kind kind_eventfd;
extern const struct kind kind_epoll;
extern const struct kind kind_signalfd;
extern const struct kind kind_timerfd;
extern const struct kind kind_inotify;
extern const struct kind kind_fanotify;
extern const struct kind kind_pidfd;
extern const struct kind kind_namespace;
extern const struct kind kind_unix_socket;
extern const struct kind kind_udp_socket;    /* UDP-Lite and ping sockets as well */
extern const struct kind kind_raw_socket;
extern const struct kind kind_inet_socket;   /* TCP; refuses by name what is left */
extern const struct kind kind_netlink_socket;
extern const struct kind kind_packet_socket;
extern const struct kind kind_bpf_map;
extern const struct kind kind_vsock_socket;
extern const struct kind kind_tun;
extern const struct kind kind_memfd;
extern const struct kind kind_tty;
extern const struct kind kind_message_queue; /* before regular files, whose type in the images it shares */
extern const struct kind kind_regular;    /* files, directories, character devices of no state, by path */
extern const struct kind kind_refused;    /* what is not carried yet, by name; last */
