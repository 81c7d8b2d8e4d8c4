//! Where it is measured: two nodes on this machine, workers on them, and the CPUs on which all of it runs.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use mos::config::Paths;
use mos::migrate::live::WORTHWHILE_VARIABLE as LIVE_FROM;
use mos::sys::{affinity, socket};
use mos::wire::client::Client;
use mos::wire::control::{Figures, Outcome, Target};

use super::report::Placement;
use super::stats::Pairs;
use super::worker;
use crate::cluster as tools;

/// How long one round of one side takes.
const ROUND: Duration = Duration::from_millis(60);
const QUICK_ROUND: Duration = Duration::from_millis(2);
/// Rounds of calls, and of moves of much memory.
const ROUNDS: usize = 25;
const LONG_ROUNDS: usize = 7;
const FEW_ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;

/// The two nodes; node 1 is home.
pub struct Lab {
    client: Client,
    dir: PathBuf,
    other: Ipv4Addr,
    /// The daemons of both.
    pub daemons: [i32; 2],
    /// The CPUs that this process may use.
    cpus: Vec<usize>,
    quick: bool,
    /// Where things run now.
    placement: Placement,
}

impl Lab {
    /// Inside of a playground, as its environment says.
    pub fn open(quick: bool) -> io::Result<Lab> {
        let dir = std::env::var_os("MOS_PLAYGROUND")
            .ok_or_else(|| io::Error::other("there is no playground"))?;
        let dir = PathBuf::from(dir);
        let mut client = tools::connect()?;
        let other = client.resolve("2")?.address;
        let far = Client::connect(&Paths::under(dir.join("node-2")))?;
        Ok(Lab {
            daemons: [socket::peer_pid(&client)?, socket::peer_pid(&far)?],
            client,
            dir,
            other,
            cpus: affinity::allowed()?,
            quick,
            placement: Placement::Any,
        })
    }

    pub fn quick(&self) -> bool {
        self.quick
    }

    /// The placements that this machine has.
    pub fn placements(&self) -> &'static [Placement] {
        if self.cpus.len() > 1 {
            &[Placement::One, Placement::Two]
        } else {
            &[Placement::One]
        }
    }

    /// The command of that name of this playground.
    pub fn command(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Has home and the other node run there, and whatever is started from now on.
    pub fn place(&mut self, placement: Placement) -> io::Result<()> {
        self.placement = placement;
        affinity::pin(0, self.home_cpus())?;
        affinity::pin(self.daemons[0], self.home_cpus())?;
        affinity::pin(self.daemons[1], self.far_cpus())
    }

    fn home_cpus(&self) -> &[usize] {
        match self.placement {
            Placement::One | Placement::Two => &self.cpus[..1],
            Placement::Any => &self.cpus,
        }
    }

    fn far_cpus(&self) -> &[usize] {
        match self.placement {
            Placement::One => &self.cpus[..1],
            Placement::Two => &self.cpus[1..2],
            Placement::Any => &self.cpus,
        }
    }

    /// A worker that knows nothing of mos, at home.
    pub fn native(&self) -> io::Result<Worker> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(worker::NAME);
        Worker::start(command)
    }

    /// One that runs where the other node does.
    fn native_far(&self) -> io::Result<Worker> {
        let worker = self.native()?;
        affinity::pin(worker.pid(), self.far_cpus())?;
        Ok(worker)
    }

    /// A worker under mosrun, at home.
    pub fn at_home(&self) -> io::Result<Worker> {
        Worker::start(self.under_mosrun())
    }

    /// One that is stopped while all of its memory goes.
    pub fn never_live(&self) -> io::Result<Worker> {
        let mut command = self.under_mosrun();
        command.env(LIVE_FROM, u64::MAX.to_string());
        Worker::start(command)
    }

    fn under_mosrun(&self) -> Command {
        let mut command = Command::new(self.command("mosrun"));
        command.args(["-z", "/proc/self/exe", worker::NAME]);
        command
    }

    /// A worker whose home is node 1, on the other node.
    pub fn away(&mut self) -> io::Result<Worker> {
        let worker = self.at_home()?;
        self.send_out(worker.pid())?;
        Ok(worker)
    }

    /// Two workers with a TCP connection: one at home, one where the other node runs.
    pub fn connected(&self) -> io::Result<[Worker; 2]> {
        let (mut home, mut far) = (self.native()?, self.native_far()?);
        let port = home.ask("listen")?;
        home.tell("accept")?;
        far.ask(&format!("connect {port}"))?;
        home.answer()?;
        Ok([home, far])
    }

    pub fn send_out(&mut self, pid: i32) -> io::Result<Figures> {
        self.order(pid, Target::Node(self.other))
    }

    pub fn bring_home(&mut self, pid: i32) -> io::Result<Figures> {
        self.order(pid, Target::Home)
    }

    fn order(&mut self, pid: i32, to: Target) -> io::Result<Figures> {
        match tools::order_move(&mut self.client, pid, to, true)? {
            Outcome::Moved(figures) => Ok(figures),
            Outcome::Done => Err(io::Error::other("it was there already")),
            Outcome::Stayed(why) => Err(io::Error::other(format!("it was not moved: {why}"))),
            Outcome::Gone => Err(io::Error::other("it ended on its way")),
        }
    }

    /// Measures both sides in turns. Each is told how often to do it and gives the time in nanoseconds; the pairs are
    /// nanoseconds for doing it once.
    pub fn in_turns(
        &self,
        ours: &mut dyn FnMut(u64) -> io::Result<u64>,
        theirs: &mut dyn FnMut(u64) -> io::Result<u64>,
    ) -> io::Result<Pairs> {
        let counts = [self.calibrate(ours)?, self.calibrate(theirs)?];
        let mut pairs = Pairs::default();
        for round in self.rounds(ROUNDS) {
            progress(round);
            let mine = ours(counts[0])? as f64 / counts[0] as f64;
            let other = theirs(counts[1])? as f64 / counts[1] as f64;
            pairs.add(mine, other);
        }
        Ok(pairs)
    }

    /// How often it is done in one round; warms up on the way.
    fn calibrate(&self, side: &mut dyn FnMut(u64) -> io::Result<u64>) -> io::Result<u64> {
        let wanted = if self.quick { QUICK_ROUND } else { ROUND }.as_nanos() as u64;
        let mut count = 1;
        loop {
            let took = side(count)?.max(1);
            if took * 2 >= wanted {
                return Ok((count * wanted / took).max(1));
            }
            count = (count * wanted / took).clamp(count * 2, count * 16);
        }
    }

    /// Round by round, of what takes long.
    pub fn long_rounds(&self) -> impl Iterator<Item = usize> + use<> {
        self.rounds(LONG_ROUNDS)
    }

    /// Round by round.
    pub fn all_rounds(&self) -> impl Iterator<Item = usize> + use<> {
        self.rounds(ROUNDS)
    }

    /// Round by round, of what takes longest.
    pub fn few_rounds(&self) -> impl Iterator<Item = usize> + use<> {
        1..=if self.quick { 1 } else { FEW_ROUNDS }
    }

    fn rounds(&self, full: usize) -> impl Iterator<Item = usize> + use<> {
        1..=if self.quick { QUICK_ROUNDS } else { full }
    }
}

/// Says on a terminal how far it is.
pub fn progress(round: usize) {
    if io::stderr().is_terminal() {
        eprint!(" {round}");
    }
}

/// Says on a terminal what is measured now; nothing more if `what` is empty.
pub fn announce(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

/// Touches and frees so much memory, since memory that the machine gets anew is slow at first, whoever gets it.
pub fn warm(bytes: usize) {
    std::hint::black_box(vec![1u8; bytes]);
}

/// A process that is measured. It ends with this.
pub struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(command: Command) -> io::Result<Worker> {
        let mut worker = Worker::spawn(command)?;
        // Once it answers it is the worker, and no longer mosrun.
        worker.ask("pid")?;
        Ok(worker)
    }

    /// Some other program, which writes a number when it runs and then waits for input.
    pub fn other(command: Command) -> io::Result<Worker> {
        let mut worker = Worker::spawn(command)?;
        worker.answer()?;
        Ok(worker)
    }

    fn spawn(mut command: Command) -> io::Result<Worker> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(answers)) => Ok(Worker {
                child,
                orders,
                answers: BufReader::new(answers),
            }),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Gives an order and waits for the answer.
    pub fn ask(&mut self, order: &str) -> io::Result<u64> {
        self.tell(order)?;
        self.answer()
    }

    pub fn tell(&mut self, order: &str) -> io::Result<()> {
        self.orders.write_all(format!("{order}\n").as_bytes())
    }

    pub fn answer(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let line = line.trim();
        line.parse().map_err(|_| match line {
            "" => io::Error::other("a worker has ended"),
            why => io::Error::other(format!("a worker {why}")),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already has nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
