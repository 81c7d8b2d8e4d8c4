//! A complete `rt_sigframe`: what `rt_sigreturn` needs to put a thread back exactly (kernel: `arch/x86/include/asm/sigframe.h`).
//! FS and GS bases are not in it: whoever resumes a process sets them by `arch_prctl`.

use crate::sys::cpu;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// Offsets in the frame: `uc_flags`, `uc_stack`, the machine context (general registers first), segments and the pointer to the
/// extended state in it, the mask; then 128 bytes of `siginfo`, unused here.
const FLAGS: usize = 8;
const ALTSTACK: usize = 24;
const CONTEXT: usize = 48;
const SEGMENTS: usize = CONTEXT + 144;
const XSTATE_PTR: usize = CONTEXT + 184;
const MASK: usize = 304;
/// Where the extended state begins: behind the fixed part of 440 bytes, aligned as XRSTOR wants it.
const XSTATE: usize = 448;

/// Offset of the software-reserved bytes of an FXSAVE area; NT_X86_XSTATE has XCR0 there.
const SW_BYTES: usize = 464;
/// FXSAVE area and XSAVE header, without any extended component.
const LEGACY: usize = 576;
/// AMX tile data: the kernel takes a frame with room for it only from a process that has asked to use AMX.
const TILE_DATA: u64 = 1 << 18;

/// Indices in `user_regs_struct` in the order of the context: r8 … r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags.
const ORDER: [usize; 18] = [9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, 19, 16, 18];
const CS: usize = 17;
const SS: usize = 20;

/// The frame for address `at` (a multiple of 64). `regs` is a `user_regs_struct`, `xsave` as NT_X86_XSTATE gives it (a shorter
/// one than the legacy part stands for the initial state), `altstack` a `stack_t` as `sigaltstack` gives it.
pub fn build(
    regs: &[u64; 27],
    xsave: &[u8],
    mask: u64,
    altstack: (u64, i32, u64),
    at: u64,
) -> Vec<u8> {
    debug_assert_eq!(at % 64, 0);
    let state = xstate(xsave);
    let mut frame = vec![0; XSTATE];
    let mut word =
        |offset: usize, value: u64| frame[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    word(
        FLAGS,
        UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
    );
    word(ALTSTACK, altstack.0);
    word(ALTSTACK + 8, u64::from(altstack.1 as u32));
    word(ALTSTACK + 16, altstack.2);
    for (slot, index) in ORDER.into_iter().enumerate() {
        word(CONTEXT + slot * 8, regs[index]);
    }
    word(SEGMENTS, (regs[CS] & 0xffff) | (regs[SS] & 0xffff) << 48);
    word(
        XSTATE_PTR,
        if state.is_empty() {
            0
        } else {
            at + XSTATE as u64
        },
    );
    word(MASK, mask);
    frame.extend(state);
    frame
}

/// The extended state with the software bytes and the mark behind it by which the kernel knows that it is complete.
fn xstate(xsave: &[u8]) -> Vec<u8> {
    if xsave.len() < LEGACY {
        return Vec::new();
    }
    let word = |at: usize| u64::from_le_bytes(xsave[at..at + 8].try_into().expect("eight bytes"));
    let mut features = word(SW_BYTES);
    if features & 3 != 3 {
        features = cpu::xfeatures();
    }
    // It may come from a CPU that has more.
    features &= cpu::xfeatures();
    if cpu::xsave_in_use(xsave) & TILE_DATA == 0 {
        features &= !TILE_DATA;
    }
    let size = cpu::standard_size(features).min(xsave.len());
    let mut state = xsave[..size].to_vec();
    let mut half = |at: usize, value: u32| state[at..at + 4].copy_from_slice(&value.to_le_bytes());
    half(SW_BYTES, FP_XSTATE_MAGIC1);
    half(SW_BYTES + 4, size as u32 + 4);
    half(SW_BYTES + 8, features as u32);
    half(SW_BYTES + 12, (features >> 32) as u32);
    half(SW_BYTES + 16, size as u32);
    state.extend(FP_XSTATE_MAGIC2.to_le_bytes());
    state
}
