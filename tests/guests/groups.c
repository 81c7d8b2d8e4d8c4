// Process groups and sessions: made, joined, signalled as a whole, waited for as a whole.
#include "t.h"

static void group(void) {
    pid_t leader = 0, kids[4];
    int ready[2];
    char bytes[4];
    EQ(pipe(ready), 0);
    for (int i = 0; i < 4; i++) {
        kids[i] = fork();
        CHECK(kids[i] != -1);
        if (kids[i] == 0) {
            EQ(setpgid(0, leader), 0);
            EQ(getpgrp(), leader ? leader : getpid());
            EQ(write(ready[1], "r", 1), 1);
            for (;;)
                i % 2 ? t_spin(0.05) : (void)pause();
        }
        if (!leader)
            leader = kids[0];
        setpgid(kids[i], leader);
    }
    CHECK(t_read_all(ready[0], bytes, 4));
    for (int i = 0; i < 4; i++)
        EQ(getpgid(kids[i]), leader);
    FAILS(waitpid(-getpgrp(), NULL, WNOHANG), ECHILD);
    EQ(waitpid(-leader, NULL, WNOHANG), 0);
    EQ(kill(-leader, SIGSTOP), 0);
    for (int i = 0; i < 4; i++) {
        int status;
        CHECK(waitpid(-leader, &status, WUNTRACED) > 0);
        CHECK(WIFSTOPPED(status));
    }
    EQ(killpg(leader, SIGCONT), 0);
    EQ(killpg(leader, SIGTERM), 0);
    for (int i = 0; i < 4; i++) {
        int status;
        CHECK(waitpid(-leader, &status, 0) > 0);
        EQ(status, SIGTERM);
    }
    FAILS(killpg(leader, 0), ESRCH);
    close(ready[0]);
    close(ready[1]);
}

static void session(void) {
    pid_t old = getsid(0);
    pid_t kid = fork();
    if (kid == 0) {
        EQ(getsid(0), old);
        EQ(setsid(), getpid());
        EQ(getsid(0), getpid());
        EQ(getpgrp(), getpid());
        FAILS(setsid(), EPERM);
        FAILS(setpgid(0, 0), EPERM);
        FAILS(open("/dev/tty", O_RDWR), ENXIO);
        t_spin(0.01);
        EQ(getsid(0), getpid());
        pid_t grand = fork();
        if (grand == 0) {
            EQ(getsid(0), getppid());
            FAILS(setpgid(getppid(), getpid()), ESRCH);
            _exit(0);
        }
        EQ(t_wait(grand), 0);
        _exit(9);
    }
    EQ(WEXITSTATUS(t_wait(kid)), 9);
    EQ(getsid(0), old);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        group();
        session();
    }
    t_ok(__FILE__);
}
