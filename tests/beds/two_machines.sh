# Two machines joined by a cable: namespaces of network, processes and mounts of their own. Run by tests/containment.rs under
# unshare(1): $1 is a scratch directory, $2 the scenario that is then run here, on machine 1. All processes end with this one.
#
# For scenarios: on2 CMD… runs a command on machine 2; the cable is the interface "cable" here; waitfor CMD… waits until it succeeds.
set -eu
D=$1
scenario=$2
export PATH="$D/bin:$PATH"

waitfor() {
    n=0
    until "$@" >/dev/null 2>&1; do
        n=$((n + 1))
        [ $n -lt 2000 ] || { echo "waited in vain for: $*"; exit 1; }
        sleep 0.05
    done
}

unshare --net --mount --pid --fork --kill-child --mount-proc sleep infinity &
waitfor sh -c "pgrep -P $!"
machine2=$(pgrep -P $!)
on2() { nsenter -t "$machine2" -n -m -p env MOSIX_ROOT="$D/node-2" "$@"; }

ip link set lo up
on2 ip link set lo up
ip link add cable type veth peer name cable netns "$machine2"
ip addr add 10.87.0.1/24 dev cable
on2 ip addr add 10.87.0.2/24 dev cable
ip link set cable up
on2 ip link set cable up

for node in 1 2; do
    etc=$D/node-$node/etc/mosix
    mkdir -p "$etc/var"
    # Small: a scenario may fill it.
    mount -t tmpfs -o size=64k var "$etc/var"
    echo "10.87.0.1 2" >"$etc/mosix.map"
    echo "1 10.87.0.1 2" >"$etc/userview.map"
    echo "10.87.0.$node" >"$etc/mosip"
    printf 'tcp 20253\nudp 20253\n' >"$etc/ports"
    (umask 077; echo "the password of a test" >"$etc/secret")
done
export MOSIX_ROOT="$D/node-1"
mosd -f >"$D/mosd-1" 2>&1 &
on2 mosd -f >"$D/mosd-2" 2>&1 &
alive() { mosrun -r10.87.0.2 true; }
waitfor alive

. "$scenario"
