//! Which guests may be here. Pure: what is here and what the administrator wants go in, a verdict comes out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What `mosctl` and the files say about guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// mos is turned off on this node.
    pub off: bool,
    /// No guest may come.
    pub block: bool,
    /// All guests are being sent away: none may come meanwhile.
    pub emptying: bool,
    /// Disconnected from the other clusters.
    pub isolated: bool,
    /// Most guests from other clusters.
    pub max_guests: Option<u32>,
    /// How long after the last process of a priority lower ones must wait.
    pub retain: Duration,
}

/// Where a guest is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This cluster.
    Own,
    Partner {
        priority: u16,
        can_take: bool,
    },
    /// None that we know (any more).
    Unknown,
}

impl Origin {
    /// The lower the better.
    pub fn priority(self) -> u16 {
        match self {
            Origin::Own => 0,
            Origin::Partner { priority, .. } => priority,
            Origin::Unknown => u16::MAX,
        }
    }

    fn foreign(self) -> bool {
        self != Origin::Own
    }
}

/// When processes of each priority were here last.
#[derive(Clone, Debug, Default)]
pub struct Recent(BTreeMap<u16, Instant>);

impl Recent {
    /// Processes of this priority are here now.
    pub fn note(&mut self, priority: u16, now: Instant) {
        self.0.insert(priority, now);
    }

    /// Whether processes of a higher priority than this were here less than `retain` ago.
    fn keeps_out(&self, priority: u16, retain: Duration, now: Instant) -> bool {
        let higher = self.0.range(..priority);
        !retain.is_zero() && higher.into_iter().any(|(_, seen)| now < *seen + retain)
    }
}

/// What is here.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    pub guests: &'a [Origin],
    /// Processes of this node compute here.
    pub local_work: bool,
}

impl Here<'_> {
    /// The highest priority (lowest number) of what is here; `None` when nothing is.
    pub fn priority(&self) -> Option<u16> {
        let local = self.local_work.then_some(0);
        let guests = self.guests.iter().map(|guest| guest.priority());
        local.into_iter().chain(guests).min()
    }

    /// Guests from other clusters with at least this priority.
    fn foreign_from(&self, priority: u16) -> usize {
        let counted = |guest: &&Origin| guest.foreign() && guest.priority() <= priority;
        self.guests.iter().filter(counted).count()
    }
}

/// Why a guest of `origin` may not come; `None` when it may.
pub fn refusal(
    rules: &Rules,
    origin: Origin,
    here: Here,
    recent: &Recent,
    now: Instant,
) -> Option<String> {
    let own_rules = [
        (rules.off, "mos is turned off there"),
        (rules.block, "guests are blocked there"),
        (rules.emptying, "it is sending its guests away"),
    ];
    if let Some((_, why)) = own_rules.iter().find(|(holds, _)| *holds) {
        return Some((*why).to_string());
    }
    let (priority, can_take) = match origin {
        Origin::Own => return None,
        Origin::Unknown => return Some("its home is in none of the clusters known there".into()),
        Origin::Partner { priority, can_take } => (priority, can_take),
    };
    if rules.isolated {
        return Some("it is disconnected from other clusters".into());
    }
    if !can_take {
        return Some("it takes no guests from that cluster".into());
    }
    if here.priority().is_some_and(|highest| highest < priority) {
        return Some("processes of higher priority are there".into());
    }
    if recent.keeps_out(priority, rules.retain, now) {
        return Some("processes of higher priority were there a short while ago".into());
    }
    let max = rules.max_guests.map(|max| max as usize);
    match max {
        Some(max) if here.foreign_from(priority) >= max => Some(format!(
            "it takes no more than {max} guests from other clusters"
        )),
        _ => None,
    }
}

/// Which of the guests must leave now: their indexes.
pub fn to_leave(rules: &Rules, here: Here) -> Vec<usize> {
    let highest = here.priority().unwrap_or(u16::MAX);
    let unwanted = |guest: &Origin| match guest {
        _ if rules.off || rules.emptying => true,
        Origin::Own => false,
        Origin::Unknown => true,
        Origin::Partner { priority, can_take } => {
            rules.isolated || !can_take || *priority > highest
        }
    };
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for (index, guest) in here.guests.iter().enumerate() {
        if unwanted(guest) {
            leaving.push(index);
        } else if guest.foreign() {
            staying.push(index);
        }
    }
    if let Some(max) = rules.max_guests {
        // The lowest priority goes first, and of those the ones that came last.
        staying.sort_by_key(|index| (here.guests[*index].priority(), *index));
        leaving.extend(staying.into_iter().skip(max as usize));
    }
    leaving
}

/// To whom this node is available (manual, rstatus): 65535 to all, 0 to its own cluster only.
pub fn availability(rules: &Rules, here: Here) -> u16 {
    let closed = rules.off || rules.block || rules.isolated || rules.max_guests == Some(0);
    if closed {
        return 0;
    }
    here.priority().unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Rules = Rules {
        off: false,
        block: false,
        emptying: false,
        isolated: false,
        max_guests: None,
        retain: Duration::ZERO,
    };

    fn partner(priority: u16) -> Origin {
        Origin::Partner {
            priority,
            can_take: true,
        }
    }

    fn here(guests: &[Origin]) -> Here<'_> {
        Here {
            guests,
            local_work: false,
        }
    }

    fn why(rules: &Rules, origin: Origin, here: Here) -> String {
        refusal(rules, origin, here, &Recent::default(), Instant::now()).unwrap_or_default()
    }

    #[test]
    fn nobody_comes_to_a_blocked_node_and_those_there_stay() {
        let rules = Rules {
            block: true,
            ..OPEN
        };
        assert!(why(&rules, Origin::Own, here(&[])).contains("blocked"));
        assert!(to_leave(&rules, here(&[Origin::Own, partner(5)][..1])).is_empty());
    }

    #[test]
    fn strangers_get_nothing() {
        assert!(why(&OPEN, Origin::Unknown, here(&[])).contains("none of the clusters"));
        assert_eq!(to_leave(&OPEN, here(&[Origin::Own, Origin::Unknown])), [1]);
        let one_way = Origin::Partner {
            priority: 5,
            can_take: false,
        };
        assert!(why(&OPEN, one_way, here(&[])).contains("takes no guests"));
        assert_eq!(to_leave(&OPEN, here(&[one_way])), [0]);
    }

    #[test]
    fn higher_priority_drives_lower_out() {
        let guests = [partner(50), partner(10), partner(50)];
        assert_eq!(to_leave(&OPEN, here(&guests)), [0, 2]);
        assert_eq!(why(&OPEN, partner(10), here(&guests)), "");
        assert!(why(&OPEN, partner(50), here(&guests)).contains("higher priority"));
        assert_eq!(why(&OPEN, Origin::Own, here(&guests)), "");
        let with_own = [partner(10), Origin::Own];
        assert_eq!(to_leave(&OPEN, here(&with_own)), [0]);
        let busy = Here {
            guests: &guests[..1],
            local_work: true,
        };
        assert_eq!(to_leave(&OPEN, busy), [0]);
        assert!(!why(&OPEN, partner(1), busy).is_empty());
    }

    #[test]
    fn a_limit_counts_guests_of_other_clusters() {
        let rules = Rules {
            max_guests: Some(2),
            ..OPEN
        };
        let guests = [partner(7), partner(7)];
        assert!(why(&rules, partner(7), here(&guests)).contains("no more than 2"));
        // Those of lower priority will have to go.
        assert_eq!(why(&rules, partner(6), here(&guests)), "");
        assert_eq!(why(&rules, Origin::Own, here(&guests)), "");
        assert_eq!(
            to_leave(&rules, here(&[partner(7), partner(7), partner(7)])),
            [2]
        );
        let none = Rules {
            max_guests: Some(0),
            ..OPEN
        };
        assert_eq!(to_leave(&none, here(&guests)), [0, 1]);
        assert_eq!(availability(&none, here(&[])), 0);
        assert_eq!(availability(&OPEN, here(&[])), 65535);
        assert_eq!(availability(&OPEN, here(&guests)), 7);
    }

    #[test]
    fn gaps_are_kept_for_those_who_were_there() {
        let rules = Rules {
            retain: Duration::from_secs(20),
            ..OPEN
        };
        let begin = Instant::now();
        let mut recent = Recent::default();
        recent.note(10, begin);
        let ask = |origin, after| {
            refusal(
                &rules,
                origin,
                here(&[]),
                &recent,
                begin + Duration::from_secs(after),
            )
        };
        assert!(ask(partner(50), 19).is_some());
        assert_eq!(ask(partner(50), 20), None);
        assert_eq!(ask(partner(10), 1), None);
        assert_eq!(ask(Origin::Own, 1), None);
    }

    #[test]
    fn an_emptied_or_isolated_node_keeps_what_it_may() {
        let guests = [Origin::Own, partner(0)];
        let with = |rules: Rules| to_leave(&rules, here(&guests));
        assert_eq!(with(Rules { off: true, ..OPEN }), [0, 1]);
        assert_eq!(
            with(Rules {
                emptying: true,
                ..OPEN
            }),
            [0, 1]
        );
        assert_eq!(
            with(Rules {
                isolated: true,
                ..OPEN
            }),
            [1]
        );
    }
}
