// variants: static musl
// Signals with what comes along: sender, value, code; queued real-time signals in order; children's ends.
#include "t.h"
#include <sys/syscall.h>

static volatile int count, last_code, last_value, last_status;
static volatile pid_t last_pid;
static volatile uid_t last_uid;
static volatile int order[64];

static void note(int sig, siginfo_t *si, void *context) {
    (void)context;
    EQ(si->si_signo, sig);
    last_code = si->si_code;
    last_pid = si->si_pid;
    last_uid = si->si_uid;
    last_value = sig == SIGCHLD ? 0 : si->si_value.sival_int;
    last_status = sig == SIGCHLD ? si->si_status : 0;
    order[count++ % 64] = sig == SIGCHLD ? si->si_code : si->si_value.sival_int;
}

static void expect(int code, pid_t pid) {
    while (count == 0)
        t_spin(0.0005);
    EQ(count, 1);
    EQ(last_code, code);
    EQ(last_pid, pid);
    EQ(last_uid, getuid());
    count = 0;
}

static void from_self(void) {
    EQ(kill(getpid(), SIGUSR1), 0);
    expect(SI_USER, getpid());
    EQ(raise(SIGUSR1), 0);
    expect(SI_TKILL, getpid());
    EQ(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = -77}), 0);
    EQ(last_value, -77);
    expect(SI_QUEUE, getpid());
    EQ(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1), 0);
    expect(SI_TKILL, getpid());
}

static void from_child(void) {
    pid_t me = getpid(), kid = fork();
    if (kid == 0) {
        EQ(sigqueue(me, SIGUSR1, (union sigval){.sival_int = 4711}), 0);
        pause();
        _exit(0);
    }
    expect(SI_QUEUE, kid);
    EQ(last_value, 4711);
    EQ(kill(kid, SIGKILL), 0);
    expect(CLD_KILLED, kid);
    EQ(last_status, SIGKILL);
    t_wait(kid);
    kid = fork();
    if (kid == 0)
        _exit(55);
    expect(CLD_EXITED, kid);
    EQ(last_status, 55);
    t_wait(kid);
}

static void stops(void) {
    pid_t kid = fork();
    if (kid == 0)
        for (;;)
            t_spin(0.02);
    EQ(kill(kid, SIGSTOP), 0);
    expect(CLD_STOPPED, kid);
    EQ(last_status, SIGSTOP);
    EQ(kill(kid, SIGCONT), 0);
    expect(CLD_CONTINUED, kid);
    EQ(last_status, SIGCONT);
    EQ(kill(kid, SIGTERM), 0);
    expect(CLD_KILLED, kid);
    EQ(t_wait(kid), SIGTERM);
}

static void queued(void) {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGUSR1);
    EQ(sigprocmask(SIG_BLOCK, &set, &old), 0);
    for (int i = 0; i < 20; i++) {
        EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}), 0);
        EQ(kill(getpid(), SIGUSR1), 0);
        if (i == 10)
            t_spin(0.01);
    }
    sigset_t pending;
    EQ(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN + 1) && !sigismember(&pending, SIGUSR2));
    EQ(count, 0);
    siginfo_t si;
    EQ(sigtimedwait(&set, &si, &(struct timespec){5, 0}), SIGUSR1);
    EQ(si.si_code, SI_USER);
    EQ(sigprocmask(SIG_SETMASK, &old, NULL), 0);
    while (count < 20)
        t_spin(0.0005);
    EQ(count, 20);
    for (int i = 0; i < 20; i++)
        EQ(order[i], i);
    count = 0;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    t_handle(SIGUSR1, note, SA_RESTART);
    t_handle(SIGCHLD, note, SA_RESTART);
    t_handle(SIGRTMIN + 1, note, SA_RESTART);
    while (t_more()) {
        from_self();
        from_child();
        stops();
        queued();
    }
    t_ok(__FILE__);
}
