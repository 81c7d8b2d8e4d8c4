// variants: static
// What is said about memory: contents that are dropped come back as they should, marks hold at forks, a mapped file moves.
#include "t.h"
#include <setjmp.h>

#define PAGE 4096UL
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif

static sigjmp_buf back;

static void fault(int sig) {
    (void)sig;
    siglongjmp(back, 1);
}

static int readable(volatile char *at) {
    if (sigsetjmp(back, 1))
        return 0;
    (void)*at;
    return 1;
}

static char *area(size_t pages, int prot, int flags) {
    char *at = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void file_pages(void) {
    static char data[8 * PAGE];
    memset(data, 'f', sizeof data);
    int fd = open("pages", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(t_write_all(fd, data, sizeof data));
    close(fd);
    fd = open("pages", O_RDONLY);
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    for (int i = 0; i < 8; i++)
        map[i * PAGE + 5] = (char)i;
    memset(map + 6 * PAGE, 0, PAGE);
    t_spin(0.004);
    for (int i = 0; i < 6; i++)
        CHECK(map[i * PAGE + 5] == i && map[i * PAGE + 6] == 'f');
    EQ(map[6 * PAGE + 100], 0);
    EQ(madvise(map, 2 * PAGE, MADV_DONTNEED), 0);
    CHECK(map[5] == 'f' && map[PAGE + 5] == 'f' && map[2 * PAGE + 5] == 2);
    t_spin(0.004);
    CHECK(map[5] == 'f' && map[PAGE + 5] == 'f' && map[2 * PAGE + 5] == 2);
    EQ(madvise(map + 6 * PAGE, PAGE, MADV_DONTNEED), 0);
    EQ(map[6 * PAGE + 100], 'f');
    char *moved = mremap(map, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area(8, PROT_NONE, 0));
    CHECK(moved != MAP_FAILED);
    t_spin(0.004);
    CHECK(moved[3 * PAGE + 5] == 3 && moved[3 * PAGE + 6] == 'f' && moved[7 * PAGE] == 'f');
    EQ(mprotect(moved, 8 * PAGE, PROT_READ), 0);
    moved = mremap(moved, 4 * PAGE, 2 * PAGE, 0);
    CHECK(moved != MAP_FAILED);
    EQ(moved[PAGE], 'f');
    EQ(munmap(moved, 8 * PAGE), 0);
}

static void at_forks(void) {
    char *wiped = area(2, PROT_READ | PROT_WRITE, 0), *left = area(2, PROT_READ | PROT_WRITE, 0);
    strcpy(wiped, "wiped");
    strcpy(left, "left");
    t_spin(0.003);
    EQ(madvise(wiped, 2 * PAGE, MADV_WIPEONFORK), 0);
    EQ(madvise(left, 2 * PAGE, MADV_DONTFORK), 0);
    t_spin(0.005);
    pid_t kid = fork();
    if (kid == 0)
        _exit(wiped[0] != 0 || readable(left));
    EQ(t_wait(kid), 0);
    EQ(strcmp(wiped, "wiped"), 0);
    EQ(strcmp(left, "left"), 0);
    EQ(madvise(wiped, 2 * PAGE, MADV_KEEPONFORK), 0);
    EQ(madvise(left, 2 * PAGE, MADV_DOFORK), 0);
    t_spin(0.003);
    kid = fork();
    if (kid == 0)
        _exit(strcmp(wiped, "wiped") || strcmp(left, "left"));
    EQ(t_wait(kid), 0);
    EQ(munmap(wiped, 2 * PAGE), 0);
    EQ(munmap(left, 2 * PAGE), 0);
}

static void kinds_of_advice(void) {
    char *at = area(16, PROT_READ | PROT_WRITE, 0);
    memset(at, 'k', 16 * PAGE);
    static const int kinds[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE,
                                MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        EQ(madvise(at, 16 * PAGE, kinds[i]), 0);
        EQ(at[15 * PAGE], 'k');
    }
    t_spin(0.003);
    EQ(madvise(at, 4 * PAGE, MADV_FREE), 0);
    CHECK(at[0] == 'k' || at[0] == 0);
    at[0] = 'n';
    t_spin(0.003);
    EQ(at[0], 'n');
    EQ(madvise(at + 8 * PAGE, 4 * PAGE, MADV_DONTNEED), 0);
    CHECK(at[8 * PAGE] == 0 && at[12 * PAGE] == 'k');
    FAILS(madvise(at, PAGE, 77), EINVAL);
    FAILS(madvise(at, 16 * PAGE, MADV_REMOVE), EINVAL);
    EQ(munmap(at + 4 * PAGE, PAGE), 0);
    FAILS(madvise(at, 8 * PAGE, MADV_DONTNEED), ENOMEM);
    EQ(munmap(at, 16 * PAGE), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    signal(SIGSEGV, fault);
    while (t_more()) {
        file_pages();
        at_forks();
        kinds_of_advice();
    }
    t_ok(__FILE__);
}
