// variants: static musl
// Deep recursion: megabytes of stack, grown page by page and in leaps, with contents checked on the way back.
#include "t.h"
#include <alloca.h>
#include <sys/resource.h>

__attribute__((noinline)) static uint64_t down(int depth, uint64_t above) {
    volatile uint64_t room[100];
    for (int i = 0; i < 100; i += 9)
        room[i] = above + (uint64_t)(depth * i);
    uint64_t below = depth ? down(depth - 1, above * 31 + 7) : 1;
    for (int i = 0; i < 100; i += 9)
        if (room[i] != above + (uint64_t)(depth * i))
            t_fail(__FILE__, __LINE__, "stack contents");
    return below * 33 + room[9];
}

__attribute__((noinline)) static void leap(size_t size) {
    volatile char *room = alloca(size);
    room[0] = 1;
    room[size - 1] = 2;
    t_spin(0.003);
    EQ(room[0] + room[size - 1], 3);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    uint64_t expected = down(7000, 1);
    while (t_more()) {
        EQ(down(7000, 1), (int64_t)expected);
        leap(6 << 20);
        leap(100000);
    }
    printf("%016llx\n", (unsigned long long)expected);
    t_ok(__FILE__);
}
