#!/bin/busybox sh
# First process of every guest: the userland and the kernel's layer, both read-only, under a tmpfs; then the agent as process 1.
# In a Vagrant box (nfharness.box) they are partitions, the first one has the box's own layer and takes what is written, and init follows.
bb=/bin/busybox
$bb mount -t proc proc /proc 2>/dev/null || { $bb mkdir -p /proc /sys /dev /run; $bb mount -t proc proc /proc; }
$bb mkdir -p /sys /dev /run /new /lower/userland /lower/layer /upper
$bb mount -t devtmpfs dev /dev
$bb mount -t sysfs sys /sys
for module in /modules/*; do
	[ -e "$module" ] || continue
	$bb insmod "$module" || echo "nfharness: insmod $module failed"
done
fail() {
	echo "nfharness: $*"
	$bb poweroff -f
}
userland=/dev/vda layer=/dev/vdb lower=/lower/layer:/lower/userland next="/usr/bin/python3 -I -B /run/stage0.py"
case " $($bb cat /proc/cmdline) " in
*" nfharness.prove "*)
	echo "nfharness: acceleration proved"
	$bb poweroff -f
	;;
*" nfharness.box "*)
	for n in 1 2 3 4 5 6 7 8 9; do
		disk=$($bb findfs LABEL=nfharness) && break
		$bb sleep 1
	done
	userland=${disk%1}2 layer=${disk%1}3 lower=/upper/box:$lower next=/sbin/init
	$bb mount -t ext4 "$disk" /upper || fail "no partition of the box's own"
	;;
*)
	$bb mount -t tmpfs -o mode=755 tmpfs /upper
	;;
esac
$bb mount -t ext4 -o ro "$userland" /lower/userland || fail "no userland"
$bb mount -t ext4 -o ro "$layer" /lower/layer || fail "no kernel layer"
$bb mkdir -p /upper/data /upper/work
$bb mount -t overlay -o "lowerdir=$lower,upperdir=/upper/data,workdir=/upper/work" root /new || fail "no root"
$bb mkdir -p /new/run
$bb cp /stage0.py /new/run/stage0.py
for fs in proc sys dev; do
	$bb mkdir -p /new/$fs
	$bb mount -o move /$fs /new/$fs
done
$bb mount -t tmpfs -o mode=1777 tmpfs /new/tmp
exec $bb switch_root /new $next
