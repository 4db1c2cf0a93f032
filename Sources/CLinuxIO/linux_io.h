// SPDX-License-Identifier: Apache-2.0
// What Swift's Glibc module leaves out of Linux: epoll(7), eventfd(2), accept4(2), and names of threads.
#ifndef CLINUXIO_H
#define CLINUXIO_H

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

static const unsigned linux_readable = EPOLLIN;
static const unsigned linux_writable = EPOLLOUT;
// The other side has ended its direction, or both are at an end, or broken.
static const unsigned linux_hung_up = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
static const unsigned linux_edge_triggered = EPOLLET;

// A new epoll descriptor, or -1.
static inline int linux_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }

// A new event counter that does not block, or -1.
static inline int linux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// <sys/socket.h> has it only where _GNU_SOURCE comes before every header.
extern int accept4(int, void *, void *, int);

// The next connection; or -1.
//
// flags: SOCK_NONBLOCK and SOCK_CLOEXEC of <sys/socket.h>.
static inline int linux_accept(int listener, int flags) { return accept4(listener, NULL, NULL, flags); }

static inline void linux_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0L, 0L, 0L); }

#endif
