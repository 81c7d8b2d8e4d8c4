//! mos simulate: the cluster's policies under a virtual clock.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use mos::gossip::UNIT;
use mos::simulate::gossip::{self, Outcome, Setting};
use mos::simulate::picture::{Chart, Line};
use mos::simulate::workload::{self, Workload};
use mos::simulate::{balance, workload::STANDARD};

use crate::common::{fail, parse};

pub fn command() -> Command {
    Command::new("simulate")
        .about("runs the cluster's policies under a virtual clock and prints what came of it")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("what")
                .value_name("WHAT")
                .required(true)
                .value_parser(["gossip", "balance"])
                .help("gossip: how old what nodes know is; balance: how long programs take"),
        )
        .arg(
            Arg::new("nodes")
                .short('n')
                .long("nodes")
                .value_name("N")
                .value_delimiter(',')
                .value_parser(value_parser!(u32).range(2..=20_000))
                .help("Numbers of nodes, joined by commas"),
        )
        .arg(
            Arg::new("loss")
                .long("loss")
                .value_name("PERCENT")
                .value_delimiter(',')
                .default_value("0,1,10,50")
                .value_parser(value_parser!(u32).range(0..=90))
                .help("Shares of datagrams that are lost, joined by commas"),
        )
        .arg(
            Arg::new("workload")
                .short('w')
                .long("workload")
                .value_name("NAME")
                .value_delimiter(',')
                .help("Workloads for balance: standard ones, joined by commas, or files; \"list\" lists them"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("SEED")
                .default_value("1")
                .value_parser(value_parser!(u64))
                .help("The same seed gives the same numbers"),
        )
        .arg(
            Arg::new("svg")
                .long("svg")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Draw a picture"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let balance = matches
        .get_one::<String>("what")
        .is_some_and(|what| what == "balance");
    let result = if balance {
        simulate_balance(&matches)
    } else {
        simulate_gossip(&matches)
    };
    match result {
        Ok(()) => 0,
        Err(error) => fail("simulate", error),
    }
}

fn numbers(matches: &ArgMatches, name: &str) -> Vec<u32> {
    matches
        .get_many(name)
        .unwrap_or_default()
        .copied()
        .collect()
}

fn simulate_gossip(matches: &ArgMatches) -> io::Result<()> {
    let mut sizes = numbers(matches, "nodes");
    if sizes.is_empty() {
        sizes = vec![10, 100, 1000];
    }
    let seed = matches.get_one("seed").copied().unwrap_or(1);
    println!("Seconds; in brackets the mathematical expectation (docs/GOSSIP.md).\n");
    println!(
        "{:>6} {:>5} | {:^15} {:^15} {:^17} | {:>5} {:>6} {:>6} | {:>6} {:^14} {:^14} | {:>8} | {:>6} {:>12}",
        "nodes",
        "loss",
        "mean age",
        "median",
        "99 of 100",
        "msg/s",
        "B/s",
        "most",
        "death",
        "half know",
        "all know",
        "mistakes",
        "apart",
        "healed"
    );
    let mut lines = Vec::new();
    for nodes in sizes {
        for loss in numbers(matches, "loss") {
            let setting = Setting {
                nodes: nodes as usize,
                loss: f64::from(loss) / 100.0,
                seed,
            };
            let outcome = gossip::simulate(&setting);
            print_row(&setting, &outcome);
            if loss == 0 || loss == 50 {
                lines.extend(age_lines(&setting, &outcome, lines.len() / 2));
            }
        }
    }
    match matches.get_one::<PathBuf>("svg") {
        Some(file) => draw(file, lines),
        None => Ok(()),
    }
}

fn simulate_balance(matches: &ArgMatches) -> io::Result<()> {
    let mut names: Vec<String> = matches
        .get_many("workload")
        .unwrap_or_default()
        .cloned()
        .collect();
    if names == ["list"] {
        for (name, what) in STANDARD {
            println!("{name:<10} {what}");
        }
        return Ok(());
    }
    if names.is_empty() {
        names = STANDARD.iter().map(|(name, _)| name.to_string()).collect();
    }
    let seed = matches.get_one("seed").copied().unwrap_or(1);
    println!(
        "Mean slowdown against each program alone on the fastest processor, and makespan in seconds (docs/BALANCE.md)."
    );
    for name in names {
        let workload = match workload::standard(&name, seed) {
            Some(workload) => workload,
            None => given(&name)?,
        };
        compare(&workload, seed);
    }
    Ok(())
}

/// The workload in a file.
fn given(file: &str) -> io::Result<Workload> {
    let named = |what: String| io::Error::other(format!("{file}: {what}"));
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    workload::parse(file, &text).map_err(named)
}

fn compare(workload: &Workload, seed: u64) {
    println!(
        "\n{}: {} nodes, {} programs",
        workload.name,
        workload.nodes.len(),
        workload.jobs.len()
    );
    println!(
        "{:>12} {:>10} {:>9} {:>10} {:>8} {:>9} {:>9}",
        "policy", "slowdown", "of bound", "makespan", "moves", "refusals", "restarts"
    );
    let results = balance::compare(workload, seed);
    let bound = results.last().map_or(1.0, |result| result.slowdown);
    for result in &results {
        println!(
            "{:>12} {:>10.3} {:>9.3} {:>10.1} {:>8} {:>9} {:>9}",
            result.name,
            result.slowdown,
            result.slowdown / bound,
            result.makespan,
            result.moves,
            result.refusals,
            result.restarts
        );
    }
}

fn print_row(setting: &Setting, outcome: &Outcome) {
    let theory = gossip::expectation(setting);
    let unit = UNIT as f64 / 1000.0;
    let pair = |measured: f64, expected: f64| format!("{measured:.2} ({:.2})", expected * unit);
    // A time of 0 says that it did not happen while we looked.
    let after = |time: f64| {
        if time > 0.0 {
            format!("{time:.1}")
        } else {
            "never".into()
        }
    };
    let death = &outcome.death;
    let spread = |time: f64, expected: f64| {
        format!(
            "{} ({:.2})",
            after(if time > 0.0 { time - death.first } else { 0.0 }),
            expected * unit
        )
    };
    println!(
        "{:>6} {:>4}% | {:>15} {:>15} {:>17} | {:>5.2} {:>6.0} {:>6.0} | {:>6} {:>14} {:>14} | {:>8.4} | {:>5.1}% {:>12}",
        setting.nodes,
        setting.loss * 100.0,
        pair(outcome.ages.mean(), theory.mean_age()),
        pair(outcome.ages.quantile(0.5), theory.quantile(0.5)),
        pair(outcome.ages.quantile(0.99), theory.quantile(0.99)),
        outcome.messages_per_second,
        outcome.bytes_per_second,
        outcome.most_bytes_per_second,
        after(death.first),
        spread(death.half.max(death.first + 0.001), theory.spread(0.5)),
        spread(death.all, theory.spread_to_all()),
        outcome.mistakes,
        outcome.unaware * 100.0,
        format!("{}/{}", after(outcome.healed.0), after(outcome.healed.1)),
    );
}

/// Share of reports by age: as measured and as expected.
fn age_lines(setting: &Setting, outcome: &Outcome, colour: usize) -> [Line; 2] {
    let theory = gossip::expectation(setting);
    let unit = UNIT as f64 / 1000.0;
    let most = outcome
        .ages
        .quantile(1.0)
        .max(theory.quantile(0.999) * unit);
    let ages: Vec<f64> = (0..=120)
        .map(|at| 0.1 * (most / 0.1).powf(f64::from(at) / 120.0))
        .collect();
    let line = |name: &str, dashed: bool, share: &dyn Fn(f64) -> f64| Line {
        name: format!(
            "{} nodes, {:.0} %{name}",
            setting.nodes,
            setting.loss * 100.0
        ),
        dashed,
        colour,
        points: ages.iter().map(|age| (*age, share(*age))).collect(),
    };
    [
        line("", false, &|age| outcome.ages.not_older(age)),
        line(" expected", true, &|age| theory.not_older(age / unit)),
    ]
}

fn draw(file: &Path, lines: Vec<Line>) -> io::Result<()> {
    let chart = Chart {
        title: "How old is what a node knows of another? (share of reports, by loss of datagrams)"
            .into(),
        x: "age in seconds".into(),
        y: "share that is not older".into(),
        top: 1.0,
        lines,
    };
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    std::fs::write(file, chart.svg()).map_err(named)
}
