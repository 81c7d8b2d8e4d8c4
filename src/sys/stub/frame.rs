//! A complete `rt_sigframe`: what `rt_sigreturn` needs to put a thread back exactly (kernel: `arch/x86/include/asm/sigframe.h`).

use crate::sys::cpu;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Offset of the machine context, of the mask, and the end of the frame's fixed part (with its `siginfo`).
const CONTEXT: usize = 48;
const MASK: usize = 304;
const FIXED: usize = 448;
/// Offset of the software-reserved bytes in an FXSAVE area.
const SW_BYTES: usize = 464;
/// AMX tile state, which a process has only after asking for it.
const AMX: u64 = 1 << 17 | 1 << 18;
/// Indices in `user_regs_struct` in the order of the signal context: r8 … r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags.
const ORDER: [usize; 18] = [9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, 19, 16, 18];
const CS: usize = 17;
const SS: usize = 20;

/// The frame for address `at` (a multiple of 64). `regs` is a `user_regs_struct`, `xsave` as NT_X86_XSTATE gives it.
pub fn build(regs: &[u64; 27], xsave: &[u8], mask: u64, altstack: (u64, i32, u64), at: u64) -> Vec<u8> {
    debug_assert_eq!(at % 64, 0);
    let state = xstate(xsave);
    let mut frame = vec![0; FIXED];
    let mut word = |offset: usize, value: u64| frame[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    word(8, UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
    word(24, altstack.0);
    word(32, altstack.1 as u32 as u64);
    word(40, altstack.2);
    for (slot, index) in ORDER.iter().enumerate() {
        word(CONTEXT + slot * 8, regs[*index]);
    }
    word(CONTEXT + 144, regs[CS] & 0xffff | (regs[SS] & 0xffff) << 48);
    word(CONTEXT + 184, at + FIXED as u64);
    word(MASK, mask);
    frame.extend(state);
    frame
}

/// The extended state with its software bytes, cut to what the kernel accepts from a process that has not asked for AMX.
fn xstate(xsave: &[u8]) -> Vec<u8> {
    let in_use = cpu::xsave_in_use(xsave);
    let mut features = cpu::xfeatures();
    if in_use & AMX == 0 {
        features &= !AMX;
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
