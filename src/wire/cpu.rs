//! What the processor and kernel of a node offer programs, as nodes tell each other, and what a process has come to depend on, which
//! has the same form.
//!
//! A process may look at its processor at any time, by an instruction that cannot be watched everywhere. So it is bound to all that its
//! home, where it was started, would have shown it, unless it was started so that it sees less (`mosrun --portable`). Sizes and places in
//! the XSAVE area are part of that: they are in signal frames and in what the dynamic linker saves.

mod names;

use serde::{Deserialize, Serialize};

use crate::sys::cpu::{self, FEATURE_WORDS};
use names::{AMX, AVX, AVX512, PKRU};
pub use names::{FEATURES, Feature};

/// Components of the XSAVE area that are not at the same place everywhere.
const MOVABLE: [u32; 7] = [5, 6, 7, 9, 17, 18, 19];
/// Most features that are named when they are missing.
const NAMED: usize = 4;
/// x87 and SSE: these every processor has.
const LEAST_STATE: u64 = 3;
/// Components that are of no use without each other.
const GROUPS: [u64; 3] = [AVX, AVX512, AMX];
/// What only those programs use that look for it, and which the portable ones are kept from by other means than hiding it: the linker's way
/// of saving registers.
const SAVING: [&str; 4] = ["xsave", "xsavec", "xsaveopt", "xgetbv1"];

/// Features and register state of a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cpu {
    /// As `sys::cpu::feature_words` gives them, without what is not in [`FEATURES`].
    words: [u32; FEATURE_WORDS],
    /// Components of register state that the kernel has enabled (XCR0).
    xcr0: u64,
    /// Where those of [`MOVABLE`] begin in an uncompacted XSAVE area, 0 for those that are not there.
    offsets: [u16; MOVABLE.len()],
}

impl Cpu {
    /// This machine.
    pub fn here() -> Cpu {
        let mut here = Cpu {
            words: cpu::feature_words(),
            xcr0: cpu::xfeatures(),
            offsets: MOVABLE
                .map(|component| cpu::component_offset(component).min(u32::from(u16::MAX)) as u16),
        };
        if !cpu::fsgsbase_allowed() {
            here.hide("fsgsbase");
        }
        here.settled()
    }

    /// Components of register state (XCR0).
    pub fn state(&self) -> u64 {
        self.xcr0
    }

    fn has(&self, feature: &Feature) -> bool {
        self.words[feature.word] & (1 << feature.bit) != 0
    }

    /// Whether it has the feature of this name; `None` for a name that is none.
    pub fn has_named(&self, name: &str) -> Option<bool> {
        named(name).map(|feature| self.has(feature))
    }

    fn clear(&mut self, feature: &Feature) {
        self.words[feature.word] &= !(1 << feature.bit);
    }

    fn hide(&mut self, name: &str) {
        if let Some(feature) = named(name) {
            self.clear(feature);
        }
    }

    /// As if it had not these features, nor the register state that no other feature needs. `None` when a name is not of [`FEATURES`].
    pub fn without(&self, names: &[String]) -> Option<Cpu> {
        let mut less = *self;
        for name in names {
            less.clear(named(name)?);
        }
        for group in [AVX512, AMX, PKRU] {
            let needed = |feature: &&Feature| less.has(feature) && feature.state & group != 0;
            if !FEATURES.iter().any(|feature| needed(&feature)) {
                less.xcr0 &= !group;
            }
        }
        if less.has_named("osxsave") == Some(false) || less.has_named("avx") == Some(false) {
            less.xcr0 &= !(AVX | AVX512);
        }
        Some(less.settled())
    }

    /// Without what cannot be used for want of something else, and what is no concern of programs.
    fn settled(mut self) -> Cpu {
        for group in GROUPS {
            if self.xcr0 & group != group {
                self.xcr0 &= !group;
            }
        }
        if self.xcr0 & AVX != AVX {
            self.xcr0 &= !AVX512;
        }
        self.xcr0 |= LEAST_STATE;
        let mut known = [0; FEATURE_WORDS];
        for feature in FEATURES {
            if self.has(feature) && feature.state & !self.xcr0 == 0 {
                known[feature.word] |= 1 << feature.bit;
            }
        }
        self.words = known;
        for (component, offset) in MOVABLE.iter().zip(&mut self.offsets) {
            if self.xcr0 & (1 << component) == 0 {
                *offset = 0;
            }
        }
        self
    }

    /// What both have, in the same way.
    pub fn common(&self, other: &Cpu) -> Cpu {
        let mut both = *self;
        both.xcr0 &= other.xcr0;
        for (at, component) in MOVABLE.iter().enumerate() {
            if self.offsets[at] != other.offsets[at] {
                both.xcr0 &= !(1 << component);
            }
        }
        for (word, others) in both.words.iter_mut().zip(other.words) {
            *word &= others;
        }
        both.settled()
    }

    /// What a program is bound to that sees no more than this, and whose linker saves no registers.
    pub fn portable(&self) -> Cpu {
        let mut bound = *self;
        SAVING.into_iter().for_each(|name| bound.hide(name));
        bound
    }

    /// Whether this can be what a portable program is bound to.
    pub fn is_portable(&self) -> bool {
        self.portable() == *self
    }

    /// What the GNU C library is told not to use, so that it uses nothing which `bound` lacks: the value of `glibc.cpu.hwcaps`.
    pub fn hidden_for(&self, bound: &Cpu) -> String {
        let lacking = FEATURES.iter().filter(|feature| {
            !feature.glibc.is_empty() && self.has(feature) && !bound.has(feature)
        });
        let names: Vec<String> = lacking
            .map(|feature| format!("-{}", feature.glibc))
            .collect();
        names.join(",")
    }

    /// What keeps a process bound to `needs` away, in words that follow the name of the node; `None`: it can come.
    pub fn lacks(&self, needs: &Cpu) -> Option<String> {
        if self == needs {
            return None;
        }
        let missing = |feature: &&Feature| needs.has(feature) && !self.has(feature);
        let names: Vec<&str> = FEATURES.iter().filter(missing).map(|f| f.name).collect();
        if let Some((first, rest)) = names.split_at_checked(NAMED) {
            let more = match rest.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            return Some(format!("lacks {}{more}", first.join(", ")));
        }
        if !names.is_empty() {
            return Some(format!("lacks {}", names.join(", ")));
        }
        let missing = needs.xcr0 & !self.xcr0;
        if missing != 0 {
            let component = missing.trailing_zeros();
            return Some(format!(
                "lacks register state {component} (XCR0 {:#x})",
                self.xcr0
            ));
        }
        for (at, component) in MOVABLE.iter().enumerate() {
            let (mine, other) = (self.offsets[at], needs.offsets[at]);
            if other != 0 && mine != other {
                return Some(format!(
                    "keeps register state {component} elsewhere in the XSAVE area (at {mine}, not {other})"
                ));
            }
        }
        // Who saves in the compacted form saves only what it has asked for and is in use.
        let plain =
            needs.has_named("xsave") == Some(true) && needs.has_named("xsavec") == Some(false);
        let more = self.xcr0 & !needs.xcr0;
        (plain && more != 0).then(|| {
            format!(
                "has a larger XSAVE area (XCR0 {:#x}, not {:#x})",
                self.xcr0, needs.xcr0
            )
        })
    }

    /// What a program that starts here would see and `home` lacks, in words.
    pub fn shows_more(&self, home: &Cpu) -> Option<&'static str> {
        let more = |feature: &&Feature| self.has(feature) && !home.has(feature);
        FEATURES.iter().find(more).map(|feature| feature.name)
    }

    /// All that it says, as text without blanks.
    pub fn to_text(&self) -> String {
        let words = self.words.iter().map(|word| format!("{word:x}"));
        let offsets = self.offsets.iter().map(|offset| format!("{offset:x}"));
        let state = std::iter::once(format!("{:x}", self.xcr0));
        words
            .chain(state)
            .chain(offsets)
            .collect::<Vec<_>>()
            .join(".")
    }

    /// What [`Cpu::to_text`] has made; `None` for any other text.
    pub fn from_text(text: &str) -> Option<Cpu> {
        let mut numbers = text
            .split('.')
            .map(|word| u64::from_str_radix(word, 16).ok());
        let mut read = Cpu::default();
        for word in &mut read.words {
            *word = u32::try_from(numbers.next()??).ok()?;
        }
        read.xcr0 = numbers.next()??;
        for offset in &mut read.offsets {
            *offset = u16::try_from(numbers.next()??).ok()?;
        }
        numbers.next().is_none().then_some(read)
    }
}

fn named(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

#[cfg(test)]
mod tests;
