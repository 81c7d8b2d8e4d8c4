// A handler interrupts blocking calls: with SA_RESTART they go on, without they say EINTR; some never go on.
#include "t.h"
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>

/* A queued signal: none is lost when two are close to each other. */
#define KNOCK (SIGRTMIN + 2)

static volatile int hits;
static void hit(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    hits++;
}

/* A child that sends three signals and then a byte. Signals come 15 ms apart. */
static pid_t pester(int fd) {
    pid_t parent = getpid(), kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        for (int i = 0; i < 3; i++) {
            t_sleep(0.015);
            kill(parent, KNOCK);
        }
        t_sleep(0.015);
        if (fd >= 0)
            EQ(write(fd, "x", 1), 1);
        _exit(8);
    }
    return kid;
}

/* A child that sends signals, 15 ms apart, until something can be read here: some may come before the call that they are to interrupt. */
static pid_t pester_until(int fd) {
    pid_t parent = getpid(), kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        struct pollfd p = {fd, POLLIN, 0};
        while (poll(&p, 1, 15) == 0)
            kill(parent, KNOCK);
        _exit(8);
    }
    return kid;
}

static void restarted(void) {
    int ends[2];
    char byte;
    EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    t_handle(KNOCK, hit, SA_RESTART);
    hits = 0;
    pid_t kid = pester(ends[1]);
    EQ(read(ends[0], &byte, 1), 1);
    EQ(hits, 3);
    EQ(WEXITSTATUS(t_wait(kid)), 8);
    hits = 0;
    kid = pester(ends[1]);
    EQ(recv(ends[0], &byte, 1, 0), 1);
    EQ(hits, 3);
    int status;
    EQ(waitpid(kid, &status, 0), kid);
    hits = 0;
    kid = pester(-1);
    EQ(waitpid(kid, &status, 0), kid);
    EQ(WEXITSTATUS(status), 8);
    EQ(hits, 3);
    close(ends[0]);
    close(ends[1]);
}

static int one(int which, int fd) {
    char byte;
    struct pollfd p = {fd, POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timespec nap = {30, 0};
    struct timeval limit = {30, 0};
    switch (which) {
    case 0: return (int)read(fd, &byte, 1);
    case 1: return poll(&p, 1, 30000);
    case 2: return select(fd + 1, &set, NULL, NULL, &limit);
    case 3: return nanosleep(&nap, NULL);
    case 4: return pause();
    case 5: return (int)recv(fd, &byte, 1, 0);
    case 6: return ppoll(&p, 1, &nap, NULL);
    case 7: return waitpid(-1, NULL, 0);
    default:
        EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        return (int)recv(fd, &byte, 1, 0);
    }
}

static void interrupted(int which, int flags) {
    int ends[2];
    EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    t_handle(KNOCK, hit, flags);
    hits = 0;
    pid_t kid = pester_until(ends[1]);
    FAILS(one(which, ends[0]), EINTR);
    CHECK(hits >= 1);
    t_handle(KNOCK, hit, SA_RESTART);
    EQ(write(ends[0], "x", 1), 1);
    EQ(WEXITSTATUS(t_wait(kid)), 8);
    close(ends[0]);
    close(ends[1]);
}

/* What is left is counted to the end of the timer's slack, natively too: it can be more than what was asked for. */
#define SLACK 50000

static void left_over(void) {
    t_handle(KNOCK, hit, 0);
    hits = 0;
    pid_t kid = pester(-1);
    struct timespec want = {0, 500000000}, left;
    double begin = t_now(), total = 0.5;
    int interruptions = 0, before = hits;
    while (nanosleep(&want, &left) == -1) {
        EQ(errno, EINTR);
        interruptions++;
        CHECK(left.tv_sec == 0 && left.tv_nsec < want.tv_nsec + SLACK);
        want = left;
    }
    /* Each is a handler's doing; but signals may all have come before the first sleep began. */
    CHECK(interruptions <= hits && (hits - before < 2 || interruptions >= 1));
    CHECK(t_now() - begin >= total - 0.001 && t_now() - begin < total + 2);
    t_handle(KNOCK, hit, SA_RESTART);
    t_wait(kid);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    do {
        restarted();
        for (int which = 0; which <= 8; which++)
            interrupted(which, 0);
        for (int which = 1; which <= 4; which++)
            interrupted(which, SA_RESTART); /* these never go on, whatever the flag */
        interrupted(8, SA_RESTART);
        left_over();
    } while (t_now() - t_start < t_limit);
    t_ok(__FILE__);
}
