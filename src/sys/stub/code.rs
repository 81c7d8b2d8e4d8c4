//! The stub's code. It runs anywhere: everything is relative to `r15`, its base. FS and GS are the program's and not touched.
//!
//! Signals: the handler queues the `siginfo`. If it has interrupted the way into the receive or into an abortable call, between
//! the look at the queue and the `syscall` instruction (inclusive: the kernel goes back to it to restart a call), it moves the
//! interrupted `rip`, so that the queue is looked at again, or the call is not made. So no signal is slept over.
//! A call that a signal interrupts inside the kernel returns `-EINTR`, as the mirrored actions have no `SA_RESTART`.
//!
//! While there is a way back, signals that were sent are kept too, as many as there is room for, and a rollback makes all of
//! them pending again.
//!
//! Registers in the loop: `rbx` the request (in the staging area), and while it is served, as a call may overwrite the
//! staging area behind the header: `r12` flags, `r13` out_ptr, `r14` out_fixed, `rbp` out_max.

use std::arch::global_asm;
use std::mem::offset_of;

use super::data::{self, Page, QUEUE, QUEUED_LEN};
use super::layout;

unsafe extern "C" {
    static mos_stub_begin: u8;
    static mos_stub_end: u8;
    #[cfg(test)]
    static mos_stub_call_end: u8;
    #[cfg(test)]
    static mos_stub_plain_end: u8;
}

/// The assembled code.
pub(super) fn bytes() -> &'static [u8] {
    let (begin, end) = (&raw const mos_stub_begin, &raw const mos_stub_end);
    // SAFETY: the symbols bound one piece of code in this binary's text, which is never written.
    unsafe { std::slice::from_raw_parts(begin, end as usize - begin as usize) }
}

/// Where the `syscall` instructions of abortable and of other calls ended up.
#[cfg(test)]
pub(super) fn call_ends() -> [u64; 2] {
    let begin = (&raw const mos_stub_begin) as u64;
    [&raw const mos_stub_call_end, &raw const mos_stub_plain_end].map(|end| end as u64 - begin)
}

const fn at(field: usize) -> u64 {
    layout::DATA + field as u64
}

/// What is received at once, so that most requests need no second receive.
const FIRST: u64 = layout::REQUEST_LEN as u64 + (64 << 10);
const _: () = assert!(FIRST <= layout::STAGING_SIZE);

global_asm!(
    include_str!("serve.s"),
    include_str!("move.s"),
    include_str!("signals.s"),
    include_str!("life.s"),
    channel = const at(offset_of!(Page, channel)),
    wanted = const at(offset_of!(Page, wanted)),
    rollback = const at(offset_of!(Page, rollback)),
    mask = const at(offset_of!(Page, mask)),
    masked = const at(offset_of!(Page, masked)),
    decided = const at(offset_of!(Page, decided)),
    decision = const at(offset_of!(Page, decision)),
    undecided = const data::UNDECIDED,
    committed = const data::COMMITTED,
    rolling_back = const data::ROLLING_BACK,
    rolled_back = const data::ROLLED_BACK,
    dying = const data::DYING,
    final = const data::FINAL,
    fallen_back = const data::FALLEN_BACK,
    stub_size = const layout::STUB_SIZE,
    kept = const at(offset_of!(Page, kept)),
    head = const at(offset_of!(Page, head)),
    tail = const at(offset_of!(Page, tail)),
    fork_tail = const at(offset_of!(Page, fork_tail)),
    answer = const at(offset_of!(Page, answer)),
    iov = const at(offset_of!(Page, iov)),
    message = const at(offset_of!(Page, message)),
    address_len = const at(offset_of!(Page, address_len)),
    greeting_len = const at(offset_of!(Page, greeting_len)),
    spare = const at(offset_of!(Page, spare)),
    parked = const at(offset_of!(Page, parked)),
    parking = const layout::PARKING,
    stack_top = const layout::STACK_TOP,
    fell_back = const layout::FELL_BACK,
    lost_len = const at(offset_of!(Page, lost_len)),
    serving = const at(offset_of!(Page, serving)),
    address = const at(offset_of!(Page, address)),
    greeting = const at(offset_of!(Page, greeting)),
    lost = const at(offset_of!(Page, lost)),
    saved = const at(offset_of!(Page, saved)),
    slots = const at(offset_of!(Page, queue)),
    queue = const QUEUE,
    queued_len = const QUEUED_LEN,
    siginfo_len = const layout::SIGINFO_LEN,
    staging = const layout::STAGING,
    staging_size = const layout::STAGING_SIZE,
    request_len = const layout::REQUEST_LEN,
    first = const FIRST,
    program = const layout::PROGRAM,
    fork = const layout::FORK,
    thread = const layout::THREAD,
    end_thread = const layout::END_THREAD,
    settle = const layout::SETTLE,
    out_by_result = const layout::OUT_BY_RESULT,
    unit_shift = const layout::UNIT_SHIFT,
    no_call = const layout::NO_CALL,
    abortable = const layout::ABORTABLE,
    get_actions = const layout::GET_ACTIONS,
    set_actions = const layout::SET_ACTIONS,
    resume = const layout::RESUME,
    set_mask = const layout::SET_MASK,
    commit = const layout::COMMIT,
    aborted = const layout::ABORTED,
    kind_reply = const layout::KIND_REPLY,
    kind_signal = const layout::KIND_SIGNAL,
    uc_rip = const 168,
    uc_mask = const 296,
    waitall = const libc::MSG_WAITALL,
    nosignal = const libc::MSG_NOSIGNAL,
    cloexec = const libc::O_CLOEXEC,
    sock_stream = const libc::SOCK_STREAM,
    sock_cloexec = const libc::SOCK_CLOEXEC,
    sig_setmask = const libc::SIG_SETMASK,
    sigkill = const libc::SIGKILL,
    sigstop = const libc::SIGSTOP,
    eintr = const libc::EINTR,
    efault = const libc::EFAULT,
    write = const libc::SYS_write,
    close = const libc::SYS_close,
    rt_sigaction = const libc::SYS_rt_sigaction,
    rt_sigprocmask = const libc::SYS_rt_sigprocmask,
    rt_sigreturn = const libc::SYS_rt_sigreturn,
    rt_tgsigqueueinfo = const libc::SYS_rt_tgsigqueueinfo,
    getpid = const libc::SYS_getpid,
    gettid = const libc::SYS_gettid,
    kill = const libc::SYS_kill,
    socket = const libc::SYS_socket,
    connect = const libc::SYS_connect,
    sendto = const libc::SYS_sendto,
    recvfrom = const libc::SYS_recvfrom,
    sendmsg = const libc::SYS_sendmsg,
    dup3 = const libc::SYS_dup3,
    exit = const libc::SYS_exit,
    sched_yield = const libc::SYS_sched_yield,
    exit_group = const libc::SYS_exit_group,
);
