//! Two virtual machines with unlike kernels and processors, by emulation. What it needs is not everywhere: qemu, a static busybox, cpio, and
//! two kernels with their modules, unpacked to directories of `target/kernels` (or MOS_KERNELS) as `.ci/run` does. Without them it says so.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use guests::Scratch;

/// Emulation on a busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(900);
const PROGRAMS: [&str; 3] = ["monotonic-static", "frames-static", "signest-static"];
/// Processors of the two machines: the second has more, and more register state.
const PROCESSORS: [&str; 2] = ["Haswell-noTSX", "max"];

/// What both machines run: programs that are moved to and fro until they end by themselves.
const SCENARIO: &str = r#"
said() { mosmigrate --wait $1 $2 2>&1 | tr '\n' ' '; }
mosrun sh -c 'while :; do :; done' & p=$!
waitfor sh -c "mosps | grep -q '^ *$p '"
case $(said $p 2) in *"larger XSAVE area"*) ;; *) fail "a program went where its linker would save too much: $(said $p 2)";; esac
kill $p
for program in monotonic-static frames-static signest-static; do
    mosrun --portable /bin/$program 4 & p=$!
    moves=0
    while kill -0 $p 2>/dev/null; do
        mosmigrate --wait $p 2 >/tmp/said 2>&1 && moves=$((moves+1))
        usleep 20000
        mosmigrate --wait $p home >>/tmp/said 2>&1
        usleep 20000
    done
    wait $p || fail "$program: status $?"
    [ $moves -gt 0 ] || fail "$program did not move: $(cat /tmp/said)"
    echo "$program has moved $moves times"
done
"#;

fn exists(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(command).is_file())
}

/// Directories of unpacked kernels, in the order of their names.
fn kernels() -> Vec<PathBuf> {
    let dir = std::env::var_os("MOS_KERNELS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kernels"),
        PathBuf::from,
    );
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|dir| dir.join("boot").is_dir())
        .collect();
    found.sort();
    found
}

#[test]
fn programs_move_between_unlike_kernels() {
    let tools = ["qemu-system-x86_64", "busybox", "cpio", "xz", "gcc"];
    let missing = tools.iter().find(|tool| !exists(tool));
    let kernels = kernels();
    if let Some(tool) = missing {
        println!("skipped: there is no {tool}");
        return;
    }
    let [first, .., second] = &kernels[..] else {
        println!("skipped: there are no two kernels");
        return;
    };
    let scratch = Scratch::new("kernels");
    let bin = scratch.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let stripped = Command::new("strip")
        .args(["-o"])
        .arg(bin.join("mos"))
        .arg(env!("CARGO_BIN_EXE_mos"))
        .status();
    assert!(stripped.unwrap().success());
    for name in PROGRAMS {
        let guest = guests::all().iter().find(|guest| guest.name == name);
        let Some(guest) = guest else {
            println!("skipped: {name} was not chosen");
            return;
        };
        std::fs::copy(&guest.program, bin.join(name)).unwrap();
    }
    let scenario = scratch.path().join("scenario");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let mut bed = Command::new("sh");
    bed.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beds/kernels.sh"))
        .args([scratch.path(), &scenario, first, second])
        .args(PROCESSORS);
    let out = guests::run(bed, LIMIT);
    let said = std::fs::read_to_string(scratch.path().join("machine-1")).unwrap_or_default();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.lines().any(|line| line.trim() == "passed"),
        "{said}{errors}"
    );
    println!("{said}");
}
