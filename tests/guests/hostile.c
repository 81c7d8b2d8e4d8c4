// Attacks the machine that it is moved to (node 2), by raw system calls and by what needs none. tests/beds/hostile.sh says what is
// there to be reached: a file, a listening socket, a process. Each attack begins on node 2. Prints what must be the same whatever
// the timing; ends with "harmless".
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

#define GADGET 0x2f0000000000ul
#define MARK 0x4d4f5000l

static long raw(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
#define CALL(nr, ...) CALL_(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(nr, a, b, c, d, e, f, ...) raw(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static void there(void) {
    for (int n = 0; n < 60000; n++) {
        int where = open("/proc/self/whereami", O_CREAT, 0);
        if (where != 0 && where != -1)
            return;
        open("/proc/self/migrate", O_WRONLY | O_CREAT, 2);
        usleep(1000);
    }
    printf("cannot get to node 2\n");
    exit(1);
}

static void must(const char *what, int good) {
    if (!good)
        printf("%s: reached (errno %d)\n", what, errno);
    fflush(stdout);
}

static sigjmp_buf *back;
static void caught(int signo) { siglongjmp(*back, signo); }

static void step(const char *what) {
    if (getenv("HOSTILE_STEPS"))
        fprintf(stderr, "%s\n", what);
}

static void files(const char *canary) {
    there();
    must("open", CALL(2, canary, O_RDONLY) == -ENOENT);
    must("openat", CALL(257, AT_FDCWD, canary, O_RDWR) == -ENOENT);
    must("unlink", CALL(87, canary) == -ENOENT);
    for (long fd = 3; fd < 1024; fd++) {
        char byte;
        must("a descriptor that nobody opened", CALL(0, fd, &byte, 1) == -EBADF);
    }
}

static void sockets(int port) {
    there();
    int fd = CALL(41, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must("connect", CALL(42, fd, &to, sizeof to) == -ECONNREFUSED);
    close(fd);
}

static void processes(int victim) {
    there();
    must("kill", CALL(62, victim, SIGKILL) == -ESRCH);
    must("tgkill", CALL(234, victim, victim, SIGKILL) == -ESRCH);
    must("ptrace", CALL(101, 16, victim, 0, 0) == -ESRCH);
    there();
    char byte;
    struct iovec own = {&byte, 1}, other = {(void *)GADGET, 1};
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

/* What the host uses in its guest: a page of code, a page to write to, a mark that it once put on its calls. */
static void hosts_own(void) {
    there();
    for (int prot = 0; prot < 8; prot++)
        CALL(10, GADGET, 4096, prot);
    CALL(11, GADGET, 4096);
    CALL(9, GADGET, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, MARK);
    CALL(25, GADGET, 4096, 4096, 3, 0x600000000000);
    CALL(28, GADGET, 4096, 4);
    there();
    void *shared = (void *)CALL(9, 0, 1 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, MARK);
    there();
    CALL(9, 0, 4096, 3, MAP_PRIVATE, 1, MARK);
    CALL(9, 0, 2 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS | 0x40000, -1, MARK);
    CALL(11, shared, 1 << 20, 0, 0, 0, MARK);
    there();
    /* Through the page of code: a call, and the trap behind it. */
    sigjmp_buf here;
    back = &here;
    signal(SIGTRAP, caught);
    signal(SIGILL, caught);
    signal(SIGSEGV, caught);
    signal(SIGBUS, caught);
    if (sigsetjmp(here, 1) == 0)
        __asm__ volatile("jmp *%%rcx" ::"a"(39L), "c"(GADGET));
    there();
    if (sigsetjmp(here, 1) == 0)
        __asm__ volatile("jmp *%%rcx" ::"a"(39L), "b"(8L), "c"(GADGET + 0x40));
    there();
    if (sigsetjmp(here, 1) == 0)
        *(volatile char *)GADGET = 0;
    /* The page to write to is as it was, or not: the host must not care. */
    there();
    if (sigsetjmp(here, 1) == 0)
        memset((void *)(GADGET + 0x1000), 0xff, 4096);
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
        CALL(1, null, huge, 1ul << 30);
        CALL(0, null, huge, 1ul << 40);
        munmap(huge, 1ul << 40);
    }
    there();
    CALL(7, many, 1ul << 40, 0);
    CALL(23, 1 << 30, many, many, many, 0);
    CALL(59, many, many, many);
    CALL(59, "/nonexistent", many, -8);
    CALL(217, null, many, -1);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    there();
}

/* Every call with arguments of nonsense; those that end or stop the process itself are left out. */
static void nonsense(unsigned seed) {
    static const long out[] = {15, 34, 56, 57, 58, 59, 60, 61, 62, 130, 200, 231, 234, 247, 322, 435, 0, 35, 230, 7, 23, 270, 271, 128, 232, 281, 441,
                               202, 449, 455, 24, 219, 158, 160, 302, 37, 38, 222, 223, 161, 80, 81, 112, 317, 157, 109, 3, 436, 33, 292, 32, 11, 9, 10, 12, 25, 28, 13, 14, 105, 106,
                               113, 114, 117, 119, 122, 123, 116, 126, 446, 95, 424, 129, 297, 272, 308, 154, 205, 144, 142, 314, 203, 141, 251, 29, 162, 306, 169, 153, 73, 72, 286, 227, 305, 164, 159,
                               131, 149, 151, 237, 238, 273, 334, 218, 310, 311, 101, 321, 298, 425, 45, 47, 43, 288, 299, 240, 65, 220, 68, 69, 70, 1, 18, 20, 44, 46, 307, 16, 335, 336, 4000};
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

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    close_range(3, ~0u, 0);
    /* Machine 2 is looked at first. */
    there();
    while (argc > 4 && access(argv[4], F_OK) != 0)
        usleep(10000);
    files(argv[1]);
    step("files");
    sockets(atoi(argv[2]));
    step("sockets");
    processes(atoi(argv[3]));
    step("processes");
    other_abis();
    step("other_abis");
    kernel();
    step("kernel");
    segments();
    step("segments");
    exhaustion();
    step("exhaustion");
    hosts_own();
    step("hosts_own");
    /* Last: it may leave the process unable to move. */
    nonsense(getpid());
    step("nonsense");
    printf("harmless\n");
    return 0;
}
