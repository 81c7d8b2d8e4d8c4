// variants: static
// Shared memory without a name moves with the process that alone has it, and is shared again with its forks.
#include "t.h"

#define PAGE 4096UL
#define PAGES 24UL

static char *map(char *at, int flags) {
    char *got = mmap(at, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
    CHECK(got != MAP_FAILED);
    return got;
}

static void fill(char *at, char first) {
    for (unsigned i = 0; i < PAGES; i++)
        at[i * PAGE + i] = (char)(first + i);
}

static void holds(const char *at, char first, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++)
        EQ(at[i * PAGE + i], (char)(first + i));
}

/* A fork writes to it: whether that is seen here. */
static void forks(char *at, int seen) {
    int before = at[7];
    pid_t kid = fork();
    if (kid == 0) {
        t_spin(0.002);
        EQ(at[7], before);
        at[7] = (char)(before + 1);
        _exit(0);
    }
    EQ(t_wait(kid), 0);
    EQ(at[7], before + seen);
}

static void contents(void) {
    char *at = map(NULL, MAP_SHARED);
    t_spin(0.004);
    EQ(at[5 * PAGE], 0);
    fill(at, 1);
    t_spin(0.004);
    holds(at, 1, 0, PAGES);
    forks(at, 1);
    t_spin(0.004);
    fill(at, 40);
    t_spin(0.004);
    forks(at, 1);
    holds(at, 40, 0, PAGES);
    // Unlike memory of one's own it keeps what it has.
    EQ(madvise(at, 4 * PAGE, MADV_DONTNEED), 0);
    t_spin(0.004);
    holds(at, 40, 0, PAGES);
    EQ(madvise(at + 4 * PAGE, PAGE, MADV_REMOVE), 0);
    EQ(at[4 * PAGE + 4], 0);
    t_spin(0.004);
    EQ(at[4 * PAGE + 4], 0);
    EQ(munmap(at, PAGES * PAGE), 0);
}

static void layout(void) {
    char *at = map(NULL, MAP_SHARED);
    fill(at, 60);
    EQ(mprotect(at, 4 * PAGE, PROT_READ), 0);
    EQ(mprotect(at + 8 * PAGE, 4 * PAGE, PROT_NONE), 0);
    t_spin(0.006);
    EQ(mprotect(at, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
    EQ(mprotect(at + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
    t_spin(0.004);
    EQ(mprotect(at + 8 * PAGE, 4 * PAGE, PROT_NONE), 0);
    t_spin(0.006);
    EQ(mprotect(at + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
    holds(at, 60, 0, PAGES);
    EQ(munmap(at + 20 * PAGE, 2 * PAGE), 0);
    t_spin(0.004);
    holds(at, 60, 0, 20);
    holds(at, 60, 22, PAGES);
    char *there = map(NULL, MAP_PRIVATE);
    char *moved = mremap(at + 22 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
    EQ(moved == there, 1);
    t_spin(0.006);
    EQ(moved[22], 60 + 22);
    forks(moved, 1);
    EQ(munmap(there, PAGES * PAGE), 0);
    // What takes its place is not shared.
    map(at, MAP_PRIVATE);
    t_spin(0.004);
    fill(at, 20);
    forks(at, 0);
    t_spin(0.004);
    forks(at, 0);
    holds(at, 20, 0, PAGES);
    EQ(munmap(at, PAGES * PAGE), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        contents();
        layout();
    }
    t_ok(__FILE__);
}
