//! Whether contents on their way to a distant node are packed first: only while that is faster. Pure.

use std::time::Duration;

/// No packing is faster than this, in nanoseconds for a byte: where the link is, it is not even tried.
const FASTEST: f64 = 3.0;
/// Packing is to be this much faster than to send what there is.
const WORTHWHILE: f64 = 0.8;
/// While batches are packed, one in so many is not: else a link that has become fast would not be noticed.
const PLAIN_AFTER: u32 = 32;
/// While they are not, one in so many is, at first and at last.
const PACKED_AFTER: u32 = 8;
const PACKED_AFTER_MOST: u32 = 256;

/// How long things take, in nanoseconds for a byte, as they did lately; 0: never measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Squeeze {
    /// To send a byte.
    link: f64,
    /// To pack a byte.
    pack: f64,
    /// What packing leaves of a byte.
    rest: f64,
    /// Bytes of the last batch, as they were sent.
    last: usize,
    /// Batches since the other way was tried; and how often that did not help.
    since: u32,
    in_vain: u32,
    /// This batch tries the other way.
    tries: bool,
}

impl Squeeze {
    /// Whether the next batch is to be packed.
    pub fn packs(&mut self) -> bool {
        self.tries = false;
        if self.link < FASTEST {
            return false;
        }
        // A batch is packed while the one before is on its way.
        let packed = self.pack.max(self.rest * self.link);
        let better = self.pack == 0.0 || packed < self.link * WORTHWHILE;
        let patience = match better {
            true => PLAIN_AFTER,
            false => (PACKED_AFTER << self.in_vain.min(8)).min(PACKED_AFTER_MOST),
        };
        self.since += 1;
        self.tries = self.since >= patience;
        if self.tries {
            self.since = 0;
        }
        self.in_vain = match better {
            true => 0,
            false => self.in_vain + u32::from(self.tries),
        };
        better != self.tries
    }

    /// A batch of so many bytes went as it was.
    pub fn sent(&mut self, bytes: usize, took: Duration) {
        let now = self.pace(bytes, took);
        self.link = match self.tries || self.link == 0.0 {
            true => now,
            false => (self.link + now) / 2.0,
        };
    }

    /// A batch was packed, in `packing`, and its remains went in `sending`.
    pub fn sent_packed(
        &mut self,
        bytes: usize,
        remains: usize,
        packing: Duration,
        sending: Duration,
    ) {
        let bytes = bytes.max(1) as f64;
        let pack = packing.as_nanos() as f64 / bytes;
        self.pack = match self.pack == 0.0 {
            true => pack,
            false => (self.pack + pack) / 2.0,
        };
        self.rest = remains as f64 / bytes;
        let now = self.pace(remains, packing + sending);
        // If it did not have to wait, the link is at least as fast as the packing.
        self.link = match sending > packing / 8 {
            true => (self.link + now) / 2.0,
            false => self.link.min(now),
        };
    }

    /// Nanoseconds for a byte, of which half the batch before and half of this one went meanwhile.
    fn pace(&mut self, sent: usize, took: Duration) -> f64 {
        let gone = (self.last + sent) / 2;
        self.last = sent;
        took.as_nanos() as f64 / gone.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: f64 = (1 << 19) as f64;
    /// Bytes that may wait in the kernel.
    const WAITING: f64 = (1 << 18) as f64;

    /// Seconds for so many batches over a link of so many bytes per second, by a packer that leaves a part; and batches packed.
    fn run(squeeze: &mut Squeeze, batches: u32, link: f64, rest: f64) -> (f64, u32) {
        const PACKING: f64 = 239e6;
        let time = Duration::from_secs_f64;
        let (mut seconds, mut many, mut waiting) = (0.0, 0, 0.0f64);
        for _ in 0..batches {
            let packs = squeeze.packs();
            let packing = if packs { BATCH / PACKING } else { 0.0 };
            let sent = if packs { BATCH * rest } else { BATCH };
            waiting = (waiting - packing * link).max(0.0) + sent;
            let sending = (waiting - WAITING).max(0.0) / link;
            waiting = waiting.min(WAITING);
            match packs {
                true => {
                    squeeze.sent_packed(BATCH as usize, sent as usize, time(packing), time(sending))
                }
                false => squeeze.sent(BATCH as usize, time(sending)),
            }
            seconds += packing + sending;
            many += u32::from(packs);
        }
        (seconds + waiting / link, many)
    }

    #[test]
    fn what_is_faster_is_done() {
        for (link, rest) in [
            (12.5e6, 0.47),
            (118e6, 0.47),
            (2e9, 0.47),
            (12.5e6, 1.0),
            (118e6, 1.0),
        ] {
            let (seconds, many) = run(&mut Squeeze::default(), 2000, link, rest);
            let plain = 2000.0 * BATCH / link;
            let best = plain * f64::max(rest, link / 239e6).min(1.0);
            assert!(seconds < best * 1.1, "{link} {rest}: {seconds} {best}");
            match link > 1e9 {
                true => assert_eq!(many, 0),
                false => assert_eq!(many > 1800, rest < 1.0, "{link} {rest}: {many}"),
            }
        }
    }

    #[test]
    fn a_change_is_noticed() {
        let mut squeeze = Squeeze::default();
        assert_eq!(run(&mut squeeze, 500, 1e9, 0.47).1, 0);
        assert!(run(&mut squeeze, 500, 12.5e6, 0.47).1 > 450);
        let (_, many) = run(&mut squeeze, 1000, 1e9, 0.47);
        assert!(many < 100, "{many}");
        assert!(run(&mut squeeze, 500, 12.5e6, 0.98).1 < 50);
    }
}
