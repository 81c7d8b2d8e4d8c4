// CPU time of children, wherever they used it: what each used by its own clock is what its parent is told by every call.
#include "t.h"
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>

/* A little; ends by the clock of the process. */
#define AMOUNT 0.01

static double seconds(const struct rusage *usage) {
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static double burn(double amount) {
    double now, end = t_clock(CLOCK_PROCESS_CPUTIME_ID) + amount;
    volatile uint64_t word = 1;
    while ((now = t_clock(CLOCK_PROCESS_CPUTIME_ID)) < end)
        for (int i = 0; i < 100000; i++)
            word = word * 3 + 1;
    return now;
}

static double of_children(void) {
    struct rusage usage;
    EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return seconds(&usage);
}

/* Ticks, which are 10 ms. */
static double of_children_by_times(void) {
    struct tms now;
    CHECK(times(&now) != (clock_t)-1);
    return (double)(now.tms_cutime + now.tms_cstime) / (double)sysconf(_SC_CLK_TCK);
}

/* A child that computes and tells on the pipe what it has used; with a child of its own that does the same. */
static pid_t start(int to, int generations) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (generations > 1) {
        pid_t kid = start(to, generations - 1);
        EQ(t_wait(kid), 0);
    }
    double used = burn(AMOUNT);
    EQ(write(to, &used, sizeof used), sizeof used);
    _exit(0);
}

static double told(int from, int count) {
    double sum = 0, one;
    while (count-- > 0) {
        CHECK(t_read_all(from, &one, sizeof one));
        sum += one;
    }
    return sum;
}

/* At least what it was when the child told; not much more than that (it only has to end). */
static int about(double got, double told) {
    int good = got >= told - 0.001 && got <= 2 * told + 0.5;
    if (!good)
        fprintf(stderr, "%f s, but the children told %f s\n", got, told);
    return good;
}

/* Waits in one of four ways and gives the child's usage, if that way tells it. */
static double wait_for(pid_t kid, int way) {
    struct rusage usage;
    memset(&usage, 0, sizeof usage);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int status;
    switch (way) {
    case 0:
        EQ(wait4(kid, &status, 0, &usage), kid);
        EQ(status, 0);
        return seconds(&usage);
    case 1:
        EQ(syscall(SYS_waitid, P_PID, kid, &info, WEXITED, &usage), 0);
        EQ(info.si_pid, kid);
        return seconds(&usage);
    case 2:
        EQ(syscall(SYS_waitid, P_PID, kid, &info, WEXITED | WNOWAIT, &usage), 0);
        EQ(info.si_pid, kid);
        EQ(t_wait(kid), 0);
        return seconds(&usage);
    default:
        EQ(t_wait(kid), 0);
        return -1;
    }
}

static void waited(int from, int to, int way, int generations) {
    double before = of_children(), before_by_times = of_children_by_times();
    pid_t kid = start(to, generations);
    double usage = wait_for(kid, way), sum = told(from, generations);
    if (usage >= 0 && !about(usage, sum)) {
        fprintf(stderr, "generations %d, way %d\n", generations, way);
        CHECK(!"the usage of a child");
    }
    CHECK(about(of_children() - before, sum));
    CHECK(of_children_by_times() - before_by_times >= sum - 0.025 * generations);
}

/* Children that nobody waits for are not counted. */
static void ignored(int from, int to, int how) {
    double before = of_children();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = how ? SIG_DFL : SIG_IGN;
    action.sa_flags = how ? SA_NOCLDWAIT : 0;
    EQ(sigaction(SIGCHLD, &action, NULL), 0);
    pid_t kid = start(to, 1);
    FAILS(waitpid(kid, NULL, 0), ECHILD);
    told(from, 1);
    EQ((int)((of_children() - before) * 1e6), 0);
    signal(SIGCHLD, SIG_DFL);
}

static void others_clock(int to, int from) {
    int hold[2];
    EQ(pipe(hold), 0);
    pid_t kid = fork();
    if (kid == 0) {
        char byte;
        double used = burn(AMOUNT);
        EQ(write(to, &used, sizeof used), sizeof used);
        EQ(read(hold[0], &byte, 1), 1);
        _exit(0);
    }
    double sum = told(from, 1);
    clockid_t clock;
    EQ(clock_getcpuclockid(kid, &clock), 0);
    /* Others are told with some delay; it never goes back. */
    double now = 0, last = 0;
    while ((now = t_clock(clock)) < sum) {
        CHECK(now >= last);
        last = now;
        t_sleep(0.005);
    }
    CHECK(about(now, sum));
    EQ(write(hold[1], "x", 1), 1);
    EQ(t_wait(kid), 0);
    close(hold[0]), close(hold[1]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int pipes[2];
    EQ(pipe(pipes), 0);
    for (int round = 0; t_more() || round < 4; round++) {
        waited(pipes[0], pipes[1], round % 4, 1 + round / 4 % 2);
        waited(pipes[0], pipes[1], 3 - round % 4, 2 - round / 4 % 2);
        if (round % 4 < 2)
            ignored(pipes[0], pipes[1], round % 2);
        else if (round % 4 == 2)
            others_clock(pipes[1], pipes[0]);
    }
    t_ok(__FILE__);
}
