//! mosmon: the nodes as bars, from one to ten thousand of them.

mod draw;
mod figures;
mod screen;
mod view;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use mos::wire::client::Client;

use crate::cluster;
use crate::common::{fail, flag, parse};
use figures::{Figures, Node, Shown};
use screen::{Input, Screen};
use view::{Next, Numbering, View};

/// How often the figures are asked for.
const EVERY: Duration = Duration::from_secs(1);

pub fn command() -> Command {
    let numbering = ["v", "V", "w"];
    let shown = ["s", "m", "f", "c", "l"];
    let exclusive = |arg: Arg, group: &[&'static str]| {
        let own = arg.get_id().clone();
        let others: Vec<&'static str> = group.iter().copied().filter(|id| own != **id).collect();
        arg.conflicts_with_all(others)
    };
    Command::new("mosmon")
        .about("shows the load and the resources of all nodes")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(exclusive(
            flag(
                "w",
                "Numbers from left to right: better to read, fewer nodes",
            ),
            &numbering,
        ))
        .arg(exclusive(
            flag("v", "Numbers downwards: more nodes"),
            &numbering,
        ))
        .arg(exclusive(
            flag(
                "V",
                "Numbers downwards and bars without space between: most nodes",
            ),
            &numbering,
        ))
        .arg(flag("t", "Show how many nodes and processors there are"))
        .arg(flag("d", "Also show nodes that do not respond"))
        .arg(exclusive(
            flag("s", "Show the speeds of the processors"),
            &shown,
        ))
        .arg(exclusive(
            flag("m", "Show used and whole memory; twice: swap space").action(ArgAction::Count),
            &shown,
        ))
        .arg(exclusive(
            flag("f", "Show how many processes are frozen"),
            &shown,
        ))
        .arg(exclusive(flag("c", "Show the number of cores"), &shown))
        .arg(exclusive(flag("l", "Show the load (the default)"), &shown))
        .arg(
            Arg::new("ron")
                .long("ron")
                .action(ArgAction::SetTrue)
                .help("Print all figures once, for programs (RON)"),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print version"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    match show(&matches) {
        Ok(()) => 0,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => fail("mosmon", error),
    }
}

fn show(matches: &ArgMatches) -> io::Result<()> {
    let mut client = cluster::connect()?;
    if matches.get_flag("ron") {
        let config = ron::ser::PrettyConfig::default();
        let text =
            ron::ser::to_string_pretty(&nodes(&mut client)?, config).map_err(io::Error::other)?;
        return writeln!(io::stdout(), "{text}");
    }
    let view = view_of(matches);
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let all = nodes(&mut client)?;
        let mut text = figures::table(&view.chosen(&all));
        if view.count {
            text += &(figures::count(&all) + "\n");
        }
        return write!(io::stdout(), "{text}");
    }
    // What mosd has to tell is asked for before the terminal is taken: a mistake is then still readable.
    let first = nodes(&mut client)?;
    watch(&mut client, view, first)
}

fn view_of(matches: &ArgMatches) -> View {
    let chosen = [
        ("s", Shown::Speed),
        ("f", Shown::Frozen),
        ("c", Shown::Cores),
    ];
    let shown = chosen.iter().find(|(letter, _)| matches.get_flag(letter));
    View {
        shown: match (matches.get_count("m"), shown) {
            (0, Some((_, shown))) => *shown,
            (0, None) => Shown::Load,
            (1, _) => Shown::Memory,
            _ => Shown::Swap,
        },
        numbering: match (
            matches.get_flag("v"),
            matches.get_flag("V"),
            matches.get_flag("w"),
        ) {
            (true, _, _) => Numbering::Vertical,
            (_, true, _) => Numbering::Tight,
            (_, _, true) => Numbering::Horizontal,
            _ => Numbering::Automatic,
        },
        dead: matches.get_flag("d"),
        count: matches.get_flag("t"),
        ..View::default()
    }
}

fn watch(client: &mut Client, mut view: View, mut nodes: Vec<Node>) -> io::Result<()> {
    let mut screen = Screen::open()?;
    let mut ask_at = Instant::now() + EVERY;
    let mut anew = true;
    loop {
        let (columns, rows) = screen.size()?;
        let picture = draw::draw(&view, &nodes, columns, rows);
        screen.show(&picture, anew)?;
        anew = false;
        let next = match screen.input(ask_at.saturating_duration_since(Instant::now()))? {
            Input::Key(key) => {
                let all = view.chosen(&nodes).len();
                view.key(key, picture.fits, all)
            }
            Input::Resized => Next::Redraw,
            Input::Interrupted => Next::Quit,
            Input::Nothing => Next::Draw,
        };
        match next {
            Next::Quit => return Ok(()),
            Next::Redraw => anew = true,
            Next::Draw => {}
        }
        if Instant::now() >= ask_at {
            nodes = self::nodes(client)?;
            ask_at = Instant::now() + EVERY;
        }
    }
}

/// All nodes that have numbers, in the order of those.
fn nodes(client: &mut Client) -> io::Result<Vec<Node>> {
    let status = cluster::status(client)?;
    let mut nodes: Vec<Node> = status
        .nodes
        .iter()
        .filter_map(|info| {
            Some(Node {
                number: info.number?,
                address: info.address,
                alive: info.alive,
                figures: info.load.map(|(load, _)| Figures::of(&load)),
            })
        })
        .collect();
    nodes.sort_unstable_by_key(|node| node.number);
    Ok(nodes)
}
