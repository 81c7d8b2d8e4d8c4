//! Programs that start on another node, and programs that move themselves.

#[path = "support/scripts.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod scripts;

/// A program on node 2 is there from its first instruction, also one that another program under mosrun starts.
#[test]
fn a_program_starts_where_it_is_told() {
    scripts::playground(
        3,
        r#"
        where='my ($a, $n) = map { syscall(2, "/proc/self/$_", 0) } "whereami", "nmigs";
            printf "%s %d\n", join(".", unpack("C4", pack("N", $a))), $n'
        is="$(address 2) 1"
        [ "$(mosrun -2 perl -e "$where")" = "$is" ] || fail "started elsewhere"
        [ "$(mosrun bash -c "mosrun -2 perl -e '$where'; true")" = "$is" ] || fail "started elsewhere by another"
        mosrun -2 sh -c 'exit 5'; [ $? = 5 ] || fail "status"
        mosrun -2 ./no-such-program 2>/dev/null; [ $? = 127 ] || fail "status of a program that is not there"
        mosrun bash -c 'mosrun -2 ./no-such-program; exit $?' 2>/dev/null; [ $? = 127 ] || fail "status of another's"
        "#,
    );
}

#[test]
fn a_node_that_refuses_starts_nothing() {
    scripts::playground(
        2,
        r#"
        mos at 2 mosctl block
        why=$(mosrun -2 touch "$MOSIX_ROOT/ran" 2>&1) && fail "it was started"
        [ $? = 127 ] || fail "status"
        case $why in "mosrun: failed migrating to $(address 2): "*) ;; *) fail "$why" ;; esac
        mosrun bash -c 'mosrun -2 touch "$MOSIX_ROOT/ran" 2>&1; exit $?' >/dev/null; [ $? = 127 ] || fail "another's status"
        [ ! -e "$MOSIX_ROOT/ran" ] || fail "it ran"
        mosrun -F -2 touch "$MOSIX_ROOT/ran" || fail "-F"
        [ -e "$MOSIX_ROOT/ran" ] || fail "-F did not run it"
        "#,
    );
}

/// By the program interface, and against orders from outside at the same time.
#[test]
fn programs_move_themselves_and_start_others_while_they_are_moved() {
    scripts::shaken(
        r#"
        mosrun perl -e 'my $name = "/proc/self/migrate"; for (1 .. 150) {
            my $r = syscall(2, $name, 65, $_ % 3 + 1);
            die "open gave $r: $!" if $r != 0;
        }' || fail "a program could not move itself"
        mosrun bash -c 'for i in $(seq 40); do mosrun -2 sh -c "exit 4"; [ $? = 4 ] || exit 1; done' || fail "a start failed"
        "#,
    );
}
