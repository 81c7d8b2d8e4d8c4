//! What this CPU can do, as far as a moving process must care.

use std::arch::x86_64::{__cpuid_count, _xgetbv};

/// The most that an XSAVE area may take.
pub const MAX_XSAVE: usize = 65536;

const LEAF_FEATURES: u32 = 1;
const LEAF_XSAVE: u32 = 0xd;
const OSXSAVE: u32 = 1 << 27;
/// Legacy region and header, without any extended component.
const LEGACY: usize = 576;

/// Bytes of an uncompacted XSAVE area with every component that this CPU supports in user space.
pub fn xsave_size() -> usize {
    if !has_xsave() {
        return LEGACY;
    }
    (__cpuid_count(LEAF_XSAVE, 0).ecx as usize).clamp(LEGACY, MAX_XSAVE)
}

/// Bytes of an uncompacted XSAVE area that holds `components` and the legacy region.
pub fn standard_size(components: u64) -> usize {
    let extended = components & !3;
    if extended == 0 || !has_xsave() {
        return LEGACY;
    }
    let last = 63 - extended.leading_zeros();
    let leaf = __cpuid_count(LEAF_XSAVE, last);
    (leaf.eax + leaf.ebx) as usize
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

/// Components that an XSAVE area holds in use (its XSTATE_BV).
pub fn xsave_in_use(area: &[u8]) -> u64 {
    match area.get(512..520) {
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
    }
}
