/* Load generator: N keep-alive connections, each with one request at a time. One thread, epoll.
 *
 *   load PORT REQUEST_FILE CONNS EVENTS SECONDS ANSWERS RAMP_MS SPREAD LIMIT_SECONDS
 *
 * REQUEST_FILE  the whole HTTP request, sent as it is
 * EVENTS        stamps (bench.h) that each answer must hold, exactly
 * SECONDS       closed loop for that long, if ANSWERS is 0
 * ANSWERS       otherwise: that many answers in all
 * RAMP_MS       the connections open evenly over that time
 * SPREAD        > 0: the five digits after "bench-" in the request run over 0 .. SPREAD-1
 * LIMIT_SECONDS whatever is open then is an error, and the run ends
 *
 * An answer is good if its status is 200, its framing (length or chunks) is complete and its stamps
 * are EVENTS. The event age is the time of the read that brought the stamp's last byte minus the
 * stamp. Prints one JSON object; times in ms as [p50, p99, max].
 */
#include "bench.h"

#define MAX_CONNS 4096
#define MAX_ERRORS 1000 /* a gateway that only fails must not be hammered to the end */
#define MAX_SAMPLES (16 << 20)
#define HEAD_LIMIT 16384

enum state { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, DONE };

struct samples {
    uint32_t *us;
    size_t count, cap;
};

struct conn {
    int fd, busy, wants_write, stamp_at, events, last_byte;
    enum state state;
    char *request, *digits;
    size_t sent, left, head_len;
    int64_t started, stamp;
    char head[HEAD_LIMIT];
};

static struct conn *conns[MAX_CONNS];
static struct sockaddr_in target;
static char *request;
static size_t request_len;
static int poller, conn_count, expected, answers, spread, open_count;
static long issued, good, errors, events_seen;
static int64_t started, deadline, limit, ramp, last_good;
static char first_error[160];
static struct samples first_byte, whole, age;

/* ---- figures ---- */

static void sample(struct samples *s, int64_t ns) {
    if (s->count == s->cap) {
        if (s->cap >= MAX_SAMPLES) return;
        s->cap = s->cap ? s->cap * 2 : 65536;
        s->us = need(realloc(s->us, s->cap * sizeof *s->us));
    }
    s->us[s->count++] = (uint32_t)(ns < 0 ? 0 : ns / 1000);
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
    if (!s->count) {
        printf(", \"%s\": null", name);
        return;
    }
    qsort(s->us, s->count, sizeof *s->us, compare);
    printf(", \"%s\": [%.3f, %.3f, %.3f]", name, s->us[s->count / 2] / 1e3,
           s->us[(size_t)((double)(s->count - 1) * 0.99)] / 1e3, s->us[s->count - 1] / 1e3);
}

static void report(void) {
    double seconds = (double)(last_good - started) / SECOND;
    if (seconds <= 0) seconds = 1e-9;
    printf("{\"requests\": %ld, \"errors\": %ld, \"events\": %ld, \"seconds\": %.3f, "
           "\"rps\": %.1f, \"eps\": %.1f",
           good, errors, events_seen, seconds, (double)good / seconds,
           (double)events_seen / seconds);
    print_samples("first_ms", &first_byte);
    print_samples("whole_ms", &whole);
    print_samples("age_ms", &age);
    printf(", \"error\": \"%s\"}\n", first_error);
}

/* ---- connections ---- */

static void disconnect(struct conn *c) {
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1;
}

static void finish(struct conn *c) {
    c->busy = 0;
    open_count--;
}

/* Keeps the first line of the first error, without what JSON would have to escape. */
static void keep_error(const char *what) {
    if (first_error[0]) return;
    size_t length = strcspn(what, "\r\n\t\"\\");
    snprintf(first_error, sizeof first_error, "%.*s", (int)length, what);
}

static void wrong(struct conn *c, const char *what) {
    errors++;
    keep_error(what);
    disconnect(c);
    finish(c);
}

static void connect_to_target(struct conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    no_delay(c->fd);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        fail("connect");
    c->wants_write = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void send_rest(struct conn *c) {
    ssize_t n = write(c->fd, c->request + c->sent, request_len - c->sent);
    if (n > 0) c->sent += (size_t)n;
    if (n < 0 && errno != EAGAIN) {
        wrong(c, "the gateway closed while the request was sent");
        return;
    }
    int wanted = c->sent < request_len;
    if (wanted == c->wants_write) return;
    c->wants_write = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Numbers follow each other with a stride, so that neighbours in time are not neighbours on disk. */
static void choose_route(struct conn *c) {
    if (!spread || !c->digits) return;
    long number = issued * 7919 % spread;
    for (int i = 4; i >= 0; i--, number /= 10) c->digits[i] = (char)('0' + number % 10);
}

static void begin(struct conn *c) {
    if (c->fd < 0) connect_to_target(c);
    choose_route(c);
    issued++;
    open_count++;
    c->busy = 1;
    c->state = HEAD;
    c->sent = c->head_len = 0;
    c->stamp_at = c->events = 0;
    c->started = now_ns();
    send_rest(c);
}

static int more_wanted(int64_t now) {
    if (errors >= MAX_ERRORS) return 0;
    return answers ? issued < answers : now < deadline;
}

/* ---- reading answers ---- */

/* Looks for stamps; where one is cut by a chunk or a read, stamp_at says how much of it was seen. */
static void scan(struct conn *c, const char *data, size_t size, int64_t now) {
    const char *end = data + size;
    while (data < end) {
        if (c->stamp_at == 0) {
            data = memchr(data, STAMP_HEAD[0], (size_t)(end - data));
            if (!data) return;
            c->stamp = 0;
        }
        char byte = *data;
        int at = c->stamp_at++, digit = at - STAMP_HEAD_LEN;
        int fits = digit < 0               ? byte == STAMP_HEAD[at]
                   : digit < STAMP_DIGITS ? byte >= '0' && byte <= '9'
                                          : byte == '@';
        if (!fits) {
            c->stamp_at = 0;
            data += at == 0; /* the byte that did not fit may begin a stamp itself */
            continue;
        }
        if (digit >= 0 && digit < STAMP_DIGITS) c->stamp = c->stamp * 10 + (byte - '0');
        if (digit == STAMP_DIGITS) {
            c->stamp_at = 0;
            c->events++;
            sample(&age, now - c->stamp);
        }
        data++;
    }
}

static void take_head(struct conn *c) {
    c->head[c->head_len] = 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) {
        wrong(c, c->head);
        return;
    }
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) {
        c->state = CHUNK_SIZE;
        c->left = 0;
    } else if (length) {
        c->left = strtoul(length + 17, NULL, 10);
        c->state = c->left ? LENGTH : DONE;
    } else {
        wrong(c, "an answer without length");
    }
}

static void head_byte(struct conn *c, char byte) {
    c->head[c->head_len++] = byte;
    if (byte == '\n' && c->head_len >= 4 && !memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4))
        take_head(c);
    else if (c->head_len == HEAD_LIMIT - 1)
        wrong(c, "head too long");
}

static int hex(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 32;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One byte of what stands between the data of two chunks, or after the last. */
static void chunk_byte(struct conn *c, char byte) {
    if (c->state == CHUNK_SIZE && byte != '\n') {
        if (hex(byte) >= 0) c->left = c->left * 16 + (size_t)hex(byte);
        else if (byte != '\r') wrong(c, "a chunk size that is no number");
    } else if (c->state == CHUNK_SIZE) {
        c->state = c->left ? CHUNK_DATA : TRAILER;
        c->last_byte = '\n';
    } else if (byte == '\n') { /* CHUNK_END or TRAILER */
        c->state = c->state == TRAILER ? (c->last_byte == '\n' ? DONE : TRAILER) : CHUNK_SIZE;
        c->last_byte = '\n';
    } else if (byte != '\r') {
        c->last_byte = byte;
    }
}

static size_t take_data(struct conn *c, const char *data, size_t size, int64_t now) {
    size_t taken = size < c->left ? size : c->left;
    scan(c, data, taken, now);
    c->left -= taken;
    if (!c->left) c->state = c->state == LENGTH ? DONE : CHUNK_END;
    return taken;
}

static void complete(struct conn *c, int64_t now) {
    if (c->events != expected) {
        char what[64];
        snprintf(what, sizeof what, "%d events, expected %d", c->events, expected);
        wrong(c, what);
        return;
    }
    good++;
    events_seen += c->events;
    sample(&whole, now - c->started);
    last_good = now;
    if (strcasestr(c->head, "\r\nconnection: close")) disconnect(c);
    finish(c);
}

static void feed(struct conn *c, const char *data, size_t size, int64_t now) {
    size_t at = 0;
    if (!c->head_len) sample(&first_byte, now - c->started);
    while (at < size && c->busy && c->state != DONE) {
        if (c->state == LENGTH || c->state == CHUNK_DATA)
            at += take_data(c, data + at, size - at, now);
        else if (c->state == HEAD) head_byte(c, data[at++]);
        else chunk_byte(c, data[at++]);
    }
    if (!c->busy || c->state != DONE) return;
    if (at < size) wrong(c, "bytes after the end of the answer");
    else complete(c, now);
}

static void receive(struct conn *c) {
    static char buffer[256 << 10];
    ssize_t n = read(c->fd, buffer, sizeof buffer);
    int64_t now = now_ns();
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0 && c->busy) {
        feed(c, buffer, (size_t)n, now);
    } else if (c->busy) {
        wrong(c, "closed before the end of the answer");
    } else {
        disconnect(c); /* an idle connection that the gateway no longer wants */
    }
    if (!c->busy && more_wanted(now)) begin(c);
}

/* ---- loop ---- */

static int64_t opens_at(int index) { return started + ramp * index / conn_count; }

static int open_due(int opened, int64_t now) {
    while (opened < conn_count && opens_at(opened) <= now && more_wanted(now)) {
        struct conn *c = conns[opened++] = need(calloc(1, sizeof(struct conn)));
        c->fd = -1;
        c->request = need(malloc(request_len + 1));
        memcpy(c->request, request, request_len + 1);
        c->digits = strstr(c->request, "\"bench-");
        if (c->digits) c->digits += 7;
        begin(c);
    }
    return opened;
}

static void run(void) {
    struct epoll_event events[512];
    int opened = 0;
    started = last_good = now_ns();
    deadline += started;
    limit += started;
    for (;;) {
        int64_t now = now_ns();
        opened = open_due(opened, now);
        if (!open_count && (!more_wanted(now) || opened == conn_count)) return;
        if (now >= limit) break;
        int64_t until = opened < conn_count && more_wanted(now) ? opens_at(opened) : limit;
        int n = wait_events(poller, events, 512, until < limit ? until : limit);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->fd >= 0 && c->busy && events[i].events & EPOLLOUT) send_rest(c);
            if (c->fd >= 0) receive(c);
        }
    }
    for (int i = 0; i < opened; i++)
        if (conns[i]->busy) wrong(conns[i], "not finished within the limit");
}

static void load_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    request = need(calloc(1, 8 << 20));
    request_len = fread(request, 1, (8 << 20) - 1, file);
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: load PORT REQUEST_FILE CONNS EVENTS SECONDS ANSWERS RAMP_MS SPREAD "
                        "LIMIT_SECONDS\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    target = loopback(atoi(argv[1]));
    load_request(argv[2]);
    conn_count = atoi(argv[3]);
    if (conn_count < 1 || conn_count > MAX_CONNS) return 2;
    expected = atoi(argv[4]);
    deadline = (int64_t)(atof(argv[5]) * SECOND);
    answers = atoi(argv[6]);
    ramp = atoi(argv[7]) * MILLISECOND;
    spread = atoi(argv[8]);
    limit = (int64_t)(atof(argv[9]) * SECOND);
    poller = epoll_create1(0);
    run();
    report();
    return 0;
}
