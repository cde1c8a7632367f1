/* Many clients of one stream: counts what each receives, checks its order, measures its age.

   stream_reader PORT CLIENTS STALLED CHECK_IDS START HELLO READY PIDS

   STALLED    of the clients, so many read the head of the answer and then nothing, until told
   CHECK_IDS  1: the ids are offsets without holes from START + 1 on, but for announced gaps
   START      what "@@@@@@@@@@" in HELLO becomes: the last offset a client has seen
   HELLO      file sent first on every connection
   READY      a client is ready when it has received these bytes
   PIDS       processes whose CPU time is measured, separated by commas

   A line of a message holds "n":<number> (1, 2, 3, ... in the order of publishing), right after
   it "t":<nanoseconds of CLOCK_MONOTONIC> (when it was due), and one more field. This is all that
   is known of a protocol, so that one reader serves SSE, Redis and NATS.

   Prints "ready". Then reads commands from standard input:
     window T0 T1         deliveries from T0 to T1 (nanoseconds) count for the rate and the CPU
     finish LAST GRACE    end when all that do not stall have message LAST, after GRACE ms at most
     resume GRACE         (after "complete") the stalled read again; a client whose connection was
                          cut connects again from the last offset it saw; ends as finish does
   Each end prints "complete"; the last one is followed by one line of JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "measure.h"

#define PLACEHOLDER "@@@@@@@@@@"
#define PLACEHOLDER_BYTES 10
#define LINE_BYTES_MAX 65536
#define READ_BYTES 262144
#define GAPS_MAX 1000

typedef struct {
    int fd;
    unsigned number;
    bool stalled, paused, ready, closed, chunked, in_gap, after_gap;
    uint64_t chunk_left, pending_id, last_id, last_n, received;
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END } chunk_state;
    char *tail;
    size_t tail_size, tail_room;
} client;

static struct { unsigned client; uint64_t from, to; } gaps[GAPS_MAX];
static unsigned gap_count, inexact_gaps, reconnects, closed_count, ready_count;
static uint64_t disordered, window_deliveries, total_deliveries;
static uint64_t window_begin, window_end = UINT64_MAX, arrived_at;
static double cpu_begin = -1, cpu_end = -1;
static histogram age;

static int port, epoll_fd;
static bool check_ids;
static uint64_t start_id;
static const char *ready_bytes, *pids;
static char *hello;
static size_t hello_size;
static client *clients;
static unsigned client_count, stalled_count;

static void watch(client *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

static void open_client(client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    if (c->stalled && !c->paused) {
        /* Little room, so that the server feels at once that nobody reads. */
        int bytes = 4096;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    char *text = malloc(hello_size + 1);
    memcpy(text, hello, hello_size + 1);
    char *place = memmem(text, hello_size, PLACEHOLDER, PLACEHOLDER_BYTES);
    if (place) {
        char digits[24];
        snprintf(digits, sizeof digits, "%10llu", (unsigned long long)c->last_id);
        memcpy(place, digits, PLACEHOLDER_BYTES);
    }
    if (send(c->fd, text, hello_size, MSG_NOSIGNAL) != (ssize_t)hello_size) die("send");
    free(text);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    c->ready = c->chunked = c->in_gap = false;
    c->chunk_state = CHUNK_SIZE;
    c->chunk_left = c->tail_size = 0;
    watch(c);
}

static uint64_t number_after(const char *line, size_t size, const char *name) {
    const char *found = memmem(line, size, name, strlen(name));
    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

static void take_gap(client *c, const char *line, size_t size) {
    uint64_t from = number_after(line, size, "\"from_offset\":");
    uint64_t to = number_after(line, size, "\"to_offset\":");
    if (from != c->last_id + 1 || to < from) inexact_gaps++;
    if (gap_count < GAPS_MAX) {
        gaps[gap_count].client = c->number;
        gaps[gap_count].from = from;
        gaps[gap_count].to = to;
    }
    gap_count++;
    c->last_id = to;
    c->in_gap = false;
    c->after_gap = true;
}

static void take_message(client *c, const char *line, size_t size) {
    const char *found = memmem(line, size, "\"n\":", 4);
    char *end;
    if (!found) return;
    uint64_t n = strtoull(found + 4, &end, 10);
    uint64_t due = strtoull(end + 5, NULL, 10); /* after ,"t": */
    bool follows = c->after_gap || n == c->last_n + 1;
    if (check_ids && c->pending_id != c->last_id + 1) follows = false;
    if (!follows) disordered++;
    c->after_gap = false;
    c->last_n = n;
    c->last_id = c->pending_id;
    c->received++;
    total_deliveries++;
    if (arrived_at >= window_begin && arrived_at < window_end) window_deliveries++;
    if (due >= window_begin && !c->stalled && arrived_at > due)
        histogram_add(&age, arrived_at - due);
}

static void take_line(client *c, const char *line, size_t size) {
    switch (size ? line[0] : 0) {
    case 'i':
        c->pending_id = strtoull(line + 3, NULL, 10);
        break;
    case 'e':
        c->in_gap = size >= 10 && !memcmp(line, "event: gap", 10);
        break;
    case 'd':
    case '{':
        if (c->in_gap) take_gap(c, line, size);
        else take_message(c, line, size);
        break;
    case 'P':
        if (size >= 4 && !memcmp(line, "PING", 4) && send(c->fd, "PONG\r\n", 6, MSG_NOSIGNAL) != 6)
            die("send");
    }
}

/* Remove the framing of chunked transfer from `bytes`, in place; answers the new size. */
static size_t unchunk(client *c, char *bytes, size_t size) {
    char *in = bytes, *out = bytes, *end = bytes + size;
    while (in < end) {
        if (c->chunk_state == CHUNK_DATA) {
            size_t part = (size_t)(end - in) < c->chunk_left ? (size_t)(end - in) : c->chunk_left;
            memmove(out, in, part);
            out += part;
            in += part;
            c->chunk_left -= part;
            if (!c->chunk_left) c->chunk_state = CHUNK_END;
        } else if (c->chunk_state == CHUNK_SIZE) {
            char digit = *in++;
            if (digit >= '0' && digit <= '9') c->chunk_left = c->chunk_left * 16 + (digit - '0');
            else if (digit >= 'a' && digit <= 'f') c->chunk_left = c->chunk_left * 16 + (digit - 'a' + 10);
            else if (digit >= 'A' && digit <= 'F') c->chunk_left = c->chunk_left * 16 + (digit - 'A' + 10);
            else if (digit == '\n') c->chunk_state = CHUNK_DATA;
        } else if (*in++ == '\n') {
            c->chunk_state = CHUNK_SIZE;
        }
    }
    return (size_t)(out - bytes);
}

static void keep(client *c, const char *bytes, size_t size) {
    if (size > LINE_BYTES_MAX) die("a line is too long");
    if (size > c->tail_room) {
        c->tail_room = size;
        c->tail = realloc(c->tail, size);
    }
    memmove(c->tail, bytes, size);
    c->tail_size = size;
}

/* The head of the answer: everything up to the ready bytes. Answers what comes after it. */
static char *take_head(client *c, char *bytes, size_t *size) {
    char *found = memmem(bytes, *size, ready_bytes, strlen(ready_bytes));
    if (!found) {
        keep(c, bytes, *size);
        return NULL;
    }
    if (!memcmp(bytes, "HTTP/", 5) && memcmp(bytes + 8, " 200", 4)) {
        fprintf(stderr, "refused: %.*s\n", (int)*size, bytes);
        exit(1);
    }
    char *rest = found + strlen(ready_bytes);
    c->chunked = strcasestr(bytes, "transfer-encoding: chunked") != NULL;
    c->ready = true;
    c->tail_size = 0;
    *size -= (size_t)(rest - bytes);
    ready_count++;
    return rest;
}

static void close_client(client *c) {
    close(c->fd);
    if (c->stalled) {
        reconnects++;
        open_client(c);
        return;
    }
    c->closed = true;
    closed_count++;
}

static void receive(client *c) {
    static char buffer[LINE_BYTES_MAX + READ_BYTES + 1];
    char *bytes = buffer + c->tail_size;
    memcpy(buffer, c->tail, c->tail_size);
    ssize_t got = recv(c->fd, bytes, READ_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close_client(c);
        return;
    }
    arrived_at = now_ns();
    size_t size = (size_t)got;
    if (!c->ready) {
        size += c->tail_size;
        buffer[size] = 0;
        bytes = take_head(c, buffer, &size);
        if (!bytes) return;
        if (c->stalled && !c->paused) {
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
            c->paused = true;
        }
    }
    if (c->chunked) size = unchunk(c, bytes, size);
    char *end = bytes + size;
    char *line = bytes - c->tail_size;
    for (char *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        take_line(c, line, (size_t)(stop - line));
    keep(c, line, (size_t)(end - line));
}

static void print_result(void) {
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = stalled_count; i < client_count; i++) {
        if (clients[i].received < least) least = clients[i].received;
        if (clients[i].received > most) most = clients[i].received;
    }
    printf("{\"deliveries\":%llu,\"total\":%llu,\"least\":%llu,\"most\":%llu,\"disordered\":%llu,",
           (unsigned long long)window_deliveries, (unsigned long long)total_deliveries,
           (unsigned long long)least, (unsigned long long)most, (unsigned long long)disordered);
    printf("\"closed\":%u,\"reconnects\":%u,\"inexact_gaps\":%u,\"gap_count\":%u,\"cpu_s\":%.3f,",
           closed_count, reconnects, inexact_gaps, gap_count,
           cpu_end < 0 || cpu_begin < 0 ? 0.0 : cpu_end - cpu_begin);
    printf("\"stalled\":[");
    for (unsigned i = 0; i < stalled_count; i++)
        printf("%s{\"received\":%llu,\"last_n\":%llu}", i ? "," : "",
               (unsigned long long)clients[i].received, (unsigned long long)clients[i].last_n);
    printf("],\"gaps\":[");
    for (unsigned i = 0; i < gap_count && i < GAPS_MAX; i++)
        printf("%s{\"client\":%u,\"from\":%llu,\"to\":%llu}", i ? "," : "", gaps[i].client,
               (unsigned long long)gaps[i].from, (unsigned long long)gaps[i].to);
    printf("],");
    histogram_print(&age);
    printf("}\n");
    fflush(stdout);
}

static bool all_have(uint64_t last, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++)
        if (!clients[i].closed && clients[i].last_n < last) return false;
    return true;
}

static uint64_t last_n, deadline;
static bool resumed;

static void say_ready(void) {
    static bool said;
    if (said || ready_count < client_count) return;
    said = true;
    printf("ready\n");
    fflush(stdout);
}

/* Whether the current stage is over; the end of the last stage ends the program. */
static void check_end(uint64_t now) {
    if (!deadline) return;
    bool done = resumed ? all_have(last_n, 0, stalled_count)
                        : all_have(last_n, stalled_count, client_count);
    if (!done && now < deadline) return;
    deadline = 0;
    printf("complete\n");
    fflush(stdout);
    if (resumed || !stalled_count) {
        print_result();
        exit(0);
    }
}

static void take_command(void) {
    char text[256];
    unsigned long long first, second;
    if (!fgets(text, sizeof text, stdin)) exit(0);
    if (sscanf(text, "window %llu %llu", &first, &second) == 2) {
        window_begin = first;
        window_end = second;
    } else if (sscanf(text, "finish %llu %llu", &first, &second) == 2) {
        last_n = first;
        deadline = now_ns() + second * 1000000u;
    } else if (sscanf(text, "resume %llu", &first) == 1) {
        resumed = true;
        deadline = now_ns() + first * 1000000u;
        for (unsigned i = 0; i < stalled_count; i++) watch(&clients[i]);
    } else {
        fprintf(stderr, "unknown command: %s", text);
        exit(2);
    }
}

static void measure_cpu(uint64_t now) {
    if (cpu_begin < 0 && window_begin && now >= window_begin) cpu_begin = cpu_seconds(pids);
    if (cpu_end < 0 && now >= window_end) cpu_end = cpu_seconds(pids);
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: see the head of stream_reader.c\n");
        return 2;
    }
    port = atoi(argv[1]);
    client_count = (unsigned)atoi(argv[2]);
    stalled_count = (unsigned)atoi(argv[3]);
    check_ids = argv[4][0] == '1';
    start_id = strtoull(argv[5], NULL, 10);
    hello = read_file(argv[6], &hello_size);
    ready_bytes = argv[7];
    pids = argv[8];
    epoll_fd = epoll_create1(0);
    /* Unbuffered, or a second command could wait unseen in the buffer. */
    setvbuf(stdin, NULL, _IONBF, 0);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &commands)) die("epoll_ctl");

    clients = calloc(client_count, sizeof *clients);
    for (unsigned i = 0; i < client_count; i++) {
        clients[i] = (client){.number = i, .stalled = i < stalled_count, .last_id = start_id};
        open_client(&clients[i]);
    }
    for (;;) {
        struct epoll_event events[256];
        int found = epoll_wait(epoll_fd, events, 256, 5);
        for (int i = 0; i < found; i++) {
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else take_command();
        }
        uint64_t now = now_ns();
        say_ready();
        measure_cpu(now);
        check_end(now);
    }
}
