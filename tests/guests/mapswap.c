// libs: -lpthread
// One part of a file is mapped where another was a moment ago, all the time, while another thread has the process move: what is read of a
// place is of the part that is there.
#include "t.h"

#include <pthread.h>

#define PAGE 4096
#define PAGES 2
#define HEAP (12 << 20)

static volatile int over;

static void *traveller(void *unused) {
    while (!over)
        for (int node = 0; node < 3; node += 2) {
            // By the program interface; natively there is none.
            int result = open("/proc/self/migrate", O_WRONLY | O_CREAT, node);
            (void)result;
            t_spin(0.002);
        }
    return unused;
}

static char *look(int fd, int page, char *where) {
    char *map = mmap(where, PAGE, PROT_READ, MAP_PRIVATE, fd, page * PAGE);
    CHECK(map != MAP_FAILED);
    for (int times = 0; times < 3000; times++) {
        EQ(((volatile char *)map)[0], 'a' + page);
        EQ(((volatile char *)map)[PAGE - 1], 'a' + page);
    }
    return map;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    char content[PAGES * PAGE];
    for (int page = 0; page < PAGES; page++)
        memset(content + page * PAGE, 'a' + page, PAGE);
    int fd = open("content", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(t_write_all(fd, content, sizeof content));
    close(fd);
    fd = open("content", O_RDONLY);
    // Large enough to be moved while it runs.
    char *heap = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(heap != MAP_FAILED);
    memset(heap, 1, HEAP);
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, traveller, NULL), 0);
    char *where = NULL;
    for (int at = 0; t_more(); at += PAGE) {
        for (int page = 0; page < PAGES; page++) {
            where = look(fd, page, where);
            EQ(munmap(where, PAGE), 0);
        }
        heap[at % HEAP] = 2;
    }
    over = 1;
    EQ(pthread_join(thread, NULL), 0);
    t_ok(__FILE__);
}
