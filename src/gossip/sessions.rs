//! Which messages of a node have been taken: none is taken twice, whoever sends it again.

use super::Time;

/// Messages may overtake each other by so many.
const BEHIND: u64 = 64;

/// What is remembered of one sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The sender's life; 0 before it was heard.
    pub life: u64,
    /// Highest sequence number taken.
    highest: u64,
    /// Bit `n`: the message `highest - n` was taken.
    taken: u64,
    /// When it was answered without being believed.
    answered: Option<Time>,
}

impl Session {
    /// Whether the message is new. It must name the receiver's own life: then it was made in it, and messages of the sender's
    /// earlier lives are told by their lower number.
    pub fn take(&mut self, life: u64, sequence: u64) -> bool {
        if life < self.life {
            return false;
        }
        if life > self.life {
            *self = Session {
                life,
                highest: sequence,
                taken: 1,
                answered: self.answered,
            };
            return true;
        }
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.taken = if ahead < BEHIND {
                self.taken << ahead
            } else {
                0
            } | 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        let new = behind < BEHIND && self.taken & (1 << behind) == 0;
        if new {
            self.taken |= 1 << behind;
        }
        new
    }

    /// Whether somebody who is not believed may be answered: not more often than every `every` milliseconds.
    pub fn may_answer(&mut self, now: Time, every: Time) -> bool {
        if self.answered.is_some_and(|at| now < at + every) {
            return false;
        }
        self.answered = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_twice() {
        let mut session = Session::default();
        assert!(session.take(5, 10));
        assert!(!session.take(5, 10));
        assert!(session.take(5, 12));
        assert!(session.take(5, 11), "overtaken by one");
        assert!(!session.take(5, 11));
        assert!(session.take(5, 200));
        assert!(!session.take(5, 12), "too far behind to be known");
        assert!(session.take(5, 137) && !session.take(5, 137));
        assert!(!session.take(5, 136), "just outside");
    }

    #[test]
    fn earlier_lives_are_over() {
        let mut session = Session::default();
        assert!(session.take(5, 10));
        assert!(session.take(6, 1));
        assert!(!session.take(5, 11));
        assert!(session.take(6, 2));
        assert!(session.take(6, u64::MAX));
        assert!(!session.take(6, 3));
    }

    #[test]
    fn strangers_are_answered_now_and_then() {
        let mut session = Session::default();
        assert!(session.may_answer(1000, 100));
        assert!(!session.may_answer(1099, 100));
        assert!(session.may_answer(1100, 100));
    }
}
