"""What a Vagrant box has beside the userland that every guest shares: sshd, sudo, rsync, init, DHCP, the command line, a boot loader.

It is a tree over the userland, as a kernel's layer is, and the same for every kernel.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from harness.host import process
from harness.host.paths import cache_dir, package_file
from harness.host.progress import Progress
from harness.host.store import building, files_hash, remove_tree
from harness.images import archive
from harness.images.guest_packages import ROOTS, command_line, lock_excerpt
from harness.images.packages import INSTALL
from harness.images.userland import SITE, SUITE, in_chroot, install_python_packages
from harness.images.userland import key as userland_key
from harness.vm.qemu import COMMAND_LINE as KERNEL_COMMAND_LINE

__all__ = ("box_layer", "box_layer_path")

_PACKAGES = ("openssh-server", "sudo", "rsync", "systemd-standalone-sysusers")
_LOADER_PACKAGES = ("grub-common", "grub-pc-bin")
#: File of ``vagrant/box`` → where it lies in the box.
_FILES = {
    "inittab": "etc/inittab",
    "start": "usr/lib/nfharness/start",
    "network": "usr/lib/nfharness/network",
    "lease": "usr/lib/nfharness/lease",
    "shutdown": "usr/local/sbin/shutdown",
    "power": "etc/acpi/PWRF/00000080",
    "nfharness": "usr/local/bin/nfharness",
    "sshd_config": "etc/ssh/sshd_config",
    "sudoers": "etc/sudoers.d/vagrant",
    "authorized_keys": "home/vagrant/.ssh/authorized_keys",
}
_SCRIPT = f"""{INSTALL}
rm /etc/ssh/ssh_host_*
for name in init poweroff reboot halt; do ln -sf /bin/busybox /usr/sbin/$name; done
chmod 440 /etc/sudoers.d/vagrant
# No password, but not a locked account, which sshd would refuse.
useradd --shell /bin/bash --password '*' vagrant
chmod 700 /home/vagrant/.ssh
chmod 600 /home/vagrant/.ssh/authorized_keys
chown -R vagrant:vagrant /home/vagrant
python3 -m compileall -q /{SITE} || true
rm -rf /var/cache/* /tmp/*
"""
# The BIOS loads boot.img, that loads core.img from the sectors after it, and that needs no menu: one kernel, one command line.
_LOADER_SCRIPT = f"""
cd /boot
cat > early.cfg <<END
linux (hd0,msdos1)/boot/vmlinuz {KERNEL_COMMAND_LINE} nfharness.box
initrd (hd0,msdos1)/boot/initrd
boot
END
grub-mkimage -O i386-pc -c early.cfg -p /boot/grub -o core.img biosdisk part_msdos ext2 linux
cp /usr/lib/grub/i386-pc/boot.img .
"""


def box_layer_path() -> Path:
    """Where the layer is, or would be."""
    return cache_dir() / "box-layers" / _key()


def _key() -> str:
    files = files_hash([package_file("vagrant/box") / name for name in _FILES])
    recipe = (userland_key(), _PACKAGES, _LOADER_PACKAGES, _FILES, _SCRIPT, _LOADER_SCRIPT, files, _requirements())
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]


def _requirements() -> str:
    lock = package_file("requirements.lock")
    here = lock_excerpt(lock, ROOTS)
    return "".join(pin for pin in lock_excerpt(lock, command_line()).splitlines(keepends=True) if pin not in here)


def box_layer(userland: Path, progress: Progress) -> Path:
    """Directory with ``tree/``, to lie over the userland, and the boot loader ``boot.img`` and ``core.img``; built if need be.

    :raises HostError: no network, no room, or dpkg's or grub-mkimage's own error
    """
    path = box_layer_path()
    with building(path, waiting=lambda: progress.note("waiting for another build of the box's layer")) as new:
        if new:
            archive.refresh(progress=progress)
            with progress.step("box: sshd, sudo, the command line", expected_s=15):
                _build_tree(new, userland)
            with progress.step("box: boot loader", expected_s=3):
                _build_loader(new, userland)
    return path


def _build_tree(new: Path, userland: Path) -> None:
    tree, log = new / "tree", new / "build.log"
    archive.download_for(userland / "root", SUITE, _PACKAGES, tree / "build/debs")
    for name, place in _FILES.items():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package_file("vagrant/box") / name, tree / place)
    install_python_packages(tree / SITE, _requirements(), new, log)
    in_chroot(userland / "root", tree, _SCRIPT, log, what="installing the box's packages", every_user=True)
    _sweep(new, tree)


def _build_loader(new: Path, userland: Path) -> None:
    tools, upper, log = new / "grub", new / "loader", new / "build.log"
    for deb in archive.download_for(userland / "root", SUITE, _LOADER_PACKAGES, new / "debs"):
        process.run(process.bound(["dpkg-deb", "-x", str(deb), str(tools)]), what=f"unpacking {deb.name}", log=log, timeout=300)
    (upper / "boot").mkdir(parents=True)
    in_chroot(userland / "root", upper, _LOADER_SCRIPT, log, what="making the boot loader", above=tools)
    for name in ("boot.img", "core.img"):
        shutil.move(upper / "boot" / name, new / name)
    _sweep(new, upper)
    for leftover in (tools, upper, new / "debs"):
        remove_tree(leftover)


def _sweep(new: Path, upper: Path) -> None:
    for leftover in ("merged", "work"):
        remove_tree(new / f".{upper.name}.{leftover}")
