//! A process becomes an image and an image a process, twice, on this machine and without the rest of the system: whatever the
//! test guest can observe of itself must have survived.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mos::image::capture::{self, Calls, Injected};
use mos::image::copier::{Copier, Files};
use mos::image::restore::{Built, GuestBuilder, gadget};
use mos::image::{Area, HomeId, Kind, Meta, Resume, areas, check, vdso};
use mos::sys::inject::Injector;
use mos::sys::ptrace::{EXITKILL, Now, Running, Stopped, wait_for};
use mos::sys::seccomp::{Response, Rule, Verdict, program};
use mos::sys::status::Status;
use mos::sys::{mem, process, procfs};

const STUB: u64 = 0x2f00_0000_0000;
const SCRATCH: u64 = STUB + 0x1000;
const EXIT_GROUP: i32 = 231;
/// Places of registers in an image.
const RAX: usize = 10;
const RIP: usize = 16;

/// Calls that a guest makes natively: mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, madvise, sigaltstack, and the time.
const LOCAL: [u64; 10] = [9, 10, 11, 12, 13, 14, 28, 131, 228, 96];

/// Compiles a test guest; gives the program and the directory to be removed.
fn compile(name: &str) -> (PathBuf, PathBuf) {
    let dir = std::env::temp_dir().join(format!(
        "mos-{name}-{}-{:?}",
        process::pid(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/image/{name}.c"));
    let program = dir.join(name);
    let made = Command::new("gcc")
        .args(["-O1", "-static", "-w", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    assert!(made.expect("gcc is needed for this test").success());
    (program, dir)
}

fn symbol(program: &Path, name: &str) -> u64 {
    let out = Command::new("nm")
        .arg(program)
        .output()
        .expect("nm is needed for this test");
    let text = String::from_utf8(out.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.ends_with(&format!(" {name}")))
        .unwrap();
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

fn stop(running: Running) -> Stopped {
    match running.stop().unwrap() {
        Now::Stopped(task, Status::Event(..)) => task,
        other => panic!("it did not stop: {other:?}"),
    }
}

fn actions(calls: &mut impl Calls) -> Vec<[u64; 4]> {
    let one = |signo: u64| {
        let (_, out) = calls.call_out(13, [signo, 0, 0, 8, 0, 0], 2, 32).unwrap();
        let word = |at: usize| u64::from_le_bytes(out[at..at + 8].try_into().unwrap());
        [word(0), word(8), word(16), word(24)]
    };
    (1..=64).map(one).collect()
}

/// What a mover does: everything but the contents.
fn capture_home(pid: i32) -> Meta {
    let areas = areas::areas(pid).unwrap();
    assert_eq!(check::why_not(pid, &areas, 0), None);
    let mut thread = capture::thread_state(pid, &areas).unwrap();
    let call = vdso::find_syscall(pid, &areas).unwrap();
    let mut injector = Injector::new(Stopped::known(pid), call).unwrap();
    injector
        .call(9, [SCRATCH, 4096, 3, 0x10_0022, u64::MAX, 0])
        .unwrap();
    let mut calls = Injected::new(injector, SCRATCH);
    let inner = capture::inner_state(&mut calls).unwrap();
    thread.altstack = inner.altstack;
    thread.clear_tid = inner.clear_tid;
    let actions = actions(&mut calls);
    let mut mm = capture::mm_layout(pid).unwrap();
    mm.brk = inner.brk;
    let real = process::realtime_ns();
    Meta {
        memory_limits: [u64::MAX; 2],
        home: HomeId {
            uid: process::uid(),
            gid: process::gid(),
            pid,
            ..HomeId::default()
        },
        stub: STUB,
        threads: vec![thread],
        vdso_hash: vdso::hash(pid, &areas).unwrap(),
        areas,
        mm,
        actions,
        stack_limit: inner.stack_limit,
        sent: mos::image::clocks::Moment::now(0),
        monotonic_offset_ns: process::monotonic_ns() - real,
        boottime_offset_ns: process::boottime_ns() - real,
        comm: "state".to_owned(),
        ..Meta::default()
    }
}

/// What a host does when its guest moves on.
fn capture_guest(pid: i32, meta: &Meta) -> Meta {
    let areas = areas::of_guest(pid, &meta.areas).unwrap();
    let mut thread = capture::thread_state(pid, &areas).unwrap();
    let injector = Injector::new(Stopped::known(pid), gadget(STUB)).unwrap();
    let mut calls = Injected::new(injector, SCRATCH);
    let inner = capture::local_state(&mut calls).unwrap();
    thread.altstack = inner.altstack;
    let own = |area: &Area| area.end <= STUB || STUB + 0x80000 <= area.start;
    let mut mm = meta.mm;
    mm.brk = inner.brk;
    Meta {
        threads: vec![thread],
        areas: areas.into_iter().filter(own).collect(),
        actions: actions(&mut calls),
        mm,
        ..meta.clone()
    }
}

/// Sends the contents and builds a guest from them.
fn build(from: i32, meta: &Meta, inside: bool) -> Built {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let areas = meta.areas.clone();
    let send = move || {
        let mut copier = Copier::new(from, Files::Send, None);
        let look = copier.look_stopped(&areas).unwrap();
        copier.send_last(&areas, &look, &mut there).unwrap();
    };
    let sender = std::thread::spawn(send);
    let conn = inside.then(|| here.as_fd());
    let mut builder = GuestBuilder::create(meta, conn).unwrap();
    builder.receive(&mut here).unwrap();
    sender.join().unwrap();
    let rules = LOCAL.map(|nr| Rule {
        nr,
        tests: vec![],
        verdict: Verdict::Allow,
    });
    builder
        .finish(&program(&rules, Verdict::Notify, Verdict::Kill))
        .unwrap()
}

fn end(built: &Built) {
    for pid in [built.pid, built.anchor].into_iter().filter(|pid| *pid > 0) {
        process::kill(pid, 9).unwrap();
        while !wait_for(pid).unwrap().is_end() {}
    }
}

/// The status with which the guest wants to exit.
fn exit_status(built: &Built) -> u64 {
    for _ in 0..100 {
        if !built.listener.wait_readable(100).unwrap() {
            assert!(
                mos::sys::ptrace::stop_is_there(built.pid).is_ok_and(|stopped| !stopped),
                "it stopped or ended"
            );
            continue;
        }
        let call = built.listener.recv().unwrap().expect("the guest is there");
        if call.nr == EXIT_GROUP {
            return call.args[0];
        }
        built.listener.send(call.id, Response::Error(38)).unwrap();
    }
    panic!("the guest makes no call")
}

struct Home {
    child: Child,
    dir: PathBuf,
    hop: u64,
    seen: u64,
}

impl Home {
    fn start() -> Home {
        Home::running("state", |program| {
            (symbol(program, "hop"), symbol(program, "seen"))
        })
    }

    fn running(name: &str, symbols: impl Fn(&Path) -> (u64, u64)) -> Home {
        let (program, dir) = compile(name);
        let (hop, seen) = symbols(&program);
        let mut child = Command::new(&program)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        Home {
            child,
            dir,
            hop,
            seen,
        }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn hop(pid: i32, at: u64, number: i32) {
    mem::write_all(pid, at, &number.to_le_bytes()).unwrap();
}

/// Waits until the guest has checked itself once; it spins again then.
fn await_seen(built: &Built, at: u64) {
    for _ in 0..2000 {
        let mut seen = [0; 4];
        mem::read_exact(built.pid, at, &mut seen).unwrap();
        if seen == 1i32.to_le_bytes() {
            return;
        }
        if built.listener.wait_readable(10).unwrap() {
            panic!("it ends with {}", exit_status(built));
        }
    }
    panic!("the guest does not go on");
}

fn two_hops(change: impl Fn(&mut Meta), inside: bool) {
    let home = Home::start();
    let _stopped = stop(Running::seize(home.pid(), EXITKILL).unwrap());
    let mut meta = capture_home(home.pid());
    change(&mut meta);
    let first = build(home.pid(), &meta, inside);
    hop(first.pid, home.hop, 1);
    let running = Stopped::known(first.pid).cont(0).unwrap();
    await_seen(&first, home.seen);
    let _stopped = stop(running);
    let onward = capture_guest(first.pid, &meta);
    let second = build(first.pid, &onward, inside);
    end(&first);
    hop(second.pid, home.hop, 2);
    let _running = Stopped::known(second.pid).cont(0).unwrap();
    let status = exit_status(&second);
    end(&second);
    assert_eq!(status, 42, "see the test guest for what this status means");
}

#[test]
fn a_process_survives_two_hops() {
    two_hops(|_| {}, true);
}

#[test]
fn contents_may_come_through_the_builder() {
    two_hops(|_| {}, false);
}

#[test]
fn another_kernels_vdso_is_replaced() {
    two_hops(|meta| meta.vdso_hash = "another".to_owned(), true);
}

#[test]
fn clocks_go_on_as_at_home() {
    const DAY: i64 = 86_400_000_000_000;
    let home = Home::start();
    let _stopped = stop(Running::seize(home.pid(), EXITKILL).unwrap());
    let mut meta = capture_home(home.pid());
    meta.sent.home_ns += DAY;
    meta.monotonic_offset_ns += DAY;
    meta.boottime_offset_ns += DAY;
    let built = build(home.pid(), &meta, true);
    hop(built.pid, home.hop, 1);
    let _running = Stopped::known(built.pid).cont(0).unwrap();
    await_seen(&built, home.seen);
    hop(built.pid, home.hop, 2);
    let status = exit_status(&built);
    end(&built);
    // Between its two readings a day has passed, if the kernel gives guests clocks of their own.
    assert_eq!(
        status,
        if built.clock_offsets == (0, 0) {
            20
        } else {
            42
        }
    );
}

#[test]
fn a_thread_leaves_the_vdso_before_it_is_captured() {
    let home = Home::running("clock", |_| (0, 0));
    let areas = areas::areas(home.pid()).unwrap();
    let vdso = areas.iter().find(|area| area.kind == Kind::Vdso).unwrap();
    let inside = |rip: u64| (vdso.start..vdso.end).contains(&rip);
    let mut running = Running::seize(home.pid(), EXITKILL).unwrap();
    let mut stepped = 0;
    for _ in 0..50 {
        let task = stop(running);
        stepped += u32::from(inside(task.regs().unwrap().rip));
        let thread = capture::thread_state(home.pid(), &areas).unwrap();
        assert!(!inside(thread.regs[RIP]));
        assert_eq!(thread.mask, 0);
        running = task.cont(0).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    assert!(stepped > 0, "it was never inside");
}

#[test]
fn an_interrupted_sleep_is_made_again() {
    let home = Home::running("sleep", |_| (0, 0));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let task = stop(Running::seize(home.pid(), EXITKILL).unwrap());
    let areas = areas::areas(home.pid()).unwrap();
    let thread = capture::thread_state(home.pid(), &areas).unwrap();
    let nr = thread.regs[RAX];
    assert!([35, 230].contains(&nr), "call {nr}");
    assert_eq!(thread.resume, Resume::RestartBlock { nr });
    let mut code = [0; 2];
    mem::read_exact(home.pid(), thread.regs[RIP], &mut code).unwrap();
    assert_eq!(code, [0x0f, 0x05]);
    // Left alone, it sleeps on.
    let _running = task.cont(0).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(procfs::stat(home.pid()).unwrap().state, b'S');
}

#[test]
fn a_guest_is_shut_off() {
    let home = Home::start();
    let _stopped = stop(Running::seize(home.pid(), EXITKILL).unwrap());
    let built = build(home.pid(), &capture_home(home.pid()), true);
    let proc = PathBuf::from(format!("/proc/{}", built.pid));
    let status = std::fs::read_to_string(proc.join("status")).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")))
            .unwrap();
        line.split_ascii_whitespace()
            .next_back()
            .unwrap()
            .to_owned()
    };
    let open = std::fs::read_dir(proc.join("fd")).unwrap().count();
    let namespace = |kind: &str| {
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        link(&built.pid.to_string()) != link("self")
    };
    let others = ["pid", "net", "mnt", "ipc", "uts"].map(namespace);
    let files = std::fs::read_dir(proc.join("root")).unwrap().count();
    let stub = areas::areas(built.pid)
        .unwrap()
        .into_iter()
        .filter(|area| area.start >= STUB && area.end <= STUB + 0x80000);
    let protections: Vec<u32> = stub.map(|area| area.prot).collect();
    end(&built);
    assert_eq!(
        (field("CapEff").as_str(), field("CapPrm").as_str()),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!(
        (field("NoNewPrivs").as_str(), field("Seccomp").as_str()),
        ("1", "2")
    );
    assert_ne!(field("Uid"), "0");
    assert_eq!((open, others, files), (0, [true; 5], 0));
    // Code, output of calls, nothing, times that threads wait.
    assert_eq!(protections, [5, 3, 0, 3]);
}

#[test]
fn an_image_that_cannot_be_is_refused() {
    let home = Home::start();
    let _stopped = stop(Running::seize(home.pid(), EXITKILL).unwrap());
    let meta = capture_home(home.pid());
    let overlapping = Meta {
        areas: [meta.areas.clone(), meta.areas.clone()].concat(),
        ..meta.clone()
    };
    let threadless = Meta {
        threads: vec![],
        ..meta.clone()
    };
    let short = Meta {
        actions: vec![],
        ..meta
    };
    for wrong in [overlapping, threadless, short] {
        assert!(GuestBuilder::create(&wrong, None).is_err());
    }
}
