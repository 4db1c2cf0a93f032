// SPDX-License-Identifier: Apache-2.0
// Several sends in one system call, by io_submit(2): whoever is woken by the first of them finds the others there too.
#ifndef CLINUXIO_BATCH_H
#define CLINUXIO_BATCH_H

#include <asm/unistd.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>

// Headers that Swift's Glibc module has too would take their names from it.
extern long syscall(long, ...);

// So many sends are made at once at most.
enum { linux_batch_limit = 64 };

// What one thread sends at once.
struct linux_batch {
    aio_context_t context;
    unsigned count;
    struct iocb sends[linux_batch_limit];
    struct iocb *order[linux_batch_limit];
};

// The result of a send that was not made.
static const long linux_not_sent = INT64_MIN;

// What io_setup(2) maps into the process: a ring of what is done, which libaio and fio read in the same way.
struct linux_batch_ring {
    unsigned id;
    unsigned size;
    unsigned head;
    unsigned tail;
    unsigned magic;
    unsigned compatible_features;
    unsigned incompatible_features;
    unsigned header_length;
    struct io_event events[];
};

// Returns whether the system can do this, and lets this process.
static inline bool linux_batch_open(struct linux_batch *batch) {
    batch->context = 0;
    batch->count = 0;
    for (unsigned i = 0; i < linux_batch_limit; i++) {
        batch->sends[i] = (struct iocb){.aio_data = i, .aio_lio_opcode = IOCB_CMD_PWRITE};
        batch->order[i] = &batch->sends[i];
    }
    if (syscall(__NR_io_setup, linux_batch_limit, &batch->context) != 0) return false;
    const struct linux_batch_ring *ring = (const struct linux_batch_ring *)batch->context;
    if (ring->magic == 0xa10a10a1 && ring->incompatible_features == 0) return true;
    syscall(__NR_io_destroy, batch->context);
    batch->context = 0;
    return false;
}

static inline void linux_batch_close(struct linux_batch *batch) {
    if (batch->context) syscall(__NR_io_destroy, batch->context);
    batch->context = 0;
}

// Adds a send on a socket that does not block. Its memory stays until linux_batch_send has returned.
static inline void linux_batch_add(struct linux_batch *batch, int descriptor, const void *bytes, long length) {
    struct iocb *send = &batch->sends[batch->count++];
    send->aio_fildes = (uint32_t)descriptor;
    send->aio_buf = (uintptr_t)bytes;
    send->aio_nbytes = (uint64_t)length;
}

// Makes the sends that were added.
//
// results: For each in order how many bytes were taken, or a negative error, or linux_not_sent.
static inline void linux_batch_send(struct linux_batch *batch, long *results) {
    const unsigned count = batch->count;
    batch->count = 0;
    for (unsigned i = 0; i < count; i++) results[i] = linux_not_sent;
    long submitted = syscall(__NR_io_submit, batch->context, (long)count, batch->order);
    struct linux_batch_ring *ring = (struct linux_batch_ring *)batch->context;
    for (long completed = 0; completed < submitted;) {
        unsigned head = ring->head;
        const unsigned tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
        for (; head != tail; completed++) {
            results[ring->events[head].data] = (long)ring->events[head].res;
            head = head + 1 == ring->size ? 0 : head + 1;
        }
        __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
    }
}

#endif
