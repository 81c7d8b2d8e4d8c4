# Two virtual machines with unlike kernels, nodes of one cluster. Run by tests/kernels.rs: $1 is a scratch directory with the programs in
# $1/bin, $2 the scenario, which then runs on machine 1; $3 and $4 are the kernels of machines 1 and 2 (directories of an unpacked package),
# $5 and $6 their processors, as qemu names them.
#
# What a machine says is in $1/machine-N; machine 1 ends with the line "passed" or with "FAILED" and why.
set -eu
D=$1
scenario=$2

# A root directory: busybox, mos, the programs, and what the kernel needs for a network.
image() { # machine kernel
    T=$D/root-$1
    mkdir -p "$T/bin" "$T/proc" "$T/sys" "$T/dev" "$T/tmp" "$T/modules" "$T/etc/mosix/var" "$T/root"
    cp -L "$(command -v busybox)" "$T/bin/busybox"
    for name in $("$T/bin/busybox" --list); do [ -e "$T/bin/$name" ] || ln -s busybox "$T/bin/$name"; done
    cp "$D"/bin/* "$T/bin/"
    for name in mosd mosrun mosmigrate mosps mosctl; do ln -s mos "$T/bin/$name"; done
    for module in virtio_anchor virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
        found=$(find "$2/lib/modules" "$2/usr/lib/modules" -name "$module.ko*" 2>/dev/null | head -n 1)
        case $found in
            *.xz) xz -dc "$found" >"$T/modules/$module.ko" ;;
            *.ko) cp "$found" "$T/modules/" ;;
            *) continue ;;
        esac
        echo "$module" >>"$T/modules/order"
    done
    cp "$scenario" "$T/scenario"
    echo "10.87.0.1 2" >"$T/etc/mosix/mosix.map"
    echo "1 10.87.0.1 2" >"$T/etc/mosix/userview.map"
    echo "10.87.0.$1" >"$T/etc/mosix/mosip"
    echo "the password of a test" >"$T/etc/mosix/secret"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$T/etc/passwd"
    chmod 600 "$T/etc/mosix/secret"
    cat >"$T/init" <<INIT
#!/bin/sh
export PATH=/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm
# Which needs which differs between kernels.
for pass in 1 2 3; do while read module; do insmod /modules/\$module.ko 2>/dev/null; done </modules/order; done
ip link set lo up
n=0; while [ ! -e /sys/class/net/eth0 ] && [ \$n -lt 200 ]; do usleep 50000; n=\$((n+1)); done
ip addr add 10.87.0.$1/24 dev eth0; ip link set eth0 up
mosd -f >/tmp/mosd 2>&1 &
fail() { echo "FAILED: \$*"; mosps; mosctl localstatus; cat /tmp/mosd; poweroff -f; }
echo "machine $1 runs Linux \$(uname -r)"
[ $1 = 1 ] || while :; do sleep 1000; done
waitfor() { n=0; until "\$@" >/dev/null 2>&1; do n=\$((n+1)); [ \$n -lt 2000 ] || fail "waited for: \$*"; usleep 50000; done; }
waitfor sh -c "mosctl localstatus | grep -q \"2 of 2 nodes\""
. /scenario
echo passed
poweroff -f
INIT
    chmod +x "$T/init"
    (cd "$T" && find . | cpio -o -H newc --quiet) >"$D/image-$1"
    rm -rf "$T"
}

start() { # machine kernel processor network
    kernel=$(find "$2/boot" -name 'vmlinuz-*' | head -n 1)
    exec qemu-system-x86_64 -M q35 -accel tcg -cpu "$3" -m 256 -nodefaults -display none -no-reboot -serial stdio \
        -kernel "$kernel" -initrd "$D/image-$1" -append "console=ttyS0 quiet panic=-1" \
        -netdev "stream,id=net,addr.type=unix,addr.path=$D/cable,$4" \
        -device "virtio-net-pci,netdev=net,mac=52:54:00:87:00:0$1,romfile="
}

image 1 "$3"
image 2 "$4"
start 2 "$4" "$6" server=on </dev/null >"$D/machine-2" 2>&1 &
second=$!
trap 'kill $second 2>/dev/null' EXIT
n=0
until [ -S "$D/cable" ]; do
    n=$((n + 1))
    [ $n -lt 400 ] || { cat "$D/machine-2"; exit 1; }
    sleep 0.05
done
(start 1 "$3" "$5" server=off) </dev/null >"$D/machine-1" 2>&1
