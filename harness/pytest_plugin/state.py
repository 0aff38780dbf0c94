"""What a test could leave behind in its kernel: namespaces, modules, processes, and hooks in the arrays of any namespace."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from harness.guest.module import HookModule, HookRefused
from harness.guest.netns import DIRECTORY, Namespace
from harness.netfilter import HOOK_POINTS, Family, hook_name

__all__ = ("State", "children", "leftovers")

_INIT = "init"
Hooks = frozenset[tuple[str, str, str, int, int]]
"""Namespace, hook point, function, priority, and the how-manieth of several that are alike."""
#: Devices that a kernel's module makes by itself in a namespace, when it is loaded.
_FALLBACKS = {"tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0", "bond0", "dummy0", "ifb0", "ifb1",
              "teql0"}


@dataclass(frozen=True, slots=True)
class State:
    """:param modules: those that are not the kernel's own: what it loads by itself on demand is no leak
    :param devices: namespace and name, less those that modules bring
    """

    namespaces: frozenset[str]
    modules: frozenset[str]
    processes: frozenset[tuple[int, str]]
    hooks: Hooks
    devices: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def read(cls) -> State:
        """:raises GuestError: the module that reads hook arrays is not there"""
        names = frozenset(path.name for path in DIRECTORY.iterdir()) if DIRECTORY.is_dir() else frozenset()
        hooks: set[tuple[str, str, str, int, int]] = set()
        devices: set[tuple[str, str]] = set()
        for name in (_INIT, *names):
            found = _devices_of(name)
            devices |= {(name, device) for _, device in found if device not in _FALLBACKS}
            hooks.update(_hooks_of(name, found))
        return cls(names, frozenset(_foreign_modules()), frozenset(children()), frozenset(hooks), frozenset(devices))

    def adopting(self, before: State, after: State) -> State:
        """With what came, and without what went, between two others."""
        def adopt(name: str) -> frozenset[object]:
            own, old, new = (getattr(state, name) for state in (self, before, after))
            return frozenset((own | (new - old)) - (old - new))

        return State(*(adopt(name) for name in self.__slots__))  # type: ignore[arg-type]


def leftovers(before: State, after: State) -> list[str]:
    """What is there that was not, and which hooks are gone, in words."""
    found = [f"network namespaces are left behind: {', '.join(sorted(names))}"] if (names := after.namespaces - before.namespaces) else []
    if modules := after.modules - before.modules:
        found.append(f"modules are left behind: {', '.join(sorted(modules))}")
    if processes := after.processes - before.processes:
        shown = ", ".join(f"{name} ({pid})" for pid, name in sorted(processes)[:8])
        found.append(f"{len(processes)} processes are left behind: {shown}" if len(processes) > 1 else f"a process is left behind: {shown}")
    both = before.namespaces & after.namespaces | {_INIT}
    found += [f"a device is left behind in namespace {netns}: {name}"
              for netns, name in sorted(after.devices - before.devices) if netns in both]
    for verb, hooks in (("left behind", after.hooks - before.hooks), ("gone", before.hooks - after.hooks)):
        found += [f"a hook is {verb} in namespace {netns}: {function} at {point}, priority {priority}"
                  for netns, point, function, priority, _ in sorted(hooks) if netns in both]
    return found


def _foreign_modules() -> Iterator[str]:
    for line in Path("/proc/modules").read_text().splitlines():
        name, *_, last = line.split()
        if last.startswith("(") and "O" in last:
            yield name


def children() -> Iterator[tuple[int, str]]:
    """Living descendants that ended up as this process's own children: a worker is their subreaper."""
    own = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent, *_ = rest.split()
        if parent == own and state != "Z":
            yield int(entry.name), name


def _devices_of(name: str) -> list[tuple[int, str]]:
    """None of a name whose namespace is not mounted (yet, or any more)."""
    try:
        with _inside(name):
            return socket.if_nameindex()
    except OSError:
        return []


def _inside(name: str) -> AbstractContextManager[None]:
    return nullcontext() if name == _INIT else Namespace.find(name).inside()


def _hooks_of(name: str, devices: list[tuple[int, str]]) -> Iterator[tuple[str, str, str, int, int]]:
    if not devices:
        return
    namespace = None if name == _INIT else Namespace.find(name)
    with HookModule(namespace) as module:
        for pf, point, ifindex, where in _points(devices):
            try:
                slots = module.slots(pf, point, ifindex)
            except HookRefused:
                continue
            seen: dict[tuple[str, int], int] = {}
            for slot in slots:
                alike = seen[slot.function, slot.priority] = seen.get((slot.function, slot.priority), 0) + 1
                yield name, where, slot.function, slot.priority, alike


def _points(devices: list[tuple[int, str]]) -> Iterator[tuple[Family, int, int, str]]:
    for pf, hooks in HOOK_POINTS.items():
        if pf is Family.NETDEV:
            for number in hooks.values():
                yield from ((pf, number, index, f"{pf.name} {hook_name(pf, number)} of {device}") for index, device in devices)
        elif pf is not Family.INET:
            yield from ((pf, number, 0, f"{pf.name} {hook_name(pf, number)}") for number in hooks.values())
