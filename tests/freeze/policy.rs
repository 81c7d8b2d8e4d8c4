//! Freezing by `freeze.conf`, and in directories of users.

use super::*;

/// A node of two processors that counts only its own processes, with this policy.
fn with_policy(policy: &str) -> Cluster {
    let mut cluster = Cluster::files(1);
    let file = cluster.paths(1).freeze();
    let text = fs::read_to_string(&file).unwrap() + policy + "\n";
    fs::write(&file, text).unwrap();
    cluster.start_node_with(1, &["--cpus", "2"]);
    cluster
}

fn spin(cluster: &Cluster, options: &[&str]) -> Program {
    let words = ["dash", "-c", "while :; do :; done"];
    let program = Program::start(cluster, &[options, &words].concat());
    let pid = program.child.id();
    wait_until("it is there", || frozen(cluster, pid).is_some());
    program
}

fn count(cluster: &Cluster, why: Frozen) -> usize {
    let procs = list(cluster);
    procs.iter().filter(|info| info.frozen == why).count()
}

#[test]
fn too_many_are_frozen_and_go_on_when_there_is_room() {
    let cluster = with_policy("1 0 2.6 1.4 -1 -1 0 -1 20 1000000");
    let kept = spin(&cluster, &["-g"]);
    let mut programs: Vec<Program> = (0..4).map(|_| spin(&cluster, &[])).collect();
    wait_until("as many as the red mark allows run", || {
        count(&cluster, Frozen::Automatic) == 3
    });
    assert_eq!(
        frozen(&cluster, kept.child.id()),
        Some(Frozen::NotApplicable)
    );
    // What was frozen by order does not go on by itself.
    let automatic = list(&cluster)
        .into_iter()
        .find(|info| info.frozen == Frozen::Automatic)
        .unwrap();
    done(&cluster, automatic.pid as u32, FREEZE);
    assert_eq!(count(&cluster, Frozen::Manual), 1);
    let status = cluster.tool(1, &["mosctl", "localstatus"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.to_lowercase().contains("frozen"), "{status}");
    drop(kept);
    let runs = |program: &Program| frozen(&cluster, program.child.id()) == Some(Frozen::No);
    programs.retain(|program| !runs(program));
    assert_eq!(programs.len(), 3);
    wait_until("the others go on", || {
        count(&cluster, Frozen::Automatic) == 0 && count(&cluster, Frozen::Manual) == 1
    });
}

#[test]
fn no_more_run_than_may() {
    let cluster = with_policy("1 1 -1 0.1 -1 -1 0 2 20 1000000");
    let programs: Vec<Program> = (0..4).map(|_| spin(&cluster, &[])).collect();
    wait_until("two are frozen", || count(&cluster, Frozen::Automatic) == 2);
    assert_eq!(programs.len(), 4);
}

#[test]
fn users_may_have_directories_of_their_own() {
    let cluster = Cluster::start(1);
    let home = cluster.root(1).join("home");
    let (mine, last) = (home.join("mine/freeze"), home.join("last/freeze"));
    for dir in [&mine, &last] {
        fs::create_dir_all(dir).unwrap();
    }
    let list = format!("{}/nowhere 5\n{} 0\n", home.display(), last.display());
    fs::write(home.join(".freeze_dirs"), list).unwrap();
    let variable = ("HOME", home.as_path());
    for (variables, dir) in [
        (vec![variable], &last),
        (vec![variable, ("FREEZE_DIR", mine.as_path())], &mine),
    ] {
        let program = Program::start_with(&cluster, &["sleep", "100"], &variables);
        let pid = program.child.id();
        wait_until("it is there", || frozen(&cluster, pid).is_some());
        done(&cluster, pid, FREEZE);
        let images = images_in(pid);
        let inside = |path: &String| path.starts_with(dir.to_str().unwrap());
        assert!(images.len() == 1 && images.iter().all(inside), "{images:?}");
        done(&cluster, pid, Target::Continue);
    }
    let missing = home.join("missing");
    let program = Program::start_with(&cluster, &["sleep", "100"], &[("FREEZE_DIR", &missing)]);
    let pid = program.child.id();
    wait_until("it is there", || frozen(&cluster, pid).is_some());
    let Some(Outcome::Stayed(why)) = order(&cluster, pid as i32, FREEZE) else {
        panic!("it was frozen");
    };
    assert!(why.starts_with("cannot freeze to"), "{why}");
}
