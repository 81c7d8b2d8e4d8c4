// Alternate signal stacks: the handler runs there, nested ones too; left by longjmp; stack overflow is caught on it.
#include "t.h"
#include <setjmp.h>
#include <sys/resource.h>

static char *stack;
#define SIZE (128 * 1024)
static volatile int on_it, depth_seen;
static sigjmp_buf back;

static int inside(const void *p) { return (const char *)p >= stack && (const char *)p < stack + SIZE; }

static void look(int sig, siginfo_t *si, void *context) {
    (void)si, (void)context;
    char local;
    stack_t now;
    EQ(sigaltstack(NULL, &now), 0);
    EQ(now.ss_flags & SS_ONSTACK, SS_ONSTACK);
    CHECK(now.ss_sp == stack && now.ss_size == SIZE);
    FAILS(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), EPERM);
    on_it = inside(&local);
    t_spin(0.002);
    if (sig == SIGUSR1)
        raise(SIGUSR2);
}

static void off(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    char local;
    on_it = inside(&local);
}

static void overflow(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    char local;
    CHECK(inside(&local));
    CHECK(si->si_addr != NULL);
    siglongjmp(back, 1);
}

__attribute__((noinline)) static int dig(volatile char *above, int depth) {
    volatile char room[4096];
    room[0] = above ? above[0] : 1;
    depth_seen = depth;
    return depth == INT32_MAX ? 0 : dig(room, depth + 1) + room[0];
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    stack = malloc(SIZE);
    EQ(setrlimit(RLIMIT_STACK, &(struct rlimit){2 << 20, RLIM_INFINITY}), 0);
    while (t_more()) {
        EQ(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = SIZE}, NULL), 0);
        FAILS(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = 100}, NULL), ENOMEM);
        t_handle(SIGUSR1, look, SA_ONSTACK);
        t_handle(SIGUSR2, look, SA_ONSTACK);
        on_it = 0;
        raise(SIGUSR1);
        EQ(on_it, 1);
        stack_t now;
        EQ(sigaltstack(NULL, &now), 0);
        EQ(now.ss_flags & SS_ONSTACK, 0);
        t_handle(SIGUSR1, off, 0);
        raise(SIGUSR1);
        EQ(on_it, 0);

        t_handle(SIGSEGV, overflow, SA_ONSTACK);
        for (volatile int i = 0; i < 2; i++) {
            depth_seen = 0;
            if (sigsetjmp(back, 1) == 0)
                dig(NULL, 0);
            CHECK(depth_seen > 100);
            t_spin(0.005);
        }
        signal(SIGSEGV, SIG_DFL);
        EQ(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), 0);
        EQ(sigaltstack(NULL, &now), 0);
        EQ(now.ss_flags, SS_DISABLE);
    }
    t_ok(__FILE__);
}
