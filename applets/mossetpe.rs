//! mossetpe: makes mosd read the configuration, shows which nodes it has, or turns this node off.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use mos::wire::control::{Admin, FromMosd, Nodes, ToMosd};

use crate::cluster;
use crate::common::{fail, flag, parse};
use crate::mosctl::order;

pub fn command() -> Command {
    Command::new("mossetpe")
        .about("configures this node anew, or shows the nodes of the clusters")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("mossetpe [-m FILE] [-p ADDRESS] [-A]\n       mossetpe -r | -R\n       mossetpe -off [-A]")
        .arg(
            Arg::new("m")
                .short('m')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The nodes' file, in place of /etc/mosix/mosix.map"),
        )
        .arg(
            Arg::new("p")
                .short('p')
                .value_name("ADDRESS")
                .value_parser(value_parser!(Ipv4Addr))
                .help("This node's address, in place of what /etc/mosix/mosip or the network says"),
        )
        .arg(flag("A", "Do not wait until all processes are where they may be"))
        .arg(flag("r", "Show all nodes of this cluster").conflicts_with_all(["m", "p", "A", "R", "off"]))
        .arg(flag("R", "Show all nodes of all clusters").conflicts_with_all(["m", "p", "A", "off"]))
        .arg(
            Arg::new("off")
                .long("off")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["m", "p"])
                .help("Turn this node off, once guests have left and its processes are home"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    // The manual's form is -off.
    let args: Vec<OsString> = args
        .iter()
        .map(|word| {
            if word == "-off" {
                "--off".into()
            } else {
                word.clone()
            }
        })
        .collect();
    let matches = match parse(command(), &args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    match act(&matches) {
        Ok(()) => 0,
        Err(error) => fail("mossetpe", error),
    }
}

fn act(matches: &ArgMatches) -> io::Result<()> {
    let wait = !matches.get_flag("A");
    if matches.get_flag("r") || matches.get_flag("R") {
        return show(matches.get_flag("R"));
    }
    if matches.get_flag("off") {
        return order(Admin::Off { wait });
    }
    let map = matches.get_one::<PathBuf>("m");
    order(Admin::Configure {
        map: map.map(std::path::absolute).transpose()?,
        address: matches.get_one("p").copied(),
        partners: None,
        wait,
    })
}

fn show(all: bool) -> io::Result<()> {
    let mut client = cluster::connect()?;
    let FromMosd::World { own, partners } = client.ask(&ToMosd::World)? else {
        return Err(cluster::unexpected());
    };
    let each = |ranges: &[Nodes], of: &str| {
        for (first, count) in ranges {
            for offset in 0..*count {
                println!("{}{of}", Ipv4Addr::from(u32::from(*first) + offset));
            }
        }
    };
    each(&own, "");
    if all {
        for (name, ranges) in &partners {
            each(ranges, &format!(" {name}"));
        }
    }
    Ok(())
}
