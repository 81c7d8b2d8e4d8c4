//! Ranges of addresses (start, end), in lists that are ascending and disjoint.

pub type Range = (u64, u64);

/// What is in either list.
pub fn union(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(one), Some(other)) if one.0 <= other.0 => a.next(),
            (_, Some(_)) => b.next(),
            _ => a.next(),
        };
        match next {
            Some(range) => push(&mut all, *range),
            None => return all,
        }
    }
}

/// What is in `a` but not in `b`.
pub fn minus(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut rest = Vec::with_capacity(a.len());
    let mut next = 0;
    for (start, end) in a {
        let mut at = *start;
        while next < b.len() && b[next].1 <= at {
            next += 1;
        }
        let mut seen = next;
        while seen < b.len() && b[seen].0 < *end {
            if at < b[seen].0 {
                rest.push((at, b[seen].0));
            }
            at = at.max(b[seen].1);
            seen += 1;
        }
        if at < *end {
            rest.push((at, *end));
        }
    }
    rest
}

/// What is in both lists.
pub fn common(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut both = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (start, end) = (a[i].0.max(b[j].0), a[i].1.min(b[j].1));
        if start < end {
            push(&mut both, (start, end));
        }
        if a[i].1 <= b[j].1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    both
}

/// The parts of a list that lie between two addresses.
pub fn within(list: &[Range], start: u64, end: u64) -> impl Iterator<Item = Range> {
    let first = list.partition_point(|range| range.1 <= start);
    let inside = list[first..].iter().take_while(move |range| range.0 < end);
    inside.map(move |range| (range.0.max(start), range.1.min(end)))
}

/// Adds a range that begins at or behind the start of the last one.
pub fn push(list: &mut Vec<Range>, (start, end): Range) {
    match list.last_mut() {
        Some(last) if start <= last.1 => last.1 = last.1.max(end),
        _ => list.push((start, end)),
    }
}

/// A list from ranges in any order.
pub fn sorted(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut list = Vec::with_capacity(ranges.len());
    for range in ranges {
        push(&mut list, range);
    }
    list
}

/// Whether one range of a list holds all of this one.
pub fn holds(list: &[Range], start: u64, end: u64) -> bool {
    let at = list.partition_point(|range| range.1 <= start);
    list.get(at)
        .is_some_and(|range| range.0 <= start && end <= range.1)
}

/// Bytes of all.
pub fn total(list: &[Range]) -> u64 {
    list.iter().map(|(start, end)| end - start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bits: u32) -> Vec<Range> {
        let set = (0..16).filter(|bit| bits & (1 << bit) != 0);
        sorted(set.map(|bit| (bit, bit + 1)).collect())
    }

    #[test]
    fn lists_are_sets() {
        let mut seed = 7u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        for _ in 0..2000 {
            let (a, b) = (next(), next());
            let (x, y) = (list(a), list(b));
            assert_eq!(union(&x, &y), list(a | b));
            assert_eq!(minus(&x, &y), list(a & !b));
            assert_eq!(total(&x), u64::from((a & 0xffff).count_ones()));
            assert_eq!(common(&x, &y), list(a & b));
            let part: Vec<Range> = within(&x, 3, 9).collect();
            assert_eq!(part, list(a & 0x1f8));
            let bit = u64::from(next() % 16);
            assert_eq!(holds(&x, bit, bit + 1), a & (1 << bit) != 0);
        }
    }
}
