// variants: static nopie musl
// State held in vector and floating-point registers over long loops is kept to the bit; control words too.
#include "t.h"
#include <cpuid.h>
#include <immintrin.h>

#define MANY 30000000u

/* Loops for a while with all of it in registers: the compiler cannot spill what one asm statement holds. */
static void sse(void) {
    static uint64_t in[32], out[32];
    for (int i = 0; i < 32; i++)
        in[i] = 0x0123456789abcdefu * (uint64_t)(i + 3);
    uint64_t count = MANY;
    __asm__ volatile(
        "movdqu (%1), %%xmm0; movdqu 16(%1), %%xmm1; movdqu 32(%1), %%xmm5; movdqu 112(%1), %%xmm15\n"
        "1: dec %0; jnz 1b\n"
        "movdqu %%xmm0, (%2); movdqu %%xmm1, 16(%2); movdqu %%xmm5, 32(%2); movdqu %%xmm15, 112(%2)\n"
        : "+r"(count) : "r"(in), "r"(out) : "xmm0", "xmm1", "xmm5", "xmm15", "memory");
    EQ(memcmp(in, out, 48), 0);
    EQ(memcmp(in + 14, out + 14, 16), 0);
}

__attribute__((target("avx"))) static void avx(void) {
    static uint64_t in[16], out[16];
    for (int i = 0; i < 16; i++)
        in[i] = 0xfedcba9876543210u * (uint64_t)(i + 5);
    uint64_t count = MANY;
    __asm__ volatile("vmovdqu (%1), %%ymm2; vmovdqu 32(%1), %%ymm9; vmovdqu 64(%1), %%ymm14\n"
                     "1: dec %0; jnz 1b\n"
                     "vmovdqu %%ymm2, (%2); vmovdqu %%ymm9, 32(%2); vmovdqu %%ymm14, 64(%2); vzeroupper\n"
                     : "+r"(count) : "r"(in), "r"(out) : "xmm2", "xmm9", "xmm14", "memory");
    EQ(memcmp(in, out, 96), 0);
}

__attribute__((target("avx512f"))) static void avx512(void) {
    static uint64_t in[24], out[24];
    for (int i = 0; i < 24; i++)
        in[i] = 0xa5a55a5a12345678u * (uint64_t)(i + 7);
    uint64_t count = MANY, mask = 0;
    __asm__ volatile("vmovdqu64 (%2), %%zmm3; vmovdqu64 64(%2), %%zmm17; vmovdqu64 128(%2), %%zmm31\n"
                     "mov $0xbeef, %%eax; kmovw %%eax, %%k5\n"
                     "1: dec %0; jnz 1b\n"
                     "vmovdqu64 %%zmm3, (%3); vmovdqu64 %%zmm17, 64(%3); vmovdqu64 %%zmm31, 128(%3)\n"
                     "kmovw %%k5, %%eax; mov %%rax, %1; vzeroupper\n"
                     : "+r"(count), "=r"(mask) : "r"(in), "r"(out) : "rax", "xmm3", "memory");
    EQ(memcmp(in, out, sizeof in), 0);
    EQ(mask & 0xffff, 0xbeef);
}

static void x87(void) {
    static double in[4] = {1.5, -2.25e100, 3.0e-300, 0.1}, out[4];
    uint64_t count = MANY;
    unsigned short set = 0x0c7f, got = 0, old;
    __asm__ volatile("fnstcw %0" : "=m"(old));
    __asm__ volatile("fldcw %3; fldl (%1); fldl 8(%1); fldl 16(%1); fldl 24(%1)\n"
                     "1: dec %0; jnz 1b\n"
                     "fstpl 24(%2); fstpl 16(%2); fstpl 8(%2); fstpl (%2); fnstcw %4\n"
                     : "+r"(count) : "r"(in), "r"(out), "m"(set), "m"(got) : "memory", "st", "st(1)", "st(2)", "st(3)");
    __asm__ volatile("fldcw %0" : : "m"(old));
    EQ(got, set);
    EQ(memcmp(in, out, sizeof in), 0);
}

static void rounding(void) {
    unsigned old = _mm_getcsr();
    for (unsigned mode = 0; mode < 4; mode++) {
        _mm_setcsr((old & ~0x6000u) | mode << 13);
        volatile double third = 1.0, sum = 0;
        t_spin(0.005);
        third /= 3;
        for (int i = 0; i < 1000; i++)
            sum += third * i;
        EQ((_mm_getcsr() & 0x6000) >> 13, mode);
        static double first[4];
        if (first[mode] == 0)
            first[mode] = sum;
        CHECK(first[mode] == sum);
    }
    _mm_setcsr(old);
}

static double series(void) {
    long double sum = 0;
    for (int i = 1; i < 3000000; i++)
        sum += 1.0L / ((long double)i * i);
    return (double)sum;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int wide = __builtin_cpu_supports("avx"), wider = __builtin_cpu_supports("avx512f");
    double first = series();
    while (t_more()) {
        sse();
        if (wide)
            avx();
        if (wider)
            avx512();
        x87();
        rounding();
        CHECK(series() == first);
    }
    printf("%.15f\n", first);
    t_ok(__FILE__);
}
