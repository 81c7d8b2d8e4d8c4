//! The kernel: every `unsafe`, every raw call and layout, behind interfaces that cannot be misused.

pub mod cpu;
pub mod errno;
pub mod inject;
pub mod mem;
pub mod namespace;
pub mod pagemap;
pub mod process;
pub mod procfs;
pub mod ptrace;
pub mod regs;
pub mod seccomp;
pub mod socket;
pub mod spawn;
pub mod status;
#[cfg(test)]
pub mod trial;
pub mod unix;
