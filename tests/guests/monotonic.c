// variants: static
// Clocks that count from a start go on at every node as if they were home's, read by any way, and sleeps until a time of theirs end then.
#include "t.h"
#include <sys/syscall.h>

static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME};

static double called(clockid_t clock) {
    struct timespec now;
    EQ(syscall(SYS_clock_gettime, clock, &now), 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void forward(void) {
    static double last[2];
    for (int round = 0; round < 3000; round++)
        for (int i = 0; i < 2; i++) {
            double now = round % 2 ? called(clocks[i]) : t_clock(clocks[i]);
            if (now < last[i])
                fprintf(stderr, "clock %d went back by %.9f s\n", (int)clocks[i], last[i] - now);
            CHECK(now >= last[i]);
            last[i] = now;
        }
}

static void sleeps(void) {
    for (int i = 0; i < 2; i++) {
        struct timespec until;
        EQ(clock_gettime(clocks[i], &until), 0);
        until.tv_nsec += 25000000;
        if (until.tv_nsec >= 1000000000)
            until.tv_sec++, until.tv_nsec -= 1000000000;
        double begin = t_clock(clocks[i]);
        EQ(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);
        double now = t_clock(clocks[i]);
        CHECK(now >= (double)until.tv_sec + (double)until.tv_nsec / 1e9 - 1e-6);
        CHECK(now - begin < 10);
        struct timespec nap = {0, 25000000};
        begin = t_clock(clocks[i]);
        EQ(nanosleep(&nap, NULL), 0);
        now = t_clock(clocks[i]) - begin;
        CHECK(now >= 0.0248 && now < 10);
    }
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        forward();
        sleeps();
    }
    t_ok(__FILE__);
}
