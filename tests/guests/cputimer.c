// Timers of CPU time: they fire by what the process computes, wherever it does so; a limit of CPU time ends it.
#include "t.h"
#include <sys/resource.h>
#include <sys/time.h>

static volatile int ticks;
static void tick(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    ticks++;
}

static void cpu_timer(int which, int sig) {
    t_handle(sig, tick, SA_RESTART);
    ticks = 0;
    struct itimerval timer = {{0, 20000}, {0, 20000}};
    EQ(setitimer(which, &timer, NULL), 0);
    double begin = t_clock(CLOCK_PROCESS_CPUTIME_ID);
    volatile uint64_t word = 1;
    while (ticks < 4)
        word = word * 3 + 1;
    double used = t_clock(CLOCK_PROCESS_CPUTIME_ID) - begin;
    /* 0.08 s were charged, tick by tick to whoever ran just then; the clock counts exactly. With 20 ticks of 4 ms the two differ by 18 ms
       (standard deviation) on a busy machine: natively 0.056 s is seen now and then. */
    CHECK(used > 0.02 && used < 2);
    memset(&timer, 0, sizeof timer);
    EQ(setitimer(which, &timer, NULL), 0);
}

static void limit(void) {
    pid_t kid = fork();
    if (kid == 0) {
        struct rlimit core = {0, 0}, cpu = {1, 2};
        setrlimit(RLIMIT_CORE, &core);
        EQ(setrlimit(RLIMIT_CPU, &cpu), 0);
        volatile uint64_t word = 1;
        for (;;)
            word = word * 3 + 1;
    }
    EQ(WTERMSIG(t_wait(kid)), SIGXCPU);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        cpu_timer(ITIMER_VIRTUAL, SIGVTALRM);
        cpu_timer(ITIMER_PROF, SIGPROF);
    }
    limit();
    t_ok(__FILE__);
}
