// Interval timers: real ones arrive while computing and while blocked; a storm of alarms loses nothing else.
#include "t.h"
#include <sys/time.h>

static volatile int ticks;
static void tick(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    EQ(si->si_code, SI_KERNEL);
    ticks++;
}

static void every(long microseconds) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static uint64_t work(int rounds) {
    uint64_t state = 88172645463325252u, sum = 0;
    for (int i = 0; i < rounds; i++)
        sum += t_random(&state);
    return sum;
}

static void storm(void) {
    uint64_t quiet = work(3000000);
    ticks = 0;
    every(1000);
    double begin = t_now();
    do
        EQ(work(3000000), quiet);
    while (t_now() - begin < 0.2 || ticks < 5);
    int ends[2];
    EQ(pipe(ends), 0);
    pid_t kid = fork();
    if (kid == 0) {
        struct itimerval timer;
        EQ(getitimer(ITIMER_REAL, &timer), 0); /* not inherited */
        EQ(timer.it_value.tv_sec + timer.it_value.tv_usec, 0);
        close(ends[0]);
        for (int i = 0; i < 2000; i++)
            CHECK(t_write_all(ends[1], &i, sizeof i));
        _exit(0);
    }
    close(ends[1]);
    for (int i = 0, got; i < 2000; i++) {
        CHECK(t_read_all(ends[0], &got, sizeof got));
        EQ(got, i);
    }
    close(ends[0]);
    EQ(t_wait(kid), 0);
    every(0);
}

static void once(void) {
    ticks = 0;
    double begin = t_now();
    EQ(alarm(0), 0);
    EQ(alarm(1000), 0);
    unsigned left = alarm(0);
    CHECK(left == 1000 || left == 999);
    struct itimerval timer = {{0, 0}, {0, 50000}}, now;
    EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
    EQ(getitimer(ITIMER_REAL, &now), 0);
    CHECK(now.it_value.tv_sec == 0 && now.it_value.tv_usec <= 50000);
    while (!ticks)
        FAILS(pause(), EINTR);
    CHECK(t_now() - begin >= 0.0499);
    EQ(getitimer(ITIMER_REAL, &now), 0);
    EQ(now.it_value.tv_usec, 0);
    EQ(ticks, 1);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    t_handle(SIGALRM, tick, SA_RESTART);
    while (t_more()) {
        storm();
        ticks = 0;
        signal(SIGALRM, SIG_IGN); /* one may still be under way */
        t_handle(SIGALRM, tick, 0);
        once();
        t_handle(SIGALRM, tick, SA_RESTART);
    }
    t_ok(__FILE__);
}
