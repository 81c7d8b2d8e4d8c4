//! Which processes are frozen when there are too many, and when they go on: the marks and turns of `freeze.conf`.

use std::collections::HashMap;

use super::Time;

/// How long an order may take to show.
const ORDER_WAIT: Time = 30_000;
/// How long a process that could not be frozen, or go on, is left alone.
const LEFT_ALONE: Time = 60_000;
/// A process that computes less of its time is not worth freezing for the load's sake.
const LEAST_DEMAND: f64 = 0.25;

/// The policy. Loads are in the unit of the marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreezeRules {
    /// Above it processes are frozen.
    pub red: Option<f64>,
    /// Below it they go on.
    pub blue: f64,
    /// So many run whatever the load.
    pub min_keep: usize,
    /// No more than these run.
    pub max_procs: Option<usize>,
    /// Milliseconds that a process runs while others are frozen; 0: there are no turns.
    pub slice: Time,
}

/// A process of this node that is at home, and not frozen by order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub id: u64,
    pub frozen: bool,
    /// It may be frozen, and is not on its way.
    pub freezable: bool,
    /// Share of its time that it computes or wants to.
    pub demand: f64,
}

/// What is to happen to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeOrder {
    Freeze(u64),
    Continue(u64),
}

/// What is remembered of a process.
#[derive(Clone, Copy, Debug)]
struct Known {
    frozen: bool,
    /// When it became that; of one that runs, at the earliest when others were frozen.
    since: Time,
    /// What was ordered of it, and when.
    ordered: Option<(bool, Time)>,
    left_alone_until: Time,
}

/// The policy with its memory.
#[derive(Debug, Default)]
pub struct Freezer {
    known: HashMap<u64, Known>,
}

/// A decision under way.
struct Turn<'a> {
    freezer: &'a mut Freezer,
    procs: &'a [Candidate],
    /// Load of one process that computes.
    unit: f64,
    load: f64,
    running: usize,
    now: Time,
    orders: Vec<FreezeOrder>,
}

impl Freezer {
    /// Decides, given the load and what one process that computes adds to it.
    pub fn consider(
        &mut self,
        rules: &FreezeRules,
        (load, unit): (f64, f64),
        procs: &[Candidate],
        now: Time,
    ) -> Vec<FreezeOrder> {
        self.look(procs, now);
        let mut turn = Turn {
            freezer: self,
            procs,
            unit,
            load,
            running: 0,
            now,
            orders: Vec::new(),
        };
        turn.expect_orders();
        turn.keep(rules);
        turn.limit(rules);
        turn.marks(rules);
        turn.rotate(rules);
        turn.orders
    }

    /// An order could not be obeyed.
    pub fn failed(&mut self, id: u64, now: Time) {
        if let Some(known) = self.known.get_mut(&id) {
            known.ordered = None;
            known.left_alone_until = now + LEFT_ALONE;
        }
    }

    fn look(&mut self, procs: &[Candidate], now: Time) {
        self.known
            .retain(|id, _| procs.iter().any(|proc| proc.id == *id));
        let nobody_frozen = procs.iter().all(|proc| !proc.frozen);
        for proc in procs {
            let fresh = Known {
                frozen: proc.frozen,
                since: now,
                ordered: None,
                left_alone_until: 0,
            };
            let known = self.known.entry(proc.id).or_insert(fresh);
            if known.frozen != proc.frozen {
                *known = fresh;
            } else if nobody_frozen {
                known.since = now;
            }
            known
                .ordered
                .take_if(|(_, at)| now.saturating_sub(*at) > ORDER_WAIT);
        }
    }
}

impl Turn<'_> {
    /// Things as they will be when all orders are obeyed.
    fn expect_orders(&mut self) {
        for proc in self.procs {
            let Some(known) = self.freezer.known.get(&proc.id) else {
                continue;
            };
            match known.ordered {
                Some((true, _)) => self.load -= proc.demand * self.unit,
                Some((false, _)) => {
                    self.load += self.unit;
                    self.running += 1;
                }
                None => self.running += usize::from(!proc.frozen),
            }
        }
    }

    /// Whoever has been in this state longest, of those for whom an order can be given.
    fn longest(&self, frozen: bool, wanted: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let known = |proc: &Candidate| self.freezer.known.get(&proc.id);
        let free = |proc: &&Candidate| {
            proc.frozen == frozen
                && known(proc).is_some_and(|known| {
                    known.ordered.is_none() && known.left_alone_until <= self.now
                })
        };
        let since = |proc: &&Candidate| known(proc).map(|known| (known.since, proc.id));
        self.procs
            .iter()
            .filter(free)
            .filter(|proc| wanted(proc))
            .min_by_key(since)
            .copied()
    }

    fn frozen(&self) -> Option<Candidate> {
        self.longest(true, |_| true)
    }

    fn order(&mut self, proc: &Candidate, freeze: bool) {
        if let Some(known) = self.freezer.known.get_mut(&proc.id) {
            known.ordered = Some((freeze, self.now));
        }
        if freeze {
            self.load -= proc.demand * self.unit;
            self.running -= 1;
            self.orders.push(FreezeOrder::Freeze(proc.id));
        } else {
            self.load += self.unit;
            self.running += 1;
            self.orders.push(FreezeOrder::Continue(proc.id));
        }
    }

    fn keep(&mut self, rules: &FreezeRules) {
        while self.running < rules.min_keep
            && let Some(proc) = self.frozen()
        {
            self.order(&proc, false);
        }
    }

    fn limit(&mut self, rules: &FreezeRules) {
        while rules
            .max_procs
            .is_some_and(|most| self.running > most.max(rules.min_keep))
            && let Some(proc) = self.longest(false, |proc| proc.freezable)
        {
            self.order(&proc, true);
        }
    }

    fn marks(&mut self, rules: &FreezeRules) {
        while rules.red.is_some_and(|red| self.load > red)
            && self.running > rules.min_keep
            && let Some(proc) =
                self.longest(false, |proc| proc.freezable && proc.demand >= LEAST_DEMAND)
        {
            self.order(&proc, true);
        }
        // Where one process alone is more than the marks allow, one runs all the same.
        let fits = |turn: &Self| {
            turn.running == 0 || rules.red.is_none_or(|red| turn.load + turn.unit <= red)
        };
        while self.load < rules.blue
            && fits(self)
            && rules.max_procs.is_none_or(|most| self.running < most)
            && let Some(proc) = self.frozen()
        {
            self.order(&proc, false);
        }
    }

    /// Those who have run their time give their places to those who have been frozen longest.
    fn rotate(&mut self, rules: &FreezeRules) {
        if rules.slice == 0 {
            return;
        }
        let over = |turn: &Self, proc: &Candidate| {
            let known = turn.freezer.known.get(&proc.id);
            known.is_some_and(|known| turn.now.saturating_sub(known.since) >= rules.slice)
        };
        while let Some(next) = self.frozen()
            && let Some(proc) = self.longest(false, |proc| proc.freezable && over(self, proc))
        {
            self.order(&proc, true);
            self.order(&next, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FreezeOrder::{Continue, Freeze};
    use super::*;

    const RULES: FreezeRules = FreezeRules {
        red: Some(6.0),
        blue: 4.0,
        min_keep: 0,
        max_procs: None,
        slice: 1_200_000,
    };

    /// Processes 1, 2, … that compute; those in `frozen` are frozen.
    fn procs(count: u64, frozen: &[u64]) -> Vec<Candidate> {
        let proc = |id| Candidate {
            id,
            frozen: frozen.contains(&id),
            freezable: true,
            demand: 1.0,
        };
        (1..=count).map(proc).collect()
    }

    fn load(procs: &[Candidate]) -> f64 {
        procs.iter().filter(|proc| !proc.frozen).count() as f64
    }

    /// Obeys all orders at once, second for second.
    fn obey(procs: &mut [Candidate], orders: &[FreezeOrder]) {
        for order in orders {
            let (id, frozen) = match order {
                Freeze(id) => (id, true),
                Continue(id) => (id, false),
            };
            procs.iter_mut().find(|proc| proc.id == *id).unwrap().frozen = frozen;
        }
    }

    fn consider(
        freezer: &mut Freezer,
        rules: &FreezeRules,
        procs: &[Candidate],
        now: Time,
    ) -> Vec<FreezeOrder> {
        freezer.consider(rules, (load(procs), 1.0), procs, now)
    }

    #[test]
    fn between_the_marks_nothing_happens() {
        for (count, frozen, orders) in [
            (6, vec![], vec![]),
            (8, vec![], vec![Freeze(1), Freeze(2)]),
            (8, vec![1, 2, 3, 4], vec![]),
            (8, vec![1, 2, 3, 4, 5], vec![Continue(1)]),
            (
                3,
                vec![1, 2, 3],
                vec![Continue(1), Continue(2), Continue(3)],
            ),
        ] {
            let given = consider(&mut Freezer::default(), &RULES, &procs(count, &frozen), 0);
            assert_eq!(given, orders, "{count} processes, frozen {frozen:?}");
        }
    }

    #[test]
    fn orders_under_way_are_counted_and_not_repeated() {
        let mut freezer = Freezer::default();
        let mut all = procs(8, &[]);
        assert_eq!(consider(&mut freezer, &RULES, &all, 0).len(), 2);
        assert_eq!(consider(&mut freezer, &RULES, &all, 1000), []);
        // One fails: another is taken.
        freezer.failed(1, 2000);
        assert_eq!(consider(&mut freezer, &RULES, &all, 2000), [Freeze(3)]);
        obey(&mut all, &[Freeze(2), Freeze(3)]);
        assert_eq!(consider(&mut freezer, &RULES, &all, 3000), []);
    }

    #[test]
    fn some_are_kept_running_and_some_at_most() {
        let keep = FreezeRules {
            red: Some(0.5),
            blue: 0.0,
            min_keep: 2,
            ..RULES
        };
        let given = consider(&mut Freezer::default(), &keep, &procs(4, &[]), 0);
        assert_eq!(given, [Freeze(1), Freeze(2)]);
        let given = consider(&mut Freezer::default(), &keep, &procs(4, &[1, 2, 3]), 0);
        assert_eq!(given, [Continue(1)]);
        let most = FreezeRules {
            red: None,
            max_procs: Some(3),
            ..RULES
        };
        let given = consider(&mut Freezer::default(), &most, &procs(5, &[]), 0);
        assert_eq!(given, [Freeze(1), Freeze(2)]);
        let given = consider(&mut Freezer::default(), &most, &procs(5, &[1, 2]), 0);
        assert_eq!(given, []);
        let given = consider(&mut Freezer::default(), &most, &procs(5, &[1, 2, 3]), 0);
        assert_eq!(given, [Continue(1)]);
    }

    #[test]
    fn the_idle_and_the_unfreezable_are_left_alone() {
        let mut all = procs(9, &[]);
        all[0].demand = 0.1;
        all[1].freezable = false;
        let given = consider(&mut Freezer::default(), &RULES, &all, 0);
        assert_eq!(given, [Freeze(3), Freeze(4), Freeze(5)]);
    }

    #[test]
    fn a_process_that_is_more_than_the_marks_runs_alone() {
        let narrow = FreezeRules {
            red: Some(0.4),
            blue: 0.2,
            ..RULES
        };
        let all = procs(2, &[1, 2]);
        let given = Freezer::default().consider(&narrow, (0.0, 0.5), &all, 0);
        assert_eq!(given, [Continue(1)]);
    }

    #[test]
    fn turns_go_round() {
        let rules = FreezeRules {
            slice: 60_000,
            ..RULES
        };
        let mut freezer = Freezer::default();
        let mut all = procs(9, &[]);
        let mut ran = [0; 9];
        for second in 0..3600 {
            let orders = consider(&mut freezer, &rules, &all, second * 1000);
            obey(&mut all, &orders);
            for (proc, ran) in all.iter().zip(&mut ran) {
                *ran += u32::from(!proc.frozen);
            }
            assert!(load(&all) <= 6.0);
        }
        assert!(ran.iter().all(|ran| (2200..2600).contains(ran)), "{ran:?}");
        // Nobody is frozen: nobody's time passes.
        let mut few = procs(3, &[]);
        for second in 0..300 {
            let orders = consider(&mut freezer, &rules, &few, (3600 + second) * 1000);
            assert_eq!(orders, []);
            obey(&mut few, &orders);
        }
    }
}
