/* What every test guest shares. A guest exercises one area, prints only what does not depend on timing or on numbers that
 * the kernel picks, and ends with the line `ok NAME`; anything unexpected is told on standard error and ends with status 1.
 *
 * A guest repeats its rounds until its time is over (first argument, seconds; 1 by default), at least three times, so that a
 * shaken run moves it in as many places as possible. */
#ifndef T_H
#define T_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : t_fail(__FILE__, __LINE__, #condition))
/* Two integers must be equal; both are shown if not. */
#define EQ(left, right) t_equal(__FILE__, __LINE__, #left " == " #right, (long long)(left), (long long)(right))
/* A call must fail with this errno. */
#define FAILS(call, code) (errno = 0, EQ((call), -1), EQ(errno, (code)))

static inline const char *t_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

__attribute__((noreturn)) static inline void t_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "FAIL %s:%d: %s (errno %d %s)\n", t_base(file), line, what, errno, strerror(errno));
    fflush(stdout);
    _exit(1);
}

static inline void t_equal(const char *file, int line, const char *what, long long left, long long right) {
    if (left == right)
        return;
    fprintf(stderr, "FAIL %s:%d: %s: %lld and %lld (errno %d %s)\n", t_base(file), line, what, left, right, errno,
            strerror(errno));
    fflush(stdout);
    _exit(1);
}

static double t_limit = 1, t_start;
static int t_rounds;

static inline double t_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline double t_now(void) { return t_clock(CLOCK_MONOTONIC); }

static inline void t_init(int argc, char **argv) {
    if (argc > 1)
        t_limit = atof(argv[1]);
    t_start = t_now();
}

/* True until the time is over, and in any case three times. */
static inline int t_more(void) { return t_rounds++ < 3 || t_now() - t_start < t_limit; }

/* Uses this many seconds of wall time, computing. */
static inline void t_spin(double seconds) {
    double end = t_now() + seconds;
    volatile uint64_t word = 1;
    while (t_now() < end)
        for (int i = 0; i < 1000; i++)
            word = word * 6364136223846793005u + 1442695040888963407u;
}

static inline void t_sleep(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
}

/* A cheap, good enough stream of numbers, the same in every run. */
static inline uint64_t t_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t t_hash(const void *data, size_t length) {
    const unsigned char *byte = data;
    uint64_t hash = 14695981039346656037u;
    while (length--)
        hash = (hash ^ *byte++) * 1099511628211u;
    return hash;
}

/* Reads or writes all of it. */
static inline int t_read_all(int fd, void *data, size_t length) {
    for (size_t got = 0; got < length;) {
        ssize_t n = read(fd, (char *)data + got, length - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            return 0;
        if (n > 0)
            got += (size_t)n;
    }
    return 1;
}

static inline int t_write_all(int fd, const void *data, size_t length) {
    for (size_t put = 0; put < length;) {
        ssize_t n = write(fd, (const char *)data + put, length - put);
        if (n < 0 && errno != EINTR)
            return 0;
        if (n > 0)
            put += (size_t)n;
    }
    return 1;
}

/* Waits for this child and gives its raw status. */
static inline int t_wait(pid_t pid) {
    int status = -1;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) == -1 && errno == EINTR)
        ;
    EQ(got, pid);
    return status;
}

static inline void t_handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    EQ(sigaction(signal, &action, NULL), 0);
}

static inline void t_ok(const char *file) {
    const char *name = t_base(file);
    printf("ok %.*s\n", (int)(strlen(name) - 2), name);
    exit(0);
}
#endif
