//! The general registers of a thread.

macro_rules! regs {
    ($($name:ident)*) => {
        /// `user_regs_struct`: 27 words in the kernel's order.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Regs { $(pub $name: u64),* }

        impl Regs {
            /// The registers as words, in the kernel's order.
            pub fn to_array(self) -> [u64; REGS] {
                [$(self.$name),*]
            }

            /// From words in the kernel's order.
            pub fn from_array([$($name),*]: [u64; REGS]) -> Regs {
                Regs { $($name),* }
            }
        }
    };
}

/// Number of words in [`Regs`].
pub const REGS: usize = 27;

regs! {
    r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs
}

/// Where some registers are in the array (`user_regs_struct`).
pub mod index {
    pub const R10: usize = 7;
    pub const R8: usize = 9;
    pub const RAX: usize = 10;
    pub const RDX: usize = 12;
    pub const RSI: usize = 13;
    pub const RDI: usize = 14;
    pub const ORIG_RAX: usize = 15;
    pub const RIP: usize = 16;
    pub const FS_BASE: usize = 21;
    pub const GS_BASE: usize = 22;
}

/// Results with which a call asks to be repeated: `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND`.
const REPEAT: [i64; 3] = [-512, -513, -514];
/// `ERESTART_RESTARTBLOCK`: the call is to be continued by `restart_syscall`.
const REPEAT_BLOCK: i64 = -516;
/// Length of a `syscall` instruction.
pub const SYSCALL_LEN: u64 = 2;
/// Segments of a 64-bit program.
const USER_CODE: u64 = 0x33;
const USER_DATA: u64 = 0x2b;
/// `orig_rax` of a thread that is not in a call.
pub const NO_CALL: u64 = u64::MAX;

/// What a thread that was stopped inside a call will do when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It is not in a call, or the call has its result.
    No,
    /// The call is made again.
    Repeat { nr: u64 },
    /// The call is continued from the kernel's restart block of that thread.
    Block { nr: u64 },
}

impl Regs {
    /// The six arguments of a call, in order.
    pub fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// These registers set up to make a call with the `syscall` instruction at `gadget`, in 64-bit mode whatever the mode was.
    pub fn with_call(mut self, gadget: u64, nr: u64, args: [u64; 6]) -> Regs {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9] = args;
        Regs {
            rax: nr,
            orig_rax: NO_CALL,
            rip: gadget,
            cs: USER_CODE,
            ss: USER_DATA,
            ..self
        }
    }

    /// What the kernel would do with an interrupted call when no handler runs.
    pub fn interrupted(&self) -> Interrupted {
        let result = self.rax as i64;
        let nr = self.orig_rax;
        // As the kernel sees it: a call may have any other number, however wrong.
        if nr as i32 == -1 {
            Interrupted::No
        } else if REPEAT.contains(&result) {
            Interrupted::Repeat { nr }
        } else if result == REPEAT_BLOCK {
            Interrupted::Block { nr }
        } else {
            Interrupted::No
        }
    }

    /// The registers from which a thread makes call `nr` (again): in front of the `syscall` instruction that it was in.
    pub fn repeating(&self, nr: u64) -> Regs {
        Regs {
            rax: nr,
            rip: self.rip.wrapping_sub(SYSCALL_LEN),
            orig_rax: NO_CALL,
            ..*self
        }
    }

    /// What the kernel would make of an interrupted call, done by hand: needed when the thread goes on from another stop than
    /// the one in which the call was interrupted.
    pub fn restarted(&self) -> Regs {
        match self.interrupted() {
            Interrupted::No => Regs {
                orig_rax: NO_CALL,
                ..*self
            },
            Interrupted::Repeat { nr } => self.repeating(nr),
            Interrupted::Block { .. } => self.repeating(libc::SYS_restart_syscall as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_the_kernels_order() {
        let regs = Regs {
            r15: 1,
            orig_rax: 2,
            gs: 3,
            ..Regs::default()
        };
        let words = regs.to_array();
        assert_eq!((words[0], words[15], words[26]), (1, 2, 3));
        assert_eq!(Regs::from_array(words), regs);
    }

    #[test]
    fn a_call_with_a_wrong_number_is_a_call() {
        let with = |orig_rax: i64| Regs {
            rax: -512i64 as u64,
            orig_rax: orig_rax as u64,
            ..Regs::default()
        };
        let nr = -77i64 as u64;
        assert!(matches!(with(-77).interrupted(), Interrupted::Repeat { nr: of } if of == nr));
        assert!(matches!(with(-1).interrupted(), Interrupted::No));
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let regs = Regs {
            rax: -512i64 as u64,
            orig_rax: 7,
            rip: 100,
            ..Regs::default()
        };
        assert_eq!(
            regs.restarted(),
            Regs {
                rax: 7,
                rip: 98,
                orig_rax: NO_CALL,
                ..Regs::default()
            }
        );
        let block = Regs {
            rax: -516i64 as u64,
            ..regs
        };
        assert_eq!(block.interrupted(), Interrupted::Block { nr: 7 });
        assert_eq!(block.restarted().rax, 219);
    }

    #[test]
    fn a_finished_call_keeps_its_result() {
        let regs = Regs {
            rax: -4i64 as u64,
            orig_rax: 0,
            rip: 100,
            ..Regs::default()
        };
        assert_eq!(
            regs.restarted(),
            Regs {
                orig_rax: NO_CALL,
                ..regs
            }
        );
    }
}
