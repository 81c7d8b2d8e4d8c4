// variants: static nopie
// Files in memory: private copies, read-only shared views that follow the file, fixed places, holes cut, ends of files.
#include "t.h"

#define PAGE 4096
#define PAGES 40
static char content[PAGES * PAGE];

static int fill(const char *name) {
    uint64_t state = 5;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)t_random(&state);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(t_write_all(fd, content, sizeof content));
    return fd;
}

static void private_copy(int fd) {
    char *map = mmap(NULL, sizeof content, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    EQ(memcmp(map, content, 3 * PAGE), 0);
    for (int page = 0; page < PAGES; page += 3)
        map[page * PAGE + 17] ^= 0x55;
    t_spin(0.01);
    for (int page = 0; page < PAGES; page++) {
        EQ(map[page * PAGE + 17], (char)(content[page * PAGE + 17] ^ (page % 3 ? 0 : 0x55)));
        EQ(memcmp(map + page * PAGE + 18, content + page * PAGE + 18, PAGE - 18), 0);
    }
    EQ(munmap(map + 4 * PAGE, 2 * PAGE), 0);
    EQ(mprotect(map + 8 * PAGE, PAGE, PROT_READ), 0);
    t_spin(0.005);
    EQ(memcmp(map + 6 * PAGE + 18, content + 6 * PAGE + 18, PAGE - 18), 0);
    char *again = mmap(map + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 30 * PAGE);
    CHECK(again == map + 4 * PAGE);
    EQ(memcmp(again, content + 30 * PAGE, PAGE), 0);
    pid_t kid = fork();
    if (kid == 0) {
        map[0] = 1;
        _exit(memcmp(map + 9 * PAGE + 100, content + 9 * PAGE + 100, 3000) != 0);
    }
    EQ(t_wait(kid), 0);
    EQ(memcmp(map, content, 16), 0);
    EQ(munmap(map, sizeof content), 0);
}

static void shared_view(int fd) {
    volatile char *map = mmap(NULL, sizeof content, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    EQ(memcmp((char *)map, content, sizeof content), 0);
    t_spin(0.01);
    EQ(map[5 * PAGE + 1], content[5 * PAGE + 1]);
    EQ(map[39 * PAGE + 4095], content[39 * PAGE + 4095]);
    char changed = (char)(content[7] + 1);
    EQ(pwrite(fd, &changed, 1, 7), 1);
    EQ(map[7], changed);
    t_spin(0.003);
    EQ(map[7], changed);
    EQ(pwrite(fd, content + 7, 1, 7), 1);
    EQ(map[7], content[7]);
    EQ(munmap((char *)map, sizeof content), 0);
}

static void read_into_map(int fd) {
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 2 * PAGE);
    EQ(pread(fd, map + PAGE - 10, 100, 20 * PAGE), 100);
    t_spin(0.003);
    EQ(memcmp(map + PAGE - 10, content + 20 * PAGE, 100), 0);
    EQ(memcmp(map, content + 2 * PAGE, PAGE - 10), 0);
    int out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(write(out, map + PAGE, 7 * PAGE), 7 * PAGE);
    close(out);
    EQ(munmap(map, 8 * PAGE), 0);
}

static void tail(void) {
    int fd = open("tail", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(write(fd, "tail", 4), 4);
    char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    EQ(unlink("tail"), 0);
    EQ(strcmp(map, "tail"), 0);
    map[100] = 'x';
    t_spin(0.003);
    EQ(map[100], 'x');
    EQ(map[99], 0);
    EQ(munmap(map, PAGE), 0);
    FAILS((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0), EBADF);
    FAILS((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int fd = fill("content");
    while (t_more()) {
        private_copy(fd);
        shared_view(fd);
        read_into_map(fd);
        tail();
    }
    t_ok(__FILE__);
}
