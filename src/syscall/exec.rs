//! execve and execveat: path, arguments and environment for the deputy, which becomes the new program at home.

use super::memory::{GuestMemory, Home, PAGE, StrError, bytes, word64};
use super::pack::{Id, Pack, plausible};
use super::shape::{Arg, pack_args};
use super::{Plan, errno, nr};

/// Most bytes of arguments and environment together, as the kernel counts them (strings and pointers).
const ARGS_MAX: usize = 6 << 20;
/// Longest single string, with its NUL.
const STRING_MAX: usize = 128 << 10;

/// Plans an execve or execveat: `Plan::Forward`, `Plan::NeedBig`, or `Plan::Errno` (E2BIG, EFAULT) when the arguments themselves are wrong.
pub fn plan_exec(nr: u64, args: [u64; 6], mem: &dyn GuestMemory, home: &Home) -> Plan {
    let mut pack = Pack::new(nr, args, mem, home);
    let (path, argv, envp) = if nr == nr::EXECVEAT {
        (1, 2, 3)
    } else {
        (0, 1, 2)
    };
    if nr == nr::EXECVEAT {
        pack_args(&mut pack, &[Arg::Fd, Arg::Path]);
    } else {
        pack.arg_str(path, PAGE as usize);
    }
    let mut room = ARGS_MAX;
    for arg in [argv, envp] {
        if let Err(error) = strings(&mut pack, arg, &mut room) {
            return Plan::Errno(error as i32);
        }
    }
    pack.finish()
}

/// A NULL-terminated array of strings at argument `arg`; NULL itself passes.
fn strings(pack: &mut Pack, arg: usize, room: &mut usize) -> Result<(), i64> {
    let array = pack.args[arg];
    if !plausible(array) {
        return Ok(());
    }
    let (mut pointers, mut data) = (Vec::new(), Vec::new());
    let mut next = Words {
        mem: pack.mem,
        at: array,
        chunk: Vec::new(),
        used: 0,
    };
    loop {
        let pointer = next.next().ok_or(errno::EFAULT)?;
        if pointer == 0 {
            break;
        }
        let string = pack
            .mem
            .read_cstr(pointer, STRING_MAX)
            .map_err(|error| match error {
                StrError::Fault => errno::EFAULT,
                StrError::TooLong => errno::E2BIG,
            })?;
        *room = room.checked_sub(string.len() + 8).ok_or(errno::E2BIG)?;
        pointers.push(data.len() as u64);
        data.extend_from_slice(&string);
    }
    let holder = pack.input(vec![0; (pointers.len() + 1) * 8]);
    pack.point_arg(arg, holder);
    let text: Id = pack.input(data);
    for (index, offset) in pointers.into_iter().enumerate() {
        pack.point_inside(holder, index * 8, text, offset);
    }
    Ok(())
}

/// Reads words one after the other, as many at once as lie in a page.
struct Words<'a> {
    mem: &'a dyn GuestMemory,
    at: u64,
    chunk: Vec<u8>,
    used: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<u64> {
        if self.used + 8 > self.chunk.len() {
            // Up to the end of the page, but whole words; an array across pages that is not aligned is read by words there.
            let to_end = (PAGE - self.at % PAGE) as usize & !7;
            let len = to_end.clamp(8, 512);
            self.chunk = bytes(self.mem, self.at, len).ok()?;
            self.used = 0;
        }
        let word = word64(&self.chunk, self.used);
        self.used += 8;
        self.at = self.at.checked_add(8)?;
        Some(word)
    }
}
