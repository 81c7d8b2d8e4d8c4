// Counts into a file, one line a step, until another file exists; with a third argument it has so many MiB of memory in use; a fourth is a file of which it has a shared view, whose first byte only grows.
// Not a guest of the general test: it runs for as long as it is let.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile unsigned long sink;

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    int out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    char line[32];
    size_t more = argc > 3 ? atol(argv[3]) << 20 : 0;
    unsigned *memory = malloc(more);
    for (size_t i = 0; i < more / sizeof *memory; i++)
        memory[i] = i * 2654435761u;
    // What it has counted is in its memory as well: a copy that went back in time would write a number twice.
    size_t room = 1 << 20;
    int file = argc > 4 ? open(argv[4], O_RDONLY) : -1;
    volatile char *view = argc > 4 ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0) : NULL;
    unsigned *seen = calloc(room, sizeof *seen);
    for (unsigned step = 1; step < room; step++) {
        for (int i = 0; i < 200000; i++)
            sink += i;
        seen[step] = step;
        int len = snprintf(line, sizeof line, "%u\n", step);
        if (write(out, line, len) != len || seen[step / 2] != step / 2)
            return 3;
        for (size_t i = step % 1024; i < more / sizeof *memory; i += 1024)
            if (memory[i] != (unsigned)(i * 2654435761u))
                return 6;
        char now;
        if (view && (pread(file, &now, 1, 0) != 1 || *view < now))
            return 5;
        if (access(argv[2], F_OK) == 0)
            return 7;
    }
    return 4;
}
