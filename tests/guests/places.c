// variants: static
// Places of memory: kept free, fixed, growing, moved away from; locked memory; limits of data and of the address space.
#include "t.h"
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define PAGE 4096UL
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static sigjmp_buf back;

static void fault(int sig) {
    (void)sig;
    siglongjmp(back, 1);
}

static void unexpected(int sig) {
    (void)sig;
    t_fail(__FILE__, __LINE__, "a fault where a mapping grows");
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

static void places(void) {
    char *hole = area(8, PROT_NONE, MAP_NORESERVE);
    CHECK(!readable(hole));
    EQ(munmap(hole + 2 * PAGE, 4 * PAGE), 0);
    t_spin(0.003);
    char *in = mmap(hole + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
    CHECK(in == hole + 2 * PAGE);
    FAILS((long)mmap(hole, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    strcpy(in, "in");
    char *away = mremap(in, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (away != MAP_FAILED) {
        t_spin(0.003);
        EQ(strcmp(away, "in"), 0);
        EQ(in[0], 0);
        EQ(munmap(away, PAGE), 0);
    }
    unsigned char resident[2];
    EQ(mincore(in, 2 * PAGE, resident), 0);
    FAILS(mincore(in + 3 * PAGE, PAGE, resident), ENOMEM);
    FAILS(mprotect(hole, 8 * PAGE, PROT_READ), ENOMEM);
    FAILS(msync(in + 1, PAGE, MS_SYNC), EINVAL);
    EQ(msync(in, 2 * PAGE, MS_SYNC), 0);
    EQ(munmap(hole, 8 * PAGE), 0);
}

/* With a handler for faults or without: a fault where a mapping grows is none. */
static void growing(int handled) {
    char *top = area(64, PROT_NONE, MAP_NORESERVE) + 60 * PAGE;
    EQ(munmap(top - 60 * PAGE, 60 * PAGE), 0);
    char *at = mmap(top, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    CHECK(at == top);
    signal(SIGSEGV, handled ? unexpected : SIG_DFL);
    *at = 'g';
    t_spin(0.004);
    for (int i = 1; i < 20; i++) {
        *(volatile char *)(top - i * (long)PAGE) = (char)i;
        if (i == 10)
            t_spin(0.004);
    }
    for (int i = 1; i < 20; i++)
        EQ(top[-i * (long)PAGE], i);
    EQ(*at, 'g');
    EQ(munmap(top - 20 * PAGE, 24 * PAGE), 0);
    signal(SIGSEGV, fault);
    CHECK(!readable(top));
}

static void locked(void) {
    char *at = area(4, PROT_READ | PROT_WRITE, 0);
    EQ(mlock(at, 2 * PAGE), 0);
    strcpy(at, "locked");
    t_spin(0.003);
    EQ(strcmp(at, "locked"), 0);
    FAILS(madvise(at, PAGE, MADV_DONTNEED), EINVAL);
    EQ(munlock(at, 2 * PAGE), 0);
    t_spin(0.003);
    EQ(madvise(at, PAGE, MADV_DONTNEED), 0);
    EQ(at[0], 0);
    EQ(munmap(at, 4 * PAGE), 0);
}

static void limited(void) {
    pid_t kid = fork();
    if (kid == 0) {
        char *start = (char *)syscall(SYS_brk, 0);
        struct rlimit limit = {48 << 20, 48 << 20};
        EQ(setrlimit(RLIMIT_DATA, &limit), 0);
        t_spin(0.004);
        CHECK((char *)syscall(SYS_brk, start + (64 << 20)) == start);
        FAILS((long)mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
        CHECK(mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        CHECK((char *)syscall(SYS_brk, start + (1 << 20)) == start + (1 << 20));
        t_spin(0.003);
        limit = (struct rlimit){1 << 30, 1 << 30};
        EQ(setrlimit(RLIMIT_AS, &limit), 0);
        t_spin(0.003);
        FAILS((long)mmap(NULL, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), ENOMEM);
        int fd = open("/dev/zero", O_RDONLY);
        *start = 1;
        EQ(read(fd, start, 8 * PAGE), 8 * (long)PAGE);
        EQ(*start, 0);
        _exit(0);
    }
    EQ(t_wait(kid), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    signal(SIGSEGV, fault);
    while (t_more()) {
        places();
        growing(0);
        growing(1);
        locked();
        limited();
    }
    t_ok(__FILE__);
}
