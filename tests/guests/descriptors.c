// Descriptors: shared offsets, duplicates, close-on-exec, loops that close all, ranges; every number is the program's own.
#include "t.h"
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int limit(void) {
    struct rlimit files;
    EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
    return files.rlim_cur > 4096 ? 4096 : (int)files.rlim_cur;
}

static void shared_offset(void) {
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(write(fd, "0123456789", 10), 10);
    EQ(lseek(fd, 2, SEEK_SET), 2);
    int copy = dup(fd);
    char byte;
    EQ(read(copy, &byte, 1), 1);
    EQ(byte, '2');
    pid_t kid = fork();
    if (kid == 0) {
        t_spin(0.002);
        EQ(read(fd, &byte, 1), 1);
        EQ(byte, '3');
        _exit(0);
    }
    EQ(t_wait(kid), 0);
    EQ(lseek(copy, 0, SEEK_CUR), 4);
    EQ(fcntl(copy, F_SETFL, O_APPEND), 0);
    EQ(fcntl(fd, F_GETFL) & O_APPEND, O_APPEND);
    int on = 1;
    EQ(ioctl(fd, FIOCLEX), 0);
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQ(fcntl(copy, F_GETFD), 0);
    EQ(ioctl(fd, FIONBIO, &on), 0);
    EQ(fcntl(copy, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    close(copy);
    FAILS(close(copy), EBADF);
    close(fd);
}

static int is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

/* No number is taken that the program did not open, and any number can be had. */
static void every_number(void) {
    int base = 0, max = limit();
    for (int fd = 3; fd < max; fd++)
        base += is_open(fd);
    for (int fd = 3; fd < 60; fd++)
        EQ(dup2(1, fd), fd);
    int next = dup(1);
    EQ(next, 60);
    close(60);
    t_spin(0.003);
    EQ(fcntl(1, F_DUPFD, 100), 100);
    EQ(fcntl(1, F_DUPFD_CLOEXEC, 100), 101);
    for (int fd = 3; fd < max; fd++)
        if (is_open(fd))
            close(fd);
    for (int fd = 3; fd < max; fd++)
        EQ(is_open(fd), 0);
    EQ(open("/dev/null", O_RDONLY), 3);
    EQ(dup2(3, max - 1), max - 1);
    FAILS(dup2(3, -1), EBADF);
    FAILS(dup2(999, 3), EBADF);
    EQ(is_open(3), 1);
    FAILS(dup3(3, 3, 0), EINVAL);
    EQ(close(max - 1), 0);
    EQ(close(3), 0);
    EQ(base, 0);
}

static void ranges(void) {
    pid_t kid = fork();
    if (kid == 0) {
        for (int fd = 10; fd < 50; fd++)
            EQ(dup2(1, fd), fd);
        EQ(syscall(SYS_close_range, 20, 29, 0), 0);
        for (int fd = 10; fd < 50; fd++)
            EQ(is_open(fd), fd < 20 || fd > 29);
        EQ(syscall(SYS_close_range, 40, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */), 0);
        EQ(fcntl(45, F_GETFD), FD_CLOEXEC);
        t_spin(0.003);
        EQ(syscall(SYS_close_range, 3, ~0u, 0), 0);
        EQ(is_open(45), 0);
        t_spin(0.003); /* still alive and able to call */
        EQ(open("/dev/null", O_RDONLY), 3);
        _exit(14);
    }
    EQ(WEXITSTATUS(t_wait(kid)), 14);
}

static void on_exec(char *self) {
    int kept = open("/dev/null", O_RDONLY), closed = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t kid = fork();
    if (kid == 0) {
        char numbers[2][16];
        snprintf(numbers[0], 16, "%d", kept);
        snprintf(numbers[1], 16, "%d", closed);
        t_spin(0.002);
        execl(self, self, "--exec", numbers[0], numbers[1], (char *)NULL);
        _exit(99);
    }
    EQ(WEXITSTATUS(t_wait(kid)), 15);
    close(kept);
    close(closed);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--exec") == 0) {
        int extra = 0, max = limit();
        for (int fd = 3; fd < max; fd++)
            extra += is_open(fd);
        CHECK(is_open(atoi(argv[2])) && !is_open(atoi(argv[3])));
        EQ(extra, 1);
        return 15;
    }
    t_init(argc, argv);
    for (int fd = 3; fd < limit(); fd++)
        close(fd); /* whatever came from outside */
    while (t_more()) {
        shared_offset();
        every_number();
        ranges();
        on_exec("/proc/self/exe");
    }
    t_ok(__FILE__);
}
