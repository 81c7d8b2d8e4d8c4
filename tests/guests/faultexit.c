// Faults and signals without handlers: the parent sees the right end, with a core where one is allowed and due.
#include "t.h"
#include <sys/resource.h>

static int spins;

static void die(int how) {
    t_spin(0.003 * (spins % 4)); /* sometimes long enough to be elsewhere */
    volatile int zero = 0;
    switch (how) {
    case 0: *(volatile char *)(uintptr_t)(zero + 8) = 1; break;
    case 1: zero = 77 / zero; break;
    case 2: __asm__ volatile("ud2"); break;
    case 3: abort();
    case 4: __asm__ volatile("int3"); break;
    case 5: raise(SIGTERM); break;
    case 6: raise(SIGQUIT); break;
    case 7: kill(getpid(), SIGKILL); break;
    case 8: raise(SIGSYS); break;
    case 9: {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        *(volatile char *)(uintptr_t)(zero + 8) = 1; /* a blocked fault kills all the same */
        break;
    }
    case 10: signal(SIGABRT, SIG_IGN); abort();
    }
    _exit(99);
}

static const int expected[] = {SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGTERM, SIGQUIT, SIGKILL, SIGSYS, SIGSEGV, SIGABRT};

int main(int argc, char **argv) {
    t_init(argc, argv);
    int cores[11], first = 1;
    while (t_more() || spins % 4) {
        for (int how = 0; how < 11; how++) {
            pid_t kid = fork();
            CHECK(kid != -1);
            if (kid == 0) {
                setrlimit(RLIMIT_CORE, &(struct rlimit){how == 3 ? 1 << 16 : 0, RLIM_INFINITY});
                die(how);
            }
            int status = t_wait(kid);
            CHECK(WIFSIGNALED(status));
            EQ(WTERMSIG(status), expected[how]);
            if (first)
                cores[how] = WCOREDUMP(status) != 0;
            EQ(WCOREDUMP(status) != 0, cores[how]);
            if (first)
                printf("%d: signal %d%s\n", how, WTERMSIG(status), cores[how] ? " with core" : "");
            fflush(stdout);
        }
        first = 0;
        spins++;
    }
    unlink("core");
    t_ok(__FILE__);
}
