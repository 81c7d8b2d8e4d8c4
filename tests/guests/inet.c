// TCP and UDP over loopback: names, options, half-closed ends, time-outs, peeks, several messages a call, large streams.
#include "t.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct sockaddr_in any(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return name;
}

static int open_on(int type, struct sockaddr_in *name) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *name;
    *name = any();
    EQ(bind(fd, (struct sockaddr *)name, size), 0);
    EQ(getsockname(fd, (struct sockaddr *)name, &size), 0);
    CHECK(name->sin_port != 0);
    return fd;
}

static void serve(int fd) {
    static char block[70000];
    for (;;) {
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            block[i] ^= 0x20;
        CHECK(t_write_all(fd, block, (size_t)n));
    }
    EQ(shutdown(fd, SHUT_WR), 0);
}

static void stream(size_t total) {
    struct sockaddr_in name;
    int listener = open_on(SOCK_STREAM, &name);
    EQ(listen(listener, 8), 0);
    pid_t server = fork();
    if (server == 0) {
        int fd = accept(listener, NULL, NULL);
        CHECK(fd != -1);
        serve(fd);
        _exit(0);
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    EQ(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    socklen_t size = sizeof on;
    on = 0;
    EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    EQ(on != 0, 1);
    struct sockaddr_in peer;
    size = sizeof peer;
    EQ(getpeername(fd, (struct sockaddr *)&peer, &size), 0);
    EQ(peer.sin_port, name.sin_port);
    pid_t feeder = fork();
    if (feeder == 0) {
        static char block[10000];
        for (size_t sent = 0; sent < total; sent += sizeof block) {
            memset(block, 'a' + (int)(sent / sizeof block % 26), sizeof block);
            CHECK(t_write_all(fd, block, sizeof block));
        }
        EQ(shutdown(fd, SHUT_WR), 0);
        _exit(0);
    }
    static char back[10000];
    for (size_t got = 0; got < total; got += sizeof back) {
        CHECK(t_read_all(fd, back, sizeof back));
        for (size_t i = 0; i < sizeof back; i++)
            CHECK(back[i] == 'A' + (int)(got / sizeof back % 26));
    }
    EQ(read(fd, back, 1), 0);
    EQ(t_wait(feeder), 0);
    EQ(t_wait(server), 0);
    close(fd);
    close(listener);
}

static void datagrams(void) {
    struct sockaddr_in a_name, b_name, from;
    int a = open_on(SOCK_DGRAM, &a_name), b = open_on(SOCK_DGRAM, &b_name);
    char text[64] = "";
    socklen_t size = sizeof from;
    EQ(sendto(a, "hello", 5, 0, (struct sockaddr *)&b_name, sizeof b_name), 5);
    EQ(recvfrom(b, text, 3, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&from, &size), 5);
    EQ(size, sizeof from);
    EQ(from.sin_port, a_name.sin_port);
    EQ(recv(b, text, sizeof text, 0), 5);
    EQ(memcmp(text, "hello", 5), 0);
    FAILS(recv(b, text, sizeof text, MSG_DONTWAIT), EAGAIN);
    struct timeval limit = {0, 50000};
    EQ(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    double begin = t_now();
    FAILS(recv(b, text, sizeof text, 0), EAGAIN);
    CHECK(t_now() - begin >= 0.049);

    char one[] = "one", two[] = "twotwo", in[2][16] = {"", ""};
    struct iovec out_parts[2] = {{one, 3}, {two, 6}}, in_parts[2] = {{in[0], 16}, {in[1], 16}};
    struct mmsghdr out[2], back[2];
    memset(out, 0, sizeof out);
    memset(back, 0, sizeof back);
    for (int i = 0; i < 2; i++) {
        out[i].msg_hdr = (struct msghdr){.msg_iov = &out_parts[i], .msg_iovlen = 1, .msg_name = &b_name, .msg_namelen = sizeof b_name};
        back[i].msg_hdr = (struct msghdr){.msg_iov = &in_parts[i], .msg_iovlen = 1};
    }
    EQ(sendmmsg(a, out, 2, 0), 2);
    EQ(out[1].msg_len, 6);
    EQ(recvmmsg(b, back, 2, MSG_WAITFORONE, NULL), 2);
    EQ(back[0].msg_len, 3);
    EQ(back[1].msg_len, 6);
    EQ(strcmp(in[1], "twotwo"), 0);
    close(a);
    close(b);
}

static void refused(void) {
    struct sockaddr_in name;
    int fd = open_on(SOCK_STREAM, &name);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(connect(fd, (struct sockaddr *)&name, sizeof name), ECONNREFUSED);
    FAILS(getpeername(fd, (struct sockaddr *)&name, &(socklen_t){sizeof name}), ENOTCONN);
    FAILS(bind(fd, (struct sockaddr *)8, sizeof name), EFAULT);
    close(fd);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    stream(8000000);
    while (t_more()) {
        stream(200000);
        datagrams();
        refused();
    }
    t_ok(__FILE__);
}
