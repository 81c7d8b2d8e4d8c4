//! CPU time that the processes of the tree have used at other nodes, and whose children's it has become. Pure: what happens to
//! processes is told.

use std::collections::{HashMap, VecDeque};

/// Children remembered after their time went to their parent, for the parent that is about to ask for it.
const REMEMBERED: usize = 64;

/// What one process can have used at most, in nanoseconds (some 36 years): hosts may say anything.
const MOST: u64 = 1 << 60;

/// One process that has been away, or an ancestor of one.
#[derive(Debug, Default)]
pub struct Account {
    /// Start time, as in `/proc/PID/stat`.
    pub born: u64,
    pub parent: i32,
    /// Nanoseconds used away by the process itself, and by children that it has waited for.
    own: u64,
    children: u64,
    /// It is away, or its last host has not said yet how much it used there.
    pub away: bool,
    /// It has ended; it may be a zombie.
    pub ended: bool,
    /// Page faults of the parent's waited-for children when this process was last seen alive.
    pub faults: u64,
    settled: VecDeque<(i32, u64)>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<i32, Account>,
}

impl Ledger {
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub fn get(&self, pid: i32) -> Option<&Account> {
        self.accounts.get(&pid)
    }

    pub fn get_mut(&mut self, pid: i32) -> Option<&mut Account> {
        self.accounts.get_mut(&pid)
    }

    /// Opens an account. One of an earlier process of this pid is forgotten.
    pub fn open(&mut self, pid: i32, born: u64, parent: i32) {
        self.accounts.insert(
            pid,
            Account {
                born,
                parent,
                ..Account::default()
            },
        );
    }

    /// All that `pid` has used away until now; a smaller number than before is an old one.
    pub fn used(&mut self, pid: i32, total: u64) {
        if let Some(account) = self.accounts.get_mut(&pid) {
            account.own = account.own.max(total.min(MOST));
        }
    }

    pub fn own(&self, pid: i32) -> u64 {
        self.accounts.get(&pid).map_or(0, |account| account.own)
    }

    pub fn children(&self, pid: i32) -> u64 {
        self.accounts
            .get(&pid)
            .map_or(0, |account| account.children)
    }

    /// What a child and its children have used, also just after the parent has waited for it.
    pub fn of_child(&self, parent: i32, child: i32) -> u64 {
        if let Some(account) = self.accounts.get(&child)
            && account.parent == parent
        {
            return account.own + account.children;
        }
        let settled = self
            .accounts
            .get(&parent)
            .map(|account| account.settled.iter().rev());
        settled
            .into_iter()
            .flatten()
            .find(|(pid, _)| *pid == child)
            .map_or(0, |(_, ns)| *ns)
    }

    /// Processes of which something is known whose parent is `pid`.
    pub fn children_of(&self, pid: i32) -> impl Iterator<Item = (i32, &Account)> {
        self.accounts
            .iter()
            .filter(move |(_, account)| account.parent == pid)
            .map(|(pid, account)| (*pid, account))
    }

    /// Whether all is known of what an ended process and its ended descendants have used.
    pub fn is_told(&self, pid: i32) -> bool {
        let mut line = vec![pid];
        // A number that was used again could close the line to a circle.
        for _ in 0..self.accounts.len() {
            let Some(at) = line.pop() else { return true };
            match self.accounts.get(&at) {
                Some(account) if account.away => return false,
                _ => line.extend(self.ended_children(at)),
            }
        }
        line.is_empty()
    }

    /// Children that have ended and whose time has not gone anywhere yet.
    pub fn ended_children(&self, pid: i32) -> impl Iterator<Item = i32> {
        self.children_of(pid)
            .filter(|(_, account)| account.ended)
            .map(|(child, _)| child)
    }

    /// Those that have ended and whose time has not gone to a parent yet, children before their parents.
    pub fn ended(&self) -> Vec<i32> {
        let mut ended: Vec<i32> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.ended)
            .map(|(pid, _)| *pid)
            .collect();
        ended.sort_by_key(|pid| std::cmp::Reverse(self.depth(*pid)));
        ended
    }

    fn depth(&self, pid: i32) -> usize {
        // A parent's number may have become that of a descendant: no line is longer than there are accounts.
        let line = std::iter::successors(self.accounts.get(&pid), |account| {
            self.accounts.get(&account.parent)
        });
        line.take(self.accounts.len()).count()
    }

    /// `pid` is no more. If its parent waited for it, all that it and its children used is the parent's children's now.
    pub fn close(&mut self, pid: i32, waited_for: bool) {
        let Some(gone) = self.accounts.remove(&pid) else {
            return;
        };
        let total = gone.own + gone.children;
        if let Some(parent) = self.accounts.get_mut(&gone.parent)
            && waited_for
        {
            parent.children = (parent.children + total).min(MOST);
            parent.settled.push_back((pid, total));
            if parent.settled.len() > REMEMBERED {
                parent.settled.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(1, 10, 0);
        ledger.open(2, 20, 1);
        ledger.open(3, 30, 2);
        ledger.used(2, 5);
        ledger.used(3, 7);
        ledger
    }

    #[test]
    fn time_goes_up_the_line_as_parents_wait() {
        let mut ledger = family();
        assert_eq!(
            (ledger.own(2), ledger.children(2), ledger.of_child(2, 3)),
            (5, 0, 7)
        );
        ledger.close(3, true);
        assert_eq!(
            (
                ledger.children(2),
                ledger.of_child(2, 3),
                ledger.of_child(1, 2)
            ),
            (7, 7, 12)
        );
        ledger.close(2, true);
        assert_eq!(
            (
                ledger.children(1),
                ledger.of_child(1, 2),
                ledger.of_child(1, 3)
            ),
            (12, 12, 0)
        );
    }

    #[test]
    fn nobodys_children_are_not_counted() {
        let mut ledger = family();
        ledger.close(3, false);
        ledger.close(2, true);
        assert_eq!(ledger.children(1), 5);
    }

    #[test]
    fn ended_children_come_before_their_parents() {
        let mut ledger = family();
        for pid in [1, 2, 3] {
            ledger.get_mut(pid).unwrap().ended = true;
        }
        assert_eq!(ledger.ended(), [3, 2, 1]);
    }

    #[test]
    fn a_grandchilds_last_word_is_missed() {
        let mut ledger = family();
        ledger.get_mut(3).unwrap().ended = true;
        assert!(ledger.is_told(1));
        ledger.get_mut(3).unwrap().away = true;
        assert!(!ledger.is_told(2) && ledger.is_told(1));
        ledger.get_mut(2).unwrap().ended = true;
        assert!(!ledger.is_told(1));
    }

    #[test]
    fn old_reports_change_nothing() {
        let mut ledger = family();
        ledger.used(2, 4);
        assert_eq!(ledger.own(2), 5);
    }
}
