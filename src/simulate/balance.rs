//! Policies compared on one workload.

use super::cluster::{Cluster, Policy};
use super::ideal;
use super::workload::Workload;

/// What came of a policy.
#[derive(Clone, Debug)]
pub struct Result {
    pub name: &'static str,
    /// Seconds from the first arrival to the last end.
    pub makespan: f64,
    /// How much longer programs took, on the average, than each alone on the fastest processor.
    pub slowdown: f64,
    pub moves: usize,
    pub refusals: usize,
    pub restarts: usize,
}

/// The policies in the order of the table; the last is the bound.
pub const POLICIES: [(&str, Option<Policy>); 6] = [
    ("at home", Some(Policy::Home)),
    ("round robin", Some(Policy::RoundRobin)),
    ("placed", Some(Policy::Placed)),
    ("moved only", Some(Policy::Moved)),
    ("mos", Some(Policy::Balanced)),
    ("bound", None),
];

/// Runs all policies.
pub fn compare(workload: &Workload, seed: u64) -> Vec<Result> {
    POLICIES
        .iter()
        .map(|(name, policy)| simulate(workload, name, *policy, seed))
        .collect()
}

/// Runs one policy; without one, the bound.
pub fn simulate(
    workload: &Workload,
    name: &'static str,
    policy: Option<Policy>,
    seed: u64,
) -> Result {
    let Some(policy) = policy else {
        return result(workload, name, &ideal::ends(workload));
    };
    let mut cluster = Cluster::new(workload, policy, seed);
    cluster.run();
    Result {
        moves: cluster.moves,
        refusals: cluster.refusals,
        restarts: cluster.restarts,
        ..result(workload, name, &cluster.ends)
    }
}

fn result(workload: &Workload, name: &'static str, ends: &[f64]) -> Result {
    let fastest = workload
        .nodes
        .iter()
        .map(|node| node.speed)
        .fold(0.0, f64::max);
    let first = workload.jobs.first().map_or(0.0, |job| job.arrival);
    let slowdowns = workload
        .jobs
        .iter()
        .zip(ends)
        .map(|(job, end)| (end - job.arrival) * fastest / job.work);
    Result {
        name,
        makespan: ends.iter().copied().fold(0.0, f64::max) - first,
        slowdown: slowdowns.sum::<f64>() / workload.jobs.len().max(1) as f64,
        moves: 0,
        refusals: 0,
        restarts: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::workload::standard;

    /// Slowdowns by the names of the policies.
    fn slowdown(results: &[Result], name: &str) -> f64 {
        results
            .iter()
            .find(|result| result.name == name)
            .unwrap()
            .slowdown
    }

    #[test]
    fn mos_is_near_the_bound_and_no_worse_than_placement() {
        // Those that take seconds; `mos simulate balance` runs all.
        for name in ["batch", "login", "memory"] {
            let results = compare(&standard(name, 2).unwrap(), 2);
            let [mos, placed, bound] =
                ["mos", "placed", "bound"].map(|policy| slowdown(&results, policy));
            assert!(mos <= 1.15 * bound, "{name}: {mos}, the bound is {bound}");
            assert!(mos <= 1.01 * placed, "{name}: {mos}, placed {placed}");
        }
    }
}
