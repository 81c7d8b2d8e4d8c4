//! Real programs whose every forwarded call takes the way of a request, by a deputy that is the program itself: a tracer stores the
//! input in an area that it has the program map, changes the call to the request's, and unpacks the answer. What such a program
//! does must be what it does natively.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::sys::ptrace::{self, Running, Stopped};
use crate::sys::regs::{NO_CALL, Regs};
use crate::sys::status::{EVENT_EXEC, Status};
use crate::sys::trial;
use crate::syscall::{
    After, Forward, GuestMemory, Home, Plan, ProcessMemory, after, forward, nr, plan, plan_exec,
    table,
};
use crate::wire::channel::{INLINE_IN, OUT_BY_RESULT, STUB_SIZE, UNIT_SHIFT};

/// What the call under way is.
#[derive(Default)]
enum Job {
    /// The program's own, untouched.
    #[default]
    Native,
    /// An area is being mapped; the call comes again.
    Mapping {
        original: Regs,
        len: u64,
    },
    Request {
        original: Regs,
        forward: Box<Forward>,
    },
    Refused {
        error: i32,
    },
}

#[derive(Default)]
struct Task {
    stub: Option<u64>,
    big: Option<(u64, u64)>,
    job: Job,
    /// The next request of a call that has several.
    next: Option<Plan>,
    /// A request that the kernel goes on with by itself.
    block: Option<(Regs, Box<Forward>)>,
}

const MMAP: [u64; 6] = [0, 0, 3, 0x22, u64::MAX, 0];
const RESTART_SYSCALL: u64 = 219;

fn with_call(mut regs: Regs, nr: u64, args: [u64; 6]) -> Regs {
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
    Regs {
        orig_rax: nr,
        ..regs
    }
}

/// These registers before their `syscall` instruction, to make the call again.
fn again(original: &Regs) -> Regs {
    Regs {
        rip: original.rip - 2,
        rax: original.orig_rax,
        orig_rax: NO_CALL,
        ..*original
    }
}

impl Task {
    fn enter(&mut self, task: &Stopped) {
        let regs = task.regs().unwrap();
        let number = regs.orig_rax;
        if number == RESTART_SYSCALL && self.block.is_some() {
            let (original, forward) = self.block.take().unwrap();
            self.job = Job::Request { original, forward };
            return;
        }
        let Some(stub) = self.stub else {
            return self.map(task, regs, STUB_SIZE);
        };
        let home = Home {
            stub,
            big: self.big,
            channels: crate::syscall::Fds::one(super::deputy::CHANNEL),
            pid: task.pid(),
        };
        let guest = ProcessMemory(task.pid());
        let decided = self
            .next
            .take()
            .unwrap_or_else(|| decide(number, regs.args(), &guest, &home));
        match decided {
            Plan::Host(_) | Plan::GoHome(_) => self.job = Job::Native,
            Plan::NeedBig(bytes) => self.map(task, regs, bytes.next_multiple_of(1 << 21)),
            Plan::Errno(error) => {
                self.job = Job::Refused { error };
                task.set_regs(&Regs {
                    orig_rax: NO_CALL,
                    ..regs
                })
                .unwrap();
            }
            Plan::Forward(forward) => {
                let request = &forward.request;
                let in_ptr = if request.in_ptr == 0 {
                    stub + INLINE_IN
                } else {
                    request.in_ptr
                };
                guest.write(in_ptr, &forward.input).unwrap();
                task.set_regs(&with_call(regs, request.nr, request.args))
                    .unwrap();
                self.job = Job::Request {
                    original: regs,
                    forward: Box::new(forward),
                };
            }
        }
    }

    fn map(&mut self, task: &Stopped, original: Regs, len: u64) {
        let mut args = MMAP;
        args[1] = len;
        task.set_regs(&with_call(original, nr::MMAP, args)).unwrap();
        self.job = Job::Mapping { original, len };
    }

    fn leave(&mut self, task: &Stopped) {
        let regs = task.regs().unwrap();
        match std::mem::take(&mut self.job) {
            Job::Native => (),
            Job::Mapping { original, len } => {
                assert!((regs.rax as i64) > 0, "mapping: {}", regs.rax as i64);
                if self.stub.is_none() {
                    self.stub = Some(regs.rax);
                } else {
                    self.big = Some((regs.rax, len));
                }
                task.set_regs(&again(&original)).unwrap();
            }
            Job::Refused { error } => task
                .set_regs(&Regs {
                    rax: -i64::from(error) as u64,
                    ..regs
                })
                .unwrap(),
            Job::Request { original, forward } => self.answer(task, regs, original, forward),
        }
    }

    fn answer(&mut self, task: &Stopped, regs: Regs, original: Regs, forward: Box<Forward>) {
        const REPEATED: std::ops::RangeInclusive<i64> = -516..=-512;
        const BLOCK: i64 = -516;
        let guest = ProcessMemory(task.pid());
        let (request, value) = (&forward.request, regs.rax as i64);
        let streamed = if request.flags & OUT_BY_RESULT != 0 {
            (value.max(0) as u64 * (request.flags >> UNIT_SHIFT)).min(request.out_max)
        } else {
            0
        };
        let mut out = vec![0; (request.out_fixed + streamed) as usize];
        if guest.read(request.out_ptr, &mut out).is_err() && !out.is_empty() {
            panic!("no answer");
        }
        let value = forward.unpack.finish(&guest, value, &out);
        let home = Home {
            stub: self.stub.unwrap(),
            big: self.big,
            channels: crate::syscall::Fds::one(super::deputy::CHANNEL),
            pid: task.pid(),
        };
        if REPEATED.contains(&value) {
            if value == BLOCK {
                self.block = Some((original, forward));
            }
            // The kernel restarts what the program asked, not what was made of it.
            task.set_regs(&Regs {
                rax: regs.rax,
                ..original
            })
            .unwrap();
            return;
        }
        match after(
            &forward,
            original.orig_rax,
            original.args(),
            &guest,
            &home,
            value,
        ) {
            After::Done(value) => {
                let value = Regs {
                    rax: value as u64,
                    orig_rax: NO_CALL,
                    rcx: regs.rcx,
                    r11: regs.r11,
                    ..original
                };
                task.set_regs(&value).unwrap();
            }
            After::More(next) => {
                self.next = Some(*next);
                task.set_regs(&again(&original)).unwrap();
            }
        }
    }
}

/// As a host would, but what a host does is done by the packed call, where there is one.
fn decide(number: u64, args: [u64; 6], guest: &ProcessMemory, home: &Home) -> Plan {
    match plan(number, args, guest, home) {
        Plan::Host(_) if matches!(number, nr::EXECVE | nr::EXECVEAT) => {
            plan_exec(number, args, guest, home)
        }
        Plan::Host(call)
            if table::find(number)
                .is_some_and(|row| row.shape != crate::syscall::shape::Shape::None) =>
        {
            match forward(number, args, guest, home, 0) {
                Plan::Forward(forward) => Plan::Forward(forward),
                _ => Plan::Host(call),
            }
        }
        other => other,
    }
}

/// Waits for any thread that this one traces; others of the test's process have children too.
fn wait() -> Option<(i32, Status)> {
    const WAIT4: u64 = 61;
    const ALL_OF_THIS_THREAD: u64 = 0x4000_0000 | 0x2000_0000;
    let mut status = [0i32];
    loop {
        match trial::call(
            WAIT4,
            [
                u64::MAX,
                status.as_mut_ptr() as u64,
                ALL_OF_THIS_THREAD,
                0,
                0,
                0,
            ],
        ) {
            -10 => return None,
            -4 => (),
            pid => return Some((pid as i32, Status::decode(status[0]))),
        }
    }
}

/// Lets a thread run to its next call, with a signal.
fn go_on(pid: i32, signal: i32) {
    const PTRACE: u64 = 101;
    const PTRACE_SYSCALL: u64 = 24;
    trial::call(PTRACE, [PTRACE_SYSCALL, pid as u64, 0, signal as u64, 0, 0]);
}

fn is_entry(pid: i32) -> bool {
    const PTRACE: u64 = 101;
    const GET_SYSCALL_INFO: u64 = 0x420e;
    let mut info = [0u8; 88];
    trial::call(
        PTRACE,
        [
            GET_SYSCALL_INFO,
            pid as u64,
            88,
            info.as_mut_ptr() as u64,
            0,
            0,
        ],
    );
    info[0] == 1
}

/// Runs a command so; its exit code (128 more than the signal that killed it).
fn run(command: &mut Command) -> i32 {
    let pid = command.spawn().unwrap().id() as i32;
    ptrace::wait_stop(pid).unwrap();
    let options = ptrace::EXITKILL
        | ptrace::TRACECLONE
        | ptrace::TRACEFORK
        | ptrace::TRACEVFORK
        | ptrace::TRACEEXEC;
    Running::seize(pid, options).unwrap();
    crate::sys::process::kill(pid, 18).unwrap();
    let mut tasks: HashMap<i32, Task> = HashMap::new();
    let mut code = -1;
    while let Some((tid, status)) = wait() {
        let task = tasks.entry(tid).or_default();
        match status {
            Status::Exited(value) => {
                tasks.remove(&tid);
                code = if tid == pid { value } else { code };
                continue;
            }
            Status::Signaled(signal, _) => {
                tasks.remove(&tid);
                code = if tid == pid { 128 + signal } else { code };
                continue;
            }
            Status::SyscallStop if is_entry(tid) => task.enter(&Stopped::known(tid)),
            Status::SyscallStop => task.leave(&Stopped::known(tid)),
            Status::Event(EVENT_EXEC, _) => *task = Task::default(),
            Status::GroupStop(_) => {
                let _ = Stopped::known(tid).listen();
                continue;
            }
            Status::SignalStop(signal) => {
                go_on(tid, signal);
                continue;
            }
            Status::Event(..) | Status::Continued => (),
        }
        go_on(tid, 0);
    }
    code
}

/// A shell command, stopped at its beginning.
fn shell(code: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("kill -STOP $$; {code}")])
        .process_group(0);
    command
}

/// Output, errors and exit code of a shell command, natively and by requests.
fn compare(code: &str) {
    let dir = super::deputy::Dir::new(&format!("loop-{}", code.len()));
    let file = |name: &str| dir.path(name);
    let open = |name: &str| Stdio::from(std::fs::File::create(file(name)).unwrap());
    let mut ours = shell(code);
    ours.stdin(Stdio::null())
        .stdout(open("out"))
        .stderr(open("err"));
    let ours = run(&mut ours);
    let native = Command::new("/bin/sh")
        .args(["-c", code])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let read =
        |name: &str| String::from_utf8_lossy(&std::fs::read(file(name)).unwrap()).into_owned();
    assert_eq!(
        read("err"),
        String::from_utf8_lossy(&native.stderr),
        "{code}"
    );
    assert!(
        read("out") == String::from_utf8_lossy(&native.stdout),
        "{code}: {}",
        read("out")
    );
    assert_eq!(Some(ours), native.status.code(), "{code}");
}

#[test]
fn shells_and_pipes() {
    compare("for i in 1 2 3; do echo $i; done | sort -r; ls /etc | wc -l; exit 7");
    compare("cat /etc/passwd | tr a-z A-Z | head -5; false || echo no; (exit 3); echo $?");
    compare("trap 'echo got' USR1; kill -USR1 $$; sleep 0.1 & wait; echo done");
    compare("cat /nonexistent; cd /; pwd; umask 077; umask; ulimit -n");
}

#[test]
fn files_of_all_sizes() {
    compare(
        "d=$(mktemp -d); cd $d; dd if=/dev/zero of=x bs=20M count=2 2>/dev/null; cksum x; cp x y; cmp x y; rm -r $d",
    );
    compare(
        "d=$(mktemp -d); cd $d; tar cf - /etc/init.d /usr/include/linux 2>/dev/null | tar xf -; find . | sort | cksum; rm -r $d",
    );
    compare(
        "ls -l /proc/self/fd/ | wc -l; stat -c %s /etc/passwd; readlink /proc/self/exe; df / >/dev/null && echo ok",
    );
}

/// A command of one's own: `MOS_TRIAL='command' cargo test loopback::by_hand -- --nocapture`.
#[test]
fn by_hand() {
    if let Ok(code) = std::env::var("MOS_TRIAL") {
        std::process::exit(run(&mut shell(&code)));
    }
}
