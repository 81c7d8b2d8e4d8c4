// Code made at run time: in memory that is writable and executable, and in memory that is first one, then the other.
#include "t.h"

typedef uint64_t (*function)(uint64_t);

/* f(n): sum = 0; do { sum += n * k; } while (--n); return sum; */
static void emit(unsigned char *at, uint32_t k) {
    static const unsigned char code[] = {
        0x31, 0xc0,                               /* xor eax, eax */
        0x48, 0x69, 0xcf, 0, 0, 0, 0,             /* imul rcx, rdi, k */
        0x48, 0x01, 0xc8,                         /* add rax, rcx */
        0x48, 0xff, 0xcf,                         /* dec rdi */
        0x75, 0xf1,                               /* jnz imul */
        0xc3};
    memcpy(at, code, sizeof code);
    memcpy(at + 5, &k, 4);
}

static void expect(function f, uint64_t k, uint64_t n) { EQ(f(n), (int64_t)(k * (n * (n + 1) / 2))); }

int main(int argc, char **argv) {
    t_init(argc, argv);
    unsigned char *both = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(both != MAP_FAILED);
    uint32_t k = 1;
    while (t_more()) {
        emit(both + k % 4096, k);
        expect((function)(both + k % 4096), k, 5000000);

        unsigned char *late = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        emit(late + 64, k + 7);
        EQ(mprotect(late, 4096, PROT_READ | PROT_EXEC), 0);
        expect((function)(late + 64), k + 7, 3000000);
        EQ(mprotect(late, 4096, PROT_READ | PROT_WRITE), 0);
        emit(late + 64, k + 9);
        EQ(mprotect(late, 4096, PROT_EXEC | PROT_READ), 0);
        expect((function)(late + 64), k + 9, 1000000);
        pid_t kid = fork();
        if (kid == 0) {
            expect((function)(late + 64), k + 9, 1000);
            _exit(0);
        }
        EQ(t_wait(kid), 0);
        EQ(munmap(late, 4096), 0);
        k += 17;
    }
    t_ok(__FILE__);
}
