// variants: static nopie musl
// fork: both halves go on with their own memory; a tree of them; fifty at once; exit statuses; the cost in CPU is known.
#include "t.h"
#include <sys/resource.h>

static int leaf(int depth, int number) {
    if (depth == 0)
        return number & 127;
    int sum = 0;
    pid_t kids[2];
    for (int i = 0; i < 2; i++) {
        kids[i] = fork();
        CHECK(kids[i] != -1);
        if (kids[i] == 0)
            _exit(leaf(depth - 1, number * 2 + i));
    }
    for (int i = 0; i < 2; i++) {
        int status = t_wait(kids[i]);
        CHECK(WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    return sum & 127;
}

static void own_memory(void) {
    static char pages[64 * 4096];
    memset(pages, 'p', sizeof pages);
    uint64_t before = t_hash(pages, sizeof pages);
    pid_t kid = fork();
    CHECK(kid != -1);
    if (kid == 0) {
        EQ(t_hash(pages, sizeof pages), before);
        memset(pages, 'c', sizeof pages);
        t_spin(0.02);
        for (size_t i = 0; i < sizeof pages; i++)
            CHECK(pages[i] == 'c');
        _exit(7);
    }
    t_spin(0.01);
    for (size_t i = 0; i < sizeof pages; i += 4096)
        pages[i] = 'q';
    int status = t_wait(kid);
    EQ(WEXITSTATUS(status), 7);
    for (size_t i = 0; i < sizeof pages; i++)
        CHECK(pages[i] == (i % 4096 ? 'p' : 'q'));
}

static void fifty(void) {
    pid_t kids[50];
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        kids[i] = fork();
        CHECK(kids[i] != -1);
        if (kids[i] == 0)
            _exit(i);
    }
    for (int i = 49; i >= 0; i--)
        sum += WEXITSTATUS(t_wait(kids[i]));
    EQ(sum, 1225);
    FAILS(waitpid(-1, NULL, 0), ECHILD);
}

static void identity(void) {
    pid_t parent = getpid();
    int ends[2];
    EQ(pipe(ends), 0);
    pid_t kid = fork();
    if (kid == 0) {
        pid_t who[2] = {getpid(), getppid()};
        EQ(write(ends[1], who, sizeof who), (ssize_t)sizeof who);
        _exit(0);
    }
    pid_t who[2];
    CHECK(t_read_all(ends[0], who, sizeof who));
    EQ(who[0], kid);
    EQ(who[1], parent);
    EQ(getpid(), parent);
    struct rusage usage;
    int status;
    EQ(wait4(kid, &status, 0, &usage), kid);
    EQ(status, 0);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    printf("tree %d\n", leaf(4, 1));
    fflush(stdout);
    while (t_more()) {
        own_memory();
        identity();
        if (t_rounds <= 3)
            fifty();
    }
    t_ok(__FILE__);
}
