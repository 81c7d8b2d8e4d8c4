// Attacks the machine that it is moved to (node 2), by raw system calls and by what needs none, and what mos itself has in it.
// tests/beds/hostile.sh says what is there to be reached: a file, a listening socket, a process. Each attack is a process of its own,
// whose end is known beforehand; the one that starts them goes back to node 2 after each of them. Prints how each has ended.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Where the stub is at home, and in a guest the page of code by which the host makes calls. */
#define STUB 0x420000000000ul
#define STUB_SIZE 0x80000
#define MARK 0x4d4f5000l

static long raw(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
#define CALL(nr, ...) CALL_(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(nr, a, b, c, d, e, f, ...) raw(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* What there is to be reached. */
static const char *canary;
static int port, victim;

static void must(const char *what, int good) {
    if (!good)
        printf("%s: reached (errno %d)\n", what, errno);
    fflush(stdout);
}

static int whereami(void) { return open("/proc/self/whereami", O_CREAT, 0); }
static int migrate(int node) { return open("/proc/self/migrate", O_WRONLY | O_CREAT, node); }

/* To node 2, where one is still unless a call has been made that only home can make. */
static void there(void) {
    if (migrate(2) != 0) {
        char why[200] = "";
        int fd = open("/proc/self/cantmove", O_CREAT, 0);
        read(fd, why, sizeof why - 1);
        printf("cannot get to node 2: %s\n", why);
        fflush(stdout);
        _exit(1);
    }
    must("whereami", whereami() > 0);
}

static void home(void) {
    must("the way home", migrate(0) == 0 && whereami() == 0);
}

static sigjmp_buf *back;
static void caught(int signo) { siglongjmp(*back, signo); }

static void catch_faults(void) {
    signal(SIGTRAP, caught);
    signal(SIGILL, caught);
    signal(SIGSEGV, caught);
    signal(SIGBUS, caught);
}

static void files(void) {
    there();
    must("open", CALL(2, canary, O_RDONLY) == -ENOENT);
    must("openat", CALL(257, AT_FDCWD, canary, O_RDWR) == -ENOENT);
    must("unlink", CALL(87, canary) == -ENOENT);
    for (long fd = 3; fd < 1024; fd++) {
        char byte;
        must("a descriptor that nobody opened", CALL(0, fd, &byte, 1) == -EBADF);
    }
    for (long fd = 3; fd < 1024; fd++)
        must("its end", CALL(3, fd) == -EBADF);
}

static void sockets(void) {
    there();
    int fd = CALL(41, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must("connect", CALL(42, fd, &to, sizeof to) == -ECONNREFUSED);
    close(fd);
}

static void processes(void) {
    there();
    must("kill", CALL(62, victim, SIGKILL) == -ESRCH);
    must("tgkill", CALL(234, victim, victim, SIGKILL) == -ESRCH);
    must("ptrace", CALL(101, 16, victim, 0, 0) == -ESRCH);
    there();
    char byte;
    struct iovec own = {&byte, 1}, other = {(void *)STUB, 1};
    must("process_vm_writev", CALL(311, victim, &own, 1, &other, 1, 0) == -ESRCH);
    must("pidfd_open", CALL(434, victim, 0) == -ESRCH);
}

/* Calls that only root may make, or that make things of the kernel: whatever they do, they do it at home. */
static void kernel(void) {
    char attr[128] = {0};
    static const long calls[] = {165 /* mount */, 272 /* unshare */, 321 /* bpf */, 298 /* perf_event_open */, 250 /* keyctl */,
                                 425 /* io_uring_setup */, 308 /* setns */, 175, 246, 169, 153, 172, 173, 154, 323, 447};
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        there();
        long fd = CALL(calls[i], -1, attr, -1, -1, -1, -1);
        if (fd > 2)
            close(fd);
    }
}

/* Calls of other ABIs. The numbers are those of getpid and of nothing. */
static void other_abis(void) {
    there();
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "r8", "r9", "r10", "r11", "memory");
    must("int 0x80", result == getpid() || result == -ENOSYS);
    there();
    must("x32", CALL(0x40000000 + 39) == -ENOSYS);
    must("a negative number", CALL(-1) == -ENOSYS && CALL(-4000) == -ENOSYS && CALL(1 << 20) == -ENOSYS);
    there();
    long (*vtime)(long *) = (void *)0xffffffffff600400;
    sigjmp_buf here;
    back = &here;
    signal(SIGSEGV, caught);
    if (sigsetjmp(here, 1) == 0)
        vtime(NULL);
}

/* What the host uses in its guest: a page of code, which kernels from 6.10 on can seal, and a mark that it once put on its calls. */
static void hosts_code(void) {
    int sealed = CALL(462, 0, 0, 0) != -ENOSYS;
    there();
    if (sealed) {
        for (int prot = 0; prot < 8; prot++)
            must("mprotect", prot == 5 || CALL(10, STUB, 4096, prot) == -EPERM);
        must("munmap", CALL(11, STUB, 4096) == -EPERM);
        must("mmap", CALL(9, STUB, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, MARK) == -EPERM);
        must("mremap", CALL(25, STUB, 4096, 4096, 3, 0x600000000000) == -EPERM);
        must("madvise", CALL(28, STUB, 4096, 4) == -EPERM);
    }
    void *mine = (void *)CALL(9, 0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, MARK);
    CALL(11, mine, 1 << 20, 0, 0, 0, MARK);
    CALL(9, 0, 4096, 3, MAP_PRIVATE, 1, MARK);
    there();
    CALL(9, 0, 2 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS | 0x40000, -1, MARK);
    there();
    void *shared = (void *)CALL(9, 0, 1 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, MARK);
    must("munmap of what is shared", CALL(11, shared, 1 << 20, 0, 0, 0, MARK) == 0);
}

/* Through that page: a call, and the trap behind it; the loop in it; and the page that can be written. */
static void jumps(void) {
    sigjmp_buf here;
    back = &here;
    catch_faults();
    there();
    if (sigsetjmp(here, 1) == 0)
        __asm__ volatile("jmp *%%rcx" ::"a"(39L), "c"(STUB));
    if (sigsetjmp(here, 1) == 0)
        __asm__ volatile("jmp *%%rcx" ::"a"(39L), "b"(8L), "c"(STUB + 0x40));
    if (sigsetjmp(here, 1) == 0) {
        *(volatile char *)STUB = 0;
        must("a write into the code", 0);
    }
    memset((void *)(STUB + 0x1000), 0xff, 4096);
    must("still there", whereami() > 0);
}

/* Without the page that can be written it can make calls, but never leave. */
static void trapped(void) {
    there();
    CALL(11, STUB + 0x1000, 4096);
    must("a call", getppid() > 0);
    fork();
}

/* At home it can do to its own stub what it likes. */
static void stub_written(void) {
    there();
    home();
    memset((void *)STUB, 0xff, STUB_SIZE);
    there();
    home();
    memset((void *)(STUB + 0x1000), 0xff, 0x1000);
    there();
}

static void stub_unmapped(void) {
    there();
    home();
    munmap((void *)STUB, 0x1000);
    there();
    home();
    munmap((void *)STUB, STUB_SIZE);
    there();
    home();
    mprotect((void *)(STUB + 0x2000), 0x1000, PROT_NONE);
    there();
}

static void stub_says_away(void) {
    there();
    home();
    memset((void *)(STUB + 0x1000), 0xff, 0x1000);
    must("a deputy that is none", migrate(2) == -1);
    must("whereami", whereami() == 0);
    memset((void *)(STUB + 0x1000), 0, 0x1000);
    there();
}

static void stub_entered(void) {
    there();
    home();
    __asm__ volatile("jmp *%%rcx" ::"c"(STUB));
}

static char low_code[] = {0xcd, 0x80, 0xcb}; /* int 0x80; retf, in 32-bit mode */

static void segments(void) {
    there();
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0x2b));
    __asm__ volatile("mov %0, %%gs" ::"r"(0));
    char *code = mmap(NULL, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    char *stack = mmap(NULL, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    memcpy(code, low_code, sizeof low_code);
    there();
    /* A call from 32-bit mode, on a low stack. */
    long result;
    struct { uint32_t ip, cs; } target = {(uint32_t)(long)code, 0x23};
    __asm__ volatile("mov %%rsp, %%r12; mov %2, %%rsp; lcall *(%1); mov %%r12, %%rsp"
                     : "=a"(result) : "r"(&target), "r"(stack + 65000), "0"(20L) : "rcx", "r8", "r9", "r10", "r11", "r12", "memory");
    must("int 0x80 in 32-bit mode", (int)result == getpid() || (int)result == -ENOSYS);
    there();
}

static void exhaustion(void) {
    there();
    int null = open("/dev/null", O_RDWR);
    struct iovec many[1024];
    for (int i = 0; i < 1024; i++)
        many[i] = (struct iovec){malloc(16), 1ul << 40};
    CALL(20, null, many, 1024);
    CALL(20, null, many, 1ul << 60);
    for (int i = 0; i < 1024; i++)
        many[i].iov_len = -1;
    CALL(20, null, many, 1024);
    CALL(46, null, many, 0);
    there();
    char *huge = mmap(NULL, 1ul << 40, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (huge != MAP_FAILED) {
        CALL(1, null, huge, 1ul << 26);
        CALL(0, null, huge, 1ul << 40);
        munmap(huge, 1ul << 40);
    }
    there();
    CALL(7, many, 1ul << 40, 0);
    CALL(23, 1 << 30, many, many, many, 0);
    CALL(59, many, many, many);
    CALL(59, "/nonexistent", many, -8);
    CALL(217, null, many, -1);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    there();
}

/* Every call with arguments of nonsense; those that end or stop the process itself are left out. */
static void nonsense(void) {
    static const long out[] = {15, 34, 56, 57, 58, 59, 60, 61, 62, 130, 200, 231, 234, 247, 322, 435, 0, 35, 230, 7, 23, 270, 271, 128, 232, 281, 441,
                               202, 449, 455, 24, 219, 158, 160, 302, 37, 38, 222, 223, 161, 80, 81, 112, 317, 157, 109, 3, 436, 33, 292, 32, 11, 9, 10, 12, 25, 28, 13, 14, 105, 106,
                               113, 114, 117, 119, 122, 123, 116, 126, 446, 95, 424, 129, 297, 272, 308, 154, 205, 144, 142, 314, 203, 141, 251, 29, 162, 306, 169, 153, 73, 72, 286, 227, 305, 164, 159,
                               131, 149, 151, 237, 238, 273, 334, 218, 310, 311, 101, 321, 298, 425, 45, 47, 43, 288, 299, 240, 65, 220, 68, 69, 70, 1, 18, 20, 44, 46, 307, 16, 335, 336, 4000};
    unsigned seed = 1;
    there();
    for (long nr = 0; nr < 470; nr++) {
        int skip = 0;
        for (unsigned i = 0; i < sizeof out / sizeof *out; i++)
            skip |= out[i] == nr;
        if (skip)
            continue;
        long args[6];
        for (int i = 0; i < 6; i++) {
            seed = seed * 1103515245 + 12345;
            static const long values[] = {0, -1, 1, 0x7fffffffffffffff, 4096, 0x7fffff000000, 1l << 47, -4096};
            args[i] = i == 0 ? -1 : values[(seed >> 16) % 8];
        }
        raw(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} attacks[] = {
    {"files", files},
    {"sockets", sockets},
    {"processes", processes},
    {"other ABIs", other_abis},
    {"kernel", kernel},
    {"segments", segments},
    {"exhaustion", exhaustion},
    {"the host's code", hosts_code},
    {"jumps", jumps},
    {"trapped", trapped},
    {"its stub written to", stub_written},
    {"its stub unmapped", stub_unmapped},
    {"its stub says that it is away", stub_says_away},
    {"its stub entered", stub_entered},
    {"nonsense", nonsense},
};

static void attack(int which) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        attacks[which].run();
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        printf("no end of it: ");
    printf("%s: %d\n", attacks[which].name, WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
    there();
}

int main(int argc, char **argv) {
    if (argc < 5)
        return 2;
    canary = argv[1];
    port = atoi(argv[2]);
    victim = atoi(argv[3]);
    close_range(3, ~0u, 0);
    /* Machine 2 is looked at first. */
    there();
    while (access(argv[4], F_OK) != 0)
        usleep(10000);
    for (unsigned which = 0; which < sizeof attacks / sizeof *attacks; which++)
        attack(which);
    printf("done\n");
    return 0;
}
