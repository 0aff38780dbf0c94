"""Debian packages that the host has plugged in as a disk, over the root of a guest that is running."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from harness.errors import GuestError

__all__ = ("lay_over",)

_PLACE = Path("/run/nfharness/packages")
_MS_RDONLY = 1


def lay_over(serial: str) -> None:
    """Mount a disk's directories over those of the root, with an overlay each: what is written there goes to memory, as before.

    :param serial: the disk's serial number
    :raises GuestError: the kernel does not see the disk, or does not mount it
    """
    # Synchronous, and without need for a driver of hot-plug slots: pci_rescan_bus() returns when the disk's driver has probed it.
    Path("/sys/bus/pci/rescan").write_text("1")
    disk = _PLACE / "disk"
    disk.mkdir(parents=True)
    _mount(str(_device(serial)), disk, "ext4", _MS_RDONLY)
    for directory in sorted(path for path in disk.iterdir() if path.is_dir() and path.name != "lost+found"):
        over = Path("/") / directory.name
        upper, work = _PLACE / "upper" / directory.name, _PLACE / "work" / directory.name
        for needed in (over, upper, work):
            needed.mkdir(parents=True, exist_ok=True)
        upper.chmod(over.stat().st_mode & 0o7777)  # it is what the root of the overlay looks like
        _mount("packages", over, "overlay", 0, f"lowerdir={directory}:{over},upperdir={upper},workdir={work}")


def _device(serial: str) -> Path:
    """The disk of that serial number.

    :raises GuestError: there is none
    """
    for file in Path("/sys/block").glob("vd*/serial"):
        if file.read_text().strip() == serial:
            return Path("/dev") / file.parent.name
    raise GuestError(f"the kernel does not see the disk {serial}", hint="it needs virtio_blk, and a PCI bus with a free slot")


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, options.encode()):
        number = ctypes.get_errno()
        raise GuestError(f"mounting {source} on {target} failed: {os.strerror(number)}", hint="does the kernel have ext4 and overlay?")
