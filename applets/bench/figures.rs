//! What is measured, and how.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mos::sys::procfs;
use mos::sys::tracked::CpuClock;
use mos::wire::channel::{ANSWER_LEN, REQUEST_LEN};

use super::lab::{Lab, Worker, progress, warm};
use super::live;
use super::makespan;
use super::report::{About, Figure, Placement, Ratio, Reach};
use super::stats::{Pairs, Spread};

/// Takes the measurement; gives a line for each placement.
type Measure = fn(&mut Lab, About) -> io::Result<Vec<Figure>>;

const fn about(
    name: &'static str,
    what: &'static str,
    against: &'static str,
    unit: &'static str,
    reach: Reach,
) -> About {
    About {
        name,
        what,
        against,
        unit,
        reach,
    }
}

/// Moves as they were before processes ran on meanwhile.
const STOPPED: &str = "stop and copy";
const NATIVE: &str = "native";
const TCP: &str = "TCP alone";
use Reach::{AtLeast, AtMost, Print};

/// All figures, in the order in which they are taken.
#[rustfmt::skip]
pub const FIGURES: &[(About, Measure)] = &[
    (about("getppid", "getppid under mosrun, at home", NATIVE, "ns", AtMost(1.05)), at_home),
    (about("read", "read of 4 KiB, likewise", NATIVE, "ns", AtMost(1.05)), at_home),
    (about("write", "write of 4 KiB, likewise", NATIVE, "ns", AtMost(1.05)), at_home),
    (about("open", "open and close, likewise", NATIVE, "ns", Print), at_home),
    (about("away-getppid", "getppid of a process that is away", TCP, "us", AtMost(1.6)), away_call),
    (about("away-read", "read by 64 KiB, likewise", TCP, "MB/s", AtLeast(0.5)), away_stream),
    (about("away-write", "write by 64 KiB, likewise", TCP, "MB/s", AtLeast(0.5)), away_stream),
    (about("migrate", "move of 1 GiB of random data", TCP, "MB/s", AtLeast(0.77)), migrate),
    (about("return", "its way back home", TCP, "MB/s", Print), migrate),
    (about("link", "move of 256 MiB over a link held to 1 Gbit/s", TCP, "MB/s", AtLeast(0.95)), live::link),
    (about("freeze", "longest pause of 1 GiB that writes 100 MB/s and moves", STOPPED, "ms", AtMost(0.02)), live::freeze),
    (about("freeze-1g", "longest pause of 1 GiB, likewise", "64 MiB", "ms", AtMost(2.0)), live::freeze_by_size),
    (about("freeze-8g", "longest pause of 8 GiB, likewise", "64 MiB", "ms", AtMost(2.0)), live::freeze_by_size),
    (about("storm", "move of 1 GiB of which 2 GB/s are written", "", "ms", Print), live::storm),
    (about("return-bytes", "bytes sent home after a write to 1 % of 1 GiB", "the way out", "MB", AtMost(0.05)), live::return_bytes),
    (about("threads", "getppid of 8 threads that are away, calls in a second", "1 thread", "k/s", AtLeast(1.5)), live::threads),
    (about("small", "move of a small process (dash)", "", "ms", Print), small),
    (about("small-return", "its way back home", "", "ms", Print), small),
    (about("start", "start of /bin/true under mosrun", NATIVE, "ms", AtMost(10.0)), start),
    (about("makespan", "24 programs from one of 4 unlike nodes", "placed by hand", "s", AtMost(1.25)), makespan::measure),
    (about("memory", "resident memory of mosd", "", "MiB", AtMost(5.0)), memory),
    (about("idle", "CPU time of an idle mosd in a second", "", "ms", AtMost(1.0)), idle),
    (about("binary", "size of the program", "", "MiB", AtMost(4.0)), binary),
];

/// Across two CPUs a forwarded call is to be nearer to what TCP needs.
const AWAY_CALL_ACROSS: Reach = AtMost(1.2);
const SMALL_IO: u64 = 4 << 10;
const LARGE_IO: u64 = 64 << 10;
const MEMORY: u64 = 1 << 30;
const QUICK_MEMORY: u64 = 16 << 20;
/// How long an idle daemon is watched.
const IDLE: Duration = Duration::from_secs(5);
const QUICK_IDLE: Duration = Duration::from_millis(300);
const MEBI: f64 = (1 << 20) as f64;

pub fn one(figure: Option<Figure>) -> Vec<Figure> {
    figure.into_iter().collect()
}

/// What was compared wherever it ran.
pub fn anywhere(about: About, pairs: &Pairs) -> Vec<Figure> {
    one(Figure::compared(about, Placement::Any, Ratio::Of, pairs))
}

/// Does it for each placement that the machine has.
fn placed(
    lab: &mut Lab,
    mut measure: impl FnMut(&mut Lab, Placement) -> io::Result<Vec<Figure>>,
) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for placement in lab.placements() {
        lab.place(*placement)?;
        figures.extend(measure(lab, *placement)?);
    }
    Ok(figures)
}

fn at_home(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    lab.place(Placement::One)?;
    let order = |count: u64| match about.name {
        "read" | "write" => format!("cpu {} {SMALL_IO} {count}", about.name),
        name => format!("cpu {name} {count}"),
    };
    let (mut ours, mut theirs) = (lab.at_home()?, lab.native()?);
    let pairs = lab.in_turns(&mut |count| ours.ask(&order(count)), &mut |count| {
        theirs.ask(&order(count))
    })?;
    Ok(one(Figure::compared(
        about,
        Placement::One,
        Ratio::Of,
        &pairs,
    )))
}

fn away_call(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    placed(lab, |lab, placement| {
        let mut ours = lab.away()?;
        let [mut home, mut far] = lab.connected()?;
        let mut call = |count: u64| ours.ask(&format!("getppid {count}"));
        let mut ping = |count: u64| {
            home.tell(&format!("pong {REQUEST_LEN} {ANSWER_LEN} {count}"))?;
            let time = far.ask(&format!("ping {REQUEST_LEN} {ANSWER_LEN} {count}"))?;
            home.answer().map(|_| time)
        };
        let pairs = lab.in_turns(&mut call, &mut ping)?.scaled(1e-3);
        let reach = if placement == Placement::Two {
            AWAY_CALL_ACROSS
        } else {
            about.reach
        };
        Ok(one(Figure::compared(
            About { reach, ..about },
            placement,
            Ratio::Of,
            &pairs,
        )))
    })
}

/// Data flows from home when it is read, to home when it is written.
fn away_stream(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let verb = about.name.trim_start_matches("away-");
    placed(lab, |lab, placement| {
        let mut ours = lab.away()?;
        let [mut home, mut far] = lab.connected()?;
        let (source, sink) = if verb == "read" {
            (&mut home, &mut far)
        } else {
            (&mut far, &mut home)
        };
        let mut call = |count: u64| ours.ask(&format!("{verb} {LARGE_IO} {count}"));
        let mut stream = |count: u64| {
            sink.tell(&format!("receive {LARGE_IO} {count}"))?;
            let time = source.ask(&format!("send {LARGE_IO} {count}"))?;
            sink.answer().map(|_| time)
        };
        let pairs = lab
            .in_turns(&mut call, &mut stream)?
            .speeds(LARGE_IO as f64);
        Ok(one(Figure::compared(about, placement, Ratio::Of, &pairs)))
    })
}

/// Bytes that are moved: what there is room for several times over.
pub fn memory_to_move(lab: &Lab) -> u64 {
    let wanted = if lab.quick() { QUICK_MEMORY } else { MEMORY };
    let room = procfs::available_memory().unwrap_or(wanted * 8) / 8;
    wanted.min(room & !((1 << 20) - 1))
}

fn migrate(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = memory_to_move(lab);
    placed(lab, |lab, placement| {
        let mut ours = lab.at_home()?;
        let sum = ours.ask(&format!("fill {bytes}"))?;
        let mut pairs = Pairs::default();
        for round in lab.long_rounds() {
            progress(round);
            warm(bytes as usize * 5 / 4);
            let out = timed(|| lab.send_out(ours.pid()).map(drop))?;
            let back = timed(|| lab.bring_home(ours.pid()).map(drop))?;
            if ours.ask("sum")? != sum {
                return Err(io::Error::other("what arrived is not what was sent"));
            }
            let time = if about.name == "return" { back } else { out };
            pairs.add(time, copy(lab, bytes)?);
        }
        let pairs = pairs.speeds(bytes as f64);
        Ok(one(Figure::compared(about, placement, Ratio::Of, &pairs)))
    })
}

/// Sends as much random data to a process that takes it into memory which it has not touched; nanoseconds.
pub fn copy(lab: &Lab, bytes: u64) -> io::Result<f64> {
    let [mut home, mut far] = lab.connected()?;
    home.ask(&format!("fill {bytes}"))?;
    warm(bytes as usize * 5 / 4);
    far.tell(&format!("receive-fresh {bytes}"))?;
    let time = home.ask("send-memory")?;
    far.answer()?;
    Ok(time as f64)
}

/// Nanoseconds.
pub fn timed(what: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let begin = Instant::now();
    what()?;
    Ok(begin.elapsed().as_nanos() as f64)
}

fn small(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    placed(lab, |lab, placement| {
        let mut command = Command::new(lab.command("mosrun"));
        let shell = if std::path::Path::new("/bin/dash").exists() {
            "/bin/dash"
        } else {
            "/bin/sh"
        };
        command.args([shell, "-c", "echo 1; read line"]);
        let ours = Worker::other(command)?;
        let mut times = Vec::new();
        for round in lab.all_rounds() {
            progress(round);
            let out = timed(|| lab.send_out(ours.pid()).map(drop))?;
            let back = timed(|| lab.bring_home(ours.pid()).map(drop))?;
            times.push(if about.name == "small" { out } else { back } * 1e-6);
        }
        Ok(one(
            Spread::of(times).map(|time| Figure::alone(about, placement, time))
        ))
    })
}

fn start(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    const PROGRAM: &str = "/bin/true";
    let spawn = |mut command: Command| {
        let status = command.stdin(Stdio::null()).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{PROGRAM}: {status}")))
        }
    };
    let times = |count: u64, each: &dyn Fn() -> io::Result<()>| {
        timed(|| (0..count).try_for_each(|_| each())).map(|time| time as u64)
    };
    placed(lab, |lab, placement| {
        let mosrun = lab.command("mosrun");
        let ours = || {
            let mut command = Command::new(&mosrun);
            command.arg(PROGRAM);
            spawn(command)
        };
        let theirs = || spawn(Command::new(PROGRAM));
        let pairs = lab.in_turns(&mut |count| times(count, &ours), &mut |count| {
            times(count, &theirs)
        })?;
        Ok(one(Figure::compared(
            about,
            placement,
            Ratio::Added,
            &pairs.scaled(1e-6),
        )))
    })
}

fn memory(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = procfs::status(lab.daemons[0])?.vm_rss_bytes as f64;
    Ok(vec![Figure::alone(
        about,
        Placement::Any,
        Spread::exact(bytes / MEBI),
    )])
}

fn idle(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    lab.place(Placement::Any)?;
    let clock = CpuClock::new(lab.daemons[0]);
    let before = clock.nanoseconds();
    let watched = if lab.quick() { QUICK_IDLE } else { IDLE };
    std::thread::sleep(watched);
    let used = (clock.nanoseconds() - before) as f64 * 1e-6 / watched.as_secs_f64();
    Ok(vec![Figure::alone(
        about,
        Placement::Any,
        Spread::exact(used),
    )])
}

fn binary(_: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    let bytes = std::fs::metadata("/proc/self/exe")?.len() as f64;
    Ok(vec![Figure::alone(
        about,
        Placement::Any,
        Spread::exact(bytes / MEBI),
    )])
}
