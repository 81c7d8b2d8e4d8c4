// Fills registers, memory, vector registers and kernel-held state with patterns, spins until it has been moved (`hop` is
// written by the test), and checks them. Exit status 42: all is as it was. It makes no call while it spins.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <time.h>
#include <unistd.h>

volatile int hop, seen;
static volatile int handled;
static unsigned char *heap, *anon, *broken;
static const size_t BIG = 3 << 20;

static void on_usr1(int signo) { handled = signo; }

static void fill(unsigned char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

static int same(const unsigned char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (unsigned char)((seed = seed * 1103515245 + 12345) >> 16))
			return 0;
	return 1;
}

// Spins with known registers until `hop` is `n`; 1 when they have survived.
static int spin(int n)
{
	static uint64_t in[4] __attribute__((aligned(32))) = {1, 22, 333, 4444}, out[4] __attribute__((aligned(32)));
	uint64_t a, b, c;
	int avx = __builtin_cpu_supports("avx");
	if (avx)
		asm volatile("vmovdqa %0, %%ymm13" ::"m"(in) : "xmm13");
	else
		asm volatile("movdqa %0, %%xmm13" ::"m"(in) : "xmm13");
	asm volatile("mov $0x1111, %%r12; mov $0x2222, %%r13; mov $0x3333, %%r14; std\n"
	             "1: pause; cmpl %4, %3; jne 1b\n"
	             "pushf; pop %2; cld; and $0x400, %2; add %%r14, %2; mov %%r12, %0; mov %%r13, %1"
	             : "=&r"(a), "=&r"(b), "=&r"(c)
	             : "m"(hop), "r"(n)
	             : "r12", "r13", "r14", "cc", "memory");
	if (avx)
		asm volatile("vmovdqa %%ymm13, %0" : "=m"(out));
	else
		asm volatile("movdqa %%xmm13, %0" : "=m"(out));
	return a == 0x1111 && b == 0x2222 && c == 0x3733 && !memcmp(in, out, avx ? 32 : 16);
}

static int deep(int n)
{
	volatile char room[4096];
	memset((char *)room, n, sizeof room);
	return n ? deep(n - 1) + room[17] - (char)n : 0;
}

static int check(int n)
{
	if (!same(heap, 5000, 1) || !same(anon, BIG, 2) || !same(broken, 100000, 3))
		return 10;
	for (size_t i = 0; i < BIG; i += 4096)
		if (anon[BIG + i])
			return 11;
	struct sigaction sa;
	if (sigaction(SIGUSR1, 0, &sa) || sa.sa_handler != on_usr1 || !(sa.sa_flags & SA_ONSTACK))
		return 12;
	if (sigaction(SIGTRAP, 0, &sa) || sa.sa_handler != SIG_IGN)
		return 13;
	stack_t ss;
	if (sigaltstack(0, &ss) || ss.ss_sp != heap + 8192 || ss.ss_size != 65536)
		return 14;
	sigset_t mask;
	if (sigprocmask(SIG_BLOCK, 0, &mask) || !sigismember(&mask, SIGWINCH) || sigismember(&mask, SIGUSR1))
		return 15;
	// The heap grows where it is.
	char *end = sbrk(0);
	if (end != (char *)broken + 100000 + n * 300000 || sbrk(300000) != end || (memset(end, 7, 300000), 0))
		return 16;
	if (deep(500))
		return 17;
	if (__rseq_size && (int)((struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset))->cpu_id < 0)
		return 18;
	if (mprotect(anon + 2 * BIG, 4096, PROT_READ | PROT_WRITE) || (anon[2 * BIG] = 1, mprotect(anon + 2 * BIG, 4096, PROT_NONE)))
		return 19;
	return 0;
}

int main(void)
{
	heap = aligned_alloc(4096, 1 << 17);
	fill(heap, 5000, 1);
	anon = mmap(0, 3 * BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(anon, BIG, 2);
	mprotect(anon + 2 * BIG, BIG, PROT_NONE);
	stack_t ss = {.ss_sp = heap + 8192, .ss_size = 65536};
	sigaltstack(&ss, 0);
	struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR1, &sa, 0);
	signal(SIGTRAP, SIG_IGN);
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGWINCH);
	sigprocmask(SIG_BLOCK, &mask, 0);
	broken = sbrk(100000);
	fill(broken, 100000, 3);
	struct timespec before, now;
	clock_gettime(CLOCK_MONOTONIC, &before);
	write(1, "r", 1);
	for (int n = 1; n <= 2; n++) {
		if (!spin(n))
			_exit(n * 100);
		int wrong = check(n - 1);
		if (wrong)
			_exit(wrong);
		seen = n;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < before.tv_sec || now.tv_sec > before.tv_sec + 60)
		_exit(20);
	_exit(42);
}
