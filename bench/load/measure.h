/* What both load programs measure with: clock, latency histogram, CPU time of other processes. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Log-linear buckets of nanoseconds as in HdrHistogram: 64 steps per power of two, so that a
   bucket is at most 1.6 % wide. Values below 64 ns have buckets of their own. */
#define STEP_BITS 6
#define BUCKETS ((64 - STEP_BITS + 1) << STEP_BITS)

typedef struct { uint64_t count[BUCKETS]; } histogram;

static inline void histogram_add(histogram *h, uint64_t ns) {
    unsigned index;
    if (ns < (1u << STEP_BITS)) {
        index = (unsigned)ns;
    } else {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - STEP_BITS;
        index = ((shift + 1) << STEP_BITS) + (unsigned)((ns >> shift) & ((1u << STEP_BITS) - 1));
    }
    h->count[index]++;
}

/* The smallest value of a bucket: what Python is told, so that only C knows the layout. */
static uint64_t bucket_floor(unsigned index) {
    unsigned group = index >> STEP_BITS;
    if (group == 0) return index;
    return (uint64_t)((1u << STEP_BITS) + (index & ((1u << STEP_BITS) - 1))) << (group - 1);
}

static void histogram_print(const histogram *h) {
    const char *comma = "";
    printf("\"latency_ns\":[");
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (!h->count[i]) continue;
        printf("%s[%llu,%llu]", comma, (unsigned long long)bucket_floor(i),
               (unsigned long long)h->count[i]);
        comma = ",";
    }
    printf("]");
}

/* User and system seconds of the processes in a comma-separated list, all their threads. */
static double cpu_seconds(const char *pids) {
    double ticks = 0;
    while (*pids) {
        char path[64], text[1024];
        long pid = strtol(pids, (char **)&pids, 10);
        if (*pids == ',') pids++;
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) die(path);
        size_t size = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[size] = 0;
        /* The command name may hold spaces: fields count from the last bracket. */
        char *field = strrchr(text, ')');
        unsigned long user, system;
        if (!field || sscanf(field + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                             &user, &system) != 2) {
            fprintf(stderr, "cannot read %s\n", path);
            exit(1);
        }
        ticks += (double)(user + system);
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size) die(path);
    fclose(file);
    bytes[*size] = 0;
    return bytes;
}

#endif
