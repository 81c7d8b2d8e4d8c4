// A file of counters as Java's machine keeps one: written through a shared mapping, whose descriptor is closed. It moves along; whoever
// looks when the process is at home sees the counters as they are.
#include "t.h"

#define PAGE 4096
#define WORDS (8 * PAGE / 8)

static uint64_t *counters;
static const char *name = "hsperfdata_test/4711";

/* Runs at home: a fork brings its process there. */
static void monitor(uint64_t round) {
    uint64_t seen[WORDS];
    int fd = open(name, O_RDONLY);
    if (read(fd, seen, sizeof seen) != sizeof seen)
        _exit(1);
    for (int i = 0; i < WORDS; i += 100)
        if (seen[i] != round * (uint64_t)i)
            _exit(2);
    _exit(0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    CHECK(mkdir("hsperfdata_test", 0700) == 0 || errno == EEXIST);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(ftruncate(fd, 8 * PAGE), 0);
    counters = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(counters != MAP_FAILED);
    close(fd);
    for (uint64_t round = 1; t_more(); round++) {
        for (int i = 0; i < WORDS; i += 100)
            counters[i] = round * (uint64_t)i;
        t_spin(0.01);
        for (int i = 0; i < WORDS; i += 100)
            EQ(counters[i], round * (uint64_t)i);
        if (round % 4)
            continue;
        pid_t kid = fork();
        if (kid == 0)
            monitor(round);
        EQ(t_wait(kid), 0);
    }
    EQ(munmap(counters, 8 * PAGE), 0);
    t_ok(__FILE__);
}
