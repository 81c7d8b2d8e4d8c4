// variants: static
// A handler runs long enough to be moved in its middle, once on the thread's stack and once on one of its own; when it returns, all
// registers are as they were, the vector registers that every processor of today has among them.
#include "t.h"
#include <sys/time.h>

static volatile unsigned handled;

static void handler(int signo) {
    (void)signo;
    double until = t_now() + 0.02;
    while (t_now() < until)
        ;
    handled++;
}

__attribute__((target("avx"))) static void held(void) {
    static uint64_t in[64], out[64];
    for (int i = 0; i < 64; i++)
        in[i] = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
    memset(out, 0, sizeof out);
    unsigned before = handled;
    // Until three handlers have returned.
    __asm__ volatile("vmovdqu (%0), %%ymm0; vmovdqu 32(%0), %%ymm3; vmovdqu 64(%0), %%ymm8; vmovdqu 96(%0), %%ymm15\n"
                     "1: mov (%2), %%eax; sub %3, %%eax; cmp $3, %%eax; jb 1b\n"
                     "vmovdqu %%ymm0, (%1); vmovdqu %%ymm3, 32(%1); vmovdqu %%ymm8, 64(%1); vmovdqu %%ymm15, 96(%1); vzeroupper\n"
                     :
                     : "r"(in), "r"(out), "r"(&handled), "r"(before)
                     : "rax", "xmm0", "xmm3", "xmm8", "xmm15", "memory", "cc");
    EQ(memcmp(in, out, 128), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int avx = __builtin_cpu_supports("avx");
    stack_t own = {.ss_sp = malloc(65536), .ss_size = 65536};
    EQ(sigaltstack(&own, NULL), 0);
    for (int round = 0; t_more(); round++) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = round % 2 ? SA_ONSTACK : 0};
        EQ(sigaction(SIGALRM, &action, NULL), 0);
        struct itimerval every = {{0, 50000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
        EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
        if (avx)
            held();
        EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    }
    t_ok(__FILE__);
}
