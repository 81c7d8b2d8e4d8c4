// libs: -lpthread
// variants: static
/* Memory that changes all the time, in every way, while its process is on its way: large enough to be sent while the program runs
 * on. What is in each page is known beside it. */
#include "t.h"
#include <pthread.h>

enum { PAGE = 4096, SLOTS = 8, MOST = 192, BALLAST = 12 << 20, WRITERS = 2, OWN = 256 };

/* Each slot has room for MOST pages at an address of its own; `pages` are mapped. A page that was never written, or was
 * dropped, is 0. */
static struct slot {
    unsigned char *at;
    int pages;
    uint32_t stamp[MOST];
} slots[SLOTS];
static unsigned char *spare, *ballast, *heap;
static uint32_t heap_stamp[MOST];
static int heap_pages;
static uint64_t seed = 88172645463325252u;
static uint32_t stamp;

static int below(int n) { return (int)(t_random(&seed) % (unsigned)n); }

static void put(unsigned char *page, uint32_t value) {
    memcpy(page, &value, 4);
    memcpy(page + 2000, &value, 4);
    memcpy(page + PAGE - 4, &value, 4);
}

static void see(const unsigned char *page, uint32_t value) {
    uint32_t a, b, c;
    memcpy(&a, page, 4);
    memcpy(&b, page + 2000, 4);
    memcpy(&c, page + PAGE - 4, 4);
    EQ(a, value);
    EQ(b, value);
    EQ(c, value);
}

static void see_all(void) {
    for (int s = 0; s < SLOTS; s++)
        for (int p = 0; p < slots[s].pages; p++)
            see(slots[s].at + p * PAGE, slots[s].stamp[p]);
    for (int p = 0; p < heap_pages; p++)
        see(heap + p * PAGE, heap_stamp[p]);
}

static void map(struct slot *slot, int pages) {
    void *got = mmap(slot->at, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(got == slot->at);
    memset(slot->stamp, 0, sizeof slot->stamp);
    slot->pages = pages;
}

static void unmap(struct slot *slot) {
    if (slot->pages)
        EQ(munmap(slot->at, (size_t)slot->pages * PAGE), 0);
    slot->pages = 0;
}

/* Not by `mremap`: that fails in the middle where only a part of what it moves is watched. */
static void move(unsigned char *from, unsigned char *to, int pages) {
    size_t len = (size_t)pages * PAGE;
    if (!pages)
        return;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    CHECK(mmap(to, len, PROT_READ | PROT_WRITE, flags, -1, 0) == to);
    memcpy(to, from, len);
    EQ(munmap(from, len), 0);
}

/* Two slots change their places. */
static void swap(struct slot *a, struct slot *b) {
    struct slot was = *a;
    move(a->at, spare, a->pages);
    move(b->at, a->at, b->pages);
    move(spare, b->at, was.pages);
    memcpy(a->stamp, b->stamp, sizeof a->stamp);
    memcpy(b->stamp, was.stamp, sizeof b->stamp);
    a->pages = b->pages;
    b->pages = was.pages;
}

static void write_some(struct slot *slot, int pages) {
    int first = below(pages), count = 1 + below(pages - first);
    for (int p = first; p < first + count; p++) {
        slot->stamp[p] = ++stamp;
        put(slot->at + p * PAGE, stamp);
    }
}

static void drop_some(struct slot *slot, int pages) {
    int first = below(pages), count = 1 + below(pages - first);
    EQ(madvise(slot->at + first * PAGE, (size_t)count * PAGE, MADV_DONTNEED), 0);
    memset(slot->stamp + first, 0, (size_t)count * sizeof slot->stamp[0]);
}

static void zero_some(struct slot *slot, int pages) {
    int first = below(pages), count = 1 + below(pages - first);
    memset(slot->at + first * PAGE, 0, (size_t)count * PAGE);
    memset(slot->stamp + first, 0, (size_t)count * sizeof slot->stamp[0]);
}

static void resize(struct slot *slot, int pages) {
    int wanted = 1 + below(MOST);
    void *got = mremap(slot->at, (size_t)pages * PAGE, (size_t)wanted * PAGE, 0);
    if (got == MAP_FAILED)
        return;
    CHECK(got == slot->at);
    for (int p = wanted; p < pages; p++)
        slot->stamp[p] = 0;
    slot->pages = wanted;
}

static void protect(struct slot *slot, int pages) {
    int first = below(pages), count = 1 + below(pages - first);
    int prot = below(2) ? PROT_NONE : PROT_READ;
    EQ(mprotect(slot->at + first * PAGE, (size_t)count * PAGE, prot), 0);
    for (volatile int i = 0; i < 20000; i++)
        ;
    EQ(mprotect(slot->at + first * PAGE, (size_t)count * PAGE, PROT_READ | PROT_WRITE), 0);
}

static void replace_part(struct slot *slot, int pages) {
    int first = below(pages), count = 1 + below(pages - first);
    unsigned char *at = slot->at + first * PAGE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    CHECK(mmap(at, (size_t)count * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == at);
    memset(slot->stamp + first, 0, (size_t)count * sizeof slot->stamp[0]);
}

static void change_heap(void) {
    int wanted = below(MOST);
    CHECK(sbrk((wanted - heap_pages) * PAGE) != (void *)-1);
    for (int p = wanted; p < heap_pages; p++)
        heap_stamp[p] = 0;
    for (int p = heap_pages; p < wanted; p++)
        heap_stamp[p] = 0;
    heap_pages = wanted;
    for (int p = 0; p < wanted; p += 1 + below(4)) {
        heap_stamp[p] = ++stamp;
        put(heap + p * PAGE, stamp);
    }
}

static void fork_one(void) {
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        see_all();
        for (int s = 0; s < SLOTS; s++)
            if (slots[s].pages)
                write_some(&slots[s], slots[s].pages);
        see_all();
        _exit(0);
    }
    EQ(t_wait(child), 0);
}

static void change(void) {
    struct slot *slot = &slots[below(SLOTS)];
    int pages = slot->pages;
    if (pages == 0)
        return map(slot, 1 + below(MOST));
    switch (below(12)) {
    case 0: return unmap(slot);
    case 1: unmap(slot); return map(slot, 1 + below(MOST));
    case 2: return drop_some(slot, pages);
    case 3: return zero_some(slot, pages);
    case 4: return swap(slot, &slots[(slot - slots + 1 + below(SLOTS - 1)) % SLOTS]);
    case 5: return resize(slot, pages);
    case 6: return protect(slot, pages);
    case 7: return change_heap();
    case 8: return replace_part(slot, pages);
    default: return write_some(slot, pages);
    }
}

static volatile int stop;

/* Writes its own pages all the time, each value the one before and one more. */
static void *writer(void *own) {
    unsigned char *pages = own;
    uint32_t round = 0;
    while (!stop) {
        for (int p = 0; p < OWN; p++) {
            see(pages + p * PAGE, round);
            put(pages + p * PAGE, round + 1);
        }
        round++;
    }
    for (int p = 0; p < OWN; p++)
        see(pages + p * PAGE, round);
    return NULL;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(ballast != MAP_FAILED);
    for (size_t i = 0; i < BALLAST; i += 8) {
        uint64_t word = t_random(&seed);
        memcpy(ballast + i, &word, 8);
    }
    uint64_t hash = t_hash(ballast, BALLAST);
    pthread_t threads[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        void *own = mmap(NULL, OWN * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
        CHECK(own != MAP_FAILED);
        EQ(pthread_create(&threads[w], NULL, writer, own), 0);
    }
    /* From here on nobody else takes memory from the heap, or addresses. */
    size_t room = (size_t)(SLOTS + 1) * 2 * MOST * PAGE;
    unsigned char *base = mmap(NULL, room, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    EQ(munmap(base, room), 0);
    for (int s = 0; s < SLOTS; s++)
        slots[s].at = base + (size_t)s * 2 * MOST * PAGE;
    spare = base + (size_t)SLOTS * 2 * MOST * PAGE;
    sbrk(PAGE - (uintptr_t)sbrk(0) % PAGE);
    heap = sbrk(0);
    while (t_more()) {
        for (int i = 0; i < 300; i++) {
            change();
            if (i % 20 == 0)
                see_all();
        }
        fork_one();
    }
    see_all();
    EQ(t_hash(ballast, BALLAST), hash);
    stop = 1;
    for (int w = 0; w < WRITERS; w++)
        EQ(pthread_join(threads[w], NULL), 0);
    t_ok(__FILE__);
}
