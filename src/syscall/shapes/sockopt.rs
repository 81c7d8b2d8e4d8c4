//! Socket options.

use crate::syscall::Plan;
use crate::syscall::memory::{BAD, bytes, word64};
use crate::syscall::pack::{Pack, plausible};
use crate::syscall::unpack::When;

const SOL_SOCKET: u32 = 1;
/// Options whose value is a `struct sock_fprog`: a count, and a pointer to so many instructions.
const ATTACH_FILTER: u32 = 26;
const ATTACH_REUSEPORT_CBPF: u32 = 51;
/// Longest value that travels.
const VALUE_MAX: u64 = 1 << 20;

/// setsockopt.
pub fn set(mut pack: Pack) -> Plan {
    pack.fd(0);
    let (level, name) = (pack.args[1] as u32, pack.args[2] as u32);
    let len = (pack.args[4] as i32).max(0) as u64;
    if level == SOL_SOCKET && matches!(name, ATTACH_FILTER | ATTACH_REUSEPORT_CBPF) && len == 16 {
        filter(&mut pack);
    } else {
        pack.arg_in(3, len);
    }
    pack.finish()
}

fn filter(pack: &mut Pack) {
    const INSTRUCTION: usize = 8;
    let Some(program) = pack.arg_bytes(3, 16) else {
        return;
    };
    let count = usize::from(u16::from_le_bytes([program[0], program[1]]));
    let code = bytes(pack.mem, word64(&program, 8), count * INSTRUCTION);
    let holder = pack.input(program);
    pack.point_arg(3, holder);
    match code {
        Ok(code) => {
            let id = pack.input(code);
            pack.point_inside(holder, 8, id, 0);
        }
        Err(_) => pack.set_word(holder, 8, BAD),
    }
}

/// getsockopt: some options read their value's place too, so it travels both ways.
pub fn get(mut pack: Pack) -> Plan {
    pack.fd(0);
    let (value, len_addr) = (pack.args[3], pack.args[4]);
    let Some(room) = pack.arg_bytes(4, 4) else {
        pack.args[3] = BAD;
        return pack.finish();
    };
    let most = (u32::from_le_bytes([room[0], room[1], room[2], room[3]]) as i32).max(0) as u64;
    let counter = pack.in_out(room);
    pack.point_arg(4, counter);
    pack.give(counter, 0, len_addr, 4, When::Success);
    let most = most.min(VALUE_MAX);
    if plausible(value) {
        let id = match bytes(pack.mem, value, most as usize) {
            Ok(old) => pack.in_out(old),
            Err(_) => pack.output(most),
        };
        pack.point_arg(3, id);
        pack.give_by(id, value, most, 0, (counter, 0, 4), When::Success);
    }
    pack.finish()
}
