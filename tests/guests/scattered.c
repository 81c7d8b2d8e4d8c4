// Memory at addresses that the program chose by chance, as the machines of JavaScript do: what it maps while it is away is there at home.
#include "t.h"

#define PAGE 4096
#define AREAS 64
#define SIZE (4 * PAGE)

/* By the program interface; natively there is none. */
static void go(int node) {
    int result = open("/proc/self/migrate", O_WRONLY | O_CREAT, node);
    (void)result;
}

static void look(char *const *area) {
    for (int i = 0; i < AREAS; i++)
        for (int at = 0; at < SIZE; at += PAGE)
            EQ(area[i][at], (char)i);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    uint64_t state = 11;
    while (t_more()) {
        char *area[AREAS];
        go(2);
        // Below 64 TiB, which is where they look: one in each TiB, in its second quarter.
        for (uint64_t i = 0; i < AREAS; i++) {
            uint64_t hint = i << 40 | 1ul << 38 | (t_random(&state) & 0x3ffffff000);
            area[i] = mmap((void *)hint, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            CHECK(area[i] != MAP_FAILED);
            memset(area[i], (int)i, SIZE);
        }
        go(0);
        look(area);
        go(3);
        look(area);
        for (int i = 0; i < AREAS; i++)
            EQ(munmap(area[i], SIZE), 0);
    }
    t_ok(__FILE__);
}
