// File locks between processes, of all three kinds, held and awaited; appending from several at once.
#include "t.h"
#include <sys/file.h>

static int lock(int kind, int fd, int type) {
    struct flock record = {.l_type = (short)type, .l_whence = SEEK_SET};
    if (kind == 0)
        return flock(fd, type == F_UNLCK ? LOCK_UN : LOCK_EX);
    return fcntl(fd, kind == 1 ? F_SETLKW : F_OFD_SETLKW, &record);
}

static void increments(int kind) {
    int fd = open("counter", O_RDWR | O_CREAT | O_TRUNC, 0600), zero = 0;
    EQ(write(fd, &zero, sizeof zero), (ssize_t)sizeof zero);
    close(fd);
    pid_t kids[4];
    for (int k = 0; k < 4; k++) {
        kids[k] = fork();
        if (kids[k] == 0) {
            fd = open("counter", O_RDWR);
            for (int i = 0, value; i < 10; i++) {
                EQ(lock(kind, fd, F_WRLCK), 0);
                EQ(pread(fd, &value, sizeof value, 0), (ssize_t)sizeof value);
                t_spin(0.0005);
                value++;
                EQ(pwrite(fd, &value, sizeof value, 0), (ssize_t)sizeof value);
                EQ(lock(kind, fd, F_UNLCK), 0);
            }
            _exit(0);
        }
    }
    for (int k = 0; k < 4; k++)
        EQ(t_wait(kids[k]), 0);
    int value;
    fd = open("counter", O_RDONLY);
    EQ(read(fd, &value, sizeof value), (ssize_t)sizeof value);
    EQ(value, 40);
    close(fd);
}

static void owner(void) {
    int fd = open("counter", O_RDWR);
    struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 2};
    EQ(fcntl(fd, F_SETLK, &record), 0);
    t_spin(0.005);
    pid_t me = getpid(), kid = fork();
    if (kid == 0) {
        record = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET};
        EQ(fcntl(fd, F_GETLK, &record), 0);
        EQ(record.l_type, F_WRLCK);
        EQ(record.l_pid, me);
        EQ(record.l_start, 1);
        EQ(record.l_len, 2);
        record = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET};
        FAILS(fcntl(fd, F_SETLK, &record), EAGAIN);
        int other = open("counter", O_RDWR);
        EQ(flock(other, LOCK_SH | LOCK_NB), 0);
        EQ(flock(other, LOCK_EX | LOCK_NB), 0);
        _exit(0);
    }
    EQ(t_wait(kid), 0);
    record.l_type = F_UNLCK;
    EQ(fcntl(fd, F_SETLK, &record), 0);
    close(fd);
}

static void append(void) {
    unlink("log");
    pid_t kids[4];
    for (int k = 0; k < 4; k++) {
        kids[k] = fork();
        if (kids[k] == 0) {
            int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
            for (int i = 0; i < 50; i++) {
                char line[64];
                int n = snprintf(line, sizeof line, "%d %d and some more text to the end\n", k, i);
                EQ(write(fd, line, (size_t)n), n);
            }
            _exit(0);
        }
    }
    for (int k = 0; k < 4; k++)
        EQ(t_wait(kids[k]), 0);
    FILE *in = fopen("log", "r");
    int next[4] = {0}, k, i, lines = 0;
    while (fscanf(in, "%d %d and some more text to the end\n", &k, &i) == 2) {
        EQ(next[k]++, i);
        lines++;
    }
    EQ(lines, 200);
    fclose(in);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        for (int kind = 0; kind < 3; kind++)
            increments(kind);
        owner();
        append();
    }
    t_ok(__FILE__);
}
