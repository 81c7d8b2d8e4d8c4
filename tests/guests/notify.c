// eventfd and inotify: counters between processes, events of a directory in order.
#include "t.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

static void counter(void) {
    int fd = eventfd(3, EFD_CLOEXEC), turns = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
    uint64_t value;
    EQ(read(fd, &value, 8), 8);
    EQ(value, 3);
    pid_t kid = fork();
    if (kid == 0) {
        for (uint64_t i = 1; i <= 10; i++) {
            EQ(write(fd, &i, 8), 8);
            t_spin(0.001);
        }
        _exit(0);
    }
    uint64_t sum = 0;
    while (sum < 55) {
        EQ(read(fd, &value, 8), 8);
        sum += value;
    }
    EQ(sum, 55);
    EQ(t_wait(kid), 0);
    value = 2;
    EQ(write(turns, &value, 8), 8);
    for (int i = 0; i < 2; i++) {
        EQ(read(turns, &value, 8), 8);
        EQ(value, 1);
    }
    FAILS(read(turns, &value, 8), EAGAIN);
    FAILS(read(turns, &value, 4), EINVAL);
    close(fd);
    close(turns);
}

static uint32_t next(int fd, char *name) {
    static char buffer[4096] __attribute__((aligned(8)));
    static ssize_t have, at;
    if (at >= have) {
        have = read(fd, buffer, sizeof buffer);
        CHECK(have > 0);
        at = 0;
    }
    struct inotify_event *event = (struct inotify_event *)(buffer + at);
    strcpy(name, event->len ? event->name : "");
    at += (ssize_t)(sizeof *event + event->len);
    return event->mask;
}

static void watch(void) {
    mkdir("watched", 0700);
    int fd = inotify_init1(IN_CLOEXEC);
    int watched = inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE);
    CHECK(watched > 0);
    FAILS(inotify_add_watch(fd, "not there", IN_CREATE), ENOENT);
    pid_t kid = fork();
    if (kid == 0) {
        int file = open("watched/a file", O_CREAT | O_WRONLY, 0600);
        t_spin(0.002);
        close(file);
        EQ(rename("watched/a file", "watched/b"), 0);
        EQ(unlink("watched/b"), 0);
        _exit(0);
    }
    static const struct { uint32_t mask; const char *name; } expected[] = {
        {IN_CREATE, "a file"}, {IN_CLOSE_WRITE, "a file"}, {IN_MOVED_FROM, "a file"}, {IN_MOVED_TO, "b"}, {IN_DELETE, "b"}};
    char name[256];
    for (int i = 0; i < 5; i++) {
        EQ(next(fd, name), expected[i].mask);
        EQ(strcmp(name, expected[i].name), 0);
    }
    EQ(t_wait(kid), 0);
    EQ(inotify_rm_watch(fd, watched), 0);
    EQ(next(fd, name), IN_IGNORED);
    struct pollfd p = {fd, POLLIN, 0};
    EQ(poll(&p, 1, 0), 0);
    close(fd);
    EQ(rmdir("watched"), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        counter();
        watch();
    }
    t_ok(__FILE__);
}
