// Orphans go to the next subreaper, which reaps them; zombies stay until they are waited for; a parent's death signal comes.
#include "t.h"
#include <sys/prctl.h>

static void reparent(void) {
    int tell[2], go[2], seen[2];
    EQ(pipe(tell), 0);
    EQ(pipe(seen), 0);
    EQ(pipe(go), 0);
    pid_t top = getpid();
    pid_t kid = fork();
    if (kid == 0) {
        pid_t middle = getpid();
        pid_t grand = fork();
        if (grand == 0) {
            char byte;
            EQ(getppid(), middle);
            EQ(write(seen[1], "s", 1), 1);
            EQ(write(tell[1], &(pid_t){getpid()}, sizeof(pid_t)), (ssize_t)sizeof(pid_t));
            EQ(read(go[0], &byte, 1), 1);
            EQ(getppid(), top);
            t_spin(0.01);
            _exit(17);
        }
        char byte;
        EQ(read(seen[0], &byte, 1), 1);
        t_spin(0.01);
        _exit(3);
    }
    pid_t grand;
    CHECK(t_read_all(tell[0], &grand, sizeof grand));
    EQ(WEXITSTATUS(t_wait(kid)), 3);
    EQ(write(go[1], "g", 1), 1);
    EQ(WEXITSTATUS(t_wait(grand)), 17);
    for (int i = 0; i < 2; i++)
        close(tell[i]), close(go[i]), close(seen[i]);
}

static char state_of(pid_t pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    if (fd == -1)
        return '-';
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    CHECK(n > 0);
    line[n] = 0;
    return strrchr(line, ')')[2];
}

static void zombie(void) {
    pid_t kid = fork();
    if (kid == 0)
        _exit(1);
    while (state_of(kid) != 'Z')
        t_sleep(0.001);
    EQ(kill(kid, 0), 0);
    EQ(kill(kid, SIGKILL), 0);
    EQ(WEXITSTATUS(t_wait(kid)), 1);
    EQ(state_of(kid), '-');
    FAILS(kill(kid, 0), ESRCH);
}

static void death_signal(void) {
    int ready[2];
    EQ(pipe(ready), 0);
    pid_t kid = fork();
    if (kid == 0) {
        pid_t grand = fork();
        if (grand == 0) {
            EQ(prctl(PR_SET_PDEATHSIG, SIGUSR2), 0);
            int kept = 0;
            EQ(prctl(PR_GET_PDEATHSIG, &kept), 0);
            EQ(kept, SIGUSR2);
            EQ(write(ready[1], &(pid_t){getpid()}, sizeof(pid_t)), (ssize_t)sizeof(pid_t));
            for (;;)
                t_spin(0.05);
        }
        pause();
        _exit(0);
    }
    pid_t grand;
    CHECK(t_read_all(ready[0], &grand, sizeof grand));
    t_spin(0.02);
    EQ(kill(kid, SIGKILL), 0);
    EQ(t_wait(kid), SIGKILL);
    EQ(WTERMSIG(t_wait(grand)), SIGUSR2);
    close(ready[0]);
    close(ready[1]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    while (t_more()) {
        reparent();
        zombie();
        death_signal();
    }
    t_ok(__FILE__);
}
