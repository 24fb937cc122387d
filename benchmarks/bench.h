/* What the mock upstream and the load generator share: the clock, the stamp, sockets.
 *
 * The stamp is "@t=" + 18 decimal digits of the monotonic clock in ns + "@". It has a fixed width,
 * so frames are prebuilt and only the digits change; it holds nothing that JSON escapes, so it
 * comes through every translation unchanged, and counting stamps counts events.
 */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STAMP_HEAD "@t="
#define STAMP_HEAD_LEN 3
#define STAMP_DIGITS 18
#define STAMP_BLANK STAMP_HEAD "000000000000000000@"

#define SECOND 1000000000LL
#define MILLISECOND 1000000LL

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static inline void *need(void *memory) {
    if (!memory) fail("memory");
    return memory;
}

/* A small trailing write must not wait for the peer's delayed ACK. */
static inline void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Waits for the epoll set until `until` (monotonic ns). epoll_wait alone counts in whole ms, which
 * would bundle the events of several streams into one wake-up of the gateway. */
static inline int wait_events(int poller, struct epoll_event *events, int size, int64_t until) {
    int64_t left = until - now_ns();
    if (left > 0) {
        struct timespec span = {left / SECOND, left % SECOND};
        struct pollfd self = {.fd = poller, .events = POLLIN};
        ppoll(&self, 1, &span, NULL);
    }
    return epoll_wait(poller, events, size, 0);
}

#endif
