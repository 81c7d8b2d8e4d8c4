//! mosctl: what an administrator asks and orders of this node, and what everybody may ask of all.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::{Arg, Command};
use mos::config::partners::{self, Partner, relation_line};
use mos::config::{MaxGuests, Paths, remove, save};
use mos::node::read_report;
use mos::wire::control::{Admin, FromMosd, Mode, NodeInfo, Outcome, ToMosd};
use mos::wire::frame::write_frame;
use mos::wire::node::Opening;
use mos::wire::report::Report;

use crate::cluster;
use crate::common::{USAGE, fail, parse};

/// How long another node may take to answer.
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// Guests from other clusters for each processor, where nothing else is said.
const GUESTS_PER_CPU: u32 = 8;

/// Each function, the arguments that it takes at most, and what it does.
const FUNCTIONS: &[(&str, usize, &str)] = &[
    ("stay", 0, "nothing migrates away without an order"),
    ("nostay", 0, "reverses stay"),
    (
        "lstay",
        0,
        "processes of this node do not migrate away without an order; guests may",
    ),
    ("nolstay", 0, "reverses lstay"),
    ("block", 0, "no guests move in"),
    ("noblock", 0, "reverses block"),
    (
        "expel",
        0,
        "sends all guests away, and waits until they have left",
    ),
    (
        "bring",
        0,
        "brings all processes of this node home, and waits until they are here",
    ),
    (
        "shutdown",
        0,
        "as expel and bring, then this node is no part of the cluster any more (mossetpe turns it on)",
    ),
    (
        "isolate",
        0,
        "disconnects this node from other clusters, and waits until guests have left and processes are back",
    ),
    (
        "rejoin",
        1,
        "reverses isolate; takes so many guests from other clusters, none without a number",
    ),
    (
        "maxguests",
        1,
        "how many guests from other clusters may be here, or sets that",
    ),
    ("openmulti", 1, "lets guests from other clusters in"),
    (
        "closemulti",
        0,
        "lets none of them in, and sends away those that are here",
    ),
    (
        "cngpri",
        2,
        "PARTNER PRIORITY: changes the priority of another cluster's guests",
    ),
    ("whois", 1, "a node's number, address and name"),
    ("status", 1, "a node's state"),
    ("localstatus", 0, "this node's state, and more of it"),
    ("rstatus", 1, "a node's state as numbers"),
];

pub fn command() -> Command {
    let list: Vec<String> = FUNCTIONS
        .iter()
        .map(|(name, _, what)| format!("  {name:<12} {what}"))
        .collect();
    Command::new("mosctl")
        .about("shows and changes the state of this node, and names nodes")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("function")
                .value_name("FUNCTION")
                .required(true)
                .help("What to do (see below)"),
        )
        .arg(
            Arg::new("arguments")
                .value_name("ARGUMENT")
                .num_args(0..=2)
                .help("A node's number, address or host name, or what the function needs"),
        )
        .after_help(format!("Functions:\n{}", list.join("\n")))
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let name = matches
        .get_one::<String>("function")
        .map(String::as_str)
        .unwrap_or_default();
    let words: Vec<&str> = matches
        .get_many::<String>("arguments")
        .unwrap_or_default()
        .map(String::as_str)
        .collect();
    match FUNCTIONS.iter().find(|(other, ..)| *other == name) {
        None => {
            eprintln!("mosctl: there is no function \"{name}\" (\"mosctl --help\" lists all)");
            USAGE
        }
        Some((_, most, _)) if words.len() > *most => {
            eprintln!("mosctl: \"{name}\" takes no argument \"{}\"", words[*most]);
            USAGE
        }
        Some(_) => match call(name, &words) {
            Ok(()) => 0,
            Err(error) => fail("mosctl", error),
        },
    }
}

fn call(name: &str, words: &[&str]) -> io::Result<()> {
    let node = words.first().copied();
    let set = |mode, on| order(Admin::Set { mode, on });
    match name {
        "stay" => set(Mode::Stay, true),
        "nostay" => set(Mode::Stay, false),
        "lstay" => set(Mode::LocalStay, true),
        "nolstay" => set(Mode::LocalStay, false),
        "block" => set(Mode::Block, true),
        "noblock" => set(Mode::Block, false),
        "expel" => order(Admin::Expel),
        "bring" => order(Admin::Bring),
        "shutdown" => order(Admin::Off { wait: true }),
        "isolate" => set(Mode::Isolate, true),
        "rejoin" => rejoin(node),
        "maxguests" => max_guests(node),
        "openmulti" => open_multi(node),
        "closemulti" => close_multi(),
        "cngpri" => change_priority(words),
        "whois" => whois(node),
        "status" => status(node),
        "localstatus" => local_status(),
        _ => raw_status(node),
    }
}

/// Gives the order, and waits as long as it takes.
pub fn order(order: Admin) -> io::Result<()> {
    let mut client = cluster::connect()?;
    client.set_timeout(None)?;
    match client.ask(&ToMosd::Admin(order))? {
        FromMosd::Result(Outcome::Done) => Ok(()),
        FromMosd::Result(Outcome::Stayed(why)) => Err(io::Error::other(why)),
        _ => Err(cluster::unexpected()),
    }
}

fn number(word: &str) -> io::Result<u32> {
    word.parse()
        .map_err(|_| io::Error::other(format!("\"{word}\" is not a number of guests")))
}

fn limits() -> io::Result<MaxGuests> {
    MaxGuests::read(&Paths::from_env().maxguests()).map_err(io::Error::other)
}

/// Writes the file and has mosd read it: guests beyond the limit leave.
fn set_limits(limits: MaxGuests) -> io::Result<()> {
    let file = Paths::from_env().maxguests();
    // Who may not give orders to mosd is not to write its files either.
    let mut client = cluster::connect()?;
    let written = match limits.now {
        Some(_) => save(&file, &limits.to_string(), 0o644),
        None => remove(&file),
    };
    written.map_err(io::Error::other)?;
    match client.ask(&ToMosd::Admin(Admin::Reread { wait: false }))? {
        FromMosd::Result(_) => Ok(()),
        _ => Err(cluster::unexpected()),
    }
}

fn rejoin(guests: Option<&str>) -> io::Result<()> {
    let now = Some(guests.map_or(Ok(0), number)?);
    set_limits(MaxGuests { now, before: None })?;
    order(Admin::Set {
        mode: Mode::Isolate,
        on: false,
    })
}

fn max_guests(guests: Option<&str>) -> io::Result<()> {
    match guests {
        Some(word) => set_limits(MaxGuests {
            now: Some(number(word)?),
            before: None,
        }),
        None => {
            match limits()?.now {
                Some(now) => println!("{now}"),
                None => println!("unlimited"),
            }
            Ok(())
        }
    }
}

fn open_multi(guests: Option<&str>) -> io::Result<()> {
    let limits = limits()?;
    let now = match guests {
        Some(word) => number(word)?,
        None => limits
            .now
            .filter(|now| *now > 0)
            .or(limits.before)
            .unwrap_or_else(|| {
                let cpus = std::thread::available_parallelism().map_or(1, usize::from);
                GUESTS_PER_CPU * cpus as u32
            }),
    };
    set_limits(MaxGuests {
        now: Some(now),
        before: None,
    })
}

fn close_multi() -> io::Result<()> {
    let limits = limits()?;
    set_limits(MaxGuests {
        now: Some(0),
        before: limits.now.filter(|now| *now > 0).or(limits.before),
    })
}

fn change_priority(words: &[&str]) -> io::Result<()> {
    let [name, priority] = words else {
        return Err(io::Error::other("which partner, and which priority?"));
    };
    let priority: u16 = priority.parse().map_err(|_| {
        io::Error::other(format!(
            "\"{priority}\" is not a priority (0 to 65535, the lower the better)"
        ))
    })?;
    let paths = Paths::from_env();
    partners::check_name(name).map_err(io::Error::other)?;
    let file = paths.partners().join(name);
    let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(format!(
            "there is no partner \"{name}\" in {}",
            paths.partners().display()
        )),
        _ => io::Error::other(format!("{}: {error}", file.display())),
    })?;
    let hosts = mos::config::Hosts::of(&paths);
    let partner = Partner::parse(name, &text, &file, &hosts).map_err(io::Error::other)?;
    let line = relation_line(priority, partner.can_go, partner.can_take);
    let text = partners::with_relation(&text, &line).map_err(io::Error::other)?;
    save(&file, &text, 0o644).map_err(io::Error::other)?;
    order(Admin::Reread { wait: false })
}

fn numbered(number: Option<u32>) -> String {
    number.map_or_else(|| "no number".into(), |number| format!("node {number}"))
}

/// A node and what it says of itself; `None` when it does not answer.
struct Asked {
    node: NodeInfo,
    partner: Option<String>,
    /// Why processes of this node do not go there.
    forbidden: Option<String>,
    local: bool,
    report: Option<Report>,
}

fn ask(name: Option<&str>) -> io::Result<Asked> {
    let mut client = cluster::connect()?;
    let me = cluster::status(&mut client)?.me;
    let node = match name {
        Some(name) => client.resolve(name)?,
        None => me.clone(),
    };
    if node.address == me.address {
        return Ok(Asked {
            node,
            partner: None,
            forbidden: None,
            local: true,
            report: Some(cluster::report(&mut client)?),
        });
    }
    let question = ToMosd::Relation { node: node.address };
    let FromMosd::Relation { partner, forbidden } = client.ask(&question)? else {
        return Err(cluster::unexpected());
    };
    let answer = client.connect_node(node.address).and_then(|mut stream| {
        stream.set_read_timeout(Some(REPORT_WAIT))?;
        write_frame(&mut stream, &Opening::Ask)?;
        read_report(&mut stream)
    });
    Ok(Asked {
        node,
        partner,
        forbidden,
        local: false,
        report: answer.ok(),
    })
}

/// What is said first of a node.
fn state(report: Option<&Report>) -> String {
    let Some(report) = report else {
        return "Not responding".into();
    };
    let modes = [
        (report.stay, "nothing leaves (stay)"),
        (report.lstay, "its own processes do not leave (lstay)"),
        (report.block, "guests are blocked"),
        (report.isolated, "disconnected from other clusters"),
    ];
    let first = if report.off { "Off" } else { "Running" };
    let mut words = vec![first];
    words.extend(modes.iter().filter(|(on, _)| *on).map(|(_, word)| *word));
    words.join(", ")
}

fn status(name: Option<&str>) -> io::Result<()> {
    let asked = ask(name)?;
    println!("Status:    {}", state(asked.report.as_ref()));
    println!(
        "Address:   {} ({})",
        asked.node.address,
        numbered(asked.node.number)
    );
    if let Some(partner) = &asked.partner {
        println!("Cluster:   {partner}");
    }
    let Some(report) = &asked.report else {
        return Ok(());
    };
    show(report);
    if !asked.local {
        let why = asked.forbidden.as_ref().or(report.refuses.as_ref());
        match why {
            None => println!("Takes processes from here"),
            Some(why) => println!("Takes no processes from here: {why}"),
        }
    }
    Ok(())
}

fn show(report: &Report) {
    println!("Load:      {:.2}", f64::from(report.load) / 100.0);
    println!(
        "Speed:     {} units, {} processor{}",
        report.speed,
        report.cpus,
        if report.cpus == 1 { "" } else { "s" }
    );
    println!(
        "Memory:    {} MB free of {} MB",
        report.memory_free >> 8,
        report.memory_total >> 8
    );
    println!(
        "Swap:      {:.1} GB free of {:.1} GB",
        gigabytes(report.swap_free),
        gigabytes(report.swap_total)
    );
    println!(
        "Processes: {} from there ({} of them away), {} frozen",
        report.local, report.away, report.frozen
    );
    let limit = report
        .max_guests
        .map_or("any number".to_string(), |max| format!("at most {max}"));
    println!(
        "Guests:    {} ({} of them from other clusters, {limit} allowed)",
        report.guests, report.foreign
    );
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn local_status() -> io::Result<()> {
    let mut client = cluster::connect()?;
    let status = cluster::status(&mut client)?;
    let report = cluster::report(&mut client)?;
    let alive = status.nodes.iter().filter(|info| info.alive).count();
    println!(
        "Status:    {} (version {})",
        state(Some(&report)),
        status.version
    );
    println!(
        "Address:   {} ({}), TCP port {}",
        status.me.address,
        numbered(status.me.number),
        status.port
    );
    println!("Cluster:   {alive} of {} nodes respond", status.nodes.len());
    show(&report);
    match report.availability {
        u16::MAX => println!("Open to:   all"),
        0 => println!("Open to:   this cluster only"),
        priority => println!("Open to:   priority {priority} and better"),
    }
    if let Some(complaint) = &report.complaint {
        println!("Files:     WRONG, an earlier version is in use: {complaint}");
    }
    Ok(())
}

/// The bits of the first number (manual, rstatus).
fn status_bits(asked: &Asked) -> u32 {
    let Some(report) = &asked.report else {
        return 1;
    };
    let accepts = asked.forbidden.is_none() && report.refuses.is_none() && !report.off;
    let bits = [
        (true, 1 | 2 | 512),
        (report.stay, 4),
        (report.lstay, 8),
        (report.block, 16),
        (accepts, 32),
        (report.prefers, 1024),
    ];
    let on = bits.iter().filter(|(on, _)| *on);
    on.map(|(_, bit)| *bit).sum()
}

fn raw_status(name: Option<&str>) -> io::Result<()> {
    let asked = ask(name)?;
    let tenths = |bytes: u64| (gigabytes(bytes) * 10.0) as u64;
    let report = asked.report.clone().unwrap_or_default();
    let numbers: [u64; 12] = [
        status_bits(&asked).into(),
        report.load.into(),
        report.availability.into(),
        report.speed.into(),
        report.cpus.into(),
        report.frozen.into(),
        report.memory_free,
        report.memory_total,
        tenths(report.swap_free),
        tenths(report.swap_total),
        report.privileged,
        (report.local - report.away + report.guests).into(),
    ];
    let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}

fn whois(node: Option<&str>) -> io::Result<()> {
    let mut client = cluster::connect()?;
    let info = match node {
        Some(name) => client.resolve(name)?,
        None => cluster::status(&mut client)?.me,
    };
    let host = mos::config::Hosts::of(&Paths::from_env()).name(info.address);
    println!(
        "{} = {}{}",
        numbered(info.number),
        info.address,
        host.map(|name| format!(" = {name}")).unwrap_or_default()
    );
    Ok(())
}
