// Contexts and jumps: coroutines on stacks of their own, longjmp out of handlers with the mask put back.
#include "t.h"
#include <setjmp.h>
#include <ucontext.h>

static ucontext_t top, workers[8];
static int turn;
static double sums[8];

static void work(int number) {
    for (int i = 1; i <= 40; i++) {
        double part = 1.0 / (i + number);
        for (int k = 0; k < 2000; k++)
            part = part * 1.0000001;
        sums[number] += part;
        turn = (number + 1) % 8;
        swapcontext(&workers[number], &workers[turn]);
    }
    turn = number;
}

static void coroutines(void) {
    static double first[8];
    char *stacks[8];
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < 8; i++) {
        stacks[i] = malloc(65536);
        EQ(getcontext(&workers[i]), 0);
        workers[i].uc_stack.ss_sp = stacks[i];
        workers[i].uc_stack.ss_size = 65536;
        workers[i].uc_link = &top;
        makecontext(&workers[i], (void (*)(void))work, 1, i);
    }
    swapcontext(&top, &workers[0]);
    EQ(turn, 0);
    for (int i = 0; i < 8; i++) {
        if (first[i] == 0)
            first[i] = sums[i];
        CHECK(sums[i] == first[i] && sums[i] > 1);
        free(stacks[i]);
    }
}

static sigjmp_buf back;
static void out(int sig) { siglongjmp(back, sig); }

static void jumps(void) {
    signal(SIGUSR1, out);
    signal(SIGSEGV, out);
    signal(SIGALRM, out);
    for (volatile int i = 0; i < 50; i++) {
        int got = sigsetjmp(back, 1);
        if (got == 0) {
            raise(SIGUSR1);
            CHECK(!"not here");
        }
        EQ(got, SIGUSR1);
        got = sigsetjmp(back, 1);
        if (got == 0) {
            *(volatile char *)8 = 1;
            CHECK(!"not here");
        }
        EQ(got, SIGSEGV);
        sigset_t now;
        sigprocmask(SIG_BLOCK, NULL, &now);
        CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGSEGV));
    }
    int ends[2];
    char byte;
    EQ(pipe(ends), 0);
    if (sigsetjmp(back, 1) == 0) {
        ualarm(20000, 0);
        (void)!read(ends[0], &byte, 1);
        CHECK(!"not here");
    }
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        coroutines();
        jumps();
    }
    t_ok(__FILE__);
}
