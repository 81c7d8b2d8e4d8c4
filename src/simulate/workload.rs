//! What a simulated cluster has to do: nodes, and programs that arrive.

use super::random::Random;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeSpec {
    /// Of one processor; 1 is standard.
    pub speed: f64,
    pub cpus: u16,
    pub memory_mb: f64,
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Seconds after the beginning.
    pub arrival: f64,
    pub home: usize,
    /// Standard processor seconds.
    pub work: f64,
    pub memory_mb: f64,
    /// Calls that travel home when it is elsewhere, in a processor second.
    pub calls: f64,
}

/// A node that is off for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    pub node: usize,
    pub from: f64,
    pub to: f64,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    pub nodes: Vec<NodeSpec>,
    /// In the order of arrival.
    pub jobs: Vec<Job>,
    pub outages: Vec<Outage>,
}

/// Names of the standard workloads, and what they are.
pub const STANDARD: [(&str, &str); 9] = [
    ("batch", "24 programs started at once on one of 4 nodes"),
    ("login", "16 nodes, and all programs started on the first"),
    ("offices", "100 nodes, programs started everywhere"),
    (
        "unequal",
        "40 nodes of speeds from 0.5 to 2, with 2 to 8 processors",
    ),
    ("bursts", "64 nodes, and bursts of programs on any of them"),
    (
        "memory",
        "20 nodes with programs of up to three quarters of a node's memory",
    ),
    (
        "calls",
        "32 nodes, and a third of the programs with many calls",
    ),
    ("outages", "50 nodes of which 40 fail and come back"),
    ("thousand", "1000 nodes, and programs started on 20 of them"),
];

/// The lives of processes: many short, few long, and these make up most of the work.
const LIVES: (f64, f64, f64) = (1.1, 2.0, 2000.0);

struct Maker {
    random: Random,
    nodes: Vec<NodeSpec>,
    jobs: Vec<Job>,
}

/// One of the standard workloads; `None` when there is none of this name.
pub fn standard(name: &str, seed: u64) -> Option<Workload> {
    let equal = |count: usize, cpus: u16| {
        vec![
            NodeSpec {
                speed: 1.0,
                cpus,
                memory_mb: 16_000.0
            };
            count
        ]
    };
    let nodes = match name {
        "batch" => equal(4, 1),
        "login" => equal(16, 4),
        "offices" => equal(100, 4),
        "unequal" => unequal(),
        "bursts" => equal(64, 2),
        "memory" => equal(20, 4),
        "calls" => equal(32, 4),
        "outages" => equal(50, 4),
        "thousand" => equal(1000, 4),
        _ => return None,
    };
    let mut maker = Maker {
        random: Random::new(seed),
        nodes,
        jobs: Vec::new(),
    };
    let mut outages = Vec::new();
    match name {
        "batch" => maker.batch(),
        "login" => maker.stream(0.7, 1500.0, |random| {
            (0, random.pareto(1.5, 20.0, 500.0), 0.0)
        }),
        "bursts" => maker.bursts(),
        "memory" => maker.stream(0.6, 1500.0, |random| {
            (random.below(20), random.pareto(0.8, 100.0, 12_000.0), 0.0)
        }),
        "calls" => maker.stream(0.6, 1500.0, |random| {
            let calls = if random.below(3) == 0 {
                random.pareto(1.0, 500.0, 20_000.0)
            } else {
                10.0
            };
            (random.below(8), 50.0, calls)
        }),
        "outages" => {
            maker.stream(0.5, 1500.0, |random| (random.below(10), 100.0, 0.0));
            outages = maker.outages(10, 1500.0, 1500.0, 200.0);
        }
        "thousand" => maker.stream(0.7, 150.0, |random| {
            (random.below(20), random.pareto(1.5, 20.0, 500.0), 0.0)
        }),
        _ => {
            let count = maker.nodes.len();
            maker.stream(0.65, 1200.0, move |random| {
                (random.below(count), random.pareto(1.5, 20.0, 500.0), 0.0)
            });
        }
    }
    Some(Workload {
        name: name.to_string(),
        nodes: maker.nodes,
        jobs: maker.jobs,
        outages,
    })
}

fn unequal() -> Vec<NodeSpec> {
    let node = |at: usize| NodeSpec {
        speed: [0.5, 1.0, 1.0, 2.0][at % 4],
        cpus: [2, 4, 8][at % 3],
        memory_mb: 16_000.0,
    };
    (0..40).map(node).collect()
}

impl Maker {
    /// Standard processor seconds that all nodes can do in a second.
    fn power(&self) -> f64 {
        self.nodes
            .iter()
            .map(|node| node.speed * f64::from(node.cpus))
            .sum()
    }

    fn batch(&mut self) {
        for at in 0..24 {
            let work = 20.0 + 10.0 * at as f64 + self.random.unit();
            self.jobs.push(Job {
                arrival: 0.01 * at as f64,
                home: 0,
                work,
                memory_mb: 50.0,
                calls: 0.0,
            });
        }
    }

    /// Programs that arrive independently for `span` seconds and use this share of the cluster; `draw` gives home, memory, calls.
    fn stream(&mut self, share: f64, span: f64, draw: impl Fn(&mut Random) -> (usize, f64, f64)) {
        let (alpha, least, most) = LIVES;
        let mut works: Vec<f64> = Vec::new();
        let wanted = share * self.power() * span;
        let mut sum = 0.0;
        while sum < wanted {
            let work = self.random.pareto(alpha, least, most);
            sum += work;
            works.push(work);
        }
        let between = span / works.len() as f64;
        let mut arrival = 0.0;
        for work in works {
            arrival += self.random.exponential(between);
            let (home, memory_mb, calls) = draw(&mut self.random);
            self.jobs.push(Job {
                arrival,
                home,
                work,
                memory_mb,
                calls,
            });
        }
    }

    fn bursts(&mut self) {
        let mut arrival = 0.0;
        for _ in 0..60 {
            arrival += self.random.exponential(20.0);
            let home = self.random.below(self.nodes.len());
            for at in 0..20 + self.random.below(41) {
                let work = self.random.pareto(1.1, 2.0, 500.0);
                self.jobs.push(Job {
                    arrival: arrival + 0.02 * at as f64,
                    home,
                    work,
                    memory_mb: 60.0,
                    calls: 0.0,
                });
            }
        }
        self.jobs.sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
    }

    /// Nodes from `first` on fail every `between` seconds on the average and are away for about `length`.
    fn outages(&mut self, first: usize, span: f64, between: f64, length: f64) -> Vec<Outage> {
        let mut outages = Vec::new();
        for node in first..self.nodes.len() {
            let mut from = self.random.exponential(between);
            while from < span {
                let to = from + self.random.exponential(length) + 5.0;
                outages.push(Outage { node, from, to });
                from = to + self.random.exponential(between);
            }
        }
        outages
    }
}

/// Reads a workload: lines `node SPEED CPUS MB [COUNT]` and `job SECONDS HOME WORK MB [CALLS]`, nodes counted from 1; `#` begins a comment.
///
/// # Errors
///
/// In words, with the line's number.
pub fn parse(name: &str, text: &str) -> Result<Workload, String> {
    let mut workload = Workload {
        name: name.to_string(),
        nodes: Vec::new(),
        jobs: Vec::new(),
        outages: Vec::new(),
    };
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            parse_line(&mut workload, line).map_err(|what| format!("line {}: {what}", at + 1))?;
        }
    }
    let nodes = workload.nodes.len();
    if nodes == 0 || nodes > 10_000 {
        return Err(format!("{nodes} nodes: from 1 to 10000 can be simulated"));
    }
    if let Some(job) = workload.jobs.iter().find(|job| job.home >= nodes) {
        return Err(format!("there is no node {}", job.home + 1));
    }
    workload
        .jobs
        .sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
    Ok(workload)
}

fn parse_line(workload: &mut Workload, line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or("");
    let numbers: Vec<f64> = words
        .map(|word| match word.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(format!("\"{word}\" is no number")),
        })
        .collect::<Result<_, _>>()?;
    match (kind, &numbers[..]) {
        ("node", [speed, cpus, memory, count @ ..])
            if *speed > 0.0 && *cpus >= 1.0 && count.len() <= 1 =>
        {
            let node = NodeSpec {
                speed: *speed,
                cpus: *cpus as u16,
                memory_mb: *memory,
            };
            let count = count.first().map_or(1, |count| *count as usize).min(10_000);
            workload.nodes.extend(std::iter::repeat_n(node, count));
        }
        ("job", [arrival, home, work, memory, calls @ ..])
            if *home >= 1.0 && *work > 0.0 && calls.len() <= 1 =>
        {
            workload.jobs.push(Job {
                arrival: *arrival,
                home: *home as usize - 1,
                work: *work,
                memory_mb: *memory,
                calls: calls.first().copied().unwrap_or(0.0),
            });
        }
        _ => {
            return Err(
                "must be \"node SPEED CPUS MB [COUNT]\" or \"job SECONDS HOME WORK MB [CALLS]\""
                    .into(),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_workloads_use_what_they_say() {
        for (name, _) in STANDARD {
            let workload = standard(name, 1).unwrap();
            assert!(!workload.jobs.is_empty(), "{name}");
            assert!(
                workload
                    .jobs
                    .windows(2)
                    .all(|pair| pair[0].arrival <= pair[1].arrival),
                "{name}"
            );
            assert!(
                workload
                    .jobs
                    .iter()
                    .all(|job| job.home < workload.nodes.len()),
                "{name}"
            );
        }
        let work: f64 = standard("login", 1)
            .unwrap()
            .jobs
            .iter()
            .map(|job| job.work)
            .sum();
        assert!((work / (0.7 * 64.0 * 1500.0) - 1.0).abs() < 0.05, "{work}");
        assert!(standard("other", 1).is_none());
    }

    #[test]
    fn workloads_can_be_written() {
        let text =
            "# two kinds\nnode 1 4 8000 3\nnode 2 1 4000\njob 5 4 10 100 # last\njob 0 1 20 50 3\n";
        let workload = parse("mine", text).unwrap();
        assert_eq!(workload.nodes.len(), 4);
        assert_eq!((workload.jobs[0].home, workload.jobs[0].calls), (0, 3.0));
        assert_eq!((workload.jobs[1].home, workload.jobs[1].work), (3, 10.0));
        for wrong in [
            "node 0 1 1",
            "job 1 1 1",
            "node 1 1 x",
            "nodes 1 1 1",
            "job 1 0 1 1",
        ] {
            assert!(
                parse("x", wrong).unwrap_err().starts_with("line 1"),
                "{wrong}"
            );
        }
        assert!(
            parse("x", "node 1 1 1\njob 0 2 1 1")
                .unwrap_err()
                .contains("no node 2")
        );
    }
}
