"""A Vagrant box for a kernel: the images that every guest has, as partitions of one disk, behind a boot loader.

The disk has a file system of the box's own (boot loader's files, the box's layer, all that is written later), the userland and the
kernel's layer. ``agent/init.sh`` puts them together as it does for any guest. What differs between providers is the file that holds it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from harness.boxes import virtualbox
from harness.boxes.drivers import DRIVERS, disk_drivers, lacking
from harness.boxes.layer import box_layer, box_layer_path
from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building, remove_tree
from harness.images.kernels import Kernel
from harness.images.kmodule import MODULE, module, module_key
from harness.images.layers import Layer, check_bzimage, layer_path
from harness.images.userland import ext4_image, userland, userland_path
from harness.vm.qemu import MEMORY

__all__ = ("PROVIDERS", "Provider", "VagrantBox", "box", "box_of", "box_path", "disk_header")

Provider = Literal["libvirt", "virtualbox"]
"""Whose format a box has; the plugin vagrant-qemu takes libvirt's."""
PROVIDERS: tuple[Provider, ...] = get_args(Provider)

_SECTOR, _MIB, _GIB = 512, 1 << 20, 1 << 30
_OWN_MIB = 2048
_OWN_OPTIONS = ("-L", "nfharness")
_LINUX_PARTITION = 0x83
#: What a box says of itself wherever it is used; what depends on the host is the user's Vagrantfile's affair.
_VAGRANTFILE = f"""Vagrant.configure("2") do |config|
  config.vm.guest = :debian
  config.vm.boot_timeout = 600
{virtualbox.VAGRANTFILE}end
"""
#: VirtualBox has hardware that accelerates, or does not run at all.
_VIRTUALBOX_PROCESSORS = 2


@dataclass(frozen=True, slots=True)
class VagrantBox:
    """What Vagrant is told of it.

    :param version: another content is another version: libvirt keeps an old box's volume under name and version
    :param file: the box
    :param catalogue: JSON that offers it, as a site with boxes would
    """

    name: str
    version: str
    file: Path
    catalogue: Path


def box_path(kernel: Kernel, provider: Provider = "libvirt") -> Path:
    """Where the kernel's box for a provider is, or would be."""
    parts = (box_layer_path().name, userland_path().name, layer_path(kernel).name, module_key(), _OWN_MIB, _OWN_OPTIONS, _VAGRANTFILE,
             virtualbox.descriptor("", capacity=0, size=0, processors=_VIRTUALBOX_PROCESSORS, mebibytes=MEMORY), DRIVERS)  # fmt: skip
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    return cache_dir() / "boxes" / f"{kernel.release}_{provider}_{digest}"


def box_of(path: Path) -> VagrantBox:
    """The box that a directory holds, or would hold."""
    release, _, digest = path.name.rsplit("_", 2)
    name = "nfharness/" + re.sub(r"[^A-Za-z0-9.]+", "-", release)
    return VagrantBox(name, f"1.{int(digest, 16)}", path / "nfharness.box", path / "catalogue.json")


def box(made: Layer, provider: Provider, progress: Progress) -> VagrantBox:
    """The box of a kernel for a provider, built if need be.

    :raises HostError: the host lacks something, no room; the kernel has no driver for the provider's hardware
    """
    kernel, path = made.kernel, box_path(made.kernel, provider)
    what = f"box of {kernel.release} for {provider}"
    with building(path, waiting=lambda: progress.note(f"waiting for another build of the {what}")) as new:
        if new:
            check_bzimage(made.vmlinuz)
            if provider == "virtualbox" and lacking(made):
                raise HostError(f"kernel {kernel.release} has no {' and no '.join(lacking(made))}, which a disk of VirtualBox needs",
                                hint="choose another flavour: 'nfharness kernels'")  # fmt: skip
            root = userland(progress)
            own, built = box_layer(root, progress), module(made, root, progress) / MODULE
            with progress.step(f"{what}: disk", expected_s=8):
                _write_disk(new, own, root, made, built)
            with progress.step(f"{what}: packing", expected_s=12):
                _pack(new, box_of(path), provider)
    return box_of(path)


def _write_disk(new: Path, own: Path, userland: Path, layer: Layer, built: Path) -> None:
    tree, log, disk = new / "own", new / "build.log", new / "disk"
    _own_tree(tree, own, layer, built, log)
    drivers = disk_drivers(layer, userland, new)
    if drivers:
        # One archive after another is one: the kernel unpacks all of them.
        with (tree / "boot/initrd").open("ab") as initrd:
            initrd.write(drivers.read_bytes())
        drivers.unlink()
    ext4_image(tree, new / "own.img", log, mebibytes=_OWN_MIB, options=_OWN_OPTIONS, every_user=True)
    images = (new / "own.img", userland / "root.img", layer.image)
    starts = [_MIB]
    for image in images:
        starts.append(starts[-1] + -(-image.stat().st_size // _MIB) * _MIB)
    with disk.open("wb") as file:
        partitions = [(start, image.stat().st_size) for start, image in zip(starts, images, strict=False)]
        file.write(disk_header((own / "boot.img").read_bytes(), (own / "core.img").read_bytes(), partitions))
        file.truncate(-(-starts[-1] // _GIB) * _GIB)
    for start, image in zip(starts, images, strict=False):
        copy = ["dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start // _MIB}", "conv=sparse,notrunc", "status=none"]
        process.run(process.bound(copy), what=f"copying {image.name}", log=log, timeout=300)
    remove_tree(tree)
    (new / "own.img").unlink()


def _own_tree(tree: Path, own: Path, layer: Layer, built: Path, log: Path) -> None:
    """The box's own file system: ``boot/`` for the boot loader, ``box/`` to lie over the userland."""
    (tree / "boot").mkdir(parents=True)
    shutil.copy(layer.vmlinuz, tree / "boot")
    shutil.copy(layer.initrd, tree / "boot")
    copy = process.in_namespace(["cp", "-a", "--reflink=auto", str(own / "tree"), str(tree / "box")], every_user=True)
    process.run(copy, what="copying the box's layer", log=log, timeout=300)
    shutil.copy(built, tree / "box/usr/lib/nfharness" / MODULE)
    (tree / "box/usr/lib/nfharness/module-key").write_text(module_key())


def disk_header(boot: bytes, core: bytes, partitions: list[tuple[int, int]]) -> bytes:
    """The first sectors of a disk: GRUB's boot sector with a partition table in it, then its core.

    :param partitions: start and size of each, in bytes
    :raises ValueError: the core does not fit before the first partition
    """
    if len(core) + _SECTOR > partitions[0][0]:
        raise ValueError("the boot loader does not fit")
    entries = [struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", _LINUX_PARTITION, b"\xfe\xff\xff", start // _SECTOR, size // _SECTOR)
               for start, size in partitions]
    table = b"".join(entries).ljust(64, b"\0")
    return boot[:446] + table + b"\x55\xaa" + core


def _pack(new: Path, box: VagrantBox, provider: Provider) -> None:
    disk = new / "disk"
    size = disk.stat().st_size
    files = _virtualbox_files(new, box, size) if provider == "virtualbox" else _libvirt_files(new, size)
    disk.unlink()
    (new / "Vagrantfile").write_text(_VAGRANTFILE)
    offer = {"name": box.name, "versions": [{"version": box.version, "providers": [{"name": provider, "url": f"file://{box.file}"}]}]}
    (new / box.catalogue.name).write_text(json.dumps(offer))
    with tarfile.open(new / box.file.name, "w") as archive:
        for name in ("metadata.json", "Vagrantfile", *files):
            archive.add(new / name, name)
            (new / name).unlink()


def _libvirt_files(new: Path, size: int) -> tuple[str, ...]:
    # Compressed inside: as small as a compressed archive, and nobody has to unpack it.
    _convert(new, "box.img", "-O", "qcow2", "-c", "-o", "compression_type=zstd")
    (new / "metadata.json").write_text(json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": size // _GIB}))
    return ("box.img",)


def _virtualbox_files(new: Path, box: VagrantBox, size: int) -> tuple[str, ...]:
    _convert(new, virtualbox.DISK_FILE, "-O", "vmdk", "-o", "subformat=streamOptimized")
    (new / "metadata.json").write_text(json.dumps({"provider": "virtualbox"}))
    text = virtualbox.descriptor(box.name.replace("/", "-"), capacity=size, size=(new / virtualbox.DISK_FILE).stat().st_size,
                                 processors=_VIRTUALBOX_PROCESSORS, mebibytes=MEMORY)  # fmt: skip
    (new / "box.ovf").write_text(text)
    return ("box.ovf", virtualbox.DISK_FILE)


def _convert(new: Path, image: str, *options: str) -> None:
    convert = ["qemu-img", "convert", *options, "-m", "4", "-W", str(new / "disk"), str(new / image)]
    process.run(process.bound(convert), what="packing the disk", log=new / "build.log", timeout=600)
