// A program that traces its child, as debuggers do: stops, reads, changes, single steps, and lets go.
#include "t.h"
#include <sys/ptrace.h>
#include <sys/user.h>

static volatile long word = 1111;

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        t_spin(0.01);
        pid_t kid = fork();
        if (kid == 0) {
            EQ(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
            raise(SIGSTOP);
            _exit(word == 2222 ? 8 : 9);
        }
        int status;
        EQ(waitpid(kid, &status, 0), kid);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        errno = 0;
        EQ(ptrace(PTRACE_PEEKDATA, kid, &word, NULL), 1111);
        EQ(ptrace(PTRACE_POKEDATA, kid, &word, 2222L), 0);
        struct user_regs_struct regs;
        EQ(ptrace(PTRACE_GETREGS, kid, NULL, &regs), 0);
        CHECK(regs.rip != 0 && regs.rsp != 0);
        for (int i = 0; i < 20; i++) {
            EQ(ptrace(PTRACE_SINGLESTEP, kid, NULL, NULL), 0);
            EQ(waitpid(kid, &status, 0), kid);
            CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
        }
        EQ(ptrace(PTRACE_DETACH, kid, NULL, NULL), 0);
        EQ(WEXITSTATUS(t_wait(kid)), 8);
    }
    t_ok(__FILE__);
}
