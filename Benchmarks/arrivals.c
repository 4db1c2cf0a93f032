// SPDX-License-Identifier: Apache-2.0
//
// Requests at a constant rate, whatever becomes of those before (an open loop), and the time to the first byte of each
// answer. Several targets take turns within one run, so that they meet the same machine.
//
//   arrivals RATE SECONDS WARM-UP-SECONDS SLICE-MILLISECONDS BODY-FILE PORT BEARER [PORT BEARER ...]
//
// Prints one line of JSON. A time begins when the request is written, not when its turn has come: how late the
// generator itself was is told apart from that.
#define _GNU_SOURCE
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { maximumTargets = 4, maximumConnections = 4096, atStart = 16, tailLength = 5 };

struct target {
    int port;
    char *request;
    size_t length;
    // Idle connections, the last used one first.
    struct connection *idle;
    long sent, answered, bad, connects;
    float *firstBytes, *wholes;
    long measured;
};

struct connection {
    int fd;
    struct target *target;
    struct connection *next;
    size_t written;
    int64_t began;
    float firstByte;
    int isMeasured, hasByte, hasHead;
    // Of the head, until it is whole.
    char head[4096];
    size_t have;
    // Of the body: bytes that are missing, or -1 for chunks, whose end is looked for.
    long left;
    char tail[tailLength];
};

static int poller;
static long open_, overflows;

static struct connection *makeConnection(struct target *target) {
    if (open_ >= maximumConnections) return NULL;
    struct sockaddr_in address = loopback(target->port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (void *)&address, sizeof address) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) fail("calloc");
    connection->fd = fd;
    connection->target = target;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
    open_++;
    target->connects++;
    return connection;
}

static void rest(struct connection *connection) {
    connection->next = connection->target->idle;
    connection->target->idle = connection;
}

static void drop(struct connection *connection) {
    close(connection->fd);
    free(connection);
    open_--;
}

static void writeMore(struct connection *connection) {
    struct target *target = connection->target;
    ssize_t count = write(connection->fd, target->request + connection->written, target->length - connection->written);
    if (count < 0) count = 0;
    connection->written += count;
    int isWhole = connection->written == target->length;
    struct epoll_event event = {.events = EPOLLIN | (isWhole ? 0 : EPOLLOUT), .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
}

static void send_(struct target *target, int isMeasured) {
    struct connection *connection = target->idle;
    if (connection) {
        target->idle = connection->next;
    } else {
        connection = makeConnection(target);
        if (!connection) {
            overflows++;
            return;
        }
    }
    connection->hasByte = connection->hasHead = 0;
    connection->have = connection->written = 0;
    connection->isMeasured = isMeasured;
    target->sent++;
    connection->began = now();
    writeMore(connection);
}

static float microseconds(int64_t from, int64_t to) { return (to - from) / 1000.0f; }

static void finish(struct connection *connection) {
    struct target *target = connection->target;
    target->answered++;
    if (connection->isMeasured) {
        target->firstBytes[target->measured] = connection->firstByte;
        target->wholes[target->measured++] = microseconds(connection->began, now());
    }
    rest(connection);
}

static void readBody(struct connection *connection, const char *bytes, long count) {
    if (connection->left >= 0) {
        connection->left -= count;
        if (connection->left <= 0) finish(connection);
        return;
    }
    // The last chunk: nothing of these answers looks like it.
    for (long index = count > tailLength ? count - tailLength : 0; index < count; index++) {
        memmove(connection->tail, connection->tail + 1, tailLength - 1);
        connection->tail[tailLength - 1] = bytes[index];
    }
    if (memcmp(connection->tail, "0\r\n\r\n", tailLength) == 0) finish(connection);
}

static void readAnswer(struct connection *connection) {
    static char bytes[1 << 16];
    ssize_t count = read(connection->fd, bytes, sizeof bytes - 1);
    struct target *target = connection->target;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        // An idle one has been closed by the other side, which is fine; an answer has not.
        struct connection **link = &target->idle;
        while (*link && *link != connection) link = &(*link)->next;
        if (*link) {
            *link = connection->next;
        } else {
            target->bad++;
        }
        drop(connection);
        return;
    }
    if (!connection->hasByte) {
        connection->hasByte = 1;
        connection->firstByte = microseconds(connection->began, now());
    }
    if (connection->hasHead) return readBody(connection, bytes, count);
    size_t taken = sizeof connection->head - 1 - connection->have;
    if ((size_t)count < taken) taken = count;
    memcpy(connection->head + connection->have, bytes, taken);
    connection->have += taken;
    connection->head[connection->have] = 0;
    char *stop = strstr(connection->head, "\r\n\r\n");
    if (!stop) return;
    connection->hasHead = 1;
    if (strncmp(connection->head, "HTTP/1.1 200", 12) != 0) target->bad++;
    char *field = strcasestr(connection->head, "\r\ncontent-length:");
    connection->left = field && field < stop ? atol(field + 17) : -1;
    memset(connection->tail, 0, sizeof connection->tail);
    long inHead = stop + 4 - connection->head - (connection->have - taken);
    readBody(connection, bytes + inHead, count - inHead);
}

static int ascending(const void *a, const void *b) {
    float left = *(const float *)a, right = *(const float *)b;
    return left < right ? -1 : left > right;
}

static float percentile(float *sorted, long count, double share) {
    return count ? sorted[(long)((count - 1) * share + 0.5)] : 0;
}

static char *readFile(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    *length = ftell(file);
    rewind(file);
    char *bytes = malloc(*length + 1);
    if (!bytes || fread(bytes, 1, *length, file) != *length) fail(path);
    fclose(file);
    return bytes;
}

int main(int count, char **arguments) {
    int targets = (count - 6) / 2;
    if (count < 8 || count % 2 != 0 || targets > maximumTargets) {
        fprintf(stderr, "usage: arrivals RATE SECONDS WARM-UP SLICE-MS BODY-FILE PORT BEARER [PORT BEARER ...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    double rate = atof(arguments[1]), seconds = atof(arguments[2]), warmUp = atof(arguments[3]);
    int64_t slice = atol(arguments[4]) * 1000000;
    size_t bodyLength;
    char *body = readFile(arguments[5], &bodyLength);
    long arrivals = (long)(rate * (seconds + warmUp)), warm = (long)(rate * warmUp);
    struct target all[maximumTargets] = {0};
    poller = epoll_create1(0);
    for (int index = 0; index < targets; index++) {
        struct target *target = &all[index];
        target->port = atoi(arguments[6 + 2 * index]);
        target->request = malloc(bodyLength + 8192);
        target->firstBytes = calloc(arrivals + 1, sizeof(float));
        target->wholes = calloc(arrivals + 1, sizeof(float));
        if (!target->request || !target->firstBytes || !target->wholes) fail("malloc");
        target->length = snprintf(
            target->request, 8192,
            "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n"
            "content-type: application/json\r\nanthropic-version: 2023-06-01\r\ncontent-length: %zu\r\n\r\n",
            target->port, arguments[7 + 2 * index], bodyLength);
        memcpy(target->request + target->length, body, bodyLength);
        target->length += bodyLength;
        for (int made = 0; made < atStart; made++) rest(makeConnection(target));
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &timer};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event) != 0) fail("epoll_ctl");
    float *late = calloc(arrivals + 1, sizeof(float));
    if (!late) fail("calloc");
    int64_t start = now(), stopWaiting = 0;
    long sent = 0, lates = 0;
    for (;;) {
        int64_t time = now();
        while (sent < arrivals) {
            int64_t due = start + (int64_t)(sent / rate * second);
            if (due > time) {
                struct itimerspec when = {.it_value = {due / second, due % second}};
                timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
                break;
            }
            int turn = (due - start) / slice % targets;
            if (sent >= warm) late[lates++] = microseconds(due, now());
            send_(&all[turn], sent >= warm);
            sent++;
        }
        long waiting = 0;
        for (int index = 0; index < targets; index++) waiting += all[index].sent - all[index].answered - all[index].bad;
        if (sent == arrivals) {
            if (stopWaiting == 0) stopWaiting = time + 3 * second;
            if (waiting <= 0 || time > stopWaiting) break;
        }
        struct epoll_event ready[256];
        int events = epoll_wait(poller, ready, 256, 100);
        for (int index = 0; index < events; index++) {
            if (ready[index].data.ptr == &timer) {
                uint64_t times;
                if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) fail("timer");
                continue;
            }
            struct connection *connection = ready[index].data.ptr;
            if (ready[index].events & EPOLLOUT) writeMore(connection);
            if (ready[index].events & ~EPOLLOUT) readAnswer(connection);
        }
    }
    qsort(late, lates, sizeof(float), ascending);
    printf("{\"late_p99_us\":%.1f,\"overflows\":%ld,\"targets\":[", percentile(late, lates, 0.99), overflows);
    for (int index = 0; index < targets; index++) {
        struct target *target = &all[index];
        float *first = target->firstBytes, *whole = target->wholes;
        qsort(first, target->measured, sizeof(float), ascending);
        qsort(whole, target->measured, sizeof(float), ascending);
        printf(
            "%s{\"port\":%d,\"sent\":%ld,\"answered\":%ld,\"bad\":%ld,\"connections\":%ld,\"p50_us\":%.1f,"
            "\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"whole_p50_us\":%.1f,\"whole_p99_us\":%.1f}",
            index ? "," : "", target->port, target->sent, target->answered, target->bad, target->connects,
            percentile(first, target->measured, 0.5), percentile(first, target->measured, 0.9),
            percentile(first, target->measured, 0.99), percentile(first, target->measured, 1),
            percentile(whole, target->measured, 0.5), percentile(whole, target->measured, 0.99));
    }
    printf("]}\n");
    return 0;
}
