/* A closed-loop load: every connection sends one request, waits for its answer, sends the next.

   closed_loop PORT CONNECTIONS WARMUP_MS MEASURE_MS FRAMING HELLO REQUESTS REPLIES BAD PIDS

   FRAMING   http | resp | nats | grpc: how the end of an answer is found
   HELLO     file sent first on every connection (may be empty); for nats, the answer must hold
             PONG before the first request goes out
   REQUESTS  file of requests, each as a 4-byte little-endian length and its bytes. Connections
             start at different places and go round. "@@@@@@@@" becomes the connection's number.
   REPLIES   answers that one request gets (a pipeline of 100 gets 100)
   BAD       an answer that holds these bytes is an error ("" for none)
   PIDS      processes whose CPU time is measured, separated by commas

   Prints one line of JSON. Latency is that of a whole request (a pipeline is one request). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "measure.h"

#define PLACEHOLDER "@@@@@@@@"
#define PLACEHOLDER_BYTES 8
#define ANSWER_BYTES_MAX (1 << 20)
/* HTTP/2 windows are 65,535 bytes; ours are topped up long before. */
#define WINDOW_TOP_UP_BYTES 16384
#define END_STREAM 0x1
#define ACK 0x1

enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RST = 3, FRAME_SETTINGS = 4, FRAME_PING = 6,
       FRAME_GOAWAY = 7, FRAME_WINDOW_UPDATE = 8 };

typedef struct {
    char *bytes;
    size_t size;
    uint32_t *places; /* of the placeholders */
    unsigned place_count;
} request;

typedef struct {
    int fd;
    unsigned number, next, awaited;
    bool greeted;
    uint64_t sent_at;
    char *in;
    size_t in_size, in_room;
    char *out;
    size_t out_size, out_done;
    uint32_t stream, unacknowledged;
    bool got_data;
} connection;

typedef struct { size_t size; bool counts, bad; } answer;

static request *requests;
static unsigned request_count, replies_per_request;
static const char *bad_bytes, *framing;
static histogram latency;
static uint64_t done, errors;
static bool recording;

static void load_requests(const char *path) {
    size_t size, at = 0, largest = 0;
    char *bytes = read_file(path, &size);
    while (at + 4 <= size) {
        uint32_t length;
        memcpy(&length, bytes + at, 4);
        at += 4;
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        request *r = &requests[request_count++];
        *r = (request){.bytes = bytes + at, .size = length};
        for (char *p = r->bytes; (p = memmem(p, (size_t)(r->bytes + length - p), PLACEHOLDER,
                                             PLACEHOLDER_BYTES));
             p += PLACEHOLDER_BYTES) {
            r->places = realloc(r->places, (r->place_count + 1) * sizeof *r->places);
            r->places[r->place_count++] = (uint32_t)(p - r->bytes);
        }
        if (length > largest) largest = length;
        at += length;
    }
    if (!request_count) die("no requests");
}

static void flush_out(connection *c) {
    while (c->out_done < c->out_size) {
        ssize_t sent = send(c->fd, c->out + c->out_done, c->out_size - c->out_done, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EINTR) return; /* EPOLLOUT calls again */
            die("send");
        }
        c->out_done += (size_t)sent;
    }
    c->out_size = c->out_done = 0;
}

static void put_out(connection *c, const void *bytes, size_t size) {
    c->out = realloc(c->out, c->out_size + size);
    memcpy(c->out + c->out_size, bytes, size);
    c->out_size += size;
}

static void put_number(char *at, unsigned number) {
    char digits[PLACEHOLDER_BYTES + 1];
    snprintf(digits, sizeof digits, "%08u", number % 100000000u);
    memcpy(at, digits, PLACEHOLDER_BYTES);
}

static void put_u32(char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, 4);
}

static size_t frame_length(const char *frame) {
    const uint8_t *head = (const uint8_t *)frame;
    return ((size_t)head[0] << 16) + ((size_t)head[1] << 8) + head[2];
}

static void send_request(connection *c) {
    request *r = &requests[c->next];
    c->next = (c->next + 1) % request_count;
    size_t start = c->out_size;
    put_out(c, r->bytes, r->size);
    for (unsigned i = 0; i < r->place_count; i++)
        put_number(c->out + start + r->places[i], c->number);
    if (framing[0] == 'g') {
        /* A request is some HTTP/2 frames; all carry the next odd stream number. */
        c->stream += 2;
        for (char *frame = c->out + start; frame < c->out + c->out_size;
             frame += 9 + frame_length(frame))
            put_u32(frame + 5, c->stream);
        c->got_data = false;
    }
    c->awaited = replies_per_request;
    c->sent_at = now_ns();
    flush_out(c);
}

/* One answer of HTTP/1.1 at the start of `in`; size 0 while it is not complete. */
static answer http_answer(const char *in, size_t size) {
    answer none = {0};
    const char *end = memmem(in, size, "\r\n\r\n", 4);
    if (!end) return none;
    bool bad = memcmp(in, "HTTP/1.1 2", 10) != 0, chunked = false;
    size_t head = (size_t)(end - in) + 4, body = 0;
    for (const char *line = memmem(in, head, "\r\n", 2); line < end;
         line = memmem(line + 2, (size_t)(end - line), "\r\n", 2)) {
        if (!strncasecmp(line + 2, "content-length:", 15)) body = strtoul(line + 17, NULL, 10);
        if (!strncasecmp(line + 2, "transfer-encoding: chunked", 26)) chunked = true;
    }
    if (!chunked) {
        answer found = {head + body, true, bad};
        return size < head + body ? none : found;
    }
    for (size_t at = head;;) {
        const char *line = memmem(in + at, size - at, "\r\n", 2);
        if (!line) return none;
        size_t chunk = strtoul(in + at, NULL, 16);
        at = (size_t)(line - in) + 2 + chunk + 2;
        if (at > size) return none;
        if (!chunk) return (answer){at, true, bad};
    }
}

/* One answer of the Redis protocol: simple string, error, integer or bulk string. */
static answer resp_answer(const char *in, size_t size) {
    answer none = {0};
    const char *end = memmem(in, size, "\r\n", 2);
    if (!end) return none;
    size_t line = (size_t)(end - in) + 2;
    if (in[0] == '$' && in[1] != '-') line += strtoul(in + 1, NULL, 10) + 2;
    if (line > size) return none;
    return (answer){line, true, in[0] == '-'};
}

/* One line of the NATS protocol, with its payload if it is a MSG: the acknowledgement. */
static answer nats_answer(connection *c, const char *in, size_t size) {
    answer none = {0};
    const char *end = memmem(in, size, "\r\n", 2);
    if (!end) return none;
    size_t line = (size_t)(end - in) + 2;
    if (in[0] == 'M') {
        const char *length = end;
        while (length[-1] != ' ') length--;
        line += strtoul(length, NULL, 10) + 2;
        return line > size ? none : (answer){line, true, false};
    }
    if (!memcmp(in, "PING", 4)) put_out(c, "PONG\r\n", 6);
    if (!memcmp(in, "PONG", 4)) c->greeted = true;
    return (answer){line, in[0] == '-', in[0] == '-'};
}

/* One HTTP/2 frame. A call is done with the trailers; without data before them it failed. */
static answer grpc_answer(connection *c, const char *in, size_t size) {
    const uint8_t *head = (const uint8_t *)in;
    if (size < 9) return (answer){0};
    size_t length = frame_length(in);
    uint8_t type = head[3], flags = head[4];
    if (size < 9 + length) return (answer){0};
    if ((type == FRAME_SETTINGS || type == FRAME_PING) && !(flags & ACK)) {
        char reply[17] = {0, 0, type == FRAME_PING ? 8 : 0, (char)type, ACK};
        if (type == FRAME_PING) memcpy(reply + 9, in + 9, 8);
        put_out(c, reply, type == FRAME_PING ? 17 : 9);
    }
    if (type == FRAME_DATA) {
        c->got_data = true;
        c->unacknowledged += (uint32_t)length;
        if (c->unacknowledged > WINDOW_TOP_UP_BYTES) {
            char update[13] = {0, 0, 4, FRAME_WINDOW_UPDATE};
            put_u32(update + 9, c->unacknowledged);
            put_out(c, update, sizeof update);
            c->unacknowledged = 0;
        }
    }
    bool ends = type == FRAME_RST || type == FRAME_GOAWAY ||
                (type == FRAME_HEADERS && (flags & END_STREAM));
    return (answer){9 + length, ends, ends && !c->got_data};
}

static answer next_answer(connection *c, const char *in, size_t size) {
    answer found;
    switch (framing[0]) {
    case 'h': found = http_answer(in, size); break;
    case 'r': found = resp_answer(in, size); break;
    case 'n': found = nats_answer(c, in, size); break;
    default: found = grpc_answer(c, in, size);
    }
    if (found.counts && bad_bytes[0] && memmem(in, found.size, bad_bytes, strlen(bad_bytes)))
        found.bad = true;
    return found;
}

static void take(connection *c, const char *in, answer found) {
    if (found.bad && !errors++) fprintf(stderr, "first error: %.*s\n", (int)found.size, in);
    if (c->awaited && --c->awaited) return;
    if (recording) {
        histogram_add(&latency, now_ns() - c->sent_at);
        done++;
    }
    send_request(c);
}

/* Reads once; says whether there may be more, because an edge is reported only once. */
static bool receive(connection *c) {
    if (c->in_room - c->in_size < 4096) {
        c->in_room = c->in_room ? c->in_room * 2 : 8192;
        if (c->in_room > ANSWER_BYTES_MAX) die("an answer is too long");
        c->in = realloc(c->in, c->in_room);
    }
    size_t room = c->in_room - c->in_size;
    ssize_t got = recv(c->fd, c->in + c->in_size, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) {
        fprintf(stderr, "connection %u was closed by the server\n", c->number);
        exit(1);
    }
    c->in_size += (size_t)got;
    size_t at = 0;
    while (at < c->in_size) {
        bool greeted = c->greeted;
        answer found = next_answer(c, c->in + at, c->in_size - at);
        if (!found.size) break;
        if (found.counts) take(c, c->in + at, found);
        else if (c->greeted && !greeted) send_request(c);
        at += found.size;
    }
    flush_out(c);
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
    return (size_t)got == room;
}

static void open_connection(connection *c, unsigned number, int port, const char *hello,
                            size_t hello_size, unsigned stride) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (connection){.fd = socket(AF_INET, SOCK_STREAM, 0), .number = number,
                      .next = number * stride % request_count, .stream = (uint32_t)-1};
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    put_out(c, hello, hello_size);
    char *place;
    while (hello_size && (place = memmem(c->out, hello_size, PLACEHOLDER, PLACEHOLDER_BYTES)))
        put_number(place, number);
}

static void print_result(double elapsed_s, double cpu_s) {
    printf("{\"requests\":%llu,\"errors\":%llu,\"elapsed_s\":%.6f,\"cpu_s\":%.3f,",
           (unsigned long long)done, (unsigned long long)errors, elapsed_s, cpu_s);
    histogram_print(&latency);
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: see the head of closed_loop.c\n");
        return 2;
    }
    int port = atoi(argv[1]), count = atoi(argv[2]), epoll = epoll_create1(0);
    uint64_t warmup_ns = strtoull(argv[3], NULL, 10) * 1000000u;
    uint64_t measure_ns = strtoull(argv[4], NULL, 10) * 1000000u;
    size_t hello_size;
    framing = argv[5];
    char *hello = read_file(argv[6], &hello_size);
    load_requests(argv[7]);
    replies_per_request = (unsigned)atoi(argv[8]);
    bad_bytes = argv[9];
    const char *pids = argv[10];

    connection *all = calloc((size_t)count, sizeof *all);
    unsigned stride = request_count / (unsigned)count;
    for (int i = 0; i < count; i++) {
        open_connection(&all[i], (unsigned)i, port, hello, hello_size, stride ? stride : 1);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
    for (int i = 0; i < count; i++) {
        if (framing[0] == 'n') flush_out(&all[i]);
        else send_request(&all[i]);
    }
    uint64_t begin = now_ns() + warmup_ns, end = 0;
    double cpu = 0;
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 10);
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush_out(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                while (receive(c)) continue;
        }
        uint64_t now = now_ns();
        if (!recording && now >= begin) {
            recording = true;
            cpu = cpu_seconds(pids);
            begin = now_ns();
            end = begin + measure_ns;
        } else if (recording && now >= end) {
            print_result((double)(now - begin) / 1e9, cpu_seconds(pids) - cpu);
            return 0;
        }
    }
}
