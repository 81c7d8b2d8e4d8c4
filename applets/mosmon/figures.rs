//! What is shown of each node.

use std::fmt::Write;
use std::net::Ipv4Addr;

use mos::wire::load::Load;
use serde::Serialize;

/// A node and its figures, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    pub number: u32,
    pub address: Ipv4Addr,
    pub alive: bool,
    pub figures: Option<Figures>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Hundredths of a standard unit.
    pub load: u32,
    /// 10000: a standard processor.
    pub speed: u32,
    pub cpus: u32,
    pub frozen: u32,
    /// Megabytes.
    pub memory_used: u32,
    pub memory_total: u32,
    pub swap_used: u32,
    pub swap_total: u32,
}

impl Figures {
    /// What a node has told of itself.
    pub fn of(load: &Load) -> Figures {
        Figures {
            load: load.load,
            speed: load.speed,
            cpus: load.cpus.into(),
            frozen: load.frozen.into(),
            memory_used: load.mem_total.saturating_sub(load.mem_free),
            memory_total: load.mem_total,
            swap_used: load.swap_total.saturating_sub(load.swap_free),
            swap_total: load.swap_total,
        }
    }
}

/// What the bars are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    Load,
    Speed,
    Memory,
    Swap,
    Frozen,
    Cores,
}

/// A bar: its solid part, and how far it reaches with its other part, in units of the axis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bar {
    pub solid: f64,
    pub whole: f64,
}

impl Shown {
    pub fn title(self) -> &'static str {
        match self {
            Shown::Load => "LOAD",
            Shown::Speed => "SPEED",
            Shown::Memory => "MEMORY, MB (# used, + free)",
            Shown::Swap => "SWAP SPACE, GB (# used, + free)",
            Shown::Frozen => "FROZEN PROCESSES",
            Shown::Cores => "CORES",
        }
    }

    pub fn bar(self, figures: &Figures) -> Bar {
        let alone = |n: f64| Bar { solid: n, whole: n };
        let gigabytes = |megabytes: u32| f64::from(megabytes) / 1024.0;
        match self {
            Shown::Load => alone(f64::from(figures.load) / 100.0),
            Shown::Speed => alone(figures.speed.into()),
            Shown::Frozen => alone(figures.frozen.into()),
            Shown::Cores => alone(figures.cpus.into()),
            Shown::Memory => Bar {
                solid: figures.memory_used.into(),
                whole: figures.memory_total.into(),
            },
            Shown::Swap => Bar {
                solid: gigabytes(figures.swap_used),
                whole: gigabytes(figures.swap_total),
            },
        }
    }

    /// The axis ends at least here, so that small figures look small.
    pub fn least_top(self) -> f64 {
        match self {
            Shown::Load | Shown::Frozen | Shown::Swap => 1.0,
            Shown::Cores => 2.0,
            Shown::Speed => 10_000.0,
            Shown::Memory => 100.0,
        }
    }
}

/// How many nodes and processors there are.
pub fn count(nodes: &[Node]) -> String {
    let alive: Vec<&Node> = nodes.iter().filter(|node| node.alive).collect();
    let cpus: u32 = alive
        .iter()
        .filter_map(|node| node.figures.map(|figures| figures.cpus))
        .sum();
    format!("{} of {} nodes, {cpus} CPUs", alive.len(), nodes.len())
}

/// All nodes as plain text, for a pipe.
pub fn table(nodes: &[&Node]) -> String {
    let mut text = String::from(
        "  NODE ADDRESS          STATE   LOAD  SPEED CPUS FROZEN  MEM-USED MEM-TOTAL SWAP-USED SWAP-TOTAL\n",
    );
    for node in nodes {
        let state = if node.alive { "up" } else { "down" };
        let (number, address) = (node.number, node.address.to_string());
        // Writing to a string cannot fail.
        let _ = match &node.figures {
            Some(f) => writeln!(
                text,
                "{number:>6} {address:<16} {state:<5} {:>6.2} {:>6} {:>4} {:>6} {:>9} {:>9} {:>9.1} {:>10.1}",
                f64::from(f.load) / 100.0,
                f.speed,
                f.cpus,
                f.frozen,
                f.memory_used,
                f.memory_total,
                f64::from(f.swap_used) / 1024.0,
                f64::from(f.swap_total) / 1024.0
            ),
            None => writeln!(text, "{number:>6} {address:<16} {state}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_the_units_of_their_axis() {
        let figures = Figures {
            load: 250,
            memory_used: 100,
            memory_total: 400,
            swap_used: 512,
            swap_total: 2048,
            ..Figures::default()
        };
        assert_eq!(Shown::Load.bar(&figures).solid, 2.5);
        let memory = Shown::Memory.bar(&figures);
        assert_eq!((memory.solid, memory.whole), (100.0, 400.0));
        let swap = Shown::Swap.bar(&figures);
        assert_eq!((swap.solid, swap.whole), (0.5, 2.0));
    }

    #[test]
    fn a_table_has_a_line_for_each_node() {
        let node = |number, figures: Option<Figures>| Node {
            number,
            address: Ipv4Addr::new(10, 0, 0, number as u8),
            alive: figures.is_some(),
            figures,
        };
        let nodes = [node(1, Some(Figures::default())), node(2, None)];
        let text = table(&nodes.iter().collect::<Vec<_>>());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("10.0.0.1") && lines[1].contains("0.00"));
        assert!(lines[2].ends_with("down"));
        assert_eq!(count(&nodes), "1 of 2 nodes, 0 CPUs");
    }
}
