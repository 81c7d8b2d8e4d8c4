// variants: static
// Calls with wrong arguments fail as the kernel has it: bad pointers, descriptors, sizes, numbers; and nothing else breaks.
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define CALL(...) syscall(__VA_ARGS__)

int main(int argc, char **argv) {
    t_init(argc, argv);
    char *wild = (char *)0x123456000, room[64], *edge;
    edge = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    EQ(munmap(edge, 4096), 0);
    int zero = open("/dev/zero", O_RDWR), ends[2], pair[2];
    EQ(pipe(ends), 0);
    EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    while (t_more()) {
        FAILS(CALL(SYS_read, zero, wild, 10), EFAULT);
        FAILS(CALL(SYS_write, ends[1], wild, 10), EFAULT);
        FAILS(CALL(SYS_read, 777, room, 10), EBADF);
        FAILS(CALL(SYS_write, -1, room, 10), EBADF);
        EQ(CALL(SYS_read, zero, wild, 0), 0);
        FAILS(CALL(SYS_open, wild, 0), EFAULT);
        FAILS(CALL(SYS_open, NULL, 0), EFAULT);
        FAILS(CALL(SYS_open, "", 0), ENOENT);
        memset(edge - 20, 'n', 20);
        FAILS(CALL(SYS_open, edge - 20, 0), EFAULT);
        strcpy(edge - 10, "/dev/null");
        int fd = (int)CALL(SYS_open, edge - 10, O_RDONLY);
        CHECK(fd != -1);
        EQ(CALL(SYS_close, fd), 0);
        static char longname[5000];
        memset(longname, 'l', sizeof longname - 1);
        FAILS(CALL(SYS_open, longname, 0), ENAMETOOLONG);
        FAILS(CALL(SYS_stat, "/", wild), EFAULT);
        FAILS(CALL(SYS_pipe, wild), EFAULT);
        FAILS(CALL(SYS_fstat, 777, room), EBADF);
        FAILS(CALL(SYS_getcwd, wild, 4096), EFAULT);
        FAILS(CALL(SYS_readlink, "/proc/self/exe", room, 0), EINVAL);
        FAILS(CALL(SYS_poll, wild, 2, 0), EFAULT);
        FAILS(CALL(SYS_select, -1, NULL, NULL, NULL, NULL), EINVAL);
        FAILS(CALL(SYS_select, 10, wild, NULL, NULL, NULL), EFAULT);
        FAILS(CALL(SYS_epoll_wait, zero, room, 1, 0), EINVAL);
        FAILS(CALL(SYS_epoll_ctl, 777, EPOLL_CTL_ADD, zero, room), EBADF);
        FAILS(CALL(SYS_ioctl, zero, TCGETS, room), ENOTTY);
        FAILS(CALL(SYS_ioctl, 777, TCGETS, room), EBADF);
        FAILS(CALL(SYS_ioctl, ends[0], FIONREAD, wild), EFAULT);
        FAILS(CALL(SYS_lseek, ends[0], 0, SEEK_SET), ESPIPE);
        FAILS(CALL(SYS_fcntl, zero, 12345, 0), EINVAL);
        FAILS(CALL(SYS_socket, 999, 1, 0), EAFNOSUPPORT);
        FAILS(CALL(SYS_connect, zero, room, 16), ENOTSOCK);
        FAILS(CALL(SYS_sendto, pair[0], wild, 10, 0, NULL, 0), EFAULT);
        FAILS(CALL(SYS_sendmsg, pair[0], wild, 0), EFAULT);
        struct msghdr message = {.msg_iov = (struct iovec *)wild, .msg_iovlen = 2};
        FAILS(CALL(SYS_sendmsg, pair[0], &message, 0), EFAULT);
        message.msg_iovlen = 100000;
        FAILS(CALL(SYS_recvmsg, pair[0], &message, MSG_DONTWAIT), EMSGSIZE);
        FAILS(CALL(SYS_getdents64, zero, room, sizeof room), ENOTDIR);
        FAILS(CALL(SYS_mkdir, wild, 0700), EFAULT);
        FAILS(CALL(SYS_wait4, -1, NULL, 0, NULL), ECHILD);
        FAILS(CALL(SYS_kill, 0x3fffffff, 0), ESRCH);
        FAILS(CALL(SYS_kill, getpid(), 65), EINVAL);
        FAILS(CALL(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
        FAILS(CALL(SYS_rt_sigaction, SIGUSR1, wild, NULL, 8), EFAULT);
        FAILS(CALL(SYS_rt_sigprocmask, 0, wild, NULL, 8), EFAULT);
        FAILS(CALL(SYS_rt_sigprocmask, 77, room, NULL, 8), EINVAL);
        FAILS(CALL(SYS_nanosleep, wild, NULL), EFAULT);
        struct timespec bad = {0, 2000000000};
        FAILS(CALL(SYS_nanosleep, &bad, NULL), EINVAL);
        FAILS(CALL(SYS_setitimer, 9, room, NULL), EINVAL);
        FAILS(CALL(SYS_uname, wild), EFAULT);
        FAILS(CALL(SYS_getrlimit, 99, room), EINVAL);
        FAILS(CALL(SYS_mmap, 1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL);
        FAILS(CALL(SYS_munmap, 1, 4096), EINVAL);
        FAILS(CALL(SYS_mprotect, wild, 4096, PROT_READ), ENOMEM);
        FAILS(CALL(SYS_getrandom, wild, 10, 0), EFAULT);
        FAILS(CALL(SYS_statx, AT_FDCWD, "/", 0, 0x7ff, wild), EFAULT);
        FAILS(CALL(10000), ENOSYS);
        FAILS(CALL(-77L), ENOSYS);
        EQ(CALL(SYS_getpid), getpid());
        EQ(CALL(SYS_getrandom, room, 16, 0), 16);
        EQ(write(ends[1], "fine", 4), 4);
        EQ(read(ends[0], room, sizeof room), 4);
        t_spin(0.005);
    }
    t_ok(__FILE__);
}
