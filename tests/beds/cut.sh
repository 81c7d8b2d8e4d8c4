# The cable is cut while a process is on its way, another runs elsewhere and a third sleeps elsewhere.
count() { mosrun "$D/counter" "$D/$1" "$D/stop" "$2" 2>"$D/$1.err" & }
count big 200
big=$!
count away 0
away=$!
mosrun sleep 1000 2>"$D/idle.err" &
idle=$!
waitfor test -s "$D/big"
waitfor test -s "$D/away"
mosmigrate --wait $away 2
mosmigrate --wait $idle 2

# Slow enough that the cut comes in the middle, also where it takes seconds to start a program.
tc qdisc add dev cable root tbf rate 100mbit burst 128kb latency 10ms
mosmigrate --wait $big 2 >"$D/big.move" 2>&1 &
move=$!
hosts() { test "$(on2 pgrep -c -f "^mos-host")" -ge 5; }
waitfor hosts
on2 ip link set cable down

wait $move && echo "the move of the big one succeeded"
grep -q -e "does not answer" -e "was lost" -e "No route" "$D/big.move" || cat "$D/big.move"
size=$(stat -c %s "$D/big")
waitfor sh -c "test \$(stat -c %s '$D/big') -gt $size"
echo "big runs on"
wait $away && true
echo "away $?: $(cat "$D/away.err")"
wait $idle && true
echo "idle $?: $(cat "$D/idle.err")"
nobody() { ! on2 pgrep -f "^mos-host"; }
waitfor nobody

tc qdisc del dev cable root
on2 ip link set cable up
waitfor alive
waitfor mosmigrate --wait $big 2
waitfor sh -c "mosps | grep -q \"$big.* 2 \""
touch "$D/stop"
wait $big && true
echo "big $?: $(cat "$D/big.err")"
seq "$(wc -l <"$D/big")" | cmp - "$D/big"
seq "$(wc -l <"$D/away")" | cmp - "$D/away"
