// SPDX-License-Identifier: Apache-2.0
// What Swift's Glibc module leaves out of Linux: epoll(7), eventfd(2), accept4(2), names of threads, and mallopt(3).
#ifndef CLINUXIO_H
#define CLINUXIO_H

#include <malloc.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

static const unsigned linux_readable = EPOLLIN;
static const unsigned linux_writable = EPOLLOUT;
// The other side has ended its direction, or both are at an end, or broken.
static const unsigned linux_hung_up = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
static const unsigned linux_edge_triggered = EPOLLET;

// Sets from which length on memory is the system's again as soon as it is free, how much free memory at a heap's end is
// kept, and how many heaps threads share.
static inline void linux_keep_memory(int largest, int end, int heaps) {
#if defined(__GLIBC__)
    mallopt(M_MMAP_THRESHOLD, largest);
    mallopt(M_TRIM_THRESHOLD, end);
    mallopt(M_ARENA_MAX, heaps);
#endif
}

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
