// Unix sockets: streams, datagrams, packets; descriptors and credentials passed; names in the file system and abstract.
#include "t.h"
#include <sys/socket.h>
#include <sys/un.h>

static void send_fds(int over, const int *fds, int count) {
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0}, byte = (char)count;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * (size_t)count);
    EQ(sendmsg(over, &message, 0), 1);
}

static int receive_fds(int over, int *fds) {
    char control[CMSG_SPACE(sizeof(int) * 8)], byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ(recvmsg(over, &message, MSG_CMSG_CLOEXEC), 1);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    CHECK(head && head->cmsg_type == SCM_RIGHTS);
    EQ(head->cmsg_len, CMSG_LEN(sizeof(int) * (size_t)byte));
    memcpy(fds, CMSG_DATA(head), sizeof(int) * (size_t)byte);
    return byte;
}

static void rights(void) {
    int pair[2], fds[3];
    EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t kid = fork();
    if (kid == 0) {
        int ends[2];
        EQ(pipe(ends), 0);
        int file = open("passed", O_RDWR | O_CREAT | O_TRUNC, 0600);
        EQ(write(file, "content", 7), 7);
        EQ(lseek(file, 3, SEEK_SET), 3);
        send_fds(pair[1], (int[]){file, ends[0], ends[1]}, 3);
        _exit(0);
    }
    EQ(receive_fds(pair[0], fds), 3);
    EQ(t_wait(kid), 0);
    char text[16] = "";
    t_spin(0.003);
    EQ(read(fds[0], text, 10), 4);
    EQ(strcmp(text, "tent"), 0);
    EQ(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    EQ(write(fds[2], "through", 7), 7);
    EQ(read(fds[1], text, 7), 7);
    EQ(memcmp(text, "through", 7), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(pair[0]);
    close(pair[1]);
}

static void credentials(void) {
    int pair[2], on = 1;
    EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    EQ(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    pid_t kid = fork();
    if (kid == 0) {
        EQ(send(pair[1], "me", 2, 0), 2);
        _exit(0);
    }
    char control[CMSG_SPACE(sizeof(struct ucred))], text[8];
    struct iovec data = {text, sizeof text};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ(recvmsg(pair[0], &message, 0), 2);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    CHECK(head && head->cmsg_type == SCM_CREDENTIALS);
    struct ucred who;
    memcpy(&who, CMSG_DATA(head), sizeof who);
    EQ(who.pid, kid);
    EQ(who.uid, getuid());
    EQ(t_wait(kid), 0);
    socklen_t size = sizeof who;
    EQ(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &size), 0);
    EQ(who.pid, getpid());
    close(pair[0]);
    close(pair[1]);
}

static void named(int type) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "named.socket"}, peer;
    unlink(name.sun_path);
    int listener = socket(AF_UNIX, type, 0);
    EQ(bind(listener, (struct sockaddr *)&name, sizeof name), 0);
    EQ(listen(listener, 5), 0);
    FAILS(bind(listener, (struct sockaddr *)&name, sizeof name), EADDRINUSE);
    pid_t kid = fork();
    if (kid == 0) {
        int fd = socket(AF_UNIX, type, 0);
        EQ(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
        for (int i = 0; i < 20; i++) {
            char text[32];
            int n = snprintf(text, sizeof text, "message %02d", i);
            EQ(send(fd, text, (size_t)n, 0), n);
        }
        EQ(shutdown(fd, SHUT_WR), 0);
        char byte;
        EQ(recv(fd, &byte, 1, 0), 0);
        _exit(0);
    }
    socklen_t size = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
    CHECK(fd != -1);
    EQ(size, sizeof(sa_family_t));
    size = sizeof peer;
    EQ(getsockname(fd, (struct sockaddr *)&peer, &size), 0);
    EQ(strcmp(peer.sun_path, name.sun_path), 0);
    char text[4096];
    size_t total = 0;
    ssize_t n;
    while ((n = recv(fd, text, sizeof text, 0)) > 0) {
        if (type == SOCK_SEQPACKET)
            EQ(n, 10);
        total += (size_t)n;
    }
    EQ(total, 200);
    close(fd);
    close(listener);
    EQ(t_wait(kid), 0);
    EQ(unlink(name.sun_path), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        rights();
        credentials();
        named(SOCK_STREAM);
        named(SOCK_SEQPACKET);
    }
    t_ok(__FILE__);
}
