//! For tests: system calls of this very process, with addresses as numbers.

use std::arch::asm;

/// Makes a system call; the kernel's raw result.
pub fn call(nr: u64, args: [u64; 6]) -> i64 {
    let value: i64;
    // SAFETY: the instruction clobbers nothing but what is declared; tests pass addresses of memory that they own and do not
    // touch during the call, or that no one has.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as i64 => value,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    value
}

/// Maps `len` bytes of fresh memory with protection `prot` for good; its address.
pub fn map(len: u64, prot: u64) -> u64 {
    const MMAP: u64 = 9;
    const PRIVATE_ANONYMOUS: u64 = 0x22;
    let addr = call(MMAP, [0, len, prot, PRIVATE_ANONYMOUS, u64::MAX, 0]);
    assert!(addr > 0, "mmap: {addr}");
    addr as u64
}

/// Takes over a descriptor that a call gave.
pub fn own(fd: i32) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller has it from a call of its own, and no one else owns it.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}
