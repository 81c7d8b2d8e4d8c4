# No room on the disks, no memory at the target, a target that refuses: processes stay where they are, or do not notice.
count() { mosrun "$D/counter" "$D/$1" "$D/stop" "$2" 2>"$D/$1.err" & }
restart2() {
    on2 pkill -x mosd
    waitfor sh -c "! nsenter -t $machine2 -p -m pgrep -x mosd"
    on2 "$@" mosd -f >>"$D/mosd-2" 2>&1 &
}

# What mosd writes to is full, on both machines, and so is what the program writes to.
for node in 1 2; do
    var=$D/node-$node/etc/mosix/var
    dd if=/dev/zero of="$var/fill" bs=1k count=64 2>/dev/null || true
done
mkdir "$D/small"
mount -t tmpfs -o size=256k small "$D/small"
mosrun dd if=/dev/zero of="$D/small/file" bs=16 2>"$D/dd.err" &
dd=$!
for node in 2 home 2; do mosmigrate --wait $dd $node >>"$D/dd.moves" 2>&1 || true; done
wait $dd && true
echo "dd $?: $(sed -n 's/.*: //p' "$D/dd.err" | tail -1)"
test "$(stat -c %s "$D/small/file")" = 262144 && echo "dd wrote what there was room for"

# Memory at the target is too little for one process, and enough for another.
count big 300
big=$!
count other 0
other=$!
waitfor test -s "$D/big"
waitfor test -s "$D/other"
restart2 prlimit --as=200000000
waitfor alive
mosmigrate --wait $big 2 >"$D/big.move" 2>&1 && echo "the big one moved"
grep -q "Cannot allocate memory" "$D/big.move" || cat "$D/big.move"
waitfor mosmigrate --wait $other 2
waitfor mosmigrate --wait $other home

# A target that does not know the secret.
echo "another password" >"$D/node-2/etc/mosix/secret"
restart2 env
refused() { mosmigrate --wait $other 2 2>&1 | grep "secret differs"; }
waitfor refused
echo "refused"

touch "$D/stop"
for which in big other; do
    eval "wait \$$which" && true
    echo "$which $?: $(cat "$D/$which.err")"
    seq "$(wc -l <"$D/$which")" | cmp - "$D/$which"
done
