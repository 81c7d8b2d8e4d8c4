//! What happens in a simulated cluster: programs come, are placed and moved, and end; nodes go down and tell of themselves.

use super::{
    CONSIDER, Cluster, Event, FRESH, LOOK_AT, Policy, QUESTIONS, Running, START_MB, SWAPPING, index,
};
use crate::balance::{Asking, Choice, Granted, Place, Process, What};
use crate::gossip::{Load, Message, UNIT};
use crate::simulate::gossip::address;
use crate::simulate::workload::Job;

impl Cluster<'_> {
    pub(super) fn arrive(&mut self, job: usize) {
        let Job {
            home, memory_mb, ..
        } = self.workload.jobs[job];
        let to = match self.policy {
            Policy::Home | Policy::Moved => home,
            Policy::RoundRobin => {
                self.turn += 1;
                let up = |at: &usize| self.nodes[*at].up;
                let count = self.nodes.len();
                (0..count)
                    .map(|at| (self.turn + at) % count)
                    .find(up)
                    .unwrap_or(home)
            }
            Policy::Placed => self.best_place(home, memory_mb),
            Policy::Balanced => self.ask_for_place(job, home),
        };
        if to == home {
            self.begin(job, home);
        } else {
            self.nodes[to].coming += 1;
            self.at(
                self.now + self.costs.of_moving(START_MB),
                Event::Landed(job, to),
            );
        }
    }

    /// The node where a program gets most at this moment, its memory considered.
    fn best_place(&self, home: usize, memory: f64) -> usize {
        let value = |at: usize| {
            let mut place = self.place(at);
            place.running += self.nodes[at].coming as f64;
            if memory <= place.room() {
                place.rate(1.0)
            } else {
                place.rate(1.0) * SWAPPING
            }
        };
        let (mut best, mut most) = (home, value(home) * 1.0001);
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].up) {
            if value(at) > most {
                (best, most) = (at, value(at));
            }
        }
        best
    }

    fn ask_for_place(&mut self, job: usize, home: usize) -> usize {
        let now = self.milliseconds();
        let here = self.place(home);
        let process = self.process(&Running {
            job,
            left: self.left[job],
            came: self.now,
            share: 1.0,
        });
        let mut view = self.view(home);
        for _ in 0..QUESTIONS {
            let balancer = &mut self.nodes[home].balancer;
            match balancer.place(job as u64, &here, &process, &view, now) {
                Choice::Ask(asking) => match self.agreed(home, &asking) {
                    Ok(granted) => return index(granted.to),
                    // What it says itself is better than what was heard of it.
                    Err(Some(granted)) => {
                        let said = view.iter_mut().find(|place| place.node == granted.to);
                        if let Some(place) = said {
                            place.running = granted.running;
                        }
                    }
                    Err(None) => view.retain(|place| place.node != asking.to),
                },
                Choice::Here | Choice::Nowhere => return home,
            }
        }
        home
    }

    /// Other nodes, at most so many and chosen at random, by fresh reports.
    fn view(&mut self, at: usize) -> Vec<Place> {
        let now = self.milliseconds();
        let known = self.nodes[at].gossip.view(FRESH, now);
        let mut view: Vec<Place> = known
            .filter(|known| known.node != address(at))
            .map(|known| Place::new(known.node, &known.info))
            .collect();
        for chosen in 0..LOOK_AT.min(view.len()) {
            let other = chosen + self.random.below(view.len() - chosen);
            view.swap(chosen, other);
        }
        view.truncate(LOOK_AT);
        view
    }

    /// Asks the target; an error without a value says that it does not answer.
    fn agreed(&mut self, from: usize, asking: &Asking) -> Result<Granted, Option<Granted>> {
        let now = self.milliseconds();
        let to = index(asking.to);
        if !self.nodes[to].up {
            return Err(None);
        }
        let place = self.place(to);
        let answer = self.nodes[to]
            .balancer
            .asked(address(from), &asking.ask, &place, now);
        let granted = self.nodes[from]
            .balancer
            .answered(asking.to, &answer, now)
            .ok_or(None)?;
        self.refusals += usize::from(!granted.yes);
        if granted.yes {
            Ok(granted)
        } else {
            Err(Some(granted))
        }
    }

    pub(super) fn land(&mut self, job: usize, at: usize) {
        self.nodes[at].coming -= 1;
        self.begin(job, at);
    }

    fn begin(&mut self, job: usize, at: usize) {
        if !self.nodes[at].up {
            // It fell with the node: started again, at home.
            return self.restart(job);
        }
        let mut running = Running {
            job,
            left: self.left[job],
            came: self.now,
            share: 1.0,
        };
        let place = self.place(at);
        running.share = self.process(&running).away(&place, &self.costs);
        self.nodes[at].balancer.arrived();
        self.change(at, |list| list.push(running));
    }

    fn restart(&mut self, job: usize) {
        self.restarts += 1;
        self.left[job] = self.workload.jobs[job].work;
        let home = self.workload.jobs[job].home;
        self.nodes[home].coming += 1;
        self.at(self.now + 1.0, Event::Landed(job, home));
    }

    pub(super) fn down(&mut self, at: usize) {
        let mut lost = Vec::new();
        self.change(at, |running| lost = std::mem::take(running));
        self.nodes[at].up = false;
        for running in lost {
            self.restart(running.job);
        }
    }

    pub(super) fn gossip(&mut self, at: usize) {
        let now = self.milliseconds();
        self.at(
            (self.nodes[at].gossip.next_tick().max(now) + UNIT) as f64 / 1000.0,
            Event::Gossip(at),
        );
        if !self.nodes[at].up {
            return;
        }
        let load = self.load(at);
        let random = &mut self.random;
        let gossip = &mut self.nodes[at].gossip;
        gossip.set_info(load);
        let messages: Vec<Message<Load>> = gossip.tick(now, &mut || random.bits());
        for message in messages {
            let mut next = Some(message);
            while let Some(message) = next.take() {
                let to = &mut self.nodes[index(message.to)];
                if to.up {
                    next = to.gossip.receive(&message, now).0;
                }
            }
        }
    }

    pub(super) fn consider(&mut self, at: usize) {
        self.at(self.now + CONSIDER as f64 / 1000.0, Event::Consider(at));
        if !self.nodes[at].up || self.nodes[at].running.is_empty() {
            return;
        }
        // Progress is counted up to now.
        self.change(at, |_| {});
        let now = self.milliseconds();
        let here = self.place(at);
        let mut processes: Vec<Process> = self.nodes[at]
            .running
            .iter()
            .map(|running| self.process(running))
            .collect();
        processes.sort_by(|a, b| b.used.total_cmp(&a.used));
        let view = self.view(at);
        let asking = self.nodes[at]
            .balancer
            .consider(&here, &processes, &view, now);
        for asking in asking {
            if let Ok(Granted {
                what: What::Move(job),
                to,
                ..
            }) = self.agreed(at, &asking)
            {
                self.start_move(job as usize, at, index(to));
            }
        }
    }

    fn start_move(&mut self, job: usize, from: usize, to: usize) {
        let Some(running) = self.nodes[from]
            .running
            .iter()
            .find(|running| running.job == job)
            .copied()
        else {
            return;
        };
        self.moves += 1;
        self.left[job] = running.left;
        self.change(from, |list| list.retain(|running| running.job != job));
        self.nodes[to].coming += 1;
        let takes = self.costs.of_moving(self.workload.jobs[job].memory_mb);
        self.at(self.now + takes, Event::Landed(job, to));
    }
}
