// Waiting for signals: sigsuspend, sigtimedwait, signalfd, pselect and ppoll with a mask of their own.
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

static volatile int hits;
static void hit(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    hits++;
}

static sigset_t none, usr;

static pid_t later(double seconds, int sig) {
    pid_t parent = getpid(), kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        t_sleep(seconds);
        kill(parent, sig);
        _exit(0);
    }
    return kid;
}

static void with_mask(int which) {
    hits = 0;
    pid_t kid = later(0.02, SIGUSR1);
    struct timespec limit = {20, 0};
    int ends[2];
    EQ(pipe(ends), 0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    struct pollfd p = {ends[0], POLLIN, 0};
    int poller = epoll_create1(0);
    struct epoll_event event;
    t_spin(0.03);
    EQ(hits, 0);
    if (which == 0)
        FAILS(sigsuspend(&none), EINTR);
    else if (which == 1)
        FAILS(pselect(ends[0] + 1, &set, NULL, NULL, &limit, &none), EINTR);
    else if (which == 2)
        FAILS(ppoll(&p, 1, &limit, &none), EINTR);
    else
        FAILS(epoll_pwait(poller, &event, 1, 20000, &none), EINTR);
    EQ(hits, 1);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    EQ(sigismember(&now, SIGUSR1), 1);
    EQ(t_wait(kid), 0);
    close(ends[0]);
    close(ends[1]);
    close(poller);
}

static void timed(void) {
    siginfo_t si;
    pid_t kid = later(0.03, SIGUSR1);
    EQ(sigtimedwait(&usr, &si, &(struct timespec){20, 0}), SIGUSR1);
    EQ(si.si_pid, kid);
    EQ(si.si_code, SI_USER);
    EQ(t_wait(kid), 0);
    double begin = t_now();
    FAILS(sigtimedwait(&usr, &si, &(struct timespec){0, 60000000}), EAGAIN);
    CHECK(t_now() - begin >= 0.0599);
    FAILS(sigtimedwait(&usr, NULL, &(struct timespec){0, 0}), EAGAIN);
    kid = later(0.01, SIGUSR1);
    EQ(sigwaitinfo(&usr, &si), SIGUSR1);
    EQ(si.si_pid, kid);
    EQ(t_wait(kid), 0);
    EQ(hits, 0);
}

static void by_descriptor(void) {
    int fd = signalfd(-1, &usr, SFD_CLOEXEC | SFD_NONBLOCK);
    struct signalfd_siginfo si[4];
    FAILS(read(fd, si, sizeof si), EAGAIN);
    pid_t kid = later(0.02, SIGUSR1);
    struct pollfd p = {fd, POLLIN, 0};
    EQ(poll(&p, 1, 20000), 1);
    EQ(read(fd, si, sizeof si), (ssize_t)sizeof si[0]);
    EQ(si[0].ssi_signo, SIGUSR1);
    EQ(si[0].ssi_pid, kid);
    EQ(t_wait(kid), 0);
    EQ(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 31}), 0);
    EQ(fcntl(fd, F_SETFL, 0), 0);
    EQ(read(fd, si, sizeof si), (ssize_t)sizeof si[0]);
    EQ(si[0].ssi_code, SI_QUEUE);
    EQ(si[0].ssi_int, 31);
    close(fd);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    sigemptyset(&none);
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    EQ(sigprocmask(SIG_BLOCK, &usr, NULL), 0);
    t_handle(SIGUSR1, hit, 0);
    while (t_more()) {
        for (int which = 0; which < 4; which++)
            with_mask(which);
        hits = 0;
        timed();
        by_descriptor();
        EQ(hits, 0);
    }
    t_ok(__FILE__);
}
