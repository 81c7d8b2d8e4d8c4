//! System V inter-process communication and notification of message queues.

use crate::syscall::memory::{BAD, GuestMemory, Home, bytes, word32, word64};
use crate::syscall::pack::{PIECE, Pack, plausible};
use crate::syscall::unpack::When;
use crate::syscall::{Plan, Step};

// Commands; the kernel ignores the flag of the newer form.
const IPC_64: u32 = 0x100;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;

/// semctl: the fourth argument is by command a value, a structure or the values of all semaphores of the set.
pub fn semctl(mut pack: Pack) -> Plan {
    const SET: u64 = 104;
    const INFO: u64 = 40;
    match pack.args[2] as u32 & !IPC_64 {
        IPC_SET => drop(pack.arg_in(3, SET)),
        // IPC_STAT, SEM_STAT, SEM_STAT_ANY.
        IPC_STAT | 18 | 20 => drop(pack.arg_out(3, SET, When::Success)),
        // IPC_INFO, SEM_INFO.
        IPC_INFO | 19 => drop(pack.arg_out(3, INFO, When::Success)),
        // GETALL, SETALL: how many there are is asked first.
        13 | 17 => return count_semaphores(pack),
        _ => (),
    }
    pack.finish()
}

/// Asks for the size of the set: `IPC_STAT` whose answer becomes the value.
fn count_semaphores(mut pack: Pack) -> Plan {
    const STRUCTURE: u64 = 104;
    const COUNT: usize = 80;
    pack.args[1] = 0;
    pack.args[2] = u64::from(IPC_STAT);
    let id = pack.output(STRUCTURE);
    pack.point_arg(3, id);
    pack.value_at = Some((id, COUNT));
    pack.step = Step::CountSemaphores;
    pack.finish()
}

/// GETALL and SETALL of `count` semaphores, of 16 bits each.
pub fn semaphores(nr: u64, args: [u64; 6], mem: &dyn GuestMemory, home: &Home, count: u64) -> Plan {
    const GETALL: u32 = 13;
    let mut pack = Pack::new(nr, args, mem, home);
    let len = count.saturating_mul(2);
    if args[2] as u32 & !IPC_64 == GETALL {
        pack.arg_out(3, len.min(PIECE), When::Success);
    } else {
        pack.arg_in(3, len);
    }
    pack.finish()
}

/// msgctl.
pub fn msgctl(mut pack: Pack) -> Plan {
    const QUEUE: u64 = 120;
    const INFO: u64 = 32;
    match pack.args[1] as u32 & !IPC_64 {
        IPC_SET => drop(pack.arg_in(2, QUEUE)),
        // IPC_STAT, MSG_STAT, MSG_STAT_ANY.
        IPC_STAT | 11 | 13 => drop(pack.arg_out(2, QUEUE, When::Success)),
        // IPC_INFO, MSG_INFO.
        IPC_INFO | 12 => drop(pack.arg_out(2, INFO, When::Success)),
        _ => (),
    }
    pack.finish()
}

/// shmctl.
pub fn shmctl(mut pack: Pack) -> Plan {
    const SEGMENT: u64 = 112;
    const LIMITS: u64 = 72;
    const USAGE: u64 = 48;
    match pack.args[1] as u32 & !IPC_64 {
        IPC_SET => drop(pack.arg_in(2, SEGMENT)),
        // IPC_STAT, SHM_STAT, SHM_STAT_ANY.
        IPC_STAT | 13 | 15 => drop(pack.arg_out(2, SEGMENT, When::Success)),
        IPC_INFO => drop(pack.arg_out(2, LIMITS, When::Success)),
        // SHM_INFO.
        14 => drop(pack.arg_out(2, USAGE, When::Success)),
        _ => (),
    }
    pack.finish()
}

/// A message begins with its type, which does not count in its length.
const TYPE: u64 = 8;

/// msgsnd.
pub fn msgsnd(mut pack: Pack) -> Plan {
    let len = pack.args[2];
    if len <= PIECE {
        pack.arg_in(1, TYPE + len);
    } else {
        // The kernel refuses the length before it looks.
        pack.args[1] = BAD;
    }
    pack.finish()
}

/// msgrcv.
pub fn msgrcv(mut pack: Pack) -> Plan {
    let to = pack.args[1];
    if plausible(to) {
        if pack.args[2] as i64 > PIECE as i64 {
            pack.args[2] = PIECE;
        }
        let len = pack.args[2].min(PIECE);
        let head = pack.output(TYPE);
        let text = pack.stream(len);
        pack.point_arg(1, head);
        pack.give(head, 0, to, TYPE, When::Success);
        let counted = (crate::syscall::unpack::Count::Result(1), 0);
        pack.give_counted(text, 0, to + TYPE, len, counted, When::Success);
    }
    pack.finish()
}

/// mq_notify: with a thread to be told, the event points to a cookie.
pub fn mq_notify(mut pack: Pack) -> Plan {
    const EVENT: u64 = 64;
    const COOKIE: usize = 32;
    const NOTIFY: usize = 12;
    const SIGEV_THREAD: u32 = 2;
    pack.fd(0);
    if let Some(event) = pack.arg_bytes(1, EVENT) {
        let cookie = (word32(&event, NOTIFY) == SIGEV_THREAD).then(|| word64(&event, 0));
        let id = pack.input(event);
        pack.point_arg(1, id);
        if let Some(addr) = cookie {
            match bytes(pack.mem, addr, COOKIE) {
                Ok(cookie) => {
                    let cookie = pack.input(cookie);
                    pack.point_inside(id, 0, cookie, 0);
                }
                Err(_) => pack.set_word(id, 0, BAD),
            }
        }
    }
    pack.finish()
}
