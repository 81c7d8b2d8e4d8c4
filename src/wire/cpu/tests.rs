use super::*;
use crate::wire::codec;

/// A made-up processor with these features and components; Intel's places in the XSAVE area.
fn made(names: &[&str], xcr0: u64) -> Cpu {
    let mut cpu = Cpu {
        xcr0,
        offsets: [1088, 1152, 1664, 2688, 2752, 2816, 960],
        ..Cpu::default()
    };
    for name in names {
        let feature = named(name).unwrap();
        cpu.words[feature.word] |= 1 << feature.bit;
    }
    cpu.settled()
}

const OLD: &[&str] = &["sse3", "cx16", "ssse3", "sse4_1", "sse4_2", "popcnt"];
const AVX2: &[&str] = &["xsave", "osxsave", "avx", "avx2", "fma", "bmi1", "xsaveopt"];
const NEW: &[&str] = &["xsavec", "avx512f", "avx512vl", "ospke"];

fn nehalem() -> Cpu {
    made(OLD, 3)
}

fn haswell() -> Cpu {
    made(&[OLD, AVX2].concat(), 7)
}

fn skylake() -> Cpu {
    made(&[OLD, AVX2, NEW].concat(), 0x2e7)
}

/// The same with another maker's places.
fn zen() -> Cpu {
    let mut cpu = skylake();
    cpu.offsets = [832, 896, 1408, 2432, 0, 0, 0];
    cpu
}

#[test]
fn this_machine_suits_itself() {
    let here = Cpu::here();
    assert_eq!(here.lacks(&here), None);
    assert_eq!(here.shows_more(&here), None);
    assert_eq!(here.common(&here), here);
    assert_eq!(here.hidden_for(&here), "");
}

#[test]
fn the_names_are_in_order_and_each_is_there_once() {
    let places: Vec<_> = FEATURES.iter().map(|f| (f.word, f.bit)).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert!(
        places
            .iter()
            .all(|(word, bit)| *word < FEATURE_WORDS && *bit < 32)
    );
    let mut names: Vec<_> = FEATURES.iter().map(|f| f.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FEATURES.len());
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(skylake().lacks(&nehalem()), None);
    let why = haswell().lacks(&skylake()).unwrap();
    assert_eq!(why, "lacks avx512f, avx512vl, ospke, xsavec");
    let why = nehalem().lacks(&haswell()).unwrap();
    assert_eq!(why, "lacks fma, xsave, osxsave, avx and 3 more");
    assert_eq!(skylake().shows_more(&haswell()), Some("avx512f"));
    assert_eq!(nehalem().shows_more(&haswell()), None);
}

#[test]
fn register_state_must_be_there_and_at_its_place() {
    let mut without = skylake();
    without.xcr0 &= !PKRU;
    let why = without.lacks(&skylake()).unwrap();
    assert!(why.contains("register state 9"), "{why}");
    let why = zen().lacks(&skylake()).unwrap();
    assert!(
        why.contains("state 5 elsewhere") && why.contains("832, not 1088"),
        "{why}"
    );
    // Who has no such state does not mind where it is.
    let mut careful = haswell();
    careful.words[named("xsavec").unwrap().word] |= 1 << named("xsavec").unwrap().bit;
    assert_eq!(zen().lacks(&careful), None);
}

#[test]
fn who_saves_all_registers_does_not_get_more_of_them() {
    let why = skylake().lacks(&haswell()).unwrap();
    assert!(why.contains("larger XSAVE area"), "{why}");
    assert_eq!(skylake().lacks(&haswell().portable()), None);
    assert_eq!(haswell().lacks(&haswell()), None);
}

#[test]
fn what_is_portable_can_go_everywhere() {
    let all = [nehalem(), haswell(), skylake(), zen()];
    for (first, rest) in [(0, 4), (1, 4), (2, 4)] {
        let cluster = &all[first..rest];
        let common = cluster[1..].iter().fold(cluster[0], |a, b| a.common(b));
        let bound = common.portable();
        for node in cluster {
            assert_eq!(node.lacks(&bound), None, "{first} {common:?}");
        }
    }
    let common = haswell().common(&skylake());
    assert_eq!(common.has_named("avx2"), Some(true));
    assert_eq!(skylake().hidden_for(&common), "-AVX512F,-AVX512VL,-XSAVEC");
    // Those that have it at different places have it not in common, nor what needs it.
    let common = skylake().common(&zen());
    assert_eq!(
        (common.state(), common.has_named("avx512f")),
        (7, Some(false))
    );
    assert_eq!(common.has_named("avx2"), Some(true));
}

#[test]
fn an_administrator_can_hide_what_is_there() {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let less = skylake().without(&names(&["avx512f", "avx512vl"])).unwrap();
    assert_eq!((less.state(), less.has_named("avx2")), (0x207, Some(true)));
    let less = skylake().without(&names(&["avx"])).unwrap();
    assert_eq!((less.state(), less.has_named("avx2")), (0x203, Some(false)));
    assert_eq!(skylake().without(&names(&["mmx"])), None);
    assert_eq!(skylake().without(&[]), Some(skylake()));
}

#[test]
fn it_travels_as_text_and_in_a_note() {
    for cpu in [nehalem(), skylake(), zen(), Cpu::here()] {
        assert_eq!(Cpu::from_text(&cpu.to_text()), Some(cpu));
        assert!(codec::encode(&cpu).len() <= 80);
    }
    for wrong in ["", "1.2", "x", &format!("{}.0", skylake().to_text())] {
        assert_eq!(Cpu::from_text(wrong), None, "{wrong}");
    }
}
