//! What programs can find in a processor and come to depend on. Left out is what only the kernel uses, and hints, which do nothing
//! where they are not known (`erms`, `fsrm`, `cldemote` and the like).

/// One feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// As `/proc/cpuinfo` has it.
    pub name: &'static str,
    /// Word and bit of `sys::cpu::feature_words`.
    pub word: usize,
    pub bit: u32,
    /// Components of XCR0 without which it cannot be used.
    pub state: u64,
    /// What the GNU C library calls it where it can be told to do without (`glibc.cpu.hwcaps`); empty: it cannot.
    pub glibc: &'static str,
}

const NONE: u64 = 0;
/// Lower and upper halves of the 256-bit registers.
pub const AVX: u64 = 0x6;
/// Masks, the upper halves of the 512-bit registers, and the registers from 16 on.
pub const AVX512: u64 = 0xe0;
/// Memory protection keys.
pub const PKRU: u64 = 1 << 9;
/// Tile configuration and tiles.
pub const AMX: u64 = 3 << 17;
/// The general registers from 16 on.
pub const APX: u64 = 1 << 19;
const WIDE: u64 = AVX | AVX512;

const fn row(
    name: &'static str,
    word: usize,
    bit: u32,
    state: u64,
    glibc: &'static str,
) -> Feature {
    Feature {
        name,
        word,
        bit,
        state,
        glibc,
    }
}

/// All of them.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    row("sse3", 0, 0, NONE, ""),
    row("pclmulqdq", 0, 1, NONE, ""),
    row("ssse3", 0, 9, NONE, "SSSE3"),
    row("fma", 0, 12, AVX, "FMA"),
    row("cx16", 0, 13, NONE, ""),
    row("sse4_1", 0, 19, NONE, "SSE4_1"),
    row("sse4_2", 0, 20, NONE, "SSE4_2"),
    row("movbe", 0, 22, NONE, "MOVBE"),
    row("popcnt", 0, 23, NONE, "POPCNT"),
    row("aes", 0, 25, NONE, ""),
    row("xsave", 0, 26, NONE, ""),
    row("osxsave", 0, 27, NONE, ""),
    row("avx", 0, 28, AVX, "AVX"),
    row("f16c", 0, 29, AVX, ""),
    row("rdrand", 0, 30, NONE, ""),
    row("fsgsbase", 1, 0, NONE, ""),
    row("bmi1", 1, 3, NONE, "BMI1"),
    row("avx2", 1, 5, AVX, "AVX2"),
    row("bmi2", 1, 8, NONE, "BMI2"),
    row("rtm", 1, 11, NONE, "RTM"),
    row("avx512f", 1, 16, WIDE, "AVX512F"),
    row("avx512dq", 1, 17, WIDE, "AVX512DQ"),
    row("rdseed", 1, 18, NONE, ""),
    row("adx", 1, 19, NONE, ""),
    row("avx512ifma", 1, 21, WIDE, ""),
    row("clflushopt", 1, 23, NONE, ""),
    row("clwb", 1, 24, NONE, ""),
    row("avx512pf", 1, 26, WIDE, "AVX512PF"),
    row("avx512er", 1, 27, WIDE, "AVX512ER"),
    row("avx512cd", 1, 28, WIDE, "AVX512CD"),
    row("sha_ni", 1, 29, NONE, ""),
    row("avx512bw", 1, 30, WIDE, "AVX512BW"),
    row("avx512vl", 1, 31, WIDE, "AVX512VL"),
    row("avx512vbmi", 2, 1, WIDE, ""),
    row("ospke", 2, 4, PKRU, ""),
    row("waitpkg", 2, 5, NONE, ""),
    row("avx512_vbmi2", 2, 6, WIDE, ""),
    row("gfni", 2, 8, NONE, ""),
    row("vaes", 2, 9, AVX, ""),
    row("vpclmulqdq", 2, 10, AVX, ""),
    row("avx512_vnni", 2, 11, WIDE, ""),
    row("avx512_bitalg", 2, 12, WIDE, ""),
    row("avx512_vpopcntdq", 2, 14, WIDE, ""),
    row("rdpid", 2, 22, NONE, ""),
    row("aeskle", 2, 23, NONE, ""),
    row("movdiri", 2, 27, NONE, ""),
    row("movdir64b", 2, 28, NONE, ""),
    row("enqcmd", 2, 29, NONE, ""),
    row("avx512_4vnniw", 3, 2, WIDE, ""),
    row("avx512_4fmaps", 3, 3, WIDE, ""),
    row("uintr", 3, 5, NONE, ""),
    row("avx512_vp2intersect", 3, 8, WIDE, ""),
    row("serialize", 3, 14, NONE, ""),
    row("tsxldtrk", 3, 16, NONE, ""),
    row("amx_bf16", 3, 22, AMX, ""),
    row("avx512_fp16", 3, 23, WIDE, ""),
    row("amx_tile", 3, 24, AMX, ""),
    row("amx_int8", 3, 25, AMX, ""),
    row("sha512", 4, 0, AVX, ""),
    row("sm3", 4, 1, AVX, ""),
    row("sm4", 4, 2, AVX, ""),
    row("raoint", 4, 3, NONE, ""),
    row("avx_vnni", 4, 4, AVX, ""),
    row("avx512_bf16", 4, 5, WIDE, ""),
    row("cmpccxadd", 4, 7, NONE, ""),
    row("amx_fp16", 4, 21, AMX, ""),
    row("avx_ifma", 4, 23, AVX, ""),
    row("avx_vnni_int8", 5, 4, AVX, ""),
    row("avx_ne_convert", 5, 5, AVX, ""),
    row("amx_complex", 5, 8, AMX, ""),
    row("avx_vnni_int16", 5, 10, AVX, ""),
    row("user_msr", 5, 15, NONE, ""),
    row("avx10", 5, 19, WIDE, ""),
    row("apx", 5, 21, APX, ""),
    row("xsaveopt", 6, 0, NONE, ""),
    row("xsavec", 6, 1, NONE, "XSAVEC"),
    row("xgetbv1", 6, 2, NONE, ""),
    row("lahf_lm", 7, 0, NONE, ""),
    row("abm", 7, 5, NONE, "LZCNT"),
    row("sse4a", 7, 6, NONE, ""),
    row("misalignsse", 7, 7, NONE, ""),
    row("xop", 7, 11, AVX, ""),
    row("fma4", 7, 16, AVX, "FMA4"),
    row("tbm", 7, 21, NONE, ""),
    row("mwaitx", 7, 29, NONE, ""),
    row("mmxext", 8, 22, NONE, ""),
    row("rdtscp", 8, 27, NONE, ""),
    row("3dnowext", 8, 30, NONE, ""),
    row("3dnow", 8, 31, NONE, ""),
    row("clzero", 9, 0, NONE, ""),
    row("rdpru", 9, 4, NONE, ""),
];
