//! mostimeof: how long processes have computed, wherever that was.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::{Arg, Command, value_parser};
use mos::sys::unix;
use mos::wire::control::ProcInfo;

use crate::cluster;
use crate::common::{fail, parse};
use crate::proc::Stat;

pub fn command() -> Command {
    Command::new("mostimeof")
        .about("says how much user CPU time processes have used, at home and away")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("pid")
                .value_name("PID")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(i32).range(1..))
                .help("Processes, as mosps lists them"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let listed = cluster::connect().and_then(|mut client| cluster::list(&mut client, true, false));
    let procs = match listed {
        Ok(procs) => procs,
        Err(error) => return fail("mostimeof", error),
    };
    let mut status = 0;
    for pid in matches.get_many::<i32>("pid").unwrap_or_default() {
        match time_of(*pid, &procs) {
            Ok(time) => println!("{pid}: {}", shown(time)),
            Err(error) => status = fail("mostimeof", error),
        }
    }
    status
}

fn time_of(pid: i32, procs: &[ProcInfo]) -> io::Result<Duration> {
    let info = procs.iter().find(|info| info.pid == pid).ok_or_else(|| {
        io::Error::other(format!(
            "{pid} is no process that was started by mosrun here"
        ))
    })?;
    let stat = Stat::of(pid).ok_or_else(|| io::Error::other(format!("{pid} has ended")))?;
    let home = Duration::from_micros(stat.user_ticks * 1_000_000 / unix::clock_ticks());
    Ok(home + Duration::from_nanos(info.cpu_away_ns))
}

/// Hours, minutes and seconds, as far as they are needed.
fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    let centis = time.subsec_millis() / 10;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}.{centis:02} seconds"),
        (0, m, s) => format!("{m}:{s:02}.{centis:02} minutes"),
        (h, m, s) => format!("{h}:{m:02}:{s:02} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(shown(Duration::from_millis(1234)), "1.23 seconds");
        assert_eq!(shown(Duration::from_millis(61_050)), "1:01.05 minutes");
        assert_eq!(shown(Duration::from_secs(3661)), "1:01:01 hours");
    }
}
