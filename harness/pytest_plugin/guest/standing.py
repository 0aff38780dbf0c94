"""What must be in a guest for the next test: nfharness.ko, mounts, the tracer's probes and programs, directories, ``lo``, settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.guest.inventory import Inventory
from harness.guest.module import KERNEL_OBJECT
from harness.pytest_plugin.guest import settings
from harness.pytest_plugin.guest.state import foreign_modules, mounts
from harness.pytest_plugin.selection import TREE

__all__ = ("Standing", "missing", "standing")

Standing = frozenset[tuple[str, str]]
"""What is there, in words, and how it is; "" where that it is there is all."""

_TRACEFS = Path("/sys/kernel/tracing")
_PATHS = (Path(__file__).parents[2], TREE, KERNEL_OBJECT, "/tmp", "/root", "/dev/null", "/usr/bin/python3", "/usr/sbin/nft", "/usr/sbin/ip",  # noqa: S108
          "/usr/sbin/modprobe", "/lib/modules")
_OF_THE_WORKER = "the worker's"
#: A kernel of few options has no cgroup and no user.
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def standing(inventory: Inventory) -> Standing:
    """The things without which the next test would fail, as they are now.

    :param inventory: of the first network namespace
    :raises OSError: /proc is not what it was
    """
    network = ((f"the {entry}", "") for entry in inventory.read())
    return settings.watched().read().union(_modules(), _mounts(), _probes(), _descriptors(), _paths(), _lo(), network, _own())


def missing(before: Standing, after: Standing) -> list[str]:
    """What was there and is not, or is otherwise, in words; first the worker itself, as what it sees depends on that."""
    now, lost = dict(after), sorted(before - after, key=lambda one: (not one[0].startswith(_OF_THE_WORKER), one))
    return [f"{what} is {now[what]}, and was {value}" if what in now else f"{what} is gone" for what, value in lost]


def _modules() -> Iterator[tuple[str, str]]:
    """The modules that the kernel cannot load again by itself."""
    yield from ((f"the module {name}", "") for name in foreign_modules())


def _mounts() -> Iterator[tuple[str, str]]:
    yield from ((f"the mount of {mount}", "") for mount in mounts())


def _probes() -> Iterator[tuple[str, str]]:
    try:
        events = (_TRACEFS / "kprobe_events").read_text()
    except OSError:
        return
    for line in events.splitlines():
        yield f"the probe {line}", ""


def _descriptors() -> Iterator[tuple[str, str]]:
    """The descriptors of BPF programs, maps and events: the worker has them whether tracefs is mounted or not."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue
        if target.startswith(("anon_inode:bpf", "anon_inode:[perf")):
            yield f"the worker's descriptor {name} ({target.partition(':')[2]})", ""


def _paths() -> Iterator[tuple[str, str]]:
    yield from ((str(path), "") for path in _PATHS if os.path.exists(path))  # noqa: PTH110 - twice as fast
    for where, directories, files in os.walk(TREE):
        directories[:] = [name for name in directories if not name.startswith(".") and name != "__pycache__"]
        yield from ((f"{where}/{name}", "") for name in files)


def _lo() -> Iterator[tuple[str, str]]:
    """The settings and addresses of ``lo`` in the first namespace, whose other devices are a machine's own affair."""
    for name, file in (("flags", "flags"), ("MTU", "mtu"), ("queue's length", "tx_queue_len")):
        yield f"the device lo (its {name})", Path("/sys/class/net/lo", file).read_text().strip()
    addresses = Path("/proc/net/if_inet6")
    for line in addresses.read_text().splitlines() if addresses.exists() else ():
        address, *_, name = line.split()
        if name == "lo":
            yield f"the address {address} of lo", ""
    if "|-- 127.0.0.1" in Path("/proc/net/fib_trie").read_text():
        yield "the address 127.0.0.1 of lo", ""


def _own() -> Iterator[tuple[str, str]]:
    own = Path("/proc/self/ns")
    yield from ((f"{_OF_THE_WORKER} {name} namespace", str((own / name).readlink())) for name in _NAMESPACES if (own / name).is_symlink())
    yield f"{_OF_THE_WORKER} user", str(os.getresuid())
    root = Path("/").stat()
    yield f"{_OF_THE_WORKER} root directory", f"inode {root.st_ino} of device {root.st_dev}"
