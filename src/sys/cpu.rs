//! What this CPU can do, as far as a moving process must care.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// The most that an XSAVE area may take.
pub const MAX_XSAVE: usize = 65536;

const LEAF_FEATURES: u32 = 1;
const LEAF_XSAVE: u32 = 0xd;
const OSXSAVE: u32 = 1 << 27;
/// Legacy region and header, without any extended component.
const LEGACY: usize = 576;
/// Offsets in an XSAVE area as the kernel gives it: the components that it has room for (XCR0), and those in use (XSTATE_BV).
const ENABLED: usize = 464;
const IN_USE: usize = 512;
/// Bit of `AT_HWCAP2`: the instructions for FS and GS bases are allowed.
const HWCAP2_FSGSBASE: u64 = 2;

/// Registers of CPUID, in the order in which it stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reg {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Number of the words that [`feature_words`] gives.
pub const FEATURE_WORDS: usize = 10;

/// Where CPUID has the words: leaf, subleaf and register.
const PLACES: [(u32, u32, Reg); FEATURE_WORDS] = [
    (LEAF_FEATURES, 0, Reg::Ecx),
    (7, 0, Reg::Ebx),
    (7, 0, Reg::Ecx),
    (7, 0, Reg::Edx),
    (7, 1, Reg::Eax),
    (7, 1, Reg::Edx),
    (LEAF_XSAVE, 1, Reg::Eax),
    (0x8000_0001, 0, Reg::Ecx),
    (0x8000_0001, 0, Reg::Edx),
    (0x8000_0008, 0, Reg::Ebx),
];

/// CPUID's words about instructions, all bits as they are: leaf 1 (ECX), 7 (EBX, ECX, EDX), 7.1 (EAX, EDX), 0xd.1 (EAX), 0x80000001
/// (ECX, EDX) and 0x80000008 (EBX). A word that this CPU does not have is 0.
pub fn feature_words() -> [u32; FEATURE_WORDS] {
    PLACES.map(|(leaf, subleaf, reg)| {
        if __cpuid(leaf & 0x8000_0000).eax < leaf || subleaf > last_subleaf(leaf) {
            return 0;
        }
        let found = __cpuid_count(leaf, subleaf);
        match reg {
            Reg::Eax => found.eax,
            Reg::Ebx => found.ebx,
            Reg::Ecx => found.ecx,
            Reg::Edx => found.edx,
        }
    })
}

/// Leaf 7 says itself how many subleaves it has; of the others those that are asked for exist with the leaf.
fn last_subleaf(leaf: u32) -> u32 {
    match leaf {
        7 => __cpuid_count(7, 0).eax,
        _ => u32::MAX,
    }
}

/// The kernel lets programs use the instructions for FS and GS bases.
pub fn fsgsbase_allowed() -> bool {
    // SAFETY: it only reads what the kernel has told this process.
    let told = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    told & HWCAP2_FSGSBASE != 0
}

/// Where a component of the uncompacted XSAVE area begins; 0: this CPU does not have it.
pub fn component_offset(component: u32) -> u32 {
    match has_xsave() && xfeatures() & (1 << component) != 0 {
        true => __cpuid_count(LEAF_XSAVE, component).ebx,
        false => 0,
    }
}

/// Bytes of an uncompacted XSAVE area with every component that this CPU supports in user space.
pub fn xsave_size() -> usize {
    if !has_xsave() {
        return LEGACY;
    }
    (__cpuid_count(LEAF_XSAVE, 0).ecx as usize).clamp(LEGACY, MAX_XSAVE)
}

/// Bytes of an uncompacted XSAVE area that ends with the outermost of `components`, which need not have the highest number.
pub fn standard_size(components: u64) -> usize {
    let extended = (2..63).filter(|component| has_xsave() && components & (1 << component) != 0);
    let ends = extended.map(|component| {
        let leaf = __cpuid_count(LEAF_XSAVE, component);
        (leaf.eax + leaf.ebx) as usize
    });
    ends.max().unwrap_or(LEGACY).max(LEGACY)
}

/// XCR0: the components of the XSAVE area that the kernel has enabled.
pub fn xfeatures() -> u64 {
    if !has_xsave() {
        return 3;
    }
    // SAFETY: OSXSAVE says that the instruction is allowed here and XCR0 exists.
    unsafe { xgetbv0() }
}

#[target_feature(enable = "xsave")]
fn xgetbv0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

fn has_xsave() -> bool {
    __cpuid_count(LEAF_FEATURES, 0).ecx & OSXSAVE != 0
}

/// Takes all components but these out of an XSAVE area in the standard format, as if they were in their initial state.
pub fn keep_components(area: &mut [u8], components: u64) {
    for at in [ENABLED, IN_USE] {
        if let Some(bytes) = area.get_mut(at..at + 8) {
            let word = u64::from_le_bytes((&*bytes).try_into().expect("eight bytes"));
            bytes.copy_from_slice(&(word & components).to_le_bytes());
        }
    }
}

/// Components that an XSAVE area holds in use (its XSTATE_BV).
pub fn xsave_in_use(area: &[u8]) -> u64 {
    match area.get(IN_USE..IN_USE + 8) {
        Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        None => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_has_room_for_what_is_enabled() {
        assert!(xfeatures() & 3 == 3);
        assert!((LEGACY..=MAX_XSAVE).contains(&xsave_size()));
        assert!(standard_size(xfeatures()) <= xsave_size());
        assert_eq!(standard_size(3), LEGACY);
    }

    #[test]
    fn components_are_taken_out() {
        let mut area = vec![0; LEGACY];
        area[ENABLED] = 0xe7;
        area[IN_USE] = 0x66;
        keep_components(&mut area, 7);
        assert_eq!((area[ENABLED], xsave_in_use(&area)), (7, 6));
        keep_components(&mut [], 7);
    }

    #[test]
    fn words_are_what_the_compiler_finds() {
        let words = feature_words();
        let sse42 = words[0] & 1 << 20 != 0;
        let avx2 = words[1] & 1 << 5 != 0;
        assert_eq!(sse42, is_x86_feature_detected!("sse4.2"));
        assert!(avx2 || !is_x86_feature_detected!("avx2"));
        assert_eq!(component_offset(62), 0);
    }
}
