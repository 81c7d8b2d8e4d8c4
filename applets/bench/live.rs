//! Figures of moves during which the process runs on, and of its way back.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use mos::sys::{procfs, unix};
use serde::Deserialize;

use super::busy::SLICE;
use super::figures::{anywhere, copy, memory_to_move, one, timed};
use super::lab::{Lab, Worker, progress, warm};
use super::report::{About, Figure, Placement, Ratio};
use super::stats::{Pairs, Spread};

const MEBI: u64 = 1 << 20;
/// How much the smallest process has that is compared with larger ones, and how much of that in a quick round.
const SMALL: u64 = 64 * MEBI;
const QUICK_SMALL: u64 = 16 * MEBI;
/// Bytes of pages that are written in a second, and by a program that does nothing else.
const RATE: u64 = 100_000_000;
const STORM: u64 = 2_000_000_000;
/// How long a writer writes before and after its move.
const AROUND: Duration = Duration::from_millis(500);
const QUICK_AROUND: Duration = Duration::from_millis(200);
const LINK_MEMORY: u64 = 256 * MEBI;
/// Set in the namespace whose link is held to a rate.
const HELD: &str = "MOS_BENCH_HELD";
const NS_TO_MS: f64 = 1e-6;

/// What this machine lacks.
fn lacks(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Has a worker write to so much memory from now on, which it has filled; the machine has as much warm for its copy.
fn begin_writing(ours: &mut Worker, bytes: u64, rate: u64) -> io::Result<()> {
    ours.ask(&format!("fill {bytes}"))?;
    warm(bytes as usize * 5 / 4);
    ours.ask(&format!("keep-writing {rate}")).map(drop)
}

/// A writer of so much memory: the longest pause that it sees while it moves, in milliseconds.
fn pause(lab: &mut Lab, mut ours: Worker, bytes: u64, rate: u64) -> io::Result<f64> {
    begin_writing(&mut ours, bytes, rate)?;
    lab.send_out(ours.pid())?;
    Ok(ours.ask("stop-writing")? as f64 * NS_TO_MS)
}

pub fn freeze(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = memory_to_move(lab);
    lab.place(Placement::Any)?;
    let mut pairs = Pairs::default();
    for round in lab.few_rounds() {
        progress(round);
        let (live, stopped) = (lab.at_home()?, lab.never_live()?);
        let ours = pause(lab, live, bytes, RATE)?;
        pairs.add(ours, pause(lab, stopped, bytes, RATE)?);
    }
    Ok(anywhere(about, &pairs))
}

pub fn freeze_by_size(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let small = if lab.quick() { QUICK_SMALL } else { SMALL };
    let large = small * if about.name == "freeze-8g" { 128 } else { 16 };
    let large = if lab.quick() { small * 2 } else { large };
    // Both copies, and as much to warm the machine up.
    let room = procfs::available_memory()?;
    if room < large * 9 / 4 {
        let (needed, room) = (large * 9 / 4 / MEBI, room / MEBI);
        return Err(lacks(format!(
            "it needs {needed} MiB of memory, and {room} are there"
        )));
    }
    lab.place(Placement::Any)?;
    let mut pairs = Pairs::default();
    for round in lab.few_rounds() {
        progress(round);
        let worker = lab.at_home()?;
        let ours = pause(lab, worker, large, RATE)?;
        let worker = lab.at_home()?;
        pairs.add(ours, pause(lab, worker, small, RATE)?);
    }
    Ok(anywhere(about, &pairs))
}

/// How long the move takes, and how fast the program was meanwhile.
pub fn storm(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = memory_to_move(lab);
    let around = if lab.quick() { QUICK_AROUND } else { AROUND };
    lab.place(Placement::Any)?;
    let (mut times, mut curve) = (Vec::new(), Vec::new());
    for round in lab.few_rounds() {
        progress(round);
        let mut ours = lab.at_home()?;
        begin_writing(&mut ours, bytes, STORM)?;
        std::thread::sleep(around);
        times.push(timed(|| lab.send_out(ours.pid()).map(drop))? * NS_TO_MS);
        std::thread::sleep(around);
        ours.ask("stop-writing")?;
        curve = speeds(&mut ours, around)?;
    }
    let figure = Spread::of(times).map(|time| Figure {
        curve,
        ..Figure::alone(about, Placement::Any, time)
    });
    Ok(one(figure))
}

/// What a writer wrote in each slice of time, by what it wrote in one before the move.
fn speeds(ours: &mut Worker, before: Duration) -> io::Result<Vec<f64>> {
    let count = ours.ask("slices")?;
    let slices = (0..count).map(|at| ours.ask(&format!("slice {at}")));
    let slices: Vec<f64> = slices
        .map(|bytes| bytes.map(|bytes| bytes as f64))
        .collect::<io::Result<_>>()?;
    let alone = (before.as_nanos() / SLICE.as_nanos()).max(1) as usize;
    let alone = Spread::of(slices.iter().copied().take(alone));
    let usual = alone.map_or(1.0, |spread| spread.median.max(1.0));
    Ok(slices.iter().map(|bytes| bytes / usual).collect())
}

pub fn return_bytes(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = memory_to_move(lab);
    lab.place(Placement::Any)?;
    let mut ours = lab.at_home()?;
    ours.ask(&format!("fill {bytes}"))?;
    let mut pairs = Pairs::default();
    for round in lab.few_rounds() {
        progress(round);
        let out = lab.send_out(ours.pid())?;
        ours.ask("touch 1 100")?;
        let back = lab.bring_home(ours.pid())?;
        pairs.add(back.bytes as f64 * 1e-6, out.bytes as f64 * 1e-6);
    }
    Ok(anywhere(about, &pairs))
}

pub fn threads(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    lab.place(Placement::Any)?;
    let mut away = |threads: u64| -> io::Result<Worker> {
        let mut ours = lab.at_home()?;
        ours.ask(&format!("pool {threads}"))?;
        lab.send_out(ours.pid())?;
        Ok(ours)
    };
    let (mut many, mut alone) = (away(8)?, away(1)?);
    let pairs = lab.in_turns(
        &mut |count| many.ask(&format!("calls {count}")),
        &mut |count| alone.ask(&format!("calls {count}")),
    )?;
    // Thousands of calls in a second.
    let pairs = pairs.speeds(1e3);
    Ok(anywhere(about, &pairs))
}

/// Where the link is not held to a rate, in a namespace of its own where it is.
pub fn link(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    if std::env::var_os(HELD).is_none() {
        return link_in_namespace(lab, about);
    }
    let bytes = if lab.quick() {
        QUICK_SMALL
    } else {
        LINK_MEMORY
    };
    lab.place(Placement::Any)?;
    let mut pairs = Pairs::default();
    for _ in lab.few_rounds().take(3) {
        // What comes back unchanged would not be sent again.
        let mut ours = lab.at_home()?;
        ours.ask(&format!("fill {bytes}"))?;
        let out = timed(|| lab.send_out(ours.pid()).map(drop))?;
        pairs.add(out, copy(lab, bytes)?);
    }
    let pairs = pairs.speeds(bytes as f64);
    Ok(anywhere(about, &pairs))
}

fn link_in_namespace(lab: &Lab, about: About) -> io::Result<Vec<Figure>> {
    const SCRIPT: &str = "ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 10ms && exec \"$@\"";
    let held = || {
        let mut command = Command::new("unshare");
        if unix::euid() != 0 {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command
            .args(["--net", "sh", "-c", SCRIPT, "sh"])
            .env(HELD, "1");
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let there = held().arg("true").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return Err(lacks("it needs namespaces, ip, and tc with tbf".to_owned()));
    }
    let mut command = held();
    command
        .arg(lab.command("mos"))
        .args(["bench", "--ron", "link"]);
    if lab.quick() {
        command.arg("--quick");
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Found = ron::from_str(&text).map_err(io::Error::other)?;
    let [taken] = found.figures.as_slice() else {
        let why = found.failed.first().map_or("no figure", |(_, why)| why);
        return Err(io::Error::other(format!("where the link is held: {why}")));
    };
    let value = Spread {
        low: taken.low,
        median: taken.value,
        high: taken.high,
    };
    let figure = Figure::alone(about, Placement::Any, value);
    Ok(vec![Figure {
        kind: Ratio::Of,
        ours: taken.ours,
        theirs: taken.theirs,
        ..figure
    }])
}

/// What is of interest in what another bench has found.
#[derive(Deserialize)]
struct Found {
    figures: Vec<Taken>,
    failed: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Taken {
    value: f64,
    low: f64,
    high: f64,
    ours: f64,
    theirs: Option<f64>,
}
