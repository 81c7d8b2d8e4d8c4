// Large and scattered transfers: 64 MiB in one call, vectors, positions, holes, page boundaries.
#include "t.h"
#include <sys/uio.h>

#define BIG (64 << 20)

static void large(void) {
    uint64_t *data = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), state = 99;
    CHECK(data != MAP_FAILED);
    for (size_t i = 0; i < BIG / 8; i += 8)
        data[i] = t_random(&state);
    uint64_t hash = t_hash(data, BIG);
    int fd = open("large", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(write(fd, data, BIG), BIG);
    memset(data, 0, BIG);
    EQ(lseek(fd, 0, SEEK_CUR), BIG);
    EQ(pread(fd, data, BIG, 0), BIG);
    CHECK(t_hash(data, BIG) == hash);
    EQ(read(fd, data, BIG), 0);
    EQ(munmap(data, BIG), 0);
    close(fd);
    EQ(unlink("large"), 0);
}

static void vectors(void) {
    int fd = open("vectors", O_RDWR | O_CREAT | O_TRUNC, 0600);
    static char parts[64][1000], back[64][1000];
    struct iovec out[64], in[64];
    size_t total = 0;
    for (int i = 0; i < 64; i++) {
        memset(parts[i], 'A' + i, sizeof parts[i]);
        out[i] = (struct iovec){parts[i], (size_t)(i * 15)};
        in[i] = (struct iovec){back[63 - i], (size_t)(i * 15)};
        total += (size_t)(i * 15);
    }
    EQ(writev(fd, out, 64), (ssize_t)total);
    EQ(preadv(fd, in, 64, 0), (ssize_t)total);
    for (int i = 0; i < 64; i++)
        EQ(memcmp(parts[i], back[63 - i], (size_t)(i * 15)), 0);
    EQ(pwritev(fd, out + 10, 5, 100000), 12 * 15 * 5);
    EQ(lseek(fd, 0, SEEK_CUR), (off_t)total);
    EQ(lseek(fd, 0, SEEK_END), 100000 + 12 * 15 * 5);
    char byte = 'x';
    EQ(pread(fd, &byte, 1, 90000), 1);
    EQ(byte, 0);
    EQ(pwritev2(fd, out + 1, 1, -1, RWF_APPEND), 15);
    EQ(lseek(fd, 10, SEEK_SET), 10);
    EQ(readv(fd, in + 3, 2), 45 + 60);
    FAILS(writev(fd, out, -1), EINVAL);
    FAILS(writev(fd, (struct iovec *)16, 2), EFAULT);
    FAILS(pread(fd, back, 10, -1), EINVAL);
    close(fd);
}

static void boundary(void) {
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EQ(munmap(pages + 2 * 4096, 4096), 0);
    int fd = open("boundary", O_RDWR | O_CREAT | O_TRUNC, 0600), ends[2];
    memset(pages, 'b', 2 * 4096);
    EQ(write(fd, pages + 8000, 192), 192);
    FAILS(write(fd, pages + 2 * 4096, 10), EFAULT);
    EQ(lseek(fd, 0, SEEK_CUR), 192);
    EQ(pread(fd, pages + 8000, 192, 0), 192);
    FAILS(pread(fd, pages + 2 * 4096, 10, 0), EFAULT);
    FAILS(pread(fd, NULL, 10, 0), EFAULT);
    EQ(pipe(ends), 0);
    EQ(write(ends[1], "abc", 3), 3);
    EQ(read(ends[0], pages + 8189, 3), 3);
    EQ(memcmp(pages + 8189, "abc", 3), 0);
    EQ(mprotect(pages, 4096, PROT_READ), 0);
    FAILS(pread(fd, pages, 10, 0), EFAULT);
    close(fd), close(ends[0]), close(ends[1]);
    EQ(munmap(pages, 2 * 4096), 0);
}

static void sequential(void) {
    int fd = open("sequence", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 500; i++)
        EQ(write(fd, &i, sizeof i), (ssize_t)sizeof i);
    EQ(lseek(fd, 0, SEEK_SET), 0);
    for (int i = 0, got; i < 500; i++) {
        EQ(read(fd, &got, sizeof got), (ssize_t)sizeof got);
        EQ(got, i);
    }
    close(fd);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    large();
    while (t_more()) {
        vectors();
        boundary();
        sequential();
    }
    t_ok(__FILE__);
}
