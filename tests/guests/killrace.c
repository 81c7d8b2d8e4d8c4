// Signals at any moment: to children that compute, call, sleep or fork; each ends as it was told to, none is left.
#include "t.h"

static volatile int stop;
static void asked(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    stop = 1;
}

static void busy(int kind, int ready) {
    t_handle(SIGTERM, asked, 0);
    EQ(write(ready, "r", 1), 1);
    int null = open("/dev/null", O_WRONLY);
    while (!stop) {
        if (kind == 0)
            t_spin(0.001);
        else if (kind == 1)
            EQ(write(null, "x", 1), 1);
        else if (kind == 2)
            usleep(500);
        else {
            pid_t kid = fork();
            if (kid == 0)
                _exit(0);
            int status;
            while (waitpid(kid, &status, 0) == -1)
                EQ(errno, EINTR);
        }
    }
    _exit(60 + kind);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    uint64_t state = 4242;
    while (t_more()) {
        for (int kind = 0; kind < 4; kind++) {
            int ends[2];
            EQ(pipe(ends), 0);
            pid_t kid = fork();
            CHECK(kid != -1);
            if (kid == 0)
                busy(kind, ends[1]);
            char byte;
            EQ(read(ends[0], &byte, 1), 1);
            t_sleep((double)(t_random(&state) % 10000) / 1e6);
            int fatal = t_random(&state) % 3 == 0;
            for (int i = 0; i < 5; i++)
                EQ(kill(kid, SIGURG), 0); /* ignored by default */
            EQ(kill(kid, fatal ? SIGKILL : SIGTERM), 0);
            int status = t_wait(kid);
            if (fatal)
                EQ(status, SIGKILL);
            else
                EQ(WEXITSTATUS(status), 60 + kind);
            close(ends[0]);
            close(ends[1]);
        }
    }
    while (waitpid(-1, NULL, 0) > 0)
        ;
    EQ(errno, ECHILD);
    t_ok(__FILE__);
}
