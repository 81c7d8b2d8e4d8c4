//! What a process at home may have come to depend on: all that this node's processor offers, unless it was started so that it sees
//! less, which its environment tells.

use std::ffi::{OsStr, OsString};

use crate::sys::launch;
use crate::wire::cpu::Cpu;

/// What a portable program is bound to, for us to read again.
const PORTABLE: &str = "MOS_PORTABLE";
/// By which the GNU C library is told what not to use.
const TUNABLES: &str = "GLIBC_TUNABLES";
const HIDDEN: &str = "glibc.cpu.hwcaps=";
/// Functions are looked up before the program begins: the code that does it later saves registers, as many as it has found there are.
const BIND_NOW: &str = "LD_BIND_NOW";

/// What the process depends on if it is a portable one.
pub fn portable(pid: i32, here: &Cpu) -> Option<Cpu> {
    // Of a process that has overwritten its environment nothing is known.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    told(&environment, here)
}

/// Whether this process has been started as a portable one itself.
pub fn inherited() -> bool {
    std::env::var_os(PORTABLE).is_some()
}

/// Changes this process's environment so that the program which it becomes sees no more than `common`, what all nodes have; `None`: it is to
/// see everything, although this process did not. What the program is bound to then.
pub fn set(common: Option<&Cpu>, here: &Cpu) -> Cpu {
    let mut tunables = std::env::var_os(TUNABLES);
    if inherited() {
        tunables = tunables.and_then(|value| users(&value));
        launch::set_variable(PORTABLE, None);
        launch::set_variable(BIND_NOW, None);
    }
    launch::set_variable(TUNABLES, tunables.as_deref());
    let Some(common) = common else {
        return *here;
    };
    for (name, value) in environment(common, here, tunables.as_deref()) {
        launch::set_variable(name, Some(&value));
    }
    common.portable()
}

/// What the user has said himself, in front of ours.
fn users(tunables: &OsStr) -> Option<OsString> {
    let text = tunables.to_str()?;
    let own = text.rsplit_once(':').map(|(own, _)| own);
    match text.rsplit(':').next()?.starts_with(HIDDEN) {
        true => own.map(OsString::from),
        false => Some(tunables.to_os_string()),
    }
}

/// Variables for a program that is to see no more than `common`. `tunables`: the user's own.
fn environment(
    common: &Cpu,
    here: &Cpu,
    tunables: Option<&OsStr>,
) -> [(&'static str, OsString); 3] {
    let bound = common.portable();
    let mut value = tunables.map(OsStr::to_os_string).unwrap_or_default();
    if !value.is_empty() {
        value.push(":");
    }
    value.push(hidden(here, &bound));
    [
        (PORTABLE, bound.to_text().into()),
        (TUNABLES, value),
        (BIND_NOW, "1".into()),
    ]
}

fn hidden(here: &Cpu, bound: &Cpu) -> String {
    format!("{HIDDEN}{}", here.hidden_for(bound))
}

fn told(environment: &[u8], here: &Cpu) -> Option<Cpu> {
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value =
            variables.find_map(|text| text.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.and_then(|value| std::str::from_utf8(value).ok())
    };
    let bound = Cpu::from_text(value(PORTABLE)?)?;
    // A variable alone hides nothing. The linker cuts the tunables where it finds a colon, in place.
    let hidden = hidden(here, &bound);
    let first = format!("{TUNABLES}={hidden}");
    let hides = environment
        .split(|byte| matches!(byte, 0 | b':'))
        .any(|part| part == hidden.as_bytes() || part == first.as_bytes());
    let bound_now = value(BIND_NOW).is_some_and(|value| !value.is_empty());
    (hides && bound_now && here.lacks(&bound).is_none()).then_some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(variables: &[(&str, OsString)]) -> Vec<u8> {
        let mut block = b"A=b\0".to_vec();
        for (name, value) in variables {
            block.extend_from_slice(name.as_bytes());
            block.push(b'=');
            block.extend_from_slice(value.as_encoded_bytes());
            block.push(0);
        }
        block
    }

    #[test]
    fn a_portable_program_is_known_by_its_environment() {
        let here = Cpu::here();
        let common = here
            .without(&["avx".to_owned(), "ssse3".to_owned()])
            .unwrap();
        let user = OsString::from("glibc.malloc.check=1");
        for tunables in [None, Some(user.as_os_str())] {
            let variables = environment(&common, &here, tunables);
            assert_eq!(told(&block(&variables), &here), Some(common.portable()));
            let mut cut = block(&variables);
            let colons = cut.iter_mut().filter(|byte| **byte == b':');
            colons.for_each(|byte| *byte = 0);
            assert_eq!(told(&cut, &here), Some(common.portable()));
            for without in 0..variables.len() {
                let mut fewer = variables.to_vec();
                fewer.remove(without);
                assert_eq!(told(&block(&fewer), &here), None);
            }
        }
        assert_eq!(told(b"A=b\0", &here), None);
        let own = std::process::id() as i32;
        assert_eq!(portable(own, &here), None);
    }

    #[test]
    fn what_the_user_has_said_is_found_again() {
        let users = |text: &str| users(OsStr::new(text));
        assert_eq!(users("glibc.cpu.hwcaps=-AVX"), None);
        assert_eq!(
            users("a=b:c=d:glibc.cpu.hwcaps=-AVX"),
            Some("a=b:c=d".into())
        );
        assert_eq!(users("a=b"), Some("a=b".into()));
    }

    #[test]
    fn what_claims_to_need_more_than_there_is_was_made_elsewhere() {
        let more = Cpu::here();
        let less = more.without(&["cx16".to_owned()]).unwrap();
        let variables = environment(&more, &less, None);
        assert_eq!(told(&block(&variables), &less), None);
    }
}
