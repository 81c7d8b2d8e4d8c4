//! What `wait` reports.

/// Events of [`Status::Event`].
pub const EVENT_FORK: i32 = libc::PTRACE_EVENT_FORK;
pub const EVENT_VFORK: i32 = libc::PTRACE_EVENT_VFORK;
pub const EVENT_CLONE: i32 = libc::PTRACE_EVENT_CLONE;
pub const EVENT_EXEC: i32 = libc::PTRACE_EVENT_EXEC;
/// Stop after `interrupt`, and first stop of a thread whose creator is traced.
pub const EVENT_STOP: i32 = 128;

/// One report about a child or a traced thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It called exit with this code.
    Exited(i32),
    /// A signal killed it; the flag: it dumped core.
    Signaled(i32, bool),
    /// A signal is about to be delivered to it.
    SignalStop(i32),
    /// It enters or leaves a call (after `cont_to_syscall`).
    SyscallStop,
    /// A ptrace event: its number (`EVENT_…`) and the signal that came with it.
    Event(i32, i32),
    /// It is stopped by job control.
    GroupStop(i32),
    Continued,
}

impl Status {
    /// From the status word of `waitpid`.
    pub fn decode(status: i32) -> Status {
        if libc::WIFEXITED(status) {
            return Status::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return Status::Signaled(libc::WTERMSIG(status), libc::WCOREDUMP(status));
        }
        if libc::WIFCONTINUED(status) {
            return Status::Continued;
        }
        let signo = libc::WSTOPSIG(status);
        match status >> 16 {
            0 if signo == libc::SIGTRAP | 0x80 => Status::SyscallStop,
            0 => Status::SignalStop(signo),
            EVENT_STOP if signo != libc::SIGTRAP => Status::GroupStop(signo),
            event => Status::Event(event, signo),
        }
    }

    /// Whether the process is no more.
    pub fn is_end(self) -> bool {
        matches!(self, Status::Exited(_) | Status::Signaled(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_told_apart() {
        assert_eq!(Status::decode(3 << 8), Status::Exited(3));
        assert_eq!(Status::decode(11 | 0x80), Status::Signaled(11, true));
        assert_eq!(Status::decode((19 << 8) | 0x7f), Status::SignalStop(19));
        assert_eq!(Status::decode((0x85 << 8) | 0x7f), Status::SyscallStop);
        assert_eq!(
            Status::decode((128 << 16) | (19 << 8) | 0x7f),
            Status::GroupStop(19)
        );
        assert_eq!(
            Status::decode((128 << 16) | (5 << 8) | 0x7f),
            Status::Event(EVENT_STOP, 5)
        );
        assert_eq!(Status::decode(0xffff), Status::Continued);
    }
}
