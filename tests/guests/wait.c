// The wait family: every kind of end and stop, told in statuses and in siginfo, with and without waiting.
#include "t.h"

static pid_t child(void (*body)(void)) {
    pid_t kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        body();
        _exit(0);
    }
    return kid;
}

static void exits(void) { _exit(5); }
static void spins(void) {
    for (;;)
        t_spin(0.05);
}
static void pauses(void) {
    for (;;)
        pause();
}
static void stops(void) {
    raise(SIGSTOP);
    t_spin(0.005);
    _exit(6);
}

static void info(pid_t pid, int options, int code, int status) {
    siginfo_t si;
    memset(&si, 0xee, sizeof si);
    EQ(waitid(P_PID, (id_t)pid, &si, options), 0);
    EQ(si.si_signo, SIGCHLD);
    EQ(si.si_code, code);
    EQ(si.si_pid, pid);
    EQ(si.si_status, status);
    EQ(si.si_uid, getuid());
}

static void ends(void) {
    pid_t kid = child(exits);
    info(kid, WEXITED | WNOWAIT, CLD_EXITED, 5);
    info(kid, WEXITED | WNOWAIT, CLD_EXITED, 5);
    EQ(WEXITSTATUS(t_wait(kid)), 5);
    siginfo_t si;
    FAILS(waitid(P_PID, (id_t)kid, &si, WEXITED), ECHILD);
}

static void killed(int sig, void (*body)(void)) {
    pid_t kid = child(body);
    int status;
    EQ(waitpid(kid, &status, WNOHANG), 0);
    t_sleep(0.01);
    EQ(kill(kid, sig), 0);
    info(kid, WEXITED, CLD_KILLED, sig);
}

static void stopped(void (*body)(void)) {
    pid_t kid = child(body);
    t_sleep(0.01);
    int status;
    for (int i = 0; i < 2; i++) {
        EQ(kill(kid, SIGSTOP), 0);
        EQ(waitpid(kid, &status, WUNTRACED), kid);
        CHECK(WIFSTOPPED(status));
        EQ(WSTOPSIG(status), SIGSTOP);
        siginfo_t si;
        memset(&si, 0, sizeof si);
        EQ(waitid(P_PID, (id_t)kid, &si, WEXITED | WNOHANG), 0);
        EQ(si.si_pid, 0);
        EQ(kill(kid, SIGCONT), 0);
        info(kid, WCONTINUED, CLD_CONTINUED, SIGCONT);
    }
    EQ(kill(kid, SIGSTOP), 0);
    info(kid, WSTOPPED, CLD_STOPPED, SIGSTOP);
    EQ(kill(kid, SIGKILL), 0);
    EQ(t_wait(kid), SIGKILL);
}

static void self_stop(void) {
    pid_t kid = child(stops);
    int status;
    EQ(waitpid(kid, &status, WUNTRACED), kid);
    CHECK(WIFSTOPPED(status));
    EQ(kill(kid, SIGCONT), 0);
    EQ(WEXITSTATUS(t_wait(kid)), 6);
}

static void any(void) {
    pid_t kids[8];
    int seen = 0;
    for (int i = 0; i < 8; i++) {
        kids[i] = fork();
        if (kids[i] == 0)
            _exit(i);
    }
    for (int i = 0; i < 8; i++) {
        int status;
        pid_t got = wait(&status);
        CHECK(got > 0 && WIFEXITED(status));
        EQ(got, kids[WEXITSTATUS(status)]);
        seen |= 1 << WEXITSTATUS(status);
    }
    EQ(seen, 255);
    FAILS(wait(NULL), ECHILD);
    FAILS(waitpid(1, NULL, 0), ECHILD);
    FAILS(waitpid(-1, NULL, 0x4000), EINVAL);
}

static void ignored(void) {
    signal(SIGCHLD, SIG_IGN);
    pid_t kid = child(exits);
    FAILS(waitpid(kid, NULL, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        ends();
        killed(SIGTERM, spins);
        killed(SIGKILL, spins);
        killed(SIGUSR1, pauses);
        killed(SIGRTMIN + 3, pauses);
        stopped(spins);
        stopped(pauses);
        self_stop();
        any();
        ignored();
    }
    t_ok(__FILE__);
}
