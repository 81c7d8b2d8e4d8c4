// A terminal and job control on it: settings, window size, Ctrl-C, Ctrl-Z, background reads, hang-up.
#include "t.h"
#include <sys/ioctl.h>
#include <termios.h>

static volatile int winch;
static void changed(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    winch++;
}

/* What the terminal shows, up to and with this text. */
static void until(int master, const char *text) {
    static char seen[65536];
    size_t have = 0;
    while (have < sizeof seen - 1) {
        ssize_t n = read(master, seen + have, 1);
        CHECK(n == 1);
        seen[++have] = 0;
        if (strstr(seen, text))
            return;
    }
    CHECK(!"text not shown");
}

static void settings(int slave) {
    struct termios old, raw, now;
    EQ(tcgetattr(slave, &old), 0);
    raw = old;
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 3;
    EQ(tcsetattr(slave, TCSANOW, &raw), 0);
    EQ(tcgetattr(slave, &now), 0);
    EQ(now.c_lflag, raw.c_lflag);
    EQ(now.c_cc[VMIN], 3);
    EQ(tcsetattr(slave, TCSAFLUSH, &old), 0);
    struct winsize size = {33, 99, 1, 2}, got;
    EQ(ioctl(slave, TIOCSWINSZ, &size), 0);
    EQ(ioctl(slave, TIOCGWINSZ, &got), 0);
    EQ(memcmp(&size, &got, sizeof got), 0);
    CHECK(isatty(slave) && ttyname(slave) && strncmp(ttyname(slave), "/dev/pts/", 9) == 0);
}

static void job(int slave, void (*body)(int), int ends, int *status, int master, const char *keys) {
    pid_t kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        EQ(setpgid(0, 0), 0);
        signal(SIGTTOU, SIG_IGN);
        EQ(tcsetpgrp(slave, getpgrp()), 0);
        signal(SIGTTOU, SIG_DFL);
        EQ(write(slave, "ready\n", 6), 6);
        body(slave);
        _exit(0);
    }
    until(master, "ready");
    EQ(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
    EQ(waitpid(kid, status, ends), kid);
    if (WIFSTOPPED(*status)) {
        EQ(kill(-kid, SIGCONT), 0);
        t_spin(0.005);
        EQ(kill(-kid, SIGTERM), 0);
        EQ(WTERMSIG(t_wait(kid)), SIGTERM);
    }
    EQ(tcsetpgrp(slave, getpgrp()), 0);
}

static void spins(int slave) {
    (void)slave;
    for (;;)
        t_spin(0.02);
}

static void reads(int slave) {
    char line[64] = "";
    EQ(read(slave, line, sizeof line), 6);
    EQ(strcmp(line, "typed\n"), 0);
    EQ(read(slave, line, sizeof line), 0); /* Ctrl-D */
    _exit(12);
}

static void background(int slave) {
    pid_t kid = fork();
    if (kid == 0) {
        char byte;
        EQ(setpgid(0, 0), 0);
        t_spin(0.003);
        EQ(read(slave, &byte, 1), 1);
        _exit(0);
    }
    int status;
    EQ(waitpid(kid, &status, WUNTRACED), kid);
    CHECK(WIFSTOPPED(status));
    EQ(WSTOPSIG(status), SIGTTIN);
    EQ(kill(kid, SIGKILL), 0);
    EQ(t_wait(kid), SIGKILL);
}

static void session(int master, const char *name) {
    EQ(setsid(), getpid());
    int slave = open(name, O_RDWR), status;
    CHECK(slave != -1);
    EQ(tcgetsid(slave), getpid());
    EQ(tcgetpgrp(slave), getpgrp());
    signal(SIGTTOU, SIG_IGN);
    settings(slave);
    t_handle(SIGWINCH, changed, SA_RESTART);
    EQ(ioctl(master, TIOCSWINSZ, &(struct winsize){50, 120, 0, 0}), 0);
    while (!winch)
        t_spin(0.001);
    job(slave, spins, 0, &status, master, "\003");
    EQ(WTERMSIG(status), SIGINT);
    job(slave, reads, 0, &status, master, "typed\n\004");
    EQ(WEXITSTATUS(status), 12);
    job(slave, spins, WUNTRACED, &status, master, "\032");
    EQ(WSTOPSIG(status), SIGTSTP);
    job(slave, spins, 0, &status, master, "\034");
    EQ(WTERMSIG(status), SIGQUIT);
    background(slave);
    int waiting = -1;
    EQ(ioctl(slave, FIONREAD, &waiting), 0);
    EQ(waiting, 0);
    signal(SIGHUP, SIG_DFL);
    close(master);
    for (;;)
        t_spin(0.02); /* the last master is gone: hang-up */
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    signal(SIGHUP, SIG_IGN);
    while (t_more()) {
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        CHECK(master != -1);
        EQ(grantpt(master), 0);
        EQ(unlockpt(master), 0);
        char name[64];
        EQ(ptsname_r(master, name, sizeof name), 0);
        pid_t kid = fork();
        if (kid == 0)
            session(master, name);
        close(master);
        EQ(WTERMSIG(t_wait(kid)), SIGHUP);
    }
    t_ok(__FILE__);
}
