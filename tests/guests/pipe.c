// Pipes and FIFOs: order, partial transfers, non-blocking ends, end of file, SIGPIPE, 64 MiB through a pipe of 64 KiB.
#include "t.h"

#define BIG (64 << 20)

static void much(void) {
    int ends[2];
    EQ(pipe(ends), 0);
    pid_t kid = fork();
    if (kid == 0) {
        close(ends[0]);
        uint64_t state = 42;
        static uint64_t block[1 << 17];
        for (size_t sent = 0; sent < BIG; sent += sizeof block) {
            for (size_t i = 0; i < sizeof block / 8; i++)
                block[i] = t_random(&state);
            CHECK(t_write_all(ends[1], block, sizeof block));
        }
        _exit(0);
    }
    close(ends[1]);
    static uint64_t block[3 << 10];
    uint64_t state = 42;
    size_t total = 0;
    for (;;) {
        size_t have = 0;
        ssize_t n;
        while (have < sizeof block && (n = read(ends[0], (char *)block + have, sizeof block - have)) > 0)
            have += (size_t)n;
        for (size_t i = 0; i < have / 8; i++)
            CHECK(block[i] == t_random(&state));
        total += have;
        if (have < sizeof block)
            break;
    }
    EQ(total, BIG);
    close(ends[0]);
    EQ(t_wait(kid), 0);
}

static volatile int hits;
static void hit(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    hits++;
}

static void edges(void) {
    int ends[2];
    char data[100000];
    memset(data, 'd', sizeof data);
    EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    FAILS(read(ends[0], data, 1), EAGAIN);
    EQ(write(ends[1], data, sizeof data), 65536);
    FAILS(write(ends[1], data, 1), EAGAIN);
    EQ(read(ends[0], data, 5000), 5000);
    EQ(write(ends[1], data, 4096), 4096);
    EQ(fcntl(ends[0], F_SETFL, 0), 0);
    size_t left = 65536 - 5000 + 4096;
    while (left) {
        ssize_t n = read(ends[0], data, sizeof data);
        CHECK(n > 0);
        left -= (size_t)n;
    }
    close(ends[1]);
    EQ(read(ends[0], data, 1), 0);
    close(ends[0]);

    EQ(pipe(ends), 0);
    close(ends[0]);
    t_handle(SIGPIPE, hit, 0);
    hits = 0;
    FAILS(write(ends[1], "x", 1), EPIPE);
    EQ(hits, 1);
    signal(SIGPIPE, SIG_DFL);
    pid_t kid = fork();
    if (kid == 0) {
        t_spin(0.005);
        ssize_t n = write(ends[1], "x", 1);
        _exit((int)n);
    }
    EQ(WTERMSIG(t_wait(kid)), SIGPIPE);
    close(ends[1]);
}

static void fifo(void) {
    unlink("queue");
    EQ(mkfifo("queue", 0600), 0);
    FAILS(open("queue", O_WRONLY | O_NONBLOCK), ENXIO);
    pid_t kid = fork();
    if (kid == 0) {
        int fd = open("queue", O_WRONLY); /* waits for the reader */
        for (int i = 0; i < 100; i++) {
            char line[32];
            int n = snprintf(line, sizeof line, "line %d\n", i);
            EQ(write(fd, line, (size_t)n), n);
        }
        _exit(0);
    }
    t_spin(0.01);
    FILE *in = fopen("queue", "r");
    CHECK(in);
    int i = 0, number;
    while (fscanf(in, "line %d\n", &number) == 1)
        EQ(number, i++);
    EQ(i, 100);
    fclose(in);
    EQ(t_wait(kid), 0);
    EQ(unlink("queue"), 0);
}

static void ping_pong(void) {
    int there[2], back[2];
    EQ(pipe(there), 0);
    EQ(pipe(back), 0);
    pid_t kid = fork();
    if (kid == 0) {
        int number;
        close(there[1]);
        while (t_read_all(there[0], &number, sizeof number)) {
            number *= 3;
            CHECK(t_write_all(back[1], &number, sizeof number));
        }
        _exit(0);
    }
    close(there[0]);
    for (int i = 0, got; i < 300; i++) {
        CHECK(t_write_all(there[1], &i, sizeof i));
        CHECK(t_read_all(back[0], &got, sizeof got));
        EQ(got, i * 3);
    }
    close(there[1]);
    EQ(t_wait(kid), 0);
    close(back[0]);
    close(back[1]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    much();
    while (t_more()) {
        edges();
        fifo();
        ping_pong();
    }
    t_ok(__FILE__);
}
