// variants: static nopie
// Faults with handlers: which address, which code; the handler repairs or steps over, and the program goes on.
#include "t.h"
#include <ucontext.h>

static volatile int hits, code, number;
static void *volatile address;
static char *volatile guarded;

static void skip(int sig, siginfo_t *si, void *context) {
    number = sig;
    hits++;
    code = si->si_code;
    address = si->si_addr;
    /* Every faulting place below is followed by a label whose address is in r12. */
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = ((ucontext_t *)context)->uc_mcontext.gregs[REG_R12];
}

#define TRY(code) \
    __asm__ volatile("lea 1f(%%rip), %%r12\n" code "\n1:" : : "a"(bad) : "r12", "rcx", "rdx", "memory")

static void expect_at(int line, int sig, int why) {
    if (hits != 1 || number != sig || code != why)
        fprintf(stderr, "line %d: %d hits, signal %d code %d\n", line, hits, number, code);
    EQ(hits, 1);
    EQ(number, sig);
    EQ(code, why);
    hits = 0;
}

#define expect(sig, why) expect_at(__LINE__, sig, why)

static void kinds(void) {
    char *bad = (char *)0x10;
    TRY("movb (%%rax), %%cl");
    expect(SIGSEGV, SEGV_MAPERR);
    CHECK(address == bad);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bad = page + 77;
    TRY("movb $1, (%%rax)");
    expect(SIGSEGV, SEGV_ACCERR);
    CHECK(address == bad);
    bad = (char *)0x8000000000000000u;
    TRY("movb (%%rax), %%cl");
    expect(SIGSEGV, SI_KERNEL);
    t_spin(0.002);
    TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx");
    expect(SIGFPE, FPE_INTDIV);
    TRY("ud2");
    expect(SIGILL, ILL_ILLOPN);
    TRY("int3");
    expect(SIGTRAP, SI_KERNEL);
    TRY("hlt");
    expect(SIGSEGV, SI_KERNEL);
    EQ(munmap(page, 4096), 0);
    int fd = open("short", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(ftruncate(fd, 4096), 0);
    page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    EQ(page[100], 0);
    bad = page + 5000;
    TRY("movb (%%rax), %%cl");
    expect(SIGBUS, BUS_ADRERR);
    CHECK(address == bad);
    EQ(munmap(page, 8192), 0);
    close(fd);
}

static void repair(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    char *page = (char *)((uintptr_t)si->si_addr & ~4095UL);
    CHECK(page >= guarded && page < guarded + 64 * 4096);
    EQ(si->si_code, SEGV_ACCERR);
    EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
    page[8] = 'r';
    hits++;
}

/* As garbage collectors do: pages become accessible when they are touched. */
static void on_touch(void) {
    t_handle(SIGSEGV, repair, 0);
    guarded = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hits = 0;
    for (int i = 0; i < 64; i++) {
        guarded[i * 4096] = (char)i;
        if (i % 16 == 0)
            t_spin(0.001);
    }
    EQ(hits, 64);
    for (int i = 0; i < 64; i++)
        CHECK(guarded[i * 4096] == i && guarded[i * 4096 + 8] == 'r');
    EQ(munmap(guarded, 64 * 4096), 0);
    hits = 0;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        t_handle(SIGSEGV, skip, 0);
        t_handle(SIGBUS, skip, 0);
        t_handle(SIGFPE, skip, 0);
        t_handle(SIGILL, skip, 0);
        t_handle(SIGTRAP, skip, 0);
        kinds();
        on_touch();
    }
    t_ok(__FILE__);
}
