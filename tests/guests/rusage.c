// CPU time used anywhere counts: of the process, of its children, in every call that tells it, and never goes back.
#include "t.h"
#include <sys/resource.h>
#include <sys/times.h>

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static double self(void) {
    struct rusage usage;
    EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/* Computes until this much CPU time was used by the clock of the process. */
static void burn(double amount) {
    double end = t_clock(CLOCK_PROCESS_CPUTIME_ID) + amount;
    volatile uint64_t word = 1;
    while (t_clock(CLOCK_PROCESS_CPUTIME_ID) < end)
        for (int i = 0; i < 100000; i++)
            word = word * 3 + 1;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    double last_self = 0, last_clock = 0, last_children = 0;
    clock_t last_times = 0;
    while (t_more()) {
        double before = self(), clock_before = t_clock(CLOCK_PROCESS_CPUTIME_ID);
        CHECK(before >= last_self - 0.011 && clock_before >= last_clock);
        burn(0.1);
        double used = self() - before, by_clock = t_clock(CLOCK_PROCESS_CPUTIME_ID) - clock_before;
        CHECK(used >= 0.08 && used < 3);
        CHECK(by_clock >= 0.099 && by_clock < 3);
        struct tms now;
        CHECK(times(&now) != (clock_t)-1);
        CHECK(now.tms_utime + now.tms_stime >= last_times);
        CHECK((double)(now.tms_utime + now.tms_stime) / (double)sysconf(_SC_CLK_TCK) >= before + used - 0.05);
        CHECK((double)clock() / CLOCKS_PER_SEC >= by_clock);
        last_times = now.tms_utime + now.tms_stime;
        last_self = self();
        last_clock = t_clock(CLOCK_PROCESS_CPUTIME_ID);

        pid_t kid = fork();
        if (kid == 0) {
            CHECK(self() < 0.08); /* starts at nought */
            burn(0.1);
            _exit(3);
        }
        struct rusage usage;
        int status;
        pid_t got;
        while ((got = wait4(kid, &status, 0, &usage)) == -1 && errno == EINTR)
            ;
        EQ(got, kid);
        EQ(WEXITSTATUS(status), 3);
        double child = seconds(usage.ru_utime) + seconds(usage.ru_stime);
        CHECK(child >= 0.08 && child < 3);
        EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
        double children = seconds(usage.ru_utime) + seconds(usage.ru_stime);
        CHECK(children >= last_children + 0.08);
        last_children = children;
        times(&now);
        CHECK((double)(now.tms_cutime + now.tms_cstime) / (double)sysconf(_SC_CLK_TCK) >= children - 0.05);
    }
    t_ok(__FILE__);
}
