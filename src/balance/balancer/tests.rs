use super::*;
use crate::balance::Bound;
use crate::wire::cpu::Cpu;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

fn place(node: Ipv4Addr, running: f64) -> Place {
    Place {
        node,
        speed: 1.0,
        cpus: 1.0,
        running,
        mem_total: 1000.0,
        mem_free: 900.0,
        blocked: false,
        cpu: None,
        most: f64::INFINITY,
        cluster: 0,
        ours: true,
    }
}

fn process(id: u64, used: f64) -> Process {
    Process {
        id,
        home: A,
        cluster: 0,
        used,
        demand: 1.0,
        memory: 10.0,
        needs: 0.0,
        calls: 0.0,
        call_mb: 0.0,
        stayed: 10.0,
        movable: true,
        bound: None,
    }
}

fn moves(here: &Place, processes: &[Process], view: &[Place]) -> Vec<(u64, Ipv4Addr)> {
    let mut balancer = Balancer::new(Costs::default());
    let asking = balancer.consider(here, processes, view, 0);
    let what = |asking: &Asking| {
        let answer = Answer {
            id: asking.ask.id,
            yes: true,
            shut: false,
            running: 0,
            free: 0,
        };
        match balancer.answered(asking.to, &answer, 0).unwrap().what {
            What::Move(id) => (id, asking.to),
            What::Start(_) => panic!("nothing starts"),
        }
    };
    asking.iter().map(what).collect()
}

#[test]
fn load_is_evened_out_and_then_left_alone() {
    let three: Vec<Process> = (1..=3).map(|id| process(id, id as f64)).collect();
    let view = [place(B, 0.0), place(C, 0.0)];
    // Those that have run longest go; one stays.
    assert_eq!(
        moves(&place(A, 3.0), &three, &view)
            .iter()
            .map(|m| m.0)
            .collect::<Vec<_>>(),
        [3, 2]
    );
    assert_eq!(moves(&place(A, 2.0), &three[..2], &[place(B, 1.0)]), []);
    assert_eq!(moves(&place(A, 1.0), &three[..1], &[place(B, 0.0)]), []);
}

#[test]
fn speed_draws_and_memory_and_blocking_keep_away() {
    let one = [process(1, 5.0)];
    let fast = Place {
        speed: 2.0,
        ..place(B, 0.0)
    };
    assert_eq!(moves(&place(A, 1.0), &one, &[fast]), [(1, B)]);
    let full = Place {
        mem_free: 40.0,
        ..fast
    };
    assert_eq!(moves(&place(A, 1.0), &one, &[full]), []);
    let blocked = Place {
        blocked: true,
        ..fast
    };
    assert_eq!(moves(&place(A, 1.0), &one, &[blocked]), []);
}

#[test]
fn nobody_is_asked_who_would_have_to_refuse() {
    let here = Cpu::here();
    let less = here.without(&["cx16".to_owned()]).unwrap();
    let bound = |needs: Cpu, begins: bool| Process {
        bound: Some(Bound { needs, begins }),
        ..process(1, 10.0)
    };
    let with = |node: Ipv4Addr, cpu: Option<Cpu>| Place {
        cpu,
        ..place(node, 0.0)
    };
    let [unlike, like] = [with(B, Some(less)), with(C, Some(here))];
    let busy = place(A, 3.0);
    assert_eq!(
        moves(&busy, &[bound(here, false)], &[unlike, like]),
        [(1, C)]
    );
    assert_eq!(moves(&busy, &[bound(here, false)], &[unlike]), []);
    // Nothing is known of it.
    assert_eq!(moves(&busy, &[bound(here, false)], &[with(B, None)]), []);
    assert_eq!(
        moves(&busy, &[process(1, 10.0)], &[with(B, None)]),
        [(1, B)]
    );
    // More than it needs does no harm, but to a program that is about to look.
    assert_eq!(moves(&busy, &[bound(less, false)], &[like]), [(1, C)]);
    let balancer = Balancer::new(Costs::default());
    assert_eq!(
        balancer.best_for(&busy, &bound(less, true), &[like]),
        Some(A)
    );
    assert_eq!(
        balancer.best_for(&busy, &bound(less, true), &[unlike]),
        Some(B)
    );
    // Home is home.
    let guest = Process {
        home: B,
        ..bound(here, false)
    };
    assert_eq!(moves(&busy, &[guest], &[unlike]), [(1, B)]);
}

#[test]
fn what_cannot_gain_stays() {
    let crowded = place(A, 4.0);
    let view = [place(B, 0.0)];
    let with = |change: &dyn Fn(&mut Process)| {
        let mut one = process(1, 5.0);
        change(&mut one);
        moves(&crowded, &[one], &view).len()
    };
    assert_eq!(with(&|_| {}), 1);
    assert_eq!(with(&|one| one.movable = false), 0);
    assert_eq!(with(&|one| one.demand = 0.1), 0, "interactive");
    assert_eq!(with(&|one| one.stayed = 0.1), 0, "just come");
    assert_eq!(
        with(&|one| one.memory = 800.0),
        0,
        "takes longer to move than it gains"
    );
    assert_eq!(with(&|one| one.calls = 1e6), 0, "its calls would travel");
    let mut away = process(1, 5.0);
    (away.home, away.calls) = (B, 1e5);
    assert_eq!(
        moves(&place(A, 1.0), &[away], &[place(B, 0.0)]),
        [(1, B)],
        "pulled home"
    );
}

#[test]
fn a_node_without_memory_gives_away_what_suffices() {
    let starved = Place {
        mem_free: 10.0,
        ..place(A, 3.0)
    };
    let sized = |id: u64, memory: f64| Process {
        memory,
        used: 100.0,
        ..process(id, 0.0)
    };
    let processes = [sized(1, 5.0), sized(2, 60.0), sized(3, 600.0)];
    assert_eq!(moves(&starved, &processes, &[place(B, 3.0)])[0], (2, B));
    // Even if it waits, and has hardly used anything yet.
    let waits = |id: u64, memory: f64| Process {
        demand: 0.0,
        used: 0.1,
        calls: 1e6,
        ..sized(id, memory)
    };
    let processes = [waits(1, 5.0), waits(2, 60.0), waits(3, 600.0)];
    assert_eq!(moves(&starved, &processes, &[place(B, 3.0)]), [(2, B)]);
}

#[test]
fn questions_and_moves_are_limited_and_forgotten() {
    let mut balancer = Balancer::new(Costs::default());
    let many: Vec<Process> = (0..40).map(|id| process(id, 1.0)).collect();
    let view: Vec<Place> = (10..50)
        .map(|n| place(Ipv4Addr::new(10, 0, 1, n), 0.0))
        .collect();
    assert_eq!(
        balancer.consider(&place(A, 40.0), &many, &view, 0).len(),
        MAX_OPEN
    );
    assert_eq!(balancer.consider(&place(A, 40.0), &many, &view, 0).len(), 0);
    assert_eq!(balancer.expire(ANSWER_WAIT).len(), MAX_OPEN);
    balancer.leaves(&many[0], 0);
    assert_eq!(balancer.expected(&place(A, 40.0)).running, 39.0);
    balancer.left(0, false, 0);
    assert!(!balancer.may_move(&many[0]) && balancer.may_move(&many[1]));
    balancer.expire(REST);
    assert!(balancer.may_move(&many[0]));
}

#[test]
fn programs_start_where_they_get_most() {
    let mut balancer = Balancer::new(Costs::default());
    let new = process(0, 0.0);
    let view = [place(B, 2.0), place(C, 0.0)];
    assert_eq!(
        balancer.best_for(&place(A, 0.0), &new, &view),
        Some(A),
        "as good as any"
    );
    assert!(
        matches!(balancer.place(1, &place(A, 1.0), &new, &view, 0), Choice::Ask(asking) if asking.to == C)
    );
    assert_eq!(
        balancer.place(2, &place(A, 0.0), &new, &view, 0),
        Choice::Here
    );
    // What was started counts, though it does not run yet.
    assert!(matches!(
        balancer.place(3, &place(A, 0.0), &new, &view, 0),
        Choice::Ask(_)
    ));
    let large = Process {
        needs: 5000.0,
        ..new
    };
    assert_eq!(
        balancer.place(4, &place(A, 0.0), &large, &view, 0),
        Choice::Nowhere
    );
}

#[test]
fn clusters_keep_to_their_relations() {
    let crowded = place(A, 4.0);
    let abroad = |ours| Place {
        cluster: 1,
        ours,
        ..place(B, 0.0)
    };
    let one = process(1, 5.0);
    assert_eq!(moves(&crowded, &[one], &[abroad(true)]), [(1, B)]);
    assert_eq!(moves(&crowded, &[one], &[abroad(false)]), []);
    // Of two that are as good, the one where nobody else comes first.
    let view = [abroad(true), place(C, 0.0)];
    assert_eq!(moves(&crowded, &[one], &view), [(1, C)]);
    // A guest goes on within this cluster, or back to its own, but not to a third.
    let guest = Process {
        home: Ipv4Addr::new(10, 0, 2, 1),
        cluster: 2,
        ..one
    };
    assert_eq!(moves(&crowded, &[guest], &[abroad(true)]), []);
    assert_eq!(moves(&crowded, &[guest], &[place(C, 0.0)]), [(1, C)]);
    let own = Place {
        cluster: 2,
        ours: false,
        ..place(B, 0.0)
    };
    assert_eq!(moves(&crowded, &[guest], &[own]), [(1, B)]);
}

#[test]
fn who_takes_none_is_not_asked_again_at_once() {
    let mut balancer = Balancer::new(Costs::default());
    let (here, one, view) = (place(A, 4.0), [process(1, 5.0)], [place(B, 0.0)]);
    let asking = balancer.consider(&here, &one, &view, 0)[0];
    let answer = Answer {
        id: asking.ask.id,
        yes: false,
        shut: true,
        running: 0,
        free: 0,
    };
    assert!(!balancer.answered(B, &answer, 0).unwrap().yes);
    assert_eq!(balancer.consider(&here, &one, &view, SHUT - 1), []);
    let other = Process { home: C, ..one[0] };
    assert_eq!(balancer.consider(&here, &[other], &view, 1).len(), 1);
    let later = SHUT + ANSWER_WAIT;
    assert_eq!(balancer.consider(&here, &one, &view, later).len(), 1);
}

#[test]
fn where_processes_would_be_frozen_nothing_goes_and_little_starts() {
    let marked = |node, running| Place {
        most: 2.0,
        ..place(node, running)
    };
    let crowded = place(A, 6.0);
    assert_eq!(moves(&crowded, &[process(1, 5.0)], &[marked(B, 1.5)]), []);
    assert_eq!(
        moves(&crowded, &[process(1, 5.0)], &[marked(B, 1.0)]),
        [(1, B)]
    );
    let balancer = Balancer::new(Costs::default());
    let new = process(0, 0.0);
    let best = |running, there| balancer.best_for(&marked(A, running), &new, &[place(B, there)]);
    assert_eq!(best(1.0, 3.0), Some(A));
    assert_eq!(best(2.0, 9.0), Some(B));
    assert_eq!(
        balancer.best_for(&marked(A, 2.0), &new, &[marked(B, 2.0)]),
        Some(A),
        "frozen anywhere: at home then"
    );
}
