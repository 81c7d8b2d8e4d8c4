// libs: -lpthread
// variants: musl
// Waits with time-outs on futexes, in several threads: they end when they are woken, and when their time is over, wherever it was spent.
#include "t.h"
#include <pthread.h>
#include <sys/syscall.h>

enum { WAIT, WAKE, BITSET = 9, PRIVATE = 128, REALTIME = 256 };

struct wait {
    int word, op, done;
    struct timespec time;
    long result;
    int code;
    double took;
};

static long futex(int *word, int op, int value, struct timespec *time) {
    return syscall(SYS_futex, word, op, value, time, NULL, ~0U);
}

static void *waits(void *arg) {
    struct wait *wait = arg;
    double began = t_clock(CLOCK_MONOTONIC);
    do {
        errno = 0;
        wait->result = futex(&wait->word, wait->op, 0, &wait->time);
        wait->code = errno;
    } while (wait->result == -1 && wait->code == EINTR);
    wait->took = t_clock(CLOCK_MONOTONIC) - began;
    __atomic_store_n(&wait->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static struct timespec after(double seconds, clockid_t clock) {
    double at = seconds + (clock < 0 ? 0 : t_clock(clock));
    return (struct timespec){(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};
}

#define WAITS 5
static struct wait all[WAITS];

static void begin(pthread_t *threads, double seconds) {
    const int ops[WAITS] = {WAIT | PRIVATE, WAIT, BITSET | PRIVATE, BITSET, BITSET | PRIVATE | REALTIME};
    for (int i = 0; i < WAITS; i++) {
        clockid_t clock = i < 2 ? -1 : i == 4 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        all[i] = (struct wait){.op = ops[i], .time = after(seconds, clock)};
        EQ(pthread_create(&threads[i], NULL, waits, &all[i]), 0);
    }
}

static void end(pthread_t *threads, int woken) {
    for (int i = 0; i < WAITS; i++) {
        EQ(pthread_join(threads[i], NULL), 0);
        // Who was told before it began to wait has not waited.
        CHECK(woken ? all[i].result == 0 || all[i].code == EAGAIN : all[i].code == ETIMEDOUT);
        CHECK(all[i].took < 25);
    }
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        pthread_t threads[WAITS];
        begin(threads, 60);
        t_spin(0.05);
        for (int i = 0; i < WAITS; i++) {
            __atomic_store_n(&all[i].word, 1, __ATOMIC_RELEASE);
            futex(&all[i].word, WAKE | (all[i].op & PRIVATE), 9, NULL);
        }
        end(threads, 1);
        begin(threads, 0.12);
        t_spin(0.05);
        end(threads, 0);
        // The others may have begun late.
        CHECK(all[0].took >= 0.12 && all[1].took >= 0.12);
    }
    t_ok(__FILE__);
}
