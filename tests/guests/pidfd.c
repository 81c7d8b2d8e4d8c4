// Descriptors of processes: opened, signalled through, polled, waited for; descriptors fetched from a child.
#include "t.h"
#include <linux/sched.h>
#include <poll.h>
#include <sys/syscall.h>

static pid_t clone_with_descriptor(int *pidfd) {
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        pid_t kid = fork();
        if (kid == 0)
            for (;;)
                t_spin(0.01);
        int fd = (int)syscall(SYS_pidfd_open, kid, 0);
        CHECK(fd != -1);
        struct pollfd p = {fd, POLLIN, 0};
        EQ(poll(&p, 1, 10), 0);
        EQ(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0), 0);
        EQ(poll(&p, 1, 10000), 1);
        siginfo_t si;
        EQ(waitid((idtype_t)3 /* P_PIDFD */, (id_t)fd, &si, WEXITED), 0);
        EQ(si.si_pid, kid);
        EQ(si.si_status, SIGTERM);
        FAILS(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
        close(fd);

        int pidfd = -1;
        kid = clone_with_descriptor(&pidfd);
        CHECK(kid != -1);
        if (kid == 0) {
            t_spin(0.003);
            _exit(4);
        }
        CHECK(pidfd != -1);
        p.fd = pidfd;
        EQ(poll(&p, 1, 10000), 1);
        EQ(WEXITSTATUS(t_wait(kid)), 4);
        close(pidfd);
        FAILS(syscall(SYS_pidfd_open, -1, 0), EINVAL);
    }
    t_ok(__FILE__);
}
