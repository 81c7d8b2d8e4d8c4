//! The bound: a cluster that is one machine. All processors are shared evenly at every instant by all programs that are there, the
//! fastest first; moves take no time, all is known at once, and memory and calls do not matter.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::workload::Workload;

/// A program that ends when every program has got so much.
struct End {
    served: f64,
    job: usize,
}

impl PartialEq for End {
    fn eq(&self, other: &End) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for End {}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &End) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End {
    /// The first to end is the greatest, for the heap.
    fn cmp(&self, other: &End) -> Ordering {
        other.served.total_cmp(&self.served)
    }
}

/// When each program ends.
pub fn ends(workload: &Workload) -> Vec<f64> {
    let mut ends = vec![0.0; workload.jobs.len()];
    let mut waiting: BinaryHeap<End> = BinaryHeap::new();
    let mut changes = workload
        .outages
        .iter()
        .flat_map(|outage| {
            [
                (outage.from, outage.node, false),
                (outage.to, outage.node, true),
            ]
        })
        .collect::<Vec<_>>();
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut up = vec![true; workload.nodes.len()];
    let mut powers = Powers::of(workload, &up);
    let (mut now, mut served, mut next, mut change) = (0.0, 0.0, 0, 0);
    while next < workload.jobs.len() || !waiting.is_empty() {
        let rate = powers.each(waiting.len());
        let end = waiting.peek().map(|end| now + (end.served - served) / rate);
        let arrival = workload.jobs.get(next).map(|job| job.arrival);
        let changing = changes.get(change).map(|change| change.0);
        let soonest = [end, arrival, changing]
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min);
        if !waiting.is_empty() {
            served += rate * (soonest - now);
        }
        now = soonest;
        if changing == Some(soonest) {
            let (_, node, is_up) = changes[change];
            up[node] = is_up;
            powers = Powers::of(workload, &up);
            change += 1;
        } else if arrival == Some(soonest) {
            let work = workload.jobs[next].work;
            waiting.push(End {
                served: served + work,
                job: next,
            });
            next += 1;
        } else if let Some(end) = waiting.pop() {
            ends[end.job] = now;
            served = end.served;
        }
    }
    ends
}

/// What so many programs get together, on the fastest processors.
struct Powers(Vec<f64>);

impl Powers {
    fn of(workload: &Workload, up: &[bool]) -> Powers {
        let nodes = workload.nodes.iter().zip(up).filter(|(_, up)| **up);
        let mut speeds: Vec<f64> = nodes
            .flat_map(|(node, _)| std::iter::repeat_n(node.speed, usize::from(node.cpus)))
            .collect();
        speeds.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        Powers(
            std::iter::once(0.0)
                .chain(speeds.into_iter().map(|speed| {
                    sum += speed;
                    sum
                }))
                .collect(),
        )
    }

    fn each(&self, programs: usize) -> f64 {
        let busy = programs.min(self.0.len() - 1);
        self.0[busy] / programs.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::workload::parse;

    #[test]
    fn processors_are_shared_evenly_and_the_fastest_used_first() {
        // One program alone gets the fast processor; two share 2 + 1.
        let text = "node 1 1 100\nnode 2 1 100\njob 0 1 4 1\njob 1 1 10 1\n";
        let ends = ends(&parse("x", text).unwrap());
        // 2 done after one second; then 1.5 each until the first has its other 2, at 2.333; the other then has 8 left at speed 2.
        assert!((ends[0] - (1.0 + 2.0 / 1.5)).abs() < 1e-9, "{ends:?}");
        assert!((ends[1] - (1.0 + 2.0 / 1.5 + 4.0)).abs() < 1e-9, "{ends:?}");
    }
}
