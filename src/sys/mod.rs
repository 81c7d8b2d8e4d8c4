//! The kernel: every `unsafe`, every raw call and layout, behind interfaces that cannot be misused.

pub mod abi;
pub mod affinity;
pub mod backing;
pub mod cpu;
pub mod errno;
pub mod inject;
pub mod launch;
pub mod lease;
pub mod load;
mod maps;
pub mod mem;
pub mod nameless;
pub mod namespace;
pub mod pagemap;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod ptrace;
mod receive;
pub mod regs;
pub mod seccomp;
pub mod socket;
pub mod spawn;
pub mod status;
pub mod stub;
pub mod tracked;
#[cfg(test)]
pub mod trial;
pub mod unix;
pub mod writes;
