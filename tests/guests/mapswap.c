// One file is mapped where another was a moment ago, all the time: what is read of a place is of the file that is there.
#include "t.h"

#define PAGE 4096
#define FILES 5
#define PAGES 4
#define HEAP (12 << 20)

static int fds[FILES];

static char at(int file, int page) { return (char)(file * PAGES + page + 1); }

static void make(void) {
    for (int file = 0; file < FILES; file++) {
        char name[16], content[PAGES * PAGE];
        snprintf(name, sizeof name, "file%d", file);
        for (int page = 0; page < PAGES; page++)
            memset(content + page * PAGE, at(file, page), PAGE);
        fds[file] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(t_write_all(fds[file], content, sizeof content));
        close(fds[file]);
        fds[file] = open(name, O_RDONLY);
        CHECK(fds[file] >= 0);
    }
}

static void look(const char *map, int file, int from) {
    for (int page = from; page < PAGES; page++) {
        EQ(map[(page - from) * PAGE], at(file, page));
        EQ(map[(page - from) * PAGE + PAGE - 1], at(file, page));
    }
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    make();
    // Large enough to be moved while it runs.
    char *heap = malloc(HEAP);
    for (int round = 0; t_more(); round++) {
        memset(heap + round % 12 * (1 << 20), round, 1 << 18);
        int file = round % FILES, from = round % PAGES, other = (round + 1) % FILES;
        size_t length = (size_t)(PAGES - from) * PAGE;
        char *map = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fds[file], from * PAGE);
        CHECK(map != MAP_FAILED);
        look(map, file, from);
        t_spin(0.0005);
        look(map, file, from);
        EQ(munmap(map, length), 0);
        map = mmap(map, length, PROT_READ, MAP_PRIVATE, fds[other], from * PAGE);
        CHECK(map != MAP_FAILED);
        look(map, other, from);
        t_spin(0.0002);
        look(map, other, from);
        EQ(munmap(map, length), 0);
    }
    free(heap);
    t_ok(__FILE__);
}
