/* What the benchmarks' programs share: a clock, options of the form name=value, and one way to fail.
 *
 * Every program prints "ready" when it is, works until it is done or until standard input ends, and prints one line of JSON. */

#ifndef PODMIRROR_BENCH_H
#define PODMIRROR_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* CLOCK_MONOTONIC is one clock for all processes of a machine, so a stamp of one can be compared in another. */
static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

/* The value of `name=value` among the arguments, or the fallback. */
static inline const char *text_option(int argc, char **argv, const char *name, const char *fallback)
{
    size_t length = strlen(name);
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=')
            return argv[i] + length + 1;
    return fallback;
}

static inline double option(int argc, char **argv, const char *name, double fallback)
{
    const char *text = text_option(argc, argv, name, NULL);
    return text ? strtod(text, NULL) : fallback;
}

static inline void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory)
        fail("calloc");
    return memory;
}

#endif
