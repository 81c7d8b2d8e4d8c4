//! ioctl: what its argument is, by the request's number.

use crate::syscall::Plan;
use crate::syscall::memory::{BAD, LOWEST, bytes, readable, word32, word64};
use crate::syscall::pack::{Pack, plausible};
use crate::syscall::unpack::When;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Value,
    In(u64),
    Out(u64),
    /// Read and changed, or filled in part.
    InOut(u64),
    /// A structure of `base` bytes followed by as many of `unit` bytes as the word of `width` bytes at `at` says.
    Array {
        base: u64,
        unit: u64,
        at: usize,
        width: usize,
    },
    /// `struct ifconf`: a length and a pointer.
    IfConf,
    /// Pointers in it that cannot be known here.
    Nested,
    /// Nothing is known: as much as is readable, at most 256 bytes, both ways.
    Unknown,
}

use What::*;

const WHY: &str = "ioctl with pointers in its data";

pub fn ioctl(mut pack: Pack) -> Plan {
    pack.fd(0);
    let request = pack.args[1] as u32;
    if pack.args[2] < LOWEST {
        // Too small for a pointer: a value, or NULL.
        return pack.finish();
    }
    let to = pack.args[2];
    match what(request) {
        Value => (),
        In(len) => drop(pack.arg_in(2, len)),
        Out(len) => drop(pack.arg_out(2, len, When::Success)),
        InOut(len) => in_out(&mut pack, len),
        Array {
            base,
            unit,
            at,
            width,
        } => {
            if let Some(head) = pack.arg_bytes(2, base) {
                let count = if width == 2 {
                    u64::from(word32(&head, at) as u16)
                } else {
                    u64::from(word32(&head, at))
                };
                let len = base + unit * count.min(1 << 16);
                pack.arg_in_out(2, len, When::Success);
            }
        }
        IfConf => if_conf(&mut pack),
        Nested => return Plan::GoHome(WHY),
        Unknown => {
            const MOST: usize = 256;
            if plausible(to) {
                let data = readable(pack.mem, to, MOST);
                if data.is_empty() {
                    pack.args[2] = BAD;
                } else {
                    let len = data.len() as u64;
                    let id = pack.in_out(data);
                    pack.point_arg(2, id);
                    pack.give(id, 0, to, len, When::Success);
                    pack.lenient();
                }
            }
        }
    }
    pack.finish()
}

/// Drivers read what they declare as output, and fill less: both ways where the guest's memory can be read.
fn in_out(pack: &mut Pack, len: u64) {
    let to = pack.args[2];
    if !plausible(to) {
        return;
    }
    match bytes(pack.mem, to, len as usize) {
        Ok(data) => {
            let id = pack.in_out(data);
            pack.point_arg(2, id);
            pack.give(id, 0, to, len, When::Success);
        }
        Err(_) => pack.args[2] = BAD,
    }
}

/// SIOCGIFCONF: fills the buffer as far as interfaces go; without one it tells the length.
fn if_conf(pack: &mut Pack) {
    const CONF: u64 = 16;
    const MOST: i32 = 1 << 20;
    let to = pack.args[2];
    let Some(conf) = pack.arg_bytes(2, CONF) else {
        return;
    };
    let (len, buffer) = (word32(&conf, 0) as i32, word64(&conf, 8));
    let room = len.clamp(0, MOST) as u64;
    let holder = pack.in_out(conf);
    pack.point_arg(2, holder);
    pack.give(holder, 0, to, 4, When::Success);
    if plausible(buffer) {
        let id = pack.output(room);
        pack.point_inside(holder, 8, id, 0);
        pack.give_by(id, buffer, room, 0, (holder, 0, 4), When::Success);
    }
}

fn what(request: u32) -> What {
    if let Some(what) = exception(request) {
        return what;
    }
    let kind = (request >> 8) & 0xff;
    let (direction, size) = (request >> 30, u64::from((request >> 16) & 0x3fff));
    // Graphics, virtual machines, devices of user space, binder, SPI, I2C: their structures hold pointers.
    if matches!(kind, 0x64 | 0xae | 0x3b | 0x62 | 0x6b) && direction != 0
        || kind == 0x07 && direction == 0
    {
        return Nested;
    }
    match direction {
        1 => In(size),
        2 | 3 => InOut(size),
        _ => old(request),
    }
}

/// Requests whose number tells the wrong size or hides pointers.
fn exception(request: u32) -> Option<What> {
    Some(match request {
        // FS_IOC_GETFLAGS, GETVERSION and their setters say long and mean int.
        0x8008_6601 | 0x8008_7601 => Out(4),
        0x4008_6602 | 0x4008_7602 => In(4),
        // FICLONE has a descriptor.
        0x4004_9409 => Value,
        // FICLONERANGE; FIDEDUPERANGE; other requests of btrfs.
        0x4020_940d => In(32),
        0xc018_9436 => Array {
            base: 24,
            unit: 32,
            at: 16,
            width: 2,
        },
        0x4000_9400..=0x40ff_94ff | 0x8000_9400..=0xffff_ffff if request >> 8 & 0xff == 0x94 => {
            Nested
        }
        // FS_IOC_FIEMAP, FS_IOC_GETFSMAP.
        0xc020_660b => Array {
            base: 32,
            unit: 56,
            at: 24,
            width: 4,
        },
        0xc0c0_583b => Array {
            base: 192,
            unit: 64,
            at: 8,
            width: 4,
        },
        // TUNSETIFF, TUNGETIFF, TUNATTACHFILTER.
        0x4004_54ca | 0x8004_54d2 => InOut(40),
        0x4010_54d5 | 0x4010_54d6 | 0x8010_54db => Nested,
        // RNDADDENTROPY: the length of what follows is its second word.
        0x4008_5203 => Array {
            base: 8,
            unit: 1,
            at: 4,
            width: 4,
        },
        // NVMe and USB requests with buffers.
        0x0000_4e40..=0xffff_ffff if matches!(request >> 8 & 0xff, 0x4e) && request >> 30 != 0 => {
            Nested
        }
        // Device mapper: its size stands in it.
        0xc000_fd00..=0xffff_fdff if request >> 8 & 0xff == 0xfd => Array {
            base: 16,
            unit: 1,
            at: 12,
            width: 4,
        },
        // userfaultfd.
        _ if request >> 8 & 0xff == 0xaa && request >> 30 != 0 => Nested,
        _ => return None,
    })
}

/// Requests of the time before sizes were in the numbers.
fn old(request: u32) -> What {
    match request >> 8 {
        0x54 => terminal(request),
        0x89 => socket(request),
        0x8b => Nested,
        0x4b => keyboard(request),
        0x56 => console(request),
        0x12 => block(request),
        0x4c => loop_device(request),
        // SCSI: SG_IO and its kin; the rest are plain numbers.
        0x22 => match request {
            0x2201 | 0x2271 => In(4),
            0x2202 | 0x2270 | 0x2272 | 0x2274 | 0x2282 | 0x227d => Out(4),
            0x2203 | 0x2204 => Unknown,
            0x2285 => Nested,
            _ => Unknown,
        },
        // FIBMAP, FIGETBSZ.
        0 if request == 1 => InOut(4),
        0 if request == 2 => Out(4),
        _ => Unknown,
    }
}

fn terminal(request: u32) -> What {
    /// struct termios, struct termio, struct winsize.
    const TERMIOS: u64 = 36;
    const TERMIO: u64 = 18;
    const WINSIZE: u64 = 8;
    match request {
        // TCGETS, TCSETS…; TCGETA, TCSETA….
        0x5401 | 0x5456 => Out(TERMIOS),
        0x5402..=0x5404 | 0x5457 => In(TERMIOS),
        0x5405 => Out(TERMIO),
        0x5406..=0x5408 => In(TERMIO),
        // TIOCGPGRP, TIOCOUTQ, TIOCMGET, TIOCGSOFTCAR, FIONREAD, TIOCGETD, TIOCGSID.
        0x540f | 0x5411 | 0x5415 | 0x5419 | 0x541b | 0x5424 | 0x5429 => Out(4),
        // TIOCSPGRP, TIOCMBIS…, TIOCSSOFTCAR, TIOCPKT, FIONBIO, TIOCSETD, FIOASYNC.
        0x5410 | 0x5416..=0x5418 | 0x541a | 0x5420 | 0x5421 | 0x5423 | 0x5452 => In(4),
        // TIOCSTI.
        0x5412 => In(1),
        0x5413 => Out(WINSIZE),
        0x5414 => In(WINSIZE),
        // TIOCLINUX: a sub-command in its first byte; selections point elsewhere.
        0x541c => InOut(16),
        // TIOCGSERIAL, TIOCSSERIAL.
        0x541e => Out(72),
        0x541f => In(72),
        // TIOCGRS485, TIOCSRS485.
        0x542e => Out(32),
        0x542f => InOut(32),
        // TCGETX, TCSETX….
        0x5432 => Out(16),
        0x5433..=0x5435 => In(16),
        // TIOCSERGETLSR; TIOCGICOUNT; FIOQSIZE.
        0x5459 => Out(4),
        0x545d => Out(80),
        0x5460 => Out(8),
        _ => Value,
    }
}

fn socket(request: u32) -> What {
    /// struct ifreq, struct arpreq.
    const IFREQ: u64 = 40;
    const ARPREQ: u64 = 68;
    match request {
        // FIOSETOWN, SIOCSPGRP; FIOGETOWN, SIOCGPGRP, SIOCATMARK; time stamps.
        0x8901 | 0x8902 => In(4),
        0x8903..=0x8905 => Out(4),
        0x8906 | 0x8907 => Out(16),
        0x8912 => IfConf,
        // Routes have a name by pointer; ethtool, bonds, bridges, time stamping, private requests too.
        0x890b | 0x890c | 0x8946 | 0x8990..=0x89af | 0x89b0 | 0x89b1 | 0x89f0..=0x89ff => Nested,
        0x8953..=0x8955 | 0x8960..=0x8962 => InOut(ARPREQ),
        0x8910..=0x894f | 0x8970 | 0x8971 => InOut(IFREQ),
        _ => Unknown,
    }
}

fn keyboard(request: u32) -> What {
    match request {
        // KDGETLED, KDGKBTYPE, KDGKBLED.
        0x4b31 | 0x4b33 | 0x4b64 => Out(1),
        // KDGETMODE, KDGKBMODE, KDGKBMETA.
        0x4b3b | 0x4b44 | 0x4b62 => Out(4),
        // KIOCSOUND, KDMKTONE, KDSETLED, KDSETMODE, KDSKBMODE, KDSKBMETA, KDSKBLED.
        0x4b2f | 0x4b30 | 0x4b32 | 0x4b3a | 0x4b45 | 0x4b63 | 0x4b65 => Value,
        // Fonts and maps by pointer: PIO_UNIMAP, GIO_UNIMAP, KDFONTOP, GIO_FONTX, PIO_FONTX.
        0x4b66 | 0x4b67 | 0x4b6b | 0x4b6c | 0x4b72 => Nested,
        // GIO_FONT, PIO_FONT; GIO_SCRNMAP…
        0x4b60 => Out(8192),
        0x4b61 => In(8192),
        _ => Unknown,
    }
}

fn console(request: u32) -> What {
    match request {
        // VT_OPENQRY, VT_GETMODE, VT_SETMODE, VT_GETSTATE.
        0x5600 => Out(4),
        0x5601 => Out(8),
        0x5602 => In(8),
        0x5603 => Out(6),
        // VT_RESIZE, VT_RESIZEX, VT_GETHIFONTMASK, VT_WAITEVENT, VT_SETACTIVATE.
        0x5609 => In(6),
        0x560a => In(12),
        0x560d => Out(2),
        0x560e => InOut(28),
        0x560f => In(12),
        _ => Value,
    }
}

fn block(request: u32) -> What {
    match request {
        // BLKROSET; BLKROGET, BLKSSZGET, BLKIOMIN, BLKIOOPT, BLKALIGNOFF, BLKPBSZGET, BLKDISCARDZEROES.
        0x125d => In(4),
        0x125e | 0x1268 | 0x1278..=0x127c => Out(4),
        // BLKGETSIZE, BLKRAGET, BLKFRAGET.
        0x1260 | 0x1263 | 0x1265 => Out(8),
        // BLKSECTGET, BLKROTATIONAL.
        0x1267 | 0x127e => Out(2),
        // BLKDISCARD, BLKSECDISCARD, BLKZEROOUT.
        0x1277 | 0x127d | 0x127f => In(16),
        // BLKPG.
        0x1269 => Nested,
        _ => Value,
    }
}

fn loop_device(request: u32) -> What {
    match request {
        // LOOP_SET_STATUS, LOOP_GET_STATUS and their wide forms; LOOP_CONFIGURE.
        0x4c02 => In(168),
        0x4c03 => Out(168),
        0x4c04 => In(232),
        0x4c05 => Out(232),
        0x4c0a => In(304),
        _ => Value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_well_known_requests() {
        let cases: [(u32, What); 12] = [
            (0x5401, Out(36)),
            (0x5413, Out(8)),
            (0x541b, Out(4)),
            (0x5421, In(4)),
            (0x5451, Value),
            (0x802c_542a, InOut(44)),
            (0x4004_5431, In(4)),
            (0x8913, InOut(40)),
            (0x8912, IfConf),
            (0x4004_9409, Value),
            (0x2285, Nested),
            (0x8008_6601, Out(4)),
        ];
        for (request, expected) in cases {
            assert_eq!(what(request), expected, "{request:#x}");
        }
    }
}
