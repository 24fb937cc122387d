/* Mock upstream: answers chat requests from prebuilt bytes. One thread, epoll, keep-alive.
 *
 *   mock PORT
 *
 * POST /v1/chat/completions speaks OpenAI Chat; any path that begins with /custom speaks a made-up
 * dialect for routes that are pure YAML. What is answered is told by a marker anywhere in the
 * request body, because every gateway carries the user's text through:
 *
 *   #bench events=200 gap=10 size=1024#
 *
 * events > 0: a stream of that many text frames, one each `gap` ms (0: all in one write).
 * events = 0: one plain JSON answer whose text has `size` bytes.
 *
 * Each text frame is 223..240 bytes and its own HTTP chunk, and carries the stamp of bench.h, set
 * at the moment of writing. The terminator always leaves in one write with the last event. A peer
 * that does not read makes the output buffer of its connection grow; it never blocks the others.
 */
#include "bench.h"

#define MAX_FD 16384
#define BODY_LIMIT (4 << 20)
#define IDLE_WAIT SECOND
#define NEVER INT64_MAX

#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
                 "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
#define PLAIN_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n"
#define REFUSAL "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

/* The text of a frame: the stamp and ten bytes more, about one to three tokens. */
#define TEXT STAMP_BLANK " and words"
#define CHAT_HEAD "data: {\"id\":\"chatcmpl-bench00000000000000000000\",\"object\":" \
                  "\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"bench\"," \
                  "\"choices\":["
#define USAGE "\"usage\":{\"prompt_tokens\":256,\"completion_tokens\":200,\"total_tokens\":456}"

/* A dialect: the frames of a stream and the two halves of a plain answer around its text. */
struct form {
    const char *opening, *frame, *closing, *plain_before, *plain_after;
    char *chunk, *first, *last; /* the same as HTTP chunks, built at start */
    size_t chunk_len, first_len, last_len, stamp_at;
};

static struct form chat = {
    .opening = CHAT_HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                         "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
    .frame = CHAT_HEAD "{\"index\":0,\"delta\":{\"content\":\"" TEXT "\"},"
                       "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
    .closing = CHAT_HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}"
                         "\n\n" CHAT_HEAD "]," USAGE "}\n\ndata: [DONE]\n\n",
    .plain_before = "{\"id\":\"chatcmpl-bench00000000000000000000\",\"object\":\"chat.completion\","
                    "\"created\":1760000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
                    "\"message\":{\"role\":\"assistant\",\"content\":\"",
    .plain_after = "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE "}",
};
static struct form custom = {
    .opening = "",
    .frame = "data: {\"type\":\"delta\",\"conversation\":\"bench-0000000000000000000000000000\","
             "\"message\":\"bench-0000000000000000000000000000\",\"channel\":\"answer\","
             "\"meta\":{\"region\":\"local\",\"done\":false},\"delta\":{\"text\":\"" TEXT "\"}}\n\n",
    .closing = "data: {\"type\":\"done\",\"usage\":{\"in\":256,\"out\":200}}\n\n",
    .plain_before = "{\"answer\":{\"text\":\"",
    .plain_after = "\",\"stop\":\"end\"},\"usage\":{\"in\":256,\"out\":200}}",
};

struct conn {
    char *in, *out;
    size_t in_len, in_cap, out_len, out_off, out_cap;
    struct form *form; /* of the stream that is open */
    int events_left, gap_ms, wants_write, closing;
};

static struct conn *conns[MAX_FD];
static int64_t due[MAX_FD]; /* when the next event of that connection leaves; apart from the conns */
static int top_fd;          /* so that one scan of all open streams stays in the first cache level */
static int poller;

/* ---- prebuilt bytes ---- */

static char *as_chunk(const char *data, const char *after, size_t *length) {
    char *chunk = NULL;
    int size = *data ? asprintf(&chunk, "%zx\r\n%s\r\n%s", strlen(data), data, after)
                     : asprintf(&chunk, "%s", after);
    if (size < 0) fail("memory");
    *length = (size_t)size;
    return chunk;
}

static void build(struct form *form) {
    size_t size = strlen(form->frame);
    if (size < 223 || size > 240) {
        fprintf(stderr, "frame of %zu bytes, 223..240 wanted\n", size);
        exit(2);
    }
    char *opening = as_chunk(form->opening, "", &form->first_len);
    form->first = NULL;
    if (asprintf(&form->first, SSE_HEAD "%s", opening) < 0) fail("memory");
    form->first_len = strlen(form->first);
    free(opening);
    form->chunk = as_chunk(form->frame, "", &form->chunk_len);
    form->last = as_chunk(form->closing, "0\r\n\r\n", &form->last_len);
    form->stamp_at = (size_t)(strstr(form->chunk, STAMP_HEAD) - form->chunk) + STAMP_HEAD_LEN;
}

static void set_stamp(char *digits, int64_t time) {
    for (int i = STAMP_DIGITS - 1; i >= 0; i--, time /= 10) digits[i] = (char)('0' + time % 10);
}

/* ---- output ---- */

static char *room(struct conn *c, size_t size) {
    if (c->out_len + size > c->out_cap) {
        c->out_cap = (c->out_len + size) * 2;
        c->out = need(realloc(c->out, c->out_cap));
    }
    char *at = c->out + c->out_len;
    c->out_len += size;
    return at;
}

static void append(struct conn *c, const char *data, size_t size) {
    memcpy(room(c, size), data, size);
}

static void drop(int fd) {
    struct conn *c = conns[fd];
    free(c->in);
    free(c->out);
    free(c);
    conns[fd] = NULL;
    due[fd] = NEVER;
    close(fd);
}

static void watch_output(int fd, int wanted) {
    if (conns[fd]->wants_write == wanted) return;
    conns[fd]->wants_write = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

/* Returns 0 when the connection is gone. */
static int flush(int fd) {
    struct conn *c = conns[fd];
    while (c->out_off < c->out_len) {
        ssize_t n = write(fd, c->out + c->out_off, c->out_len - c->out_off);
        if (n < 0 && errno == EAGAIN) {
            watch_output(fd, 1);
            return 1;
        }
        if (n <= 0) {
            drop(fd);
            return 0;
        }
        c->out_off += (size_t)n;
    }
    c->out_off = c->out_len = 0;
    watch_output(fd, 0);
    if (c->closing) drop(fd);
    return conns[fd] != NULL;
}

/* ---- answers ---- */

static void write_event(struct conn *c, int64_t now) {
    char *at = room(c, c->form->chunk_len);
    memcpy(at, c->form->chunk, c->form->chunk_len);
    set_stamp(at + c->form->stamp_at, now);
}

/* Writes what is due by now; a late stream catches up in one write, as a stalled server would. */
static void advance(int fd, int64_t now) {
    struct conn *c = conns[fd];
    while (c->events_left > 0 && due[fd] <= now) {
        write_event(c, now);
        c->events_left--;
        due[fd] += c->gap_ms * MILLISECOND;
    }
    if (c->events_left == 0) {
        append(c, c->form->last, c->form->last_len);
        due[fd] = NEVER;
    }
    flush(fd);
}

static void answer_plain(int fd, struct form *form, size_t size) {
    static const char words[] = "lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do ";
    char head[160];
    size_t before = strlen(form->plain_before), after = strlen(form->plain_after);
    size_t stamp = strlen(STAMP_BLANK);
    if (size < stamp) size = stamp;
    int head_len = snprintf(head, sizeof head, PLAIN_HEAD, before + size + after);
    append(conns[fd], head, (size_t)head_len);
    append(conns[fd], form->plain_before, before);
    char *text = room(conns[fd], size);
    for (size_t i = stamp; i < size; i++) text[i] = words[(i - stamp) % (sizeof words - 1)];
    memcpy(text, STAMP_BLANK, stamp);
    set_stamp(text + STAMP_HEAD_LEN, now_ns());
    append(conns[fd], form->plain_after, after);
    flush(fd);
}

static void refuse(int fd, const char *status) {
    char head[160];
    int length = snprintf(head, sizeof head, REFUSAL, status);
    append(conns[fd], head, (size_t)length);
    conns[fd]->closing = 1;
    flush(fd);
}

static void answer(int fd, struct form *form, const char *body, size_t length) {
    const char *marker = memmem(body, length, "#bench ", 7);
    int events = 0, gap = 0, size = 0;
    if (!marker || sscanf(marker, "#bench events=%d gap=%d size=%d#", &events, &gap, &size) != 3) {
        refuse(fd, "400 No Marker");
        return;
    }
    if (events <= 0) {
        answer_plain(fd, form, (size_t)size);
        return;
    }
    struct conn *c = conns[fd];
    c->form = form;
    c->events_left = events;
    c->gap_ms = gap;
    append(c, form->first, form->first_len);
    due[fd] = now_ns();
    advance(fd, due[fd]);
}

/* ---- requests ---- */

/* Bytes that the first request in the buffer takes; 0: not all here yet, -1: refused. */
static ssize_t request_size(struct conn *c, size_t *head_size) {
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    *end = '\r';
    *head_size = (size_t)(end - c->in) + 4;
    long length = field ? strtol(field + 17, NULL, 10) : -1;
    if (length < 0 || length > BODY_LIMIT) return -1;
    size_t total = *head_size + (size_t)length;
    return c->in_len < total ? 0 : (ssize_t)total;
}

static void take_request(int fd) {
    struct conn *c = conns[fd];
    size_t head = 0;
    ssize_t total = request_size(c, &head);
    if (total == 0) return;
    if (total < 0) {
        refuse(fd, "411 Length Required");
        return;
    }
    struct form *form = strncmp(c->in, "POST /custom", 12) == 0 ? &custom : &chat;
    char saved = c->in[total];
    c->in[total] = 0; /* sscanf stops here; the buffer always has this one byte to spare */
    answer(fd, form, c->in + head, (size_t)total - head);
    if (!conns[fd]) return;
    c->in[total] = saved;
    c->in_len -= (size_t)total;
    memmove(c->in, c->in + total, c->in_len);
}

static void receive(int fd) {
    struct conn *c = conns[fd];
    if (c->in_cap - c->in_len < 16384) {
        c->in_cap = c->in_cap * 2 + 32768;
        c->in = need(realloc(c->in, c->in_cap));
    }
    ssize_t n = read(fd, c->in + c->in_len, c->in_cap - c->in_len - 1);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || c->in_len > BODY_LIMIT) {
        drop(fd);
        return;
    }
    c->in_len += (size_t)n;
    take_request(fd);
}

/* ---- loop ---- */

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        no_delay(fd);
        conns[fd] = need(calloc(1, sizeof(struct conn)));
        due[fd] = NEVER;
        if (fd > top_fd) top_fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static int64_t advance_due(void) {
    int64_t now = now_ns(), next = now + IDLE_WAIT;
    for (int fd = 0; fd <= top_fd; fd++) {
        if (due[fd] <= now) advance(fd, now);
        if (due[fd] < next) next = due[fd];
    }
    return next;
}

static void serve(int listener) {
    struct epoll_event events[512];
    for (;;) {
        int n = wait_events(poller, events, 512, advance_due());
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener);
                continue;
            }
            if (conns[fd] && events[i].events & EPOLLOUT) flush(fd);
            if (conns[fd] && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(fd);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: mock PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (int fd = 0; fd < MAX_FD; fd++) due[fd] = NEVER;
    build(&chat);
    build(&custom);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = loopback(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
    if (listen(listener, 4096) < 0) fail("listen");
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    serve(listener);
}
