// SPDX-License-Identifier: Apache-2.0
//
// Server-sent events for measurements: an upstream that sends them at a given pace, and a client that holds many
// streams open and says what has arrived, and how late. Every event carries the time at which it was written and its
// number in the stream, so that what a relay loses, repeats or delays is seen.
//
//   streams serve PORT EVENTS-A-SECOND EVENTS
//       Answers each POST with a stream of so many events (0: without end), at that rate each (0: all at once).
//   streams open PORT STREAMS RAMP-SECONDS SECONDS BEARER
//       Opens the streams evenly within the ramp, says "begin" when each has had an event, "end" after so many
//       seconds, and then one line of JSON about the time between.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

// Before the time and the number of an event; it stands nowhere else in a stream.
static const char mark = '@';
enum { stampDigits = 16, numberDigits = 8, batch = 512 };

static void watch(int poll, int operation, int fd, uint32_t events, void *who) {
    struct epoll_event event = {.events = events, .data.ptr = who};
    if (epoll_ctl(poll, operation, fd, &event) != 0) fail("epoll_ctl");
}

static void writeHexadecimal(char *to, uint64_t value, int digits) {
    for (int index = digits - 1; index >= 0; index--, value >>= 4) to[index] = "0123456789abcdef"[value & 15];
}

// MARK: The upstream

enum { headLimit = 32768, pendingLimit = 65536 };

struct exchange {
    int fd;
    // What is read of the request, until its head is whole; then how much of its body is missing.
    char head[headLimit];
    size_t have;
    long missing;
    int isAnswering;
    int64_t due;
    long sent;
    // Place in the queue of those that wait for their time; -1 outside.
    long place;
    // What the socket did not take.
    char *pending;
    size_t pendingStart, pendingCount;
};

// A heap by due time.
static struct exchange **queue;
static long queued, queueRoom;

static void swapPlaces(long a, long b) {
    struct exchange *other = queue[a];
    queue[a] = queue[b];
    queue[b] = other;
    queue[a]->place = a;
    queue[b]->place = b;
}

static void sift(long place) {
    while (place > 0 && queue[place]->due < queue[(place - 1) / 2]->due) {
        swapPlaces(place, (place - 1) / 2);
        place = (place - 1) / 2;
    }
    for (;;) {
        long least = place;
        for (long child = 2 * place + 1; child <= 2 * place + 2; child++) {
            if (child < queued && queue[child]->due < queue[least]->due) least = child;
        }
        if (least == place) return;
        swapPlaces(place, least);
        place = least;
    }
}

static void enqueue(struct exchange *exchange) {
    if (queued == queueRoom) {
        queueRoom = queueRoom ? queueRoom * 2 : 1024;
        queue = realloc(queue, queueRoom * sizeof *queue);
        if (!queue) fail("realloc");
    }
    exchange->place = queued;
    queue[queued++] = exchange;
    sift(exchange->place);
}

static void dequeue(struct exchange *exchange) {
    long place = exchange->place;
    if (place < 0) return;
    exchange->place = -1;
    queue[place] = queue[--queued];
    if (place == queued) return;
    queue[place]->place = place;
    sift(place);
}

static int serverPoll;

static void put(struct exchange *exchange, const char *bytes, size_t count) {
    if (exchange->pendingCount == 0) {
        ssize_t taken = write(exchange->fd, bytes, count);
        if (taken < 0) {
            if (errno != EAGAIN) return;  // Its end is noticed when it is read.
            taken = 0;
        }
        bytes += taken;
        count -= taken;
        if (count == 0) return;
        watch(serverPoll, EPOLL_CTL_MOD, exchange->fd, EPOLLIN | EPOLLOUT, exchange);
    }
    size_t end = exchange->pendingStart + exchange->pendingCount;
    exchange->pending = realloc(exchange->pending, end + count);
    if (!exchange->pending) fail("realloc");
    memcpy(exchange->pending + end, bytes, count);
    exchange->pendingCount += count;
}

static void putPending(struct exchange *exchange) {
    ssize_t taken = write(exchange->fd, exchange->pending + exchange->pendingStart, exchange->pendingCount);
    if (taken <= 0) return;
    exchange->pendingStart += taken;
    exchange->pendingCount -= taken;
    if (exchange->pendingCount > 0) return;
    free(exchange->pending);
    exchange->pending = NULL;
    exchange->pendingStart = 0;
    watch(serverPoll, EPOLL_CTL_MOD, exchange->fd, EPOLLIN, exchange);
}

static const char begin[] =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\","
    "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,"
    "\"usage\":{\"input_tokens\":1000,\"output_tokens\":1}}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
static const char end[] =
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
    "\"usage\":{\"output_tokens\":100}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char head[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\nrequest-id: req_011CS\r\n\r\n";

static void putChunk(struct exchange *exchange, const char *bytes, size_t count, int isLast) {
    char chunk[2048];
    const char *after = isLast ? "0\r\n\r\n" : "";
    int length = snprintf(chunk, sizeof chunk, "%zx\r\n%.*s\r\n%s", count, (int)count, bytes, after);
    put(exchange, chunk, length);
}

static char event[512];
static size_t eventLength, eventStamp;

static void makeEvent(void) {
    char text[256], zeros[stampDigits + numberDigits + 1];
    memset(zeros, '0', sizeof zeros - 1);
    zeros[sizeof zeros - 1] = 0;
    int length = snprintf(
        text, sizeof text,
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        "\"delta\":{\"type\":\"text_delta\",\"text\":\"%c%s some words\"}}\n\n",
        mark, zeros);
    eventLength = snprintf(event, sizeof event, "%x\r\n%s\r\n", length, text);
    eventStamp = strchr(event, mark) + 1 - event;
}

/// Writes one event; a stream that nobody reads gets no more of them.
static void putEvent(struct exchange *exchange) {
    if (exchange->pendingCount > pendingLimit) return;
    writeHexadecimal(event + eventStamp, now(), stampDigits);
    writeHexadecimal(event + eventStamp + stampDigits, exchange->sent, numberDigits);
    put(exchange, event, eventLength);
    exchange->sent++;
}

static void finish(struct exchange *exchange) {
    putChunk(exchange, end, sizeof end - 1, 1);
    exchange->isAnswering = 0;
}

static void answer(struct exchange *exchange, int64_t period, long events) {
    put(exchange, head, sizeof head - 1);
    putChunk(exchange, begin, sizeof begin - 1, 0);
    exchange->isAnswering = 1;
    exchange->sent = 0;
    if (period == 0) {
        while (exchange->sent < events && exchange->pendingCount <= pendingLimit) putEvent(exchange);
        finish(exchange);
        return;
    }
    // Streams that begin together do not stay in step.
    exchange->due = now() + (int64_t)(period * (random() % 1000 / 1000.0));
    enqueue(exchange);
}

static void closeExchange(struct exchange *exchange) {
    dequeue(exchange);
    close(exchange->fd);
    free(exchange->pending);
    free(exchange);
}

/// Reads requests: a head with a content-length, and the body.
static void receive(struct exchange *exchange, int64_t period, long events) {
    static char bytes[1 << 18];
    ssize_t count = read(exchange->fd, bytes, sizeof bytes);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0 || exchange->isAnswering) {
        // A client that speaks while it is answered has nothing to say that matters here.
        if (count <= 0) closeExchange(exchange);
        return;
    }
    if (exchange->missing > 0) {
        exchange->missing -= count;
        if (exchange->missing > 0) return;
    } else {
        size_t room = headLimit - 1 - exchange->have;
        size_t taken = (size_t)count < room ? (size_t)count : room;
        memcpy(exchange->head + exchange->have, bytes, taken);
        exchange->have += taken;
        exchange->head[exchange->have] = 0;
        char *stop = strstr(exchange->head, "\r\n\r\n");
        if (!stop) {
            if (taken < (size_t)count || exchange->have == headLimit - 1) closeExchange(exchange);
            return;
        }
        long length = 0;
        char *field = strcasestr(exchange->head, "\r\ncontent-length:");
        if (field && field < stop) length = atol(field + 17);
        long got = exchange->have - (stop + 4 - exchange->head) + (count - taken);
        exchange->missing = length - got;
        exchange->have = 0;
        if (exchange->missing > 0) return;
    }
    exchange->missing = 0;
    answer(exchange, period, events);
}

static int serve(int port, double rate, long events) {
    int64_t period = rate > 0 ? (int64_t)(second / rate) : 0;
    if (period == 0 && events == 0) return 2;
    makeEvent();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) fail("listen");
    serverPoll = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(serverPoll, EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    watch(serverPoll, EPOLL_CTL_ADD, timer, EPOLLIN, &timer);
    int64_t armed = 0;
    for (;;) {
        for (int turn = 0; turn < batch && queued > 0 && queue[0]->due <= now(); turn++) {
            struct exchange *first = queue[0];
            putEvent(first);
            if (events > 0 && first->sent >= events) {
                dequeue(first);
                finish(first);
                continue;
            }
            first->due += period;
            // Nobody catches up with what a stalled machine has missed.
            if (first->due < now() - second) first->due = now();
            sift(0);
        }
        int isLate = queued > 0 && queue[0]->due <= now();
        if (queued > 0 && !isLate && queue[0]->due != armed) {
            armed = queue[0]->due;
            struct itimerspec when = {.it_value = {armed / second, armed % second}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
        }
        struct epoll_event ready[batch];
        int count = epoll_wait(serverPoll, ready, batch, isLate ? 0 : -1);
        for (int index = 0; index < count; index++) {
            void *who = ready[index].data.ptr;
            if (who == &timer) {
                uint64_t times;
                if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) fail("timer");
                armed = 0;
            } else if (who == &listener) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    struct exchange *exchange = calloc(1, sizeof *exchange);
                    if (!exchange) fail("calloc");
                    exchange->fd = fd;
                    exchange->place = -1;
                    watch(serverPoll, EPOLL_CTL_ADD, fd, EPOLLIN, exchange);
                }
            } else {
                struct exchange *exchange = who;
                if (ready[index].events & EPOLLOUT) putPending(exchange);
                if (ready[index].events & ~EPOLLOUT) receive(exchange, period, events);
            }
        }
    }
}

// MARK: The client

enum part { statusLine, headers, chunkSize, chunkData, chunkEnd };

struct stream {
    int fd;
    enum part part;
    // Bytes of an empty line, while in the headers; digits and value of a size or of an event's stamp.
    int line;
    long left;
    int digits;
    uint64_t stamp, number, expected;
    int hasBegun;
};

static struct {
    // Of the closed ones, those that have had no event.
    long silent;
    long opened, failed, closed, begun, events, missing, repeated;
} total;

// Delays in steps of 10 µs.
enum { delaySteps = 500000 };
static int64_t delayStep = 10000;
static uint32_t delays[delaySteps + 1];
static int64_t longestDelay;
static int isMeasuring;

static void arrived(struct stream *stream, int64_t time) {
    if (!stream->hasBegun) {
        stream->hasBegun = 1;
        stream->expected = stream->number;
        total.begun++;
    }
    if (stream->number > stream->expected) total.missing += stream->number - stream->expected;
    if (stream->number < stream->expected) total.repeated++;
    stream->expected = stream->number + 1;
    if (!isMeasuring) return;
    total.events++;
    int64_t delay = time - (int64_t)stream->stamp;
    if (delay > longestDelay) longestDelay = delay;
    int64_t step = delay < 0 ? 0 : delay / delayStep;
    delays[step < delaySteps ? step : delaySteps]++;
}

/// Looks for events in the body; their stamps may be cut anywhere.
static void readBody(struct stream *stream, const char *bytes, long count, int64_t time) {
    const char *stop = bytes + count;
    while (bytes < stop) {
        if (stream->digits == 0) {
            bytes = memchr(bytes, mark, stop - bytes);
            if (!bytes) return;
            bytes++;
            stream->digits = stampDigits + numberDigits;
            stream->stamp = stream->number = 0;
            continue;
        }
        int digit = *bytes <= '9' ? *bytes - '0' : *bytes - 'a' + 10;
        bytes++;
        if (stream->digits > numberDigits) {
            stream->stamp = stream->stamp << 4 | digit;
        } else {
            stream->number = stream->number << 4 | digit;
        }
        if (--stream->digits == 0) arrived(stream, time);
    }
}

static int isSuccess(const char *bytes, long count) { return count >= 12 && memcmp(bytes, "HTTP/1.1 200", 12) == 0; }

/// Follows the chunks (RFC 9112 §7.1). False when it is none of that, or has ended.
static int read200(struct stream *stream, const char *bytes, long count, int64_t time) {
    const char *stop = bytes + count;
    if (stream->part == statusLine) {
        // A first read without a whole status line does not happen on loopback.
        if (!isSuccess(bytes, count)) return 0;
        stream->part = headers;
    }
    while (bytes < stop) {
        switch (stream->part) {
        case statusLine: return 0;
        case headers:
            stream->line = *bytes == '\n' ? stream->line + 1 : *bytes == '\r' ? stream->line : 0;
            bytes++;
            if (stream->line == 2) {
                stream->part = chunkSize;
                stream->left = 0;
            }
            break;
        case chunkSize:
            if (*bytes == '\n') {
                if (stream->left == 0) return 0;
                stream->part = chunkData;
            } else if (*bytes != '\r') {
                int digit = *bytes <= '9' ? *bytes - '0' : (*bytes | 32) - 'a' + 10;
                if (digit < 0 || digit > 15) return 0;
                stream->left = stream->left << 4 | digit;
            }
            bytes++;
            break;
        case chunkData: {
            long part = stop - bytes < stream->left ? stop - bytes : stream->left;
            readBody(stream, bytes, part, time);
            bytes += part;
            stream->left -= part;
            if (stream->left == 0) stream->part = chunkEnd;
            break;
        }
        case chunkEnd:
            if (*bytes++ == '\n') stream->part = chunkSize;
            break;
        }
    }
    return 1;
}

static void closeStream(struct stream *stream) {
    // Without waiting, so that thousands of connections do not linger.
    struct linger reset = {.l_onoff = 1};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(stream->fd);
    stream->fd = -1;
}

static void openStream(struct stream *stream, int poll, int port, const char *request, size_t length) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    stream->fd = fd;
    if (fd < 0 || connect(fd, (void *)&address, sizeof address) != 0) {
        total.failed++;
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (write(fd, request, length) != (ssize_t)length) {
        total.failed++;
        return;
    }
    watch(poll, EPOLL_CTL_ADD, fd, EPOLLIN, stream);
    total.opened++;
}

static double percentile(double share) {
    int64_t wanted = (int64_t)(total.events * share), seen = 0;
    for (int step = 0; step <= delaySteps; step++) {
        seen += delays[step];
        if (seen > wanted) return (step + 0.5) * delayStep / 1000.0;
    }
    return longestDelay / 1000.0;
}

static int openAll(int port, long wanted, double ramp, double seconds, const char *bearer) {
    static const char body[] =
        "{\"model\":\"claude-sonnet-4-6\",\"max_tokens\":1000,\"stream\":true,"
        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    char request[8192];
    int length = snprintf(
        request, sizeof request,
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n"
        "content-type: application/json\r\nanthropic-version: 2023-06-01\r\naccept: text/event-stream\r\n"
        "content-length: %zu\r\n\r\n%s",
        port, bearer, sizeof body - 1, body);
    struct stream *streams = calloc(wanted, sizeof *streams);
    if (!streams || length >= (int)sizeof request) fail("request");
    int poll = epoll_create1(0);
    int64_t start = now(), allOpen = 0, windowEnd = 0, patience = start + (int64_t)((ramp + 30) * second);
    int64_t windowStart = 0;
    long next = 0;
    for (;;) {
        int64_t time = now();
        while (next < wanted && (time - start) * wanted >= next * (int64_t)(ramp * second)) {
            openStream(&streams[next++], poll, port, request, length);
        }
        int isDecided = total.begun + total.failed + total.silent >= wanted;
        if (allOpen == 0 && next == wanted && (isDecided || time > patience)) allOpen = time;
        // A second for everything to calm down.
        if (!isMeasuring && allOpen != 0 && time >= allOpen + second) {
            isMeasuring = 1;
            total.missing = total.repeated = 0;
            windowStart = time;
            windowEnd = time + (int64_t)(seconds * second);
            printf("begin\n");
            fflush(stdout);
        }
        if (isMeasuring && time >= windowEnd) break;
        struct epoll_event ready[batch];
        int count = epoll_wait(poll, ready, batch, next < wanted ? 1 : 10);
        for (int index = 0; index < count; index++) {
            static char bytes[65536];
            struct stream *stream = ready[index].data.ptr;
            ssize_t got = read(stream->fd, bytes, sizeof bytes);
            if (got < 0 && errno == EAGAIN) continue;
            if (got > 0 && read200(stream, bytes, got, now())) continue;
            if (got > 0 && stream->part == statusLine && total.closed == 0) {
                fprintf(stderr, "not 200: %.*s\n", (int)(got < 300 ? got : 300), bytes);
            }
            total.closed++;
            total.silent += !stream->hasBegun;
            closeStream(stream);
        }
    }
    double lasted = (now() - windowStart) / (double)second;
    printf("end\n");
    fflush(stdout);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "{\"wanted\":%ld,\"opened\":%ld,\"begun\":%ld,\"failed\":%ld,\"closed\":%ld,\"seconds\":%.4f,\"events\":%ld,"
        "\"missing\":%ld,\"repeated\":%ld,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,"
        "\"client_cpu_s\":%.3f}\n",
        wanted, total.opened, total.begun, total.failed, total.closed, lasted, total.events, total.missing,
        total.repeated, percentile(0.5), percentile(0.9), percentile(0.99), longestDelay / 1000.0,
        usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
    for (long index = 0; index < wanted; index++) {
        if (streams[index].fd >= 0) closeStream(&streams[index]);
    }
    return 0;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    // What has started this is waited for by nobody else.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (count == 5 && strcmp(arguments[1], "serve") == 0) {
        return serve(atoi(arguments[2]), atof(arguments[3]), atol(arguments[4]));
    }
    if (count == 7 && strcmp(arguments[1], "open") == 0) {
        return openAll(
            atoi(arguments[2]), atol(arguments[3]), atof(arguments[4]), atof(arguments[5]), arguments[6]);
    }
    fprintf(stderr, "usage: streams serve PORT RATE EVENTS | streams open PORT STREAMS RAMP SECONDS BEARER\n");
    return 2;
}
