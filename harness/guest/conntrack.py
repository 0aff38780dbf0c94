"""Connection tracking in the running kernel: its modules, core's pointers to them, and the tables of a namespace."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import GuestError
from harness.guest.netns import Namespace
from harness.trace.btf import Btf, Field
from harness.trace.bugs import only_warns
from harness.trace.probes import read_kernel
from harness.trace.symbols import Symbols

__all__ = ("POINTERS", "Zone", "count", "dependants", "is_available", "is_builtin", "is_module", "kept", "load", "loaded", "orphans_warn",
           "pointers", "unload", "zone_default")

#: Core's pointers, of which a kernel may lack some: attach moved from its own pointer into ``struct nf_ct_hook`` (5.17).
POINTERS = ("nf_ct_hook", "ip_ct_attach", "nfnl_ct_hook", "nf_nat_hook")

_MODULES = Path("/proc/modules")
_BUILTIN = "(builtin)"
_UNLOAD_SECONDS, _COMMAND_SECONDS = 30.0, 60
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Zone:
    """``struct nf_conntrack_zone``.

    :param dir: bits of ``enum ip_conntrack_dir``
    """

    id: int
    flags: int
    dir: int


def pointers(symbols: Symbols) -> Mapping[str, bool]:
    """Which of core's pointers the kernel has, and whether each leads anywhere.

    :raises GuestError: it cannot be read
    """
    return {name: any(read_kernel(symbols.one(name).address, 8)) for name in POINTERS if symbols.named(name)}


def zone_default(symbols: Symbols) -> Zone:
    """``nf_ct_zone_dflt``.

    :raises GuestError: the kernel has none
    """
    layout = _zone_layout()
    data = read_kernel(symbols.one("nf_ct_zone_dflt").address, max(field.offset + field.size for field in layout))
    return Zone(*(int.from_bytes(data[field.offset:field.offset + field.size], "little") for field in layout))


@cache
def _zone_layout() -> tuple[Field, ...]:
    """Members of ``struct nf_conntrack_zone``, in the order of :class:`Zone`'s."""
    btf = Btf.of_running_kernel()
    return tuple(btf.field("nf_conntrack_zone", name) for name in ("id", "flags", "dir"))


def orphans_warn(symbols: Symbols) -> bool:
    """Whether ``nf_conntrack_destroy`` warns of a connection that no hook destroys, rather than stop the kernel."""
    return only_warns(symbols, Btf.of_running_kernel(), "nf_conntrack_destroy")


def count(netns: Namespace) -> int:
    """Connections of a namespace, those included that are not confirmed yet; 0 while nf_conntrack is not loaded."""
    with netns.inside():
        try:
            return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
        except FileNotFoundError:
            return 0


def loaded() -> Mapping[str, Collection[str]]:
    """Loaded kernel modules, and for each those that need it."""
    lines = (line.split() for line in _MODULES.read_text().splitlines())
    return {name: [user for user in users.split(",") if user and not user.startswith(("-", "["))] for name, _, _, users, *_ in lines}


def is_module(name: str) -> bool:
    """Whether the kernel has it as a module, loaded or not, rather than built in or not at all."""
    return _filename(name) not in ("", _BUILTIN)


def is_builtin(name: str) -> bool:
    """Whether the kernel has it built in."""
    return _filename(name) == _BUILTIN


def is_available(name: str) -> bool:
    """Whether the kernel has it, as a module or built in."""
    return bool(_filename(name))


@cache
def _filename(name: str) -> str:
    """Where a module lies; nothing if the kernel has none of that name. The files of a kernel that runs stay."""
    shown = subprocess.run(["modinfo", "--field", "filename", name], check=False, capture_output=True, text=True)
    return shown.stdout.strip()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Whatever is unloaded meanwhile is loaded again."""
    before = loaded()
    try:
        yield
    finally:
        for name in before.keys() - loaded().keys():
            load(name)


def dependants(name: str) -> list[str]:
    """The loaded modules that need *name*, those first that nobody needs, and *name* itself last; none if it is not loaded."""
    users, order = loaded(), []

    def visit(module: str) -> None:
        for user in users.get(module, ()):
            visit(user)
        if module in users and module not in order:
            order.append(module)

    visit(name)
    return order


def load(name: str) -> None:
    """``modprobe``.

    :raises GuestError: the kernel has no such module, or does not take it
    """
    done = subprocess.run(["modprobe", name], check=False, capture_output=True, text=True, timeout=_COMMAND_SECONDS)
    if done.returncode:
        raise GuestError(f"modprobe {name}: {done.stderr.strip()}", hint="the kernel's log says why: dmesg")


def unload(name: str) -> list[str]:
    """``rmmod`` of a module and of all that need it, as soon as the rulesets that use them have died with their namespaces.

    :returns: what was unloaded, in that order
    :raises GuestError: something keeps using one of them
    """
    gone, deadline = [], time.monotonic() + _UNLOAD_SECONDS
    while order := dependants(name):
        done = subprocess.run(["rmmod", order[0]], check=False, capture_output=True, text=True, timeout=_COMMAND_SECONDS)
        if done.returncode == 0:
            gone.append(order[0])
        elif time.monotonic() > deadline:
            raise GuestError(f"{order[0]} is still in use after {_UNLOAD_SECONDS:.0f} s: {done.stderr.strip()}",
                             hint="something in this guest uses it: a ruleset, or a socket")
        else:
            time.sleep(_PAUSE_SECONDS)
    return gone
