// Counts into a file, one line a step, until another file exists. Not a guest of the general test: it runs for as long as it is let.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile unsigned long sink;

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    int out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    char line[32];
    // What it has counted is in its memory as well: a copy that went back in time would write a number twice.
    size_t room = 1 << 20;
    unsigned *seen = calloc(room, sizeof *seen);
    for (unsigned step = 1; step < room; step++) {
        for (int i = 0; i < 200000; i++)
            sink += i;
        seen[step] = step;
        int len = snprintf(line, sizeof line, "%u\n", step);
        if (write(out, line, len) != len || seen[step / 2] != step / 2)
            return 3;
        if (access(argv[2], F_OK) == 0)
            return 7;
    }
    return 4;
}
