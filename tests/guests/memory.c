// variants: static nopie musl stripped
// Anonymous memory: brk, mremap, mprotect, madvise, large sparse areas, fixed places, what was written stays.
#include "t.h"
#include <sys/syscall.h>

#define PAGE 4096UL

static void fill(char *at, size_t pages, uint64_t seed) {
    for (size_t i = 0; i < pages; i++)
        *(uint64_t *)(at + i * PAGE + 8 * (i % 512)) = t_random(&seed) | 1;
}

static void check(const char *at, size_t pages, uint64_t seed) {
    for (size_t i = 0; i < pages; i++)
        EQ(*(const uint64_t *)(at + i * PAGE + 8 * (i % 512)), (int64_t)(t_random(&seed) | 1));
}

static char *area(size_t pages, int prot, int flags) {
    char *at = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void resize(void) {
    char *at = area(64, PROT_READ | PROT_WRITE, 0);
    fill(at, 64, 11);
    t_spin(0.003);
    at = mremap(at, 64 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
    CHECK(at != MAP_FAILED);
    check(at, 64, 11);
    EQ(at[299 * PAGE], 0);
    at = mremap(at, 300 * PAGE, 32 * PAGE, 0);
    CHECK(at != MAP_FAILED);
    char *place = area(64, PROT_NONE, MAP_NORESERVE);
    t_spin(0.003);
    CHECK(mremap(at, 32 * PAGE, 32 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + 8 * PAGE) == place + 8 * PAGE);
    check(place + 8 * PAGE, 32, 11);
    FAILS((long)mremap(at, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE), EFAULT);
    EQ(munmap(place, 64 * PAGE), 0);
}

static void protect(void) {
    char *at = area(100, PROT_READ | PROT_WRITE, 0);
    fill(at, 100, 12);
    for (size_t i = 0; i < 100; i += 2)
        EQ(mprotect(at + i * PAGE, PAGE, i % 4 ? PROT_NONE : PROT_READ), 0);
    t_spin(0.01);
    EQ(mprotect(at, 100 * PAGE, PROT_READ | PROT_WRITE), 0);
    check(at, 100, 12);
    EQ(madvise(at + 10 * PAGE, 20 * PAGE, MADV_DONTNEED), 0);
    check(at, 10, 12);
    for (size_t i = 10 * PAGE; i < 30 * PAGE; i++)
        CHECK(at[i] == 0);
    EQ(madvise(at, 100 * PAGE, MADV_WILLNEED), 0);
    EQ(munmap(at + 50 * PAGE, 10 * PAGE), 0);
    FAILS(mprotect(at + 45 * PAGE, 10 * PAGE, PROT_READ), ENOMEM);
    FAILS(madvise(at + 1, PAGE, MADV_NORMAL), EINVAL);
    unsigned char core[4];
    EQ(mincore(at, 4 * PAGE, core), 0);
    FAILS(mincore(at + 50 * PAGE, PAGE, core), ENOMEM);
    EQ(munmap(at, 100 * PAGE), 0);
}

static void sparse(void) {
    char *at = area(1 << 18, PROT_READ | PROT_WRITE, MAP_NORESERVE); /* 1 GiB, few pages of it touched */
    for (size_t i = 0; i < 1 << 18; i += 4099)
        *(size_t *)(at + i * PAGE) = i;
    t_spin(0.005);
    for (size_t i = 0; i < 1 << 18; i += 4099)
        EQ(*(size_t *)(at + i * PAGE), i);
    EQ(at[77 * PAGE], 0);
    EQ(munmap(at, PAGE << 18), 0);
}

/* Not every C library's sbrk moves the break. */
static char *move_break(long by) {
    char *old = (char *)syscall(SYS_brk, 0);
    return by && (char *)syscall(SYS_brk, old + by) != old + by ? NULL : old;
}

static void heap(void) {
    char *start = move_break(0);
    EQ((long)start % 8, 0);
    CHECK(move_break(200 * PAGE) == start);
    char *first = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
    fill(first, 190, 13);
    t_spin(0.005);
    CHECK(move_break(0) == start + 200 * PAGE);
    check(first, 190, 13);
    CHECK(move_break(-(intptr_t)(100 * PAGE)) == start + 200 * PAGE);
    check(first, 90, 13);
    t_spin(0.003);
    CHECK(move_break(100 * PAGE) == start + 100 * PAGE);
    EQ(first[150 * PAGE], 0);
    CHECK(move_break(-(intptr_t)(200 * PAGE)) == start + 200 * PAGE);
}

static void churn(void) {
    static char *block[512];
    static size_t size[512];
    uint64_t state = 77;
    for (int i = 0; i < 20000; i++) {
        unsigned k = t_random(&state) % 512;
        if (block[k]) {
            EQ(block[k][0], (char)k);
            EQ(block[k][size[k] - 1], (char)(k + 1));
            free(block[k]);
        }
        size[k] = 2 + t_random(&state) % (i % 100 ? 2000 : 300000);
        block[k] = malloc(size[k]);
        block[k][0] = (char)k;
        block[k][size[k] - 1] = (char)(k + 1);
    }
    for (int k = 0; k < 512; k++)
        free(block[k]), block[k] = NULL;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        heap();
        resize();
        protect();
        sparse();
        churn();
    }
    t_ok(__FILE__);
}
