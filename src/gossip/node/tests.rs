use super::*;

type Part = Gossip<u32>;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn nodes(count: u8) -> Arc<[Ipv4Addr]> {
    (1..=count).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect()
}

fn parts(count: u8) -> Vec<Part> {
    let nodes = nodes(count);
    let part = |node: &Ipv4Addr| Part::new(*node, nodes.clone(), 7, 0);
    nodes.iter().map(part).collect()
}

/// Delivers messages and what answers them, except between nodes that `cut` separates.
fn deliver(
    parts: &mut [Part],
    mut messages: Vec<Message<u32>>,
    now: Time,
    cut: &dyn Fn(usize, usize) -> bool,
) {
    let number = |node: Ipv4Addr| usize::from(node.octets()[3]) - 1;
    let mut rounds = 0;
    while let Some(message) = messages.pop() {
        let (from, to) = (number(message.from), number(message.to));
        if !cut(from, to) {
            messages.extend(parts[to].receive(&message, now).0);
        }
        rounds += 1;
        assert!(rounds < 10_000, "they never stop");
    }
}

/// Lets time pass; a small generator of numbers is good enough here.
fn run(parts: &mut [Part], from: Time, to: Time, cut: &dyn Fn(usize, usize) -> bool) {
    let mut state = from + 1;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 11
    };
    for now in (from..to).step_by(50) {
        for at in 0..parts.len() {
            if parts[at].next_tick() <= now {
                let messages = parts[at].tick(now, &mut random);
                deliver(parts, messages, now, cut);
            }
        }
    }
}

fn joined(_: usize, _: usize) -> bool {
    false
}

#[test]
fn two_nodes_find_each_other_at_once() {
    let mut parts = parts(2);
    parts[0].set_info(5);
    run(&mut parts, 0, 1, &joined);
    assert!(parts.iter().all(|part| part.up() == 2));
    run(&mut parts, 50, 2000, &joined);
    assert_eq!(parts[1].known(A, 2000).unwrap().info, 5);
}

#[test]
fn old_messages_say_nothing() {
    let mut parts = parts(2);
    run(&mut parts, 0, 1000, &joined);
    let old = parts[0].message(1, Telling::All, 1000);
    assert!(parts[1].receive(&old, 1000).0.is_some());
    assert_eq!(parts[1].receive(&old, 1000), (None, None));
    // Nor to a mosd that was started anew: it answers, but learns nothing.
    let mut later = Part::new(B, nodes(2), 8, 2000);
    let (answer, _) = later.receive(&old, 2000);
    assert!(answer.is_some() && later.standing(A) == Standing::Unknown);
    assert_eq!(later.receive(&old, 2050), (None, None), "not too often");
}

#[test]
fn strangers_are_not_heard() {
    let mut parts = parts(2);
    let mut message = parts[0].message(1, Telling::All, 0);
    message.from = Ipv4Addr::new(10, 0, 9, 9);
    assert_eq!(parts[1].receive(&message, 0), (None, None));
    let mut message = parts[0].message(1, Telling::All, 0);
    message.to = A;
    assert_eq!(parts[1].receive(&message, 0), (None, None));
}

#[test]
fn a_dead_node_is_missed_by_all_and_found_when_it_is_back() {
    let mut parts = parts(9);
    run(&mut parts, 0, 5000, &joined);
    assert!(parts.iter().all(|part| part.up() == 9));
    let dead = |from: usize, to: usize| from == 1 || to == 1;
    run(&mut parts, 5000, 12_000, &dead);
    for (at, part) in parts.iter().enumerate().filter(|(at, _)| *at != 1) {
        assert_eq!(
            (part.up(), part.standing(B)),
            (8, Standing::Down),
            "node {at}"
        );
    }
    parts[1] = Part::new(B, nodes(9), 8, 12_000);
    run(&mut parts, 12_000, 15_000, &joined);
    assert!(parts.iter().all(|part| part.up() == 9));
}

#[test]
fn a_slow_node_comes_back_at_once_and_accuses_nobody() {
    let mut parts = parts(9);
    run(&mut parts, 0, 5000, &joined);
    // For ten seconds it neither sends nor hears, and then goes on.
    let slow = |from: usize, to: usize| from == 1 || to == 1;
    let mut others = parts;
    let stuck = std::mem::replace(&mut others[1], Part::new(B, nodes(9), 1, 0));
    run(&mut others, 5000, 15_000, &slow);
    others[1] = stuck;
    assert!(others[2..].iter().all(|part| part.up() == 8));
    run(&mut others, 15_000, 18_000, &joined);
    assert!(others.iter().all(|part| part.up() == 9));
}

#[test]
fn halves_that_were_apart_come_together_again() {
    let mut parts = parts(40);
    run(&mut parts, 0, 5000, &joined);
    let apart = |from: usize, to: usize| (from < 20) != (to < 20);
    run(&mut parts, 5000, 40_000, &apart);
    assert!(parts.iter().all(|part| part.up() == 20));
    run(&mut parts, 40_000, 50_000, &joined);
    assert!(parts.iter().all(|part| part.up() == 40));
}

#[test]
fn a_clock_that_went_back_is_overcome() {
    let mut parts = parts(3);
    run(&mut parts, 0, 2000, &joined);
    parts[1] = Part::new(B, nodes(3), 3, 2000);
    parts[1].set_info(77);
    run(&mut parts, 2000, 5000, &joined);
    assert!(parts.iter().all(|part| part.up() == 3));
    assert_eq!(parts[0].known(B, 5000).unwrap().info, 77);
}

#[test]
fn notes_arrive_once() {
    let mut parts = parts(2);
    run(&mut parts, 0, 1000, &joined);
    let message = parts[0]
        .message_with_note(B, b"hello".to_vec(), 1000)
        .unwrap();
    let note = Note {
        from: A,
        bytes: b"hello".to_vec(),
    };
    assert_eq!(parts[1].receive(&message, 1000), (None, Some(note)));
    assert_eq!(parts[1].receive(&message, 1000), (None, None));
    assert!(
        parts[0]
            .message_with_note(B, vec![0; MAX_NOTE + 1], 0)
            .is_none()
    );
}
