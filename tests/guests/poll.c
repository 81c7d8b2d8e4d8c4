// select, poll and epoll: what is ready, time-outs that last as long as asked, descriptors up to 1000 and beyond.
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

static void timeouts(void) {
    int ends[2], poller = epoll_create1(EPOLL_CLOEXEC);
    EQ(pipe(ends), 0);
    struct epoll_event event = {.events = EPOLLIN};
    EQ(epoll_ctl(poller, EPOLL_CTL_ADD, ends[0], &event), 0);
    for (int which = 0; which < 7; which++) {
        double begin = t_now();
        struct pollfd p = {ends[0], POLLIN, 0};
        struct timespec limit = {0, 70000000};
        struct timeval old = {0, 70000};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(ends[0], &set);
        switch (which) {
        case 0: EQ(poll(&p, 1, 70), 0); break;
        case 1: EQ(ppoll(&p, 1, &limit, NULL), 0); break;
        case 2: EQ(select(ends[0] + 1, &set, NULL, NULL, &old), 0); EQ(old.tv_usec, 0); break;
        case 3: EQ(pselect(ends[0] + 1, &set, NULL, NULL, &limit, NULL), 0); break;
        case 4: EQ(epoll_wait(poller, &event, 1, 70), 0); break;
        case 5: EQ(poll(NULL, 0, 70), 0); break;
        case 6: EQ(select(0, NULL, NULL, NULL, &old), 0); break;
        }
        double took = t_now() - begin;
        CHECK(took >= 0.0699 && took < 5);
    }
    close(ends[0]);
    close(ends[1]);
    close(poller);
}

static void high(void) {
    int ends[2];
    EQ(pipe(ends), 0);
    EQ(dup2(ends[0], 1000), 1000);
    EQ(dup2(ends[1], 777), 777);
    EQ(dup3(ends[0], 1500, O_CLOEXEC), 1500);
    EQ(fcntl(1500, F_GETFD), FD_CLOEXEC);
    fd_set in, out, none;
    for (int full = 0; full < 2; full++) {
        FD_ZERO(&in);
        FD_ZERO(&out);
        FD_ZERO(&none);
        FD_SET(1000, &in);
        FD_SET(ends[0], &in);
        FD_SET(777, &out);
        FD_SET(777, &none);
        struct timeval limit = {5, 0};
        EQ(select(1001, &in, &out, &none, &limit), full ? 3 : 1);
        EQ(FD_ISSET(1000, &in) != 0, full);
        EQ(FD_ISSET(ends[0], &in) != 0, full);
        CHECK(FD_ISSET(777, &out) && !FD_ISSET(777, &none) && !FD_ISSET(778, &out));
        if (!full)
            EQ(write(777, "z", 1), 1);
        t_spin(0.002);
    }
    char byte;
    EQ(read(1500, &byte, 1), 1);
    close(1500), close(1000), close(777), close(ends[1]);
    struct pollfd many[300];
    for (int i = 0; i < 300; i++)
        many[i] = (struct pollfd){i == 200 ? ends[0] : i == 250 ? 1234 : -1, POLLIN, 0};
    EQ(poll(many, 300, 1000), 2);
    EQ(many[200].revents, POLLHUP);
    EQ(many[250].revents, POLLNVAL);
    EQ(many[299].revents, 0);
    close(ends[0]);
    FD_ZERO(&in);
    FD_SET(900, &in);
    FAILS(select(901, &in, NULL, NULL, NULL), EBADF);
}

static void epoll(void) {
    int poller = epoll_create1(0), pipes[40][2], got = 0;
    struct epoll_event event, ready[16];
    for (int i = 0; i < 40; i++) {
        EQ(pipe(pipes[i]), 0);
        event = (struct epoll_event){.events = EPOLLIN | (i % 2 ? EPOLLET : 0), .data.u64 = 0x123456700000000u + (unsigned)i};
        EQ(epoll_ctl(poller, EPOLL_CTL_ADD, pipes[i][0], &event), 0);
    }
    FAILS(epoll_ctl(poller, EPOLL_CTL_ADD, pipes[0][0], &event), EEXIST);
    pid_t kid = fork();
    if (kid == 0) {
        for (int i = 0; i < 40; i++) {
            EQ(write(pipes[i][1], "e", 1), 1);
            if (i % 8 == 0)
                t_sleep(0.002);
        }
        _exit(0);
    }
    uint64_t seen = 0;
    while (got < 40) {
        int n = epoll_wait(poller, ready, 16, 10000);
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            unsigned number = (unsigned)ready[i].data.u64;
            char byte;
            EQ(ready[i].data.u64 >> 32, 0x1234567);
            CHECK(number < 40 && !(seen >> number & 1) && ready[i].events == EPOLLIN);
            EQ(read(pipes[number][0], &byte, 1), 1);
            seen |= (uint64_t)1 << number;
            got++;
        }
    }
    EQ(epoll_wait(poller, ready, 16, 0), 0);
    EQ(epoll_ctl(poller, EPOLL_CTL_DEL, pipes[0][0], NULL), 0);
    FAILS(epoll_ctl(poller, EPOLL_CTL_MOD, pipes[0][0], &event), ENOENT);
    EQ(t_wait(kid), 0);
    for (int i = 0; i < 40; i++)
        close(pipes[i][0]), close(pipes[i][1]);
    close(poller);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    struct rlimit files;
    EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 2048 && files.rlim_max >= 2048) {
        files.rlim_cur = 2048;
        EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
    }
    while (t_more()) {
        timeouts();
        high();
        epoll();
    }
    t_ok(__FILE__);
}
