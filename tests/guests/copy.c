// Copies within the kernel: sendfile, splice, tee, vmsplice, copy_file_range, with and without offsets.
#include "t.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define SIZE 300000
static char content[SIZE], back[SIZE];

static int fresh(const char *name) {
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd != -1);
    return fd;
}

static void same(int fd) {
    memset(back, 0, SIZE);
    EQ(pread(fd, back, SIZE, 0), SIZE);
    EQ(memcmp(back, content, SIZE), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    uint64_t state = 7;
    for (int i = 0; i < SIZE; i++)
        content[i] = (char)t_random(&state);
    int from = fresh("from");
    CHECK(t_write_all(from, content, SIZE));
    while (t_more()) {
        int to = fresh("to");
        off_t offset = 0;
        while (offset < SIZE)
            CHECK(sendfile(to, from, &offset, 70000) > 0);
        EQ(lseek(to, 0, SEEK_CUR), SIZE);
        same(to);
        EQ(lseek(from, 100, SEEK_SET), 100);
        EQ(ftruncate(to, 0), 0);
        EQ(lseek(to, 100, SEEK_SET), 100);
        for (ssize_t left = SIZE - 100; left;) {
            ssize_t n = sendfile(to, from, NULL, (size_t)left);
            CHECK(n > 0);
            left -= n;
        }
        EQ(pwrite(to, content, 100, 0), 100);
        same(to);

        EQ(ftruncate(to, 0), 0);
        loff_t in = 0, out = 0;
        while (in < SIZE) {
            ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(SIZE - in), 0);
            if (n == -1 && (errno == EOPNOTSUPP || errno == EXDEV))
                break;
            CHECK(n > 0);
        }
        if (in == SIZE)
            same(to);

        int ends[2], copy[2];
        EQ(pipe(ends), 0);
        EQ(pipe(copy), 0);
        EQ(ftruncate(to, 0), 0);
        for (in = out = 0; in < SIZE;) {
            ssize_t n = splice(from, &in, ends[1], NULL, 60000, SPLICE_F_MOVE);
            CHECK(n > 0);
            EQ(tee(ends[0], copy[1], (size_t)n, 0), n);
            for (ssize_t left = n; left;) {
                ssize_t m = splice(ends[0], NULL, to, &out, (size_t)left, 0);
                CHECK(m > 0);
                left -= m;
            }
            CHECK(t_read_all(copy[0], back, (size_t)n));
            EQ(memcmp(back, content + in - n, (size_t)n), 0);
        }
        same(to);
        struct iovec part = {content + 5, 9000};
        EQ(vmsplice(ends[1], &part, 1, 0), 9000);
        CHECK(t_read_all(ends[0], back, 9000));
        EQ(memcmp(back, content + 5, 9000), 0);
        FAILS(splice(from, &in, to, &out, 10, 0), EINVAL);
        for (int i = 0; i < 2; i++)
            close(ends[i]), close(copy[i]);

        int pair[2];
        EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        offset = 1000;
        EQ(sendfile(pair[0], from, &offset, 20000), 20000);
        EQ(offset, 21000);
        CHECK(t_read_all(pair[1], back, 20000));
        EQ(memcmp(back, content + 1000, 20000), 0);
        close(pair[0]), close(pair[1]), close(to);
    }
    t_ok(__FILE__);
}
