#!/bin/busybox sh
# First process of every guest: the userland and the kernel's layer, both read-only, under a tmpfs; then the agent as process 1.
bb=/bin/busybox
$bb mount -t proc proc /proc 2>/dev/null || { $bb mkdir -p /proc /sys /dev /run; $bb mount -t proc proc /proc; }
$bb mkdir -p /sys /dev /run /new /lower/userland /lower/layer /upper
$bb mount -t devtmpfs dev /dev
$bb mount -t sysfs sys /sys
for module in /modules/*; do
	[ -e "$module" ] || continue
	$bb insmod "$module" || echo "nfharness: insmod $module failed"
done
case " $($bb cat /proc/cmdline) " in
*" nfharness.prove "*)
	echo "nfharness: acceleration proved"
	$bb poweroff -f
	;;
esac
fail() {
	echo "nfharness: $*"
	$bb poweroff -f
}
$bb mount -t ext4 -o ro /dev/vda /lower/userland || fail "no userland"
$bb mount -t ext4 -o ro /dev/vdb /lower/layer || fail "no kernel layer"
$bb mount -t tmpfs -o mode=755 tmpfs /upper
$bb mkdir /upper/data /upper/work
$bb mount -t overlay -o lowerdir=/lower/layer:/lower/userland,upperdir=/upper/data,workdir=/upper/work root /new || fail "no root"
$bb cp /stage0.py /new/run/stage0.py
for fs in proc sys dev; do
	$bb mkdir -p /new/$fs
	$bb mount -o move /$fs /new/$fs
done
$bb mount -t tmpfs -o mode=1777 tmpfs /new/tmp
exec $bb switch_root /new /usr/bin/python3 -I -B /run/stage0.py
