# What a guest could reach on machine 2, if it could reach anything: a file, a socket, a process of the same user.
on2 sh -c 'mkdir -p /run/canary && mount -t tmpfs canary /run/canary && echo alive >/run/canary/file'
on2 python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 7777))
while True:
    s.accept()
    open("/run/canary/touched", "w")' &
listens() { on2 sh -c 'ss -ltn | grep -q :7777'; }
waitfor listens
# A number that no process of machine 1 has.
on2 sh -c 'echo 30000 >/proc/sys/kernel/ns_last_pid; exec nsenter -t 1 -p -m sleep 1000' &
waitfor on2 pgrep -x -f "sleep 1000"
victim=$(on2 pgrep -x -f "sleep 1000")

# (-L: where it is, is for it alone to say.)
mosrun -L "$D/hostile" /run/canary/file 7777 "$victim" "$D/go" 2>"$D/hostile.err" &
attacker=$!
# The guest as machine 2 sees it: no capability, no new privilege, a filter, one thread, no descriptor.
contained() {
    for host in $(on2 pgrep -f "^mos-host"); do
        for guest in $(on2 pgrep -P "$host" -x hostile); do
            on2 sh -c "grep -q '^CapEff:.0*\$' /proc/$guest/status && grep -q '^NoNewPrivs:.1' /proc/$guest/status &&
                grep -q '^Seccomp:.2' /proc/$guest/status && test -z \"\$(ls /proc/$guest/fd)\"" && return 0
        done
    done
    return 1
}
waitfor contained
echo contained
# No host takes memory without bounds: at no time more than 128 MiB (a call carries up to 16 MiB at a time).
on2 sh -c 'while :; do
    for host in $(pgrep -f "^mos-host"); do sed -n "s/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p" /proc/$host/status; done
    sleep 0.02
done' >"$D/memory" 2>/dev/null &
watcher=$!
touch "$D/go"
wait $attacker && true
echo "status $?"
kill $watcher
[ "$(sort -n "$D/memory" | tail -1)" -lt 131072 ] || echo "a host had $(sort -n "$D/memory" | tail -1) KiB"
sort -u "$D/hostile.err"
on2 sh -c "test \"\$(cat /run/canary/file)\" = alive && test ! -e /run/canary/touched && kill -0 $victim" && echo "canaries alive"
nobody() { ! on2 pgrep -f "^mos-host"; }
waitfor nobody
echo "nobody left"
grep -h panicked "$D"/mosd-* || true
