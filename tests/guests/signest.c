// variants: nopie musl static
// Handlers inside handlers: masks while they run and after, SA_NODEFER, SA_RESETHAND, many levels deep.
#include "t.h"
#include <ucontext.h>

static volatile int depth, deepest, total, wrong, resets;

static int blocked(int sig) {
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, sig);
}

static void nested(int sig, siginfo_t *si, void *context) {
    (void)si, (void)context;
    if (!blocked(sig))
        wrong++;
    depth++;
    total++;
    if (depth > deepest)
        deepest = depth;
    if (sig < SIGRTMIN + 8)
        raise(sig + 1);
    t_spin(0.0005);
    depth--;
}

static void again(int sig, siginfo_t *si, void *context) {
    (void)si, (void)context;
    if (blocked(sig))
        wrong++;
    depth++;
    if (depth < 20)
        raise(sig);
    else
        deepest = depth;
    depth--;
}

static void masked(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    if (!blocked(SIGUSR2) || !blocked(SIGHUP) || blocked(SIGINT))
        wrong++;
    int before = total;
    raise(SIGUSR2);
    if (total != before)
        wrong++;
    t_spin(0.001);
}

static void count(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    total++;
}

static void reset(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    resets++;
}

static void change_mask(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si;
    /* What the handler writes here is the mask after its return. */
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGWINCH);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        for (int i = 0; i <= 8; i++)
            t_handle(SIGRTMIN + i, nested, 0);
        depth = deepest = total = 0;
        raise(SIGRTMIN);
        EQ(deepest, 9);
        EQ(total, 9);
        EQ(depth, 0);
        t_handle(SIGUSR1, again, SA_NODEFER);
        deepest = 0;
        raise(SIGUSR1);
        EQ(deepest, 20);

        struct sigaction action = {.sa_sigaction = masked, .sa_flags = SA_SIGINFO};
        sigaddset(&action.sa_mask, SIGUSR2);
        sigaddset(&action.sa_mask, SIGHUP);
        EQ(sigaction(SIGUSR1, &action, NULL), 0);
        struct sigaction kept;
        EQ(sigaction(SIGUSR1, NULL, &kept), 0);
        CHECK(kept.sa_sigaction == masked && sigismember(&kept.sa_mask, SIGHUP) && !sigismember(&kept.sa_mask, SIGINT));
        t_handle(SIGUSR2, count, 0);
        total = 0;
        raise(SIGUSR1);
        EQ(total, 1);
        CHECK(!blocked(SIGUSR2) && !blocked(SIGHUP) && !blocked(SIGUSR1));

        t_handle(SIGUSR1, reset, SA_RESETHAND);
        resets = 0;
        raise(SIGUSR1);
        EQ(resets, 1);
        EQ(sigaction(SIGUSR1, NULL, &kept), 0);
        CHECK(kept.sa_handler == SIG_DFL);

        t_handle(SIGUSR1, change_mask, 0);
        CHECK(!blocked(SIGWINCH));
        raise(SIGUSR1);
        CHECK(blocked(SIGWINCH));
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, SIGWINCH);
        EQ(sigprocmask(SIG_UNBLOCK, &one, NULL), 0);
        EQ(wrong, 0);
    }
    FAILS(sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL), EINVAL);
    t_ok(__FILE__);
}
