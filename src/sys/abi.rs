//! Numbers of the kernel's interface that other rooms put into requests, as the 64-bit words that they are there.

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident = $value:expr;)*) => { $($(#[$meta])* pub const $name: u64 = $value as u64;)* };
}

words! {
    SYS_READ = libc::SYS_read;
    SYS_WRITE = libc::SYS_write;
    SYS_OPEN = libc::SYS_open;
    SYS_CLOSE = libc::SYS_close;
    SYS_FSTAT = libc::SYS_fstat;
    SYS_POLL = libc::SYS_poll;
    SYS_FUTEX = libc::SYS_futex;
    SYS_MMAP = libc::SYS_mmap;
    SYS_MPROTECT = libc::SYS_mprotect;
    SYS_MUNMAP = libc::SYS_munmap;
    SYS_MREMAP = libc::SYS_mremap;
    SYS_MADVISE = libc::SYS_madvise;
    SYS_BRK = libc::SYS_brk;
    SYS_RT_SIGACTION = libc::SYS_rt_sigaction;
    SYS_RT_SIGPROCMASK = libc::SYS_rt_sigprocmask;
    SYS_RT_SIGRETURN = libc::SYS_rt_sigreturn;
    SYS_RT_SIGPENDING = libc::SYS_rt_sigpending;
    SYS_RT_SIGSUSPEND = libc::SYS_rt_sigsuspend;
    SYS_RT_TGSIGQUEUEINFO = libc::SYS_rt_tgsigqueueinfo;
    SYS_SELECT = libc::SYS_select;
    SYS_PSELECT6 = libc::SYS_pselect6;
    SYS_PPOLL = libc::SYS_ppoll;
    SYS_EPOLL_WAIT = libc::SYS_epoll_wait;
    SYS_EPOLL_PWAIT = libc::SYS_epoll_pwait;
    SYS_EPOLL_PWAIT2 = libc::SYS_epoll_pwait2;
    SYS_RT_SIGTIMEDWAIT = libc::SYS_rt_sigtimedwait;
    SYS_SEMTIMEDOP = libc::SYS_semtimedop;
    SYS_NANOSLEEP = libc::SYS_nanosleep;
    SYS_CLOCK_NANOSLEEP = libc::SYS_clock_nanosleep;
    SYS_RESTART_SYSCALL = libc::SYS_restart_syscall;
    SYS_GETITIMER = libc::SYS_getitimer;
    SYS_GETPID = libc::SYS_getpid;
    SYS_SOCKET = libc::SYS_socket;
    SYS_CONNECT = libc::SYS_connect;
    SYS_SOCKETPAIR = libc::SYS_socketpair;
    SYS_SENDTO = libc::SYS_sendto;
    SYS_SETSOCKOPT = libc::SYS_setsockopt;
    SYS_GETSOCKOPT = libc::SYS_getsockopt;
    SYS_READV = libc::SYS_readv;
    SYS_WRITEV = libc::SYS_writev;
    SYS_RECVFROM = libc::SYS_recvfrom;
    SYS_RECVMSG = libc::SYS_recvmsg;
    SYS_SENDMSG = libc::SYS_sendmsg;
    SYS_ACCEPT = libc::SYS_accept;
    SYS_ACCEPT4 = libc::SYS_accept4;
    SYS_CLONE = libc::SYS_clone;
    SYS_RSEQ = libc::SYS_rseq;
    SYS_TGKILL = libc::SYS_tgkill;
    SYS_CLONE3 = libc::SYS_clone3;
    SYS_FORK = libc::SYS_fork;
    SYS_VFORK = libc::SYS_vfork;
    SYS_EXECVE = libc::SYS_execve;
    SYS_EXECVEAT = libc::SYS_execveat;
    SYS_EXIT = libc::SYS_exit;
    SYS_EXIT_GROUP = libc::SYS_exit_group;
    SYS_KILL = libc::SYS_kill;
    SYS_PRCTL = libc::SYS_prctl;
    SYS_ARCH_PRCTL = libc::SYS_arch_prctl;
    SYS_GETRLIMIT = libc::SYS_getrlimit;
    SYS_SETRLIMIT = libc::SYS_setrlimit;
    SYS_GETRUSAGE = libc::SYS_getrusage;
    SYS_TIMES = libc::SYS_times;
    SYS_GETTID = libc::SYS_gettid;
    SYS_SIGALTSTACK = libc::SYS_sigaltstack;
    SYS_SET_TID_ADDRESS = libc::SYS_set_tid_address;
    SYS_SET_ROBUST_LIST = libc::SYS_set_robust_list;
    SYS_OPENAT = libc::SYS_openat;
    SYS_DUP3 = libc::SYS_dup3;
    SYS_FCNTL = libc::SYS_fcntl;
    SYS_CLOCK_GETTIME = libc::SYS_clock_gettime;
    SYS_WAIT4 = libc::SYS_wait4;
    SYS_WAITID = libc::SYS_waitid;

    SIG_SETMASK = libc::SIG_SETMASK;
    AF_INET = libc::AF_INET;
    AF_UNIX = libc::AF_UNIX;
    SOCK_STREAM = libc::SOCK_STREAM;
    SOCK_CLOEXEC = libc::SOCK_CLOEXEC;
    IPPROTO_TCP = libc::IPPROTO_TCP;
    SOL_SOCKET = libc::SOL_SOCKET;
    SO_RCVTIMEO = libc::SO_RCVTIMEO;
    SO_SNDTIMEO = libc::SO_SNDTIMEO;
    TCP_NODELAY = libc::TCP_NODELAY;
    MSG_NOSIGNAL = libc::MSG_NOSIGNAL;
    MSG_CMSG_CLOEXEC = libc::MSG_CMSG_CLOEXEC;
    O_CLOEXEC = libc::O_CLOEXEC;
    F_DUPFD_CLOEXEC = libc::F_DUPFD_CLOEXEC;
    O_NONBLOCK = libc::O_NONBLOCK;
    PROT_NONE = libc::PROT_NONE;
    PROT_READ = libc::PROT_READ;
    PROT_WRITE = libc::PROT_WRITE;
    PROT_EXEC = libc::PROT_EXEC;
    MAP_SHARED = libc::MAP_SHARED;
    MAP_PRIVATE = libc::MAP_PRIVATE;
    MAP_FIXED = libc::MAP_FIXED;
    MAP_FIXED_NOREPLACE = libc::MAP_FIXED_NOREPLACE;
    MAP_ANONYMOUS = libc::MAP_ANONYMOUS;
    MAP_GROWSDOWN = libc::MAP_GROWSDOWN;
    MAP_HUGETLB = libc::MAP_HUGETLB;
    MAP_NORESERVE = libc::MAP_NORESERVE;
    MAP_32BIT = libc::MAP_32BIT;
    MADV_DONTNEED = libc::MADV_DONTNEED;
    MADV_REMOVE = libc::MADV_REMOVE;
    SA_SIGINFO = libc::SA_SIGINFO;
    SA_RESTART = libc::SA_RESTART;
    SA_NODEFER = libc::SA_NODEFER;
    SA_RESETHAND = libc::SA_RESETHAND;
    SA_ONSTACK = libc::SA_ONSTACK;
    SA_NOCLDSTOP = libc::SA_NOCLDSTOP;
    SA_NOCLDWAIT = libc::SA_NOCLDWAIT;
    SA_RESTORER = 0x0400_0000;
    ARCH_SET_GS = 0x1001;
    ARCH_SET_FS = 0x1002;
    PR_GET_TID_ADDRESS = 40;
    RLIMIT_STACK = libc::RLIMIT_STACK;
    RLIMIT_CORE = libc::RLIMIT_CORE;
}

pub const EINTR: i32 = libc::EINTR;
pub const ENOENT: i32 = libc::ENOENT;
pub const ENOSYS: i32 = libc::ENOSYS;
pub const EINVAL: i32 = libc::EINVAL;
pub const EFAULT: i32 = libc::EFAULT;
pub const EBADF: i32 = libc::EBADF;
pub const ENOMEM: i32 = libc::ENOMEM;
pub const EAGAIN: i32 = libc::EAGAIN;
pub const EMFILE: i32 = libc::EMFILE;
pub const ESRCH: i32 = libc::ESRCH;
pub const EHOSTDOWN: i32 = libc::EHOSTDOWN;
pub const EPERM: i32 = libc::EPERM;

/// Kernel-internal results that an interrupted call shows to a tracer.
pub const ERESTARTSYS: i64 = 512;
pub const ERESTARTNOINTR: i64 = 513;
pub const ERESTARTNOHAND: i64 = 514;
pub const ERESTART_RESTARTBLOCK: i64 = 516;

/// Default actions (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    Terminate,
    Core,
    Ignore,
    Stop,
    Continue,
}

/// What signal `signo` does when its action is SIG_DFL.
pub fn default_action(signo: i32) -> DefaultAction {
    match signo {
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH => DefaultAction::Ignore,
        libc::SIGCONT => DefaultAction::Continue,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => DefaultAction::Stop,
        libc::SIGQUIT
        | libc::SIGILL
        | libc::SIGABRT
        | libc::SIGFPE
        | libc::SIGSEGV
        | libc::SIGBUS
        | libc::SIGSYS
        | libc::SIGTRAP
        | libc::SIGXCPU
        | libc::SIGXFSZ => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

pub const SIGKILL: i32 = libc::SIGKILL;
pub const SIGSTOP: i32 = libc::SIGSTOP;
pub const SIGILL: i32 = libc::SIGILL;
pub const SIGTRAP: i32 = libc::SIGTRAP;
pub const SIGSEGV: i32 = libc::SIGSEGV;
/// `si_code` of a SIGSEGV where nothing is mapped.
pub const SEGV_MAPERR: i32 = 1;
pub const SIGCHLD: i32 = libc::SIGCHLD;

/// The bit of `signo` in a signal mask.
pub fn bit(signo: i32) -> u64 {
    1 << (signo - 1)
}

pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;
