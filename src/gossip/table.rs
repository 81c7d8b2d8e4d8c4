//! The newest that is known of every node.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Time;
use super::message::Item;

/// Ages are told in units of this many milliseconds.
const AGE_UNIT: u64 = 62;
/// Stamps begin here, so that what is older than this table has one as well.
const FIRST_STAMP: u64 = 1 << 31;
/// Recent entries are sorted out when there are so many times the window of them.
const RECENT: usize = 6;
/// Most changes (nodes that went or came) that are being passed on at once.
const MAX_HOT: usize = 64;

/// What a node is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Never heard of.
    #[default]
    Unknown,
    Up,
    /// It does not answer.
    Down,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default)]
struct Entry<I> {
    life: u64,
    count: u32,
    /// When the report was made or, of a node that is down, since when it does not answer; in age units.
    stamp: u32,
    standing: Standing,
    /// It is in the list of recent ones.
    listed: bool,
    info: I,
}

/// A change that is still to be passed on.
#[derive(Clone, Copy, Debug)]
struct Hot {
    node: u32,
    sends: u8,
}

/// What an item has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Newer,
    /// It was not up before.
    Appeared,
    Vanished,
}

/// All nodes, in the order of their addresses; each has its index as its name here.
pub struct Table<I> {
    nodes: Arc<[Ipv4Addr]>,
    entries: Vec<Entry<I>>,
    /// Candidates for the newest; all others are older than the newest of these.
    recent: Vec<u32>,
    hot: Vec<Hot>,
    up: usize,
    /// Not in the next window: its receiver has them.
    skipped: Vec<u32>,
}

impl<I: Copy + Default> Table<I> {
    /// `nodes` must be sorted and differ.
    pub fn new(nodes: Arc<[Ipv4Addr]>) -> Table<I> {
        let entries = vec![Entry::default(); nodes.len()];
        Table {
            nodes,
            entries,
            recent: Vec::new(),
            hot: Vec::new(),
            up: 0,
            skipped: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn up(&self) -> usize {
        self.up
    }

    pub fn index(&self, node: Ipv4Addr) -> Option<u32> {
        self.nodes.binary_search(&node).ok().map(|at| at as u32)
    }

    pub fn node(&self, index: u32) -> Ipv4Addr {
        self.nodes[index as usize]
    }

    pub fn standing(&self, index: u32) -> Standing {
        self.entries[index as usize].standing
    }

    pub fn life(&self, index: u32) -> u64 {
        self.entries[index as usize].life
    }

    pub fn info(&self, index: u32) -> &I {
        &self.entries[index as usize].info
    }

    /// Milliseconds since the report was made, or since the node does not answer.
    pub fn age(&self, index: u32, now: Time) -> Time {
        u64::from(stamp(now).saturating_sub(self.entries[index as usize].stamp)) * AGE_UNIT
    }

    /// Takes an item that `item.age` and `now` date. `index` is its node.
    pub fn merge(&mut self, index: u32, item: &Item<I>, now: Time) -> Change {
        let made = stamp(now).saturating_sub(u32::from(item.age));
        let old = self.entries[index as usize];
        let newer = (item.life, item.count) > (old.life, old.count);
        let change = match (old.standing, item.down) {
            _ if item.life < old.life => Change::Nothing,
            (Standing::Unknown, false) => Change::Appeared,
            // Nothing is lost with a node that was never seen.
            (Standing::Unknown, true) => Change::Nothing,
            (Standing::Up, false) if newer => Change::Newer,
            // The same report on another way: the greater age is right, for what waited on its way was not counted.
            (Standing::Up, false) => {
                if (item.life, item.count) == (old.life, old.count) {
                    let entry = &mut self.entries[index as usize];
                    entry.stamp = entry.stamp.min(made);
                }
                Change::Nothing
            }
            // It does not answer since after its last report.
            (Standing::Up, true) if made > old.stamp || newer => Change::Vanished,
            // It has reported after it was missed.
            (Standing::Down, false) if item.life > old.life || (newer && made > old.stamp) => {
                Change::Appeared
            }
            _ => Change::Nothing,
        };
        if change != Change::Nothing {
            self.store(index, item, made, change);
        }
        change
    }

    fn store(&mut self, index: u32, item: &Item<I>, made: u32, change: Change) {
        let entry = &mut self.entries[index as usize];
        let standing = if change == Change::Vanished {
            Standing::Down
        } else {
            Standing::Up
        };
        self.up += usize::from(standing == Standing::Up);
        self.up -= usize::from(entry.standing == Standing::Up);
        *entry = Entry {
            life: item.life,
            count: item.count.max(if item.life == entry.life {
                entry.count
            } else {
                0
            }),
            stamp: made,
            standing,
            listed: entry.listed,
            info: if change == Change::Vanished {
                entry.info
            } else {
                item.info
            },
        };
        if standing == Standing::Up && !entry.listed {
            entry.listed = true;
            self.recent.push(index);
        }
        if change != Change::Newer {
            self.heat(index);
        }
    }

    /// A node does not answer any more: noted, and passed on.
    pub fn miss(&mut self, index: u32, now: Time) {
        let entry = &mut self.entries[index as usize];
        if entry.standing == Standing::Up {
            entry.standing = Standing::Down;
            entry.stamp = stamp(now);
            self.up -= 1;
            self.heat(index);
        }
    }

    /// Passes a node's entry on until most must have it: as often as a rumour needs.
    pub fn heat(&mut self, index: u32) {
        let sends = 4 + 3 * (self.len().max(2) as f64).ln().ceil() as u8;
        self.hot.retain(|hot| hot.node != index);
        if self.hot.len() == MAX_HOT {
            self.hot.remove(0);
        }
        self.hot.push(Hot { node: index, sends });
    }

    /// Leaves these out of the next window, unless something newer is known: whoever has sent them has them.
    pub fn skip(&mut self, items: &[Item<I>]) {
        for item in items {
            if let Some(index) = self.index(item.node)
                && self.entries[index as usize].count == item.count
            {
                self.skipped.push(index);
            }
        }
    }

    /// At most `most` entries: `first`, then changes (at most `hot` of them), then the newest.
    pub fn window(&mut self, first: u32, hot: usize, most: usize, now: Time) -> Vec<Item<I>> {
        let mut chosen = vec![first];
        for change in self.hot.iter_mut().rev() {
            if chosen.len() > hot {
                break;
            }
            if change.node != first && !self.skipped.contains(&change.node) {
                chosen.push(change.node);
                change.sends -= 1;
            }
        }
        self.hot.retain(|change| change.sends > 0);
        let wanted = most + chosen.len() + self.skipped.len();
        self.newest_first(wanted);
        for index in self.recent.iter().take(wanted) {
            if chosen.len() == most {
                break;
            }
            let up = self.entries[*index as usize].standing == Standing::Up;
            if up && !chosen.contains(index) && !self.skipped.contains(index) {
                chosen.push(*index);
            }
        }
        self.skipped.clear();
        chosen.iter().map(|index| self.item(*index, now)).collect()
    }

    /// Brings the `wanted` newest of the recent entries to the front, and drops the oldest when there are too many.
    fn newest_first(&mut self, wanted: usize) {
        let entries = &self.entries;
        let newest = |index: &u32| std::cmp::Reverse(entries[*index as usize].stamp);
        if self.recent.len() > RECENT * wanted {
            let keep = RECENT / 2 * wanted;
            self.recent.select_nth_unstable_by_key(keep, newest);
            for index in self.recent.drain(keep..) {
                self.entries[index as usize].listed = false;
            }
        }
        let entries = &self.entries;
        let newest = |index: &u32| std::cmp::Reverse(entries[*index as usize].stamp);
        if self.recent.len() > wanted {
            self.recent.select_nth_unstable_by_key(wanted - 1, newest);
        }
    }

    fn item(&self, index: u32, now: Time) -> Item<I> {
        let entry = &self.entries[index as usize];
        let age = stamp(now).saturating_sub(entry.stamp);
        Item {
            node: self.node(index),
            life: entry.life,
            count: entry.count,
            age: age.min(u32::from(u16::MAX)) as u16,
            down: entry.standing == Standing::Down,
            info: entry.info,
        }
    }
}

fn stamp(now: Time) -> u32 {
    (now / AGE_UNIT + FIRST_STAMP) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(nodes: u8) -> Table<u32> {
        Table::new((0..nodes).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect())
    }

    fn item(node: u8, count: u32, age: u16) -> Item<u32> {
        Item {
            node: Ipv4Addr::new(10, 0, 0, node),
            life: 1,
            count,
            age,
            down: false,
            info: count * 10,
        }
    }

    fn down(node: u8, count: u32, age: u16) -> Item<u32> {
        Item {
            down: true,
            ..item(node, count, age)
        }
    }

    const NOW: Time = 62_000_000;

    #[test]
    fn later_reports_win() {
        let mut table = table(3);
        assert_eq!(table.merge(1, &item(1, 5, 100), NOW), Change::Appeared);
        assert_eq!(table.merge(1, &item(1, 4, 0), NOW), Change::Nothing);
        assert_eq!(table.merge(1, &item(1, 6, 50), NOW), Change::Newer);
        assert_eq!((*table.info(1), table.age(1, NOW)), (60, 50 * AGE_UNIT));
        assert_eq!(table.merge(1, &item(1, 6, 70), NOW), Change::Nothing);
        assert_eq!(table.age(1, NOW), 70 * AGE_UNIT, "the greater age is right");
        let restarted = Item {
            life: 2,
            ..item(1, 1, 0)
        };
        assert_eq!(table.merge(1, &restarted, NOW), Change::Newer);
        assert_eq!(table.merge(1, &item(1, 99, 0), NOW), Change::Nothing);
    }

    #[test]
    fn the_dead_stay_dead_and_the_slow_come_back() {
        let mut table = table(3);
        table.merge(1, &item(1, 5, 100), NOW);
        // Missed before the report that we have.
        assert_eq!(table.merge(1, &down(1, 4, 200), NOW), Change::Nothing);
        assert_eq!(table.merge(1, &down(1, 4, 20), NOW), Change::Vanished);
        assert_eq!((table.up(), table.standing(1)), (0, Standing::Down));
        // Reports from before, known elsewhere.
        assert_eq!(table.merge(1, &item(1, 6, 40), NOW), Change::Nothing);
        assert_eq!(table.merge(1, &down(1, 6, 10), NOW), Change::Nothing);
        assert_eq!(table.merge(1, &item(1, 7, 3), NOW), Change::Appeared);
        assert_eq!((table.up(), *table.info(1)), (1, 70));
        assert_eq!(table.merge(2, &down(2, 1, 0), NOW), Change::Nothing);
    }

    #[test]
    fn the_window_has_the_newest_and_what_changed() {
        let mut table = table(250);
        for node in 0..250 {
            table.merge(u32::from(node), &item(node, 1, u16::from(node)), NOW);
        }
        table.hot.clear();
        let nodes = |table: &mut Table<u32>| -> Vec<u8> {
            let items = table.window(9, 2, 6, NOW);
            items.iter().map(|item| item.node.octets()[3]).collect()
        };
        let mut newest = nodes(&mut table);
        assert_eq!(newest[0], 9);
        newest.sort_unstable();
        assert_eq!(newest, [0, 1, 2, 3, 4, 9]);
        table.miss(200, NOW);
        for _ in 0..10 {
            assert!(nodes(&mut table).contains(&200));
        }
        for _ in 0..20 {
            nodes(&mut table);
        }
        assert!(!nodes(&mut table).contains(&200), "it is old news now");
        // What was sorted out comes back when it is new again.
        table.merge(240, &item(240, 2, 0), NOW + 6200);
        assert!(nodes(&mut table).contains(&240));
    }
}
