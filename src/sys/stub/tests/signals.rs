//! Signals that reach a child in the stub: idle, in a call, on the way into one, under fire; and how they outlive its leaving.

use std::time::Duration;

use super::child::{BASE, Child, start, wait};
use super::*;

/// Signal actions of a child that catches everything with the stub's handler.
fn caught() -> Vec<u8> {
    let action = [BASE + handler(), 0x0400_0004, BASE + restorer(), !0u64];
    action
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect::<Vec<u8>>()
        .repeat(64)
}

fn let_in(child: &mut Child, mask: u64) {
    assert_eq!(
        child
            .ask(
                &Request {
                    flags: SET_ACTIONS,
                    ..Request::default()
                },
                &caught()
            )
            .0,
        0
    );
    set_mask(child, mask);
}

fn mask_request(mask: u64) -> Request {
    let args = [libc::SIG_SETMASK as u64, BASE + INLINE_IN, 0, 8, 0, 0];
    let nr = libc::SYS_rt_sigprocmask as u64;
    Request {
        flags: SET_MASK,
        nr,
        args,
        child_fd: mask,
        ..Request::default()
    }
}

fn set_mask(child: &mut Child, mask: u64) {
    assert_eq!(child.ask(&mask_request(mask), &mask.to_le_bytes()).0, 0);
}

fn kill(pid: i32, signo: i32) {
    // SAFETY: a signal to our own child.
    assert_eq!(unsafe { libc::kill(pid, signo) }, 0);
}

/// Queues `SIGRTMIN + 6` with a value; waits while the kernel has no room.
fn shoot(pid: i32, shot: i32) {
    let value = libc::sigval {
        sival_ptr: shot as usize as *mut _,
    };
    // SAFETY: a signal to our own child.
    while unsafe { libc::sigqueue(pid, 40, value) } != 0 {
        std::thread::yield_now();
    }
}

/// The value that came with a queued signal.
fn shot(info: &[u8]) -> i32 {
    i32::from_le_bytes(info[24..28].try_into().unwrap())
}

fn take(child: &mut Child, signo: i32) {
    let (answer, info) = child.frame();
    assert_eq!(
        (answer.kind, answer.value, i32::from(info[0])),
        (KIND_SIGNAL, i64::from(signo), signo)
    );
    assert_eq!(info.len(), SIGINFO_LEN);
}

#[test]
fn actions_are_given_as_the_kernel_has_them() {
    let mut child = start();
    let place = BASE + INLINE_IN;
    let_in(&mut child, !0);
    let get = Request {
        flags: GET_ACTIONS,
        out_ptr: place,
        out_fixed: 64 * 32,
        ..Request::default()
    };
    let (_, actions) = child.ask(&get, &[]);
    for (signo, (have, want)) in (1..).zip(actions.chunks(32).zip(caught().chunks(32))) {
        if signo == libc::SIGKILL || signo == libc::SIGSTOP {
            assert_eq!(have[..8], [0; 8]);
        } else {
            assert_eq!(have[..24], want[..24]);
        }
    }
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn signals_arrive_when_idle_and_interrupt_calls() {
    let mut child = start();
    let_in(&mut child, 0);
    kill(child.pid, libc::SIGUSR1);
    take(&mut child, libc::SIGUSR1);
    let (from, _) = child.pipe();
    let args = [from, BASE + INLINE_IN, 100, 0, 0, 0];
    let read = Request {
        flags: ABORTABLE | PROGRAM,
        nr: libc::SYS_read as u64,
        args,
        ..Request::default()
    };
    child.send(&read, &[]);
    std::thread::sleep(Duration::from_millis(30));
    kill(child.pid, libc::SIGUSR2);
    take(&mut child, libc::SIGUSR2);
    assert!(matches!(
        child.frame().0,
        Answer {
            kind: KIND_REPLY,
            value: -4 | ABORTED,
            ..
        }
    ));
    assert_eq!(child.end(), libc::SIGKILL);
}

#[test]
fn a_full_queue_keeps_the_rest_in_the_kernel() {
    const SHOTS: i32 = 200;
    let mut child = start();
    let_in(&mut child, !0);
    for shot in 0..SHOTS {
        shoot(child.pid, shot);
    }
    child.send(
        &Request {
            nr: libc::SYS_getppid as u64,
            ..Request::default()
        },
        &[],
    );
    assert_eq!(child.frame().0.kind, KIND_REPLY);
    child.send(&mask_request(1), &1u64.to_le_bytes());
    let (mut next, mut replies) = (0, 0);
    while next < SHOTS {
        let (answer, info) = child.frame();
        if answer.kind == KIND_REPLY {
            replies += 1;
            continue;
        }
        assert_eq!(shot(&info), next);
        next += 1;
    }
    assert_eq!(replies, 1);
    // The mask that a full queue brought about has gone again, and the program's own is there.
    let args = [0, 0, BASE + INLINE_IN, 8, 0, 0];
    let ask = Request {
        nr: libc::SYS_rt_sigprocmask as u64,
        args,
        ..Request::default()
    };
    let (_, mask) = child.ask(
        &Request {
            out_ptr: BASE + INLINE_IN,
            out_fixed: 8,
            ..ask
        },
        &[],
    );
    assert_eq!(mask, 1u64.to_le_bytes());
    // The latest are pending again on the way back, and their action is the default one.
    assert_eq!(child.end(), 40);
}

#[test]
fn a_rollback_takes_sent_signals_again_with_the_old_actions() {
    let mut child = start();
    let_in(&mut child, 0);
    kill(child.pid, libc::SIGUSR1);
    take(&mut child, libc::SIGUSR1);
    assert_eq!(child.end(), libc::SIGUSR1);
}

#[test]
fn a_resumed_process_has_its_registers_and_mask() {
    for (mask, status) in [(!0, 43 << 8), (0, libc::SIGUSR2)] {
        let mut child = start();
        let actions = Request {
            flags: GET_ACTIONS,
            out_ptr: BASE + INLINE_IN,
            out_fixed: 64 * 32,
            ..Request::default()
        };
        let (_, original) = child.ask(&actions, &[]);
        let_in(&mut child, 0);
        child.ask(
            &Request {
                flags: PROGRAM,
                nr: libc::SYS_getpid as u64,
                ..Request::default()
            },
            &[],
        );
        set_mask(&mut child, !0);
        kill(child.pid, libc::SIGUSR2);
        child.ask(
            &Request {
                flags: SET_ACTIONS,
                ..Request::default()
            },
            &original,
        );
        let at = BASE + STAGING + 0x4000;
        let frame = landing::frame(landing::CODE_RESUMED, mask, at);
        child.send(
            &Request {
                flags: RESUME,
                in_ptr: at,
                out_ptr: at,
                ..Request::default()
            },
            &frame,
        );
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut child.stream, &mut rest).unwrap();
        assert_eq!(rest, []);
        assert_eq!(wait(child.pid), status);
    }
}

#[test]
fn no_queued_signal_is_lost_under_fire() {
    const SHOTS: i32 = 3000;
    for flags in [ABORTABLE, ABORTABLE | PROGRAM] {
        let mut child = start();
        let_in(&mut child, 0);
        let pid = child.pid;
        let shooter = std::thread::spawn(move || {
            for shot in 0..SHOTS {
                shoot(pid, shot);
                // Now dense, now sparse, so that they hit every place of the loop.
                (0..shot * 37 % 1500).for_each(|_| std::hint::spin_loop());
            }
        });
        let (mut next, mut answered) = (0, 0);
        while next < SHOTS {
            child.send(
                &Request {
                    flags,
                    nr: libc::SYS_getppid as u64,
                    ..Request::default()
                },
                &[],
            );
            loop {
                let (answer, info) = child.frame();
                if answer.kind == KIND_REPLY {
                    assert!(
                        answer.value == ABORTED || answer.value == i64::from(std::process::id())
                    );
                    answered += i32::from(answer.value != ABORTED);
                    break;
                }
                assert_eq!(shot(&info), next);
                next += 1;
            }
        }
        shooter.join().unwrap();
        assert!(answered > 0);
        assert_eq!(child.call(libc::SYS_getpid, [0; 6]), i64::from(pid));
        // SAFETY: ends our own child, whatever its state.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        assert_eq!(child.end(), libc::SIGKILL);
    }
}

#[test]
fn a_signal_before_a_blocking_call_never_waits_for_it() {
    let mut child = start();
    let_in(&mut child, 0);
    let (from, _) = child.pipe();
    let args = [from, BASE + INLINE_IN, 100, 0, 0, 0];
    let read = Request {
        flags: ABORTABLE | PROGRAM,
        nr: libc::SYS_read as u64,
        args,
        ..Request::default()
    };
    child
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for round in 0..2000 {
        child.send(&read, &[]);
        (0..round * 13 % 4000).for_each(|_| std::hint::spin_loop());
        shoot(child.pid, round);
        // While the stub is idle still, it sends signals by itself, and the call begins without them: try until one meets it.
        let (mut shots, mut taken, mut replied) = (1, 0, false);
        while taken < shots || !replied {
            let (answer, _) = child.frame();
            if answer.kind == KIND_REPLY {
                assert!(
                    matches!(answer.value, -4 | ABORTED) && taken > 0,
                    "{}",
                    answer.value
                );
                replied = true;
                continue;
            }
            taken += 1;
            if !replied {
                shoot(child.pid, round);
                shots += 1;
            }
        }
    }
    assert_eq!(child.end(), libc::SIGKILL);
}
