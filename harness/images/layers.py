"""One small layer per kernel: its modules and headers as an image, its bzImage, and the initial RAM disk that joins it to the userland."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir, source_dir
from harness.host.progress import Progress
from harness.host.store import building, read_record, remove_tree
from harness.images import archive, archive_pool, config
from harness.images.kernels import PREFIXES, Kernel, from_json
from harness.images.treecopy import take
from harness.images.userland import SUITE, ext4_image, in_chroot

__all__ = ("Layer", "key", "layer", "layer_path", "layers_here", "trees_here")

#: What the initial RAM disk loads, in this order and with what they need, where the kernel has them as modules.
_BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "ext4", "overlay")
_GUEST_FILES = ("agent/init.sh", "agent/stage0.py")


@dataclass(frozen=True, slots=True)
class Layer:
    """A kernel made ready to boot.

    :param root: headers and kbuild tools as they lie in the guest, for building modules
    """

    kernel: Kernel
    path: Path

    @property
    def vmlinuz(self) -> Path:
        return self.path / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.path / "initrd"

    @property
    def image(self) -> Path:
        return self.path / "layer.img"

    @property
    def root(self) -> Path:
        return self.path / "root"


def key() -> str:
    """What every layer is made with, as a hash."""
    digest = hashlib.sha256(repr((SUITE, _BOOT_MODULES, _SCRIPT, Kernel.__dataclass_fields__.keys())).encode())
    for name in _GUEST_FILES:
        digest.update((source_dir() / name).read_bytes())
    return digest.hexdigest()[:8]


def layer_path(kernel: Kernel) -> Path:
    """Where the kernel's layer is, or would be."""
    return cache_dir() / "kernels" / f"{kernel.slug}_{key()}"


def layers_here() -> list[Layer]:
    """Layers as they would be made now, oldest first."""
    records = (cache_dir() / "kernels").glob(f"[!.]*_{key()}/kernel.json")
    return [Layer(from_json(read_record(path)), path.parent) for path in sorted(records, key=lambda path: path.stat().st_mtime)]


def trees_here() -> list[Kernel]:
    """The latest build of each developer's tree that has a layer."""
    return list({one.kernel.tree: one.kernel for one in layers_here() if one.kernel.tree}.values())


def layer(kernel: Kernel, userland: Path, progress: Progress) -> Layer:
    """The kernel's layer, downloaded and built if need be.

    :raises HostError: no network, no room, a corrupt archive, or a kernel that lacks what the harness needs
    """
    path = layer_path(kernel)
    with building(path, waiting=lambda: progress.note(f"waiting for another build of {kernel.release}")) as new:
        if new:
            _build(kernel, new, userland, progress)
    return Layer(from_json(read_record(path / "kernel.json")), path)


_SCRIPT = r"""
rel=$RELEASE
depmod "$rel"
mkdir -p /boot/initrd.d/modules /boot/initrd.d/bin
cd /boot/initrd.d
n=100
for module in $BOOT_MODULES; do
    modprobe -S "$rel" --show-depends "$module" | while read -r kind file rest; do
        if [ "$kind" = insmod ]; then echo "$file"; fi
    done
done | awk '!seen[$0]++' > /boot/order
while read -r file; do
    n=$((n + 1))
    case $file in
        *.xz) xz -dc "$file" > "modules/$n-$(basename "$file" .xz)" ;;
        *.zst) zstd -qdc "$file" > "modules/$n-$(basename "$file" .zst)" ;;
        *) cp "$file" modules/$n-"$(basename "$file")" ;;
    esac
done < /boot/order
cp /bin/busybox bin/busybox
cp /boot/guest/init.sh init
cp /boot/guest/stage0.py stage0.py
chmod 755 init
find . | cpio --quiet -o -H newc > /boot/initrd
"""


def _build(kernel: Kernel, new: Path, userland: Path, progress: Progress) -> None:
    root, log = new / "root", new / "build.log"
    if kernel.tree:
        with progress.step(f"kernel {kernel.label}: from {kernel.tree}", expected_s=8):
            take(kernel, new, userland, log)
    else:
        if kernel.unlisted:
            pool = archive_pool.address()
            progress.note(f"{kernel.release}: no suite lists its headers any more; they come from {pool}, over TLS but unsigned")
        with progress.step(f"kernel {kernel.release}: packages", expected_s=8):
            _unpack(kernel, new, log)
            _arrange(kernel, root, new)
    with progress.step(f"kernel {kernel.label}: layer", expected_s=8):
        _make_initrd(kernel, root, userland, log)
        shutil.move(root / "boot/initrd", new / "initrd")
        remove_tree(root / "boot")
        ext4_image(root, new / "layer.img", log)
        remove_tree(root / "usr/lib/modules" / kernel.release / "kernel")
    (new / "kernel.json").write_text(json.dumps(asdict(kernel)))


def _unpack(kernel: Kernel, new: Path, log: Path) -> None:
    wanted = [archive.Package(name, version, ()) for name, version in kernel.packages]
    debs = archive.download(wanted, new / "debs")
    debs += archive_pool.download(kernel.unlisted, kernel.version, PREFIXES, new / "debs", log)
    for deb in debs:
        process.run(process.bound(["dpkg-deb", "-x", str(deb), str(new / "root")]), what=f"unpacking {deb.name}", log=log, timeout=300)
    remove_tree(new / "debs")


def _arrange(kernel: Kernel, root: Path, new: Path) -> None:
    """Bring old and new package layouts to one: everything under /usr, the bzImage and config beside the layer."""
    if (root / "lib").is_dir() and not (root / "lib").is_symlink():
        shutil.copytree(root / "lib", root / "usr/lib", symlinks=True, dirs_exist_ok=True)
        remove_tree(root / "lib")
    modules = root / "usr/lib/modules" / kernel.release
    for name in ("vmlinuz", "config"):
        candidates = [root / f"boot/{name}-{kernel.release}", modules / name]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise HostError(f"the packages of {kernel.release} have no {name}", hint="choose another build: 'nfharness kernels'")
        shutil.copy(found, new / name)
    check_bzimage(new / "vmlinuz")
    check_config((new / "config").read_text(), kernel.release)


def check_bzimage(path: Path) -> None:
    """Look whether a file is a kernel that can be booted here.

    :raises HostError: *path* is not an x86-64 bzImage (Documentation/arch/x86/boot.rst: ``HdrS`` at 0x202, XLF_KERNEL_64)
    """
    with path.open("rb") as file:
        header = file.read(0x240)
    if header[0x202:0x206] != b"HdrS" or not struct.unpack_from("<H", header, 0x236)[0] & 1:
        hint = "nfharness runs amd64 kernels: choose one from 'nfharness kernels'"
        raise HostError(f"{path.name} is not a 64-bit x86 kernel image", hint=hint)


def check_config(text: str, release: str) -> None:
    """Look whether a kernel has all options that the harness cannot do without.

    :raises HostError: the kernel's configuration lacks something that the harness cannot do without
    """
    unmet = config.unmet(config.options(text))
    if unmet:
        hint = "choose another flavour or build: 'nfharness kernels'"
        raise HostError(f"kernel {release} is built without {', '.join(unmet)}", hint=hint)


def _make_initrd(kernel: Kernel, root: Path, userland: Path, log: Path) -> None:
    guest = root / "boot/guest"
    guest.mkdir(parents=True)
    for name in _GUEST_FILES:
        shutil.copy(source_dir() / name, guest)
    script = f"RELEASE='{kernel.release}' BOOT_MODULES='{' '.join(_BOOT_MODULES)}'\n{_SCRIPT}"
    in_chroot(userland / "root", root, script, log, what=f"preparing {kernel.release}")
    for leftover in (".root.merged", ".root.work"):
        remove_tree(root.parent / leftover)
