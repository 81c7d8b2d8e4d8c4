// variants: static musl
// Clocks never go back, agree with each other, and sleeps last as long as asked and not much longer.
#include "t.h"
#include <sys/syscall.h>
#include <sys/time.h>

static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
                                   CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE, CLOCK_PROCESS_CPUTIME_ID};
#define CLOCKS (int)(sizeof clocks / sizeof clocks[0])

static void forward(void) {
    static double last[CLOCKS];
    for (int round = 0; round < 3000; round++)
        for (int i = 0; i < CLOCKS; i++) {
            double now = t_clock(clocks[i]);
            if (now < last[i])
                fprintf(stderr, "clock %d went back by %.9f s\n", (int)clocks[i], last[i] - now);
            CHECK(now >= last[i]);
            last[i] = now;
        }
}

static void agree(void) {
    static double first = 0;
    double between = t_clock(CLOCK_REALTIME) - t_now();
    if (first == 0)
        first = between;
    CHECK(between - first < 0.5 && first - between < 0.5);
    struct timespec raw;
    double low = t_now();
    EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw), 0);
    double called = (double)raw.tv_sec + (double)raw.tv_nsec / 1e9, high = t_now();
    CHECK(low <= called && called <= high);
    struct timeval day;
    low = t_clock(CLOCK_REALTIME);
    EQ(gettimeofday(&day, NULL), 0);
    double told = (double)day.tv_sec + (double)day.tv_usec / 1e6;
    CHECK(told >= low - 0.001 && told < low + 5);
    time_t now = time(NULL);
    CHECK((double)now >= low - 1.1 && (double)now < low + 5);
    CHECK(t_clock(CLOCK_BOOTTIME) >= t_now() - 0.1);
    FAILS(clock_gettime(1234, &raw), EINVAL);
}

static void sleeps(void) {
    for (int which = 0; which < 4; which++) {
        struct timespec nap = {0, 25000000}, wall;
        double begin = t_now();
        if (which == 0)
            EQ(nanosleep(&nap, NULL), 0);
        else if (which == 1)
            EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL), 0);
        else if (which == 2)
            EQ(usleep(25000), 0);
        else {
            clock_gettime(CLOCK_REALTIME, &wall);
            wall.tv_nsec += 25000000;
            if (wall.tv_nsec >= 1000000000)
                wall.tv_sec++, wall.tv_nsec -= 1000000000;
            EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &wall, NULL), 0);
        }
        double took = t_now() - begin;
        CHECK(took >= 0.0248 && took < 3);
    }
    double begin = t_now();
    EQ(sleep(0), 0);
    uint32_t word = 7;
    struct timespec limit = {0, 25000000};
    FAILS(syscall(SYS_futex, &word, 0 | 128 /* FUTEX_WAIT_PRIVATE */, 7, &limit, NULL, 0), ETIMEDOUT);
    CHECK(t_now() - begin >= 0.0248);
    FAILS(syscall(SYS_futex, &word, 0 | 128, 8, &limit, NULL, 0), EAGAIN);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        forward();
        agree();
        sleeps();
    }
    t_ok(__FILE__);
}
