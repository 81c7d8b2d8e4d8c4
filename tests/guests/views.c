// variants: static
// Shared views of files that others write now and then: what a process learns to be written it sees; where a file ends, its views do.
#include "t.h"
#include <setjmp.h>

#define PAGE 4096

static sigjmp_buf back;
static void *volatile where;
static volatile int code;

static void bus(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    where = si->si_addr;
    code = si->si_code;
    siglongjmp(back, 1);
}

/* Reading there is a bus error. */
static void ends(volatile char *at) {
    if (sigsetjmp(back, 1) == 0) {
        (void)*at;
        t_fail(__FILE__, __LINE__, "there is something behind the end");
    }
    EQ(code, BUS_ADRERR);
    CHECK(where == (void *)at);
}

static void store(const char *path, int flags, const char *data, size_t length, off_t at) {
    int fd = open(path, O_WRONLY | flags, 0600);
    CHECK(fd != -1);
    EQ(pwrite(fd, data, length, at), (ssize_t)length);
    close(fd);
}

static char *view(const char *path, int prot, int flags, size_t length, off_t offset) {
    int fd = open(path, O_RDONLY);
    CHECK(fd != -1);
    char *map = mmap(NULL, length, prot, flags, fd, offset);
    CHECK(map != MAP_FAILED);
    close(fd);
    return map;
}

/* A child writes what its parent has mapped. */
static void followed(void) {
    int to[2], from[2];
    char byte;
    store("followed", O_CREAT | O_TRUNC, "first", 6, 0);
    EQ(pipe(to), 0);
    EQ(pipe(from), 0);
    pid_t kid = fork();
    if (kid == 0) {
        CHECK(t_read_all(to[0], &byte, 1));
        store("followed", 0, "other", 6, 0);
        CHECK(t_write_all(from[1], "w", 1));
        CHECK(t_read_all(to[0], &byte, 1));
        store("followed", 0, "third", 6, 0);
        CHECK(t_write_all(from[1], "w", 1));
        _exit(0);
    }
    volatile char *map = view("followed", PROT_READ, MAP_SHARED, PAGE, 0);
    EQ(strcmp((char *)map, "first"), 0);
    t_spin(0.005);
    FAILS(mprotect((void *)map, PAGE, PROT_READ | PROT_WRITE), EACCES);
    EQ(strcmp((char *)map, "first"), 0);
    CHECK(t_write_all(to[1], "x", 1) && t_read_all(from[0], &byte, 1));
    EQ(strcmp((char *)map, "other"), 0);
    t_spin(0.005);
    CHECK(t_write_all(to[1], "x", 1) && t_read_all(from[0], &byte, 1));
    EQ(strcmp((char *)map, "third"), 0);
    EQ(t_wait(kid), 0);
    EQ(munmap((void *)map, PAGE), 0);
    for (int i = 0; i < 2; i++)
        close(to[i]), close(from[i]);
}

/* A process that writes a file which it has mapped. */
static void written(void) {
    store("written", O_CREAT | O_TRUNC, "before", 7, 0);
    char *copy = view("written", PROT_READ, MAP_PRIVATE, PAGE, 0);
    char *map = view("written", PROT_READ, MAP_SHARED, PAGE, 0);
    t_spin(0.004);
    store("written", 0, "behind", 7, 0);
    EQ(strcmp(map, "behind"), 0);
    int fd = open("written", O_RDWR);
    char *third = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    t_spin(0.004);
    EQ(mprotect(third, PAGE, PROT_READ | PROT_WRITE), 0);
    strcpy(third, "by hand");
    EQ(strcmp(map, "by hand"), 0);
    EQ(munmap(third, PAGE), 0);
    EQ(munmap(map, PAGE), 0);
    EQ(munmap(copy, PAGE), 0);
}

static void ended(int flags) {
    static char data[2 * PAGE + 100];
    memset(data, 'd', sizeof data);
    store("ended", O_CREAT | O_TRUNC, data, sizeof data, 0);
    char *map = view("ended", PROT_READ, flags, 5 * PAGE, 0);
    char *late = view("ended", PROT_READ, flags, 2 * PAGE, 2 * PAGE);
    char *out = view("ended", PROT_READ, flags, PAGE, 8 * PAGE);
    EQ(map[2 * PAGE + 99], 'd');
    t_spin(0.004);
    EQ(map[2 * PAGE + 100], 0);
    ends(map + 3 * PAGE);
    t_spin(0.004);
    ends(map + 5 * PAGE - 1);
    EQ(late[99], 'd');
    EQ(late[PAGE - 1], 0);
    ends(late + PAGE);
    ends(out);
    /* The kernel finds the end, too. */
    int fd = open("/dev/null", O_WRONLY), sink = open("sink", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(write(sink, map + 2 * PAGE, 3 * PAGE), PAGE);
    FAILS(write(sink, map + 3 * PAGE, 10), EFAULT);
    close(fd), close(sink);
    if (flags == MAP_SHARED) {
        EQ(truncate("ended", PAGE), 0);
        EQ(map[PAGE - 1], 'd');
        t_spin(0.003);
        ends(map + PAGE);
        EQ(truncate("ended", 4 * PAGE), 0);
        EQ(map[PAGE], 0);
        EQ(map[4 * PAGE - 1], 0);
    }
    EQ(munmap(map, 5 * PAGE), 0);
    EQ(munmap(late, 2 * PAGE), 0);
    EQ(munmap(out, PAGE), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    t_handle(SIGBUS, bus, 0);
    while (t_more()) {
        followed();
        written();
        ended(MAP_PRIVATE);
        ended(MAP_SHARED);
    }
    t_ok(__FILE__);
}
