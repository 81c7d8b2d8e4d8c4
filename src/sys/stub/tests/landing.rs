//! Where a child lands that leaves the stub by a signal frame, with known registers that it checks.

use std::sync::OnceLock;

use crate::sys::stub::frame;

/// Exit status of a child whose registers are all right after a rollback, and after a resume.
pub const CODE_BACK: u64 = 42;
pub const CODE_RESUMED: u64 = 43;

const RIP: usize = 16;
const CS: usize = 17;
const EFLAGS: usize = 18;
const RSP: usize = 19;
const SS: usize = 20;
const RDI: usize = 14;
const CARRY: u64 = 1;

std::arch::global_asm!(
    r#"
mos_stub_test_landing:
    jnc 2f
    cmp r15, 0x100
    jne 2f
    cmp r14, 0x101
    jne 2f
    cmp r13, 0x102
    jne 2f
    cmp r12, 0x103
    jne 2f
    cmp rbp, 0x104
    jne 2f
    cmp rbx, 0x105
    jne 2f
    cmp r11, 0x106
    jne 2f
    cmp r10, 0x107
    jne 2f
    cmp r9, 0x108
    jne 2f
    cmp r8, 0x109
    jne 2f
    cmp rax, 0x10a
    jne 2f
    cmp rcx, 0x10b
    jne 2f
    cmp rdx, 0x10c
    jne 2f
    cmp rsi, 0x10d
    jne 2f
    cmp qword ptr [rsp], 0x77
    jne 2f
    test byte ptr [rsp + 8], 4
    jz 1f
    vmovd eax, xmm9
    cmp eax, 0x5a5a
    jne 2f
    vextractf128 xmm1, ymm9, 1
    vmovd eax, xmm1
    cmp eax, 0x6b6b
    jne 2f
1:  mov eax, 231
    syscall
2:  mov edi, 1
    mov eax, 231
    syscall
    "#
);

unsafe extern "C" {
    static mos_stub_test_landing: u8;
}

/// An XSAVE area in its initial state but for ymm9, where the CPU has that.
fn xsave() -> Vec<u8> {
    const YMM_HIGH: usize = 576;
    let features = crate::sys::cpu::xfeatures();
    let mut area = vec![0u8; crate::sys::cpu::xsave_size()];
    let mut put = |at: usize, bytes: &[u8]| area[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x7f, 0x03]);
    put(24, &0x1f80u32.to_le_bytes());
    put(160 + 9 * 16, &0x5a5au32.to_le_bytes());
    if features & 4 != 0 {
        put(YMM_HIGH + 9 * 16, &0x6b6bu32.to_le_bytes());
    }
    put(464, &features.to_le_bytes());
    put(512, &(features & 7).to_le_bytes());
    area
}

/// The landing's stack, made before the first fork, so that children have it.
static STACK: OnceLock<Vec<u64>> = OnceLock::new();

/// A signal frame for address `at` that leads to the landing, which exits with `status` if all is right.
pub fn frame(status: u64, mask: u64, at: u64) -> Vec<u8> {
    let stack = STACK.get_or_init(|| {
        let mut stack = vec![0; 4096];
        stack[2048] = 0x77;
        stack[2049] = crate::sys::cpu::xfeatures();
        stack
    });
    let mut regs: [u64; 27] = std::array::from_fn(|at| 0x100 + at as u64);
    regs[RIP] = (&raw const mos_stub_test_landing) as u64;
    regs[CS] = 0x33;
    regs[EFLAGS] = 0x202 | CARRY;
    regs[RSP] = &raw const stack[2048] as u64;
    regs[SS] = 0x2b;
    regs[RDI] = status;
    frame::build(&regs, &xsave(), mask, (0, libc::SS_DISABLE, 0), at)
}
