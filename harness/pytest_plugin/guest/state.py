"""What a test could leave behind in its kernel: namespaces, modules, mounts, processes, cgroups, hooks, the first namespace's routes …"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GuestError
from harness.guest.genetlink import NetlinkRefused
from harness.guest.inventory import Inventory, InventoryEntry
from harness.guest.module import HookModule, HookRefused, LiveSlot
from harness.guest.netns import DIRECTORY, Namespace
from harness.guest.nfnetlink_hook import HookList, ListedHook, decoded
from harness.netfilter import HOOK_POINTS, Family, hook_name
from harness.pytest_plugin.guest.limits import more_files
from harness.pytest_plugin.guest.orphans import children
from harness.pytest_plugin.guest.process import Limits, process_limits, process_state

__all__ = ("State", "cgroups", "changed_process", "foreign_modules", "leftovers", "mounts")

_INIT = "init"
_MODULE = Path("/sys/module/nfharness")
_CGROUPS = "/sys/fs/cgroup"
#: Seconds that a clock which nobody sets may gain or lose during a test: what a machine's time server corrects.
_CLOCK_S = 1.0
#: What a machine's systemd makes and removes while tests run.
_OF_SYSTEMD = (".slice", ".scope", ".service", ".mount")
Hooks = frozenset[tuple[str, str, str, int, int]]
"""Namespace, hook point, function, priority, and the how-manieth of several that are alike."""
#: Devices that a kernel's module makes by itself in a namespace, when it is loaded.
_FALLBACKS = {"tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0", "bond0", "dummy0", "ifb0", "ifb1",
              "teql0"}


@dataclass(frozen=True, slots=True)
class State:
    """What a test must leave as it was.

    :param modules: those that are not the kernel's own: what it loads by itself on demand is no leak
    :param devices: namespace and name, less those that modules bring
    :param network: what else stands in the first network namespace
    :param cgroups: their directories
    :param host_name: one
    :param clock: when the kernel was booted by its wall clock, seconds since 1970
    :param process: name and value of what a test may change in the process that runs the next one
    """

    namespaces: frozenset[str]
    modules: frozenset[str]
    processes: frozenset[tuple[int, str]]
    hooks: Hooks
    devices: frozenset[tuple[str, str]] = frozenset()
    mounts: frozenset[str] = frozenset()
    network: frozenset[InventoryEntry] = frozenset()
    cgroups: frozenset[str] = frozenset()
    host_name: frozenset[str] = frozenset()
    clock: float = 0.0
    process: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def read(cls, inventory: Inventory) -> State:
        """The state of the guest now.

        :param inventory: of the first network namespace
        :raises GuestError: neither nfharness.ko nor the kernel itself tells what is hooked
        """
        return cls._read(inventory, process_limits())

    @classmethod
    @more_files()
    def _read(cls, inventory: Inventory, limits: Limits) -> State:
        names = frozenset(path.name for path in DIRECTORY.iterdir()) if DIRECTORY.is_dir() else frozenset()
        hooks: set[tuple[str, str, str, int, int]] = set()
        devices: set[tuple[str, str]] = set()
        for name in (_INIT, *names):
            found = _devices_of(name)
            devices |= {(name, device) for _, device in found if device not in _FALLBACKS}
            hooks.update(_hooks_of(name, found))
        return cls(names, frozenset(foreign_modules()), frozenset(children()), frozenset(hooks), frozenset(devices),
                   frozenset(mounts()), inventory.read(), frozenset(cgroups()), frozenset({os.uname().nodename}),
                   time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME), process_state(limits))

    def changed(self, before: State, after: State) -> State:
        """This state with what came, and without what went, between two others: what a fixture of a wider scope changes is no test's."""
        def change(name: str) -> frozenset[object] | float:
            own, old, new = (getattr(state, name) for state in (self, before, after))
            return own + new - old if name == "clock" else frozenset((own | (new - old)) - (old - new))

        return State(*(change(name) for name in self.__slots__))  # type: ignore[arg-type]


def leftovers(before: State, after: State) -> list[str]:
    """What is there in the kernel that was not, and which hooks are gone, in words."""
    found = [f"network namespaces are left behind: {', '.join(sorted(names))}"] if (names := after.namespaces - before.namespaces) else []
    if modules := after.modules - before.modules:
        found.append(f"modules are left behind: {', '.join(sorted(modules))}")
    found += [f"a mount is left behind: {mount}" for mount in sorted(after.mounts - before.mounts)]
    if processes := after.processes - before.processes:
        shown = ", ".join(f"{name} ({pid})" for pid, name in sorted(processes)[:8])
        found.append(f"{len(processes)} processes are left behind: {shown}" if len(processes) > 1 else f"a process is left behind: {shown}")
    both = before.namespaces & after.namespaces | {_INIT}
    found += [f"a device is left behind in namespace {netns}: {name}"
              for netns, name in sorted(after.devices - before.devices) if netns in both]
    kept = {device for netns, device in before.devices & after.devices if netns == _INIT} | {""}
    found += [f"{_article(entry.kind)} {entry.kind} is left behind in namespace {_INIT}: {entry.what}"
              for entry in sorted(after.network - before.network) if entry.device in kept]
    found += [f"a cgroup is left behind: {path}" for path in sorted(after.cgroups - before.cgroups)]
    found += [f"the host name is {name!r} now, and was {min(before.host_name)!r}" for name in after.host_name - before.host_name]
    if abs(gained := after.clock - before.clock) > _CLOCK_S:
        found.append(f"the clock was set, {abs(gained):,.0f} s {'forward' if gained > 0 else 'back'}")
    for verb, hooks in (("left behind", after.hooks - before.hooks), ("gone", before.hooks - after.hooks)):
        found += [f"a hook is {verb} in namespace {netns}: {function} at {point}, priority {priority}"
                  for netns, point, function, priority, _ in sorted(hooks) if netns in both]
    return found


def changed_process(before: State, after: State) -> list[str]:
    """What is otherwise in the process that was to run the next test, in words; the kernel is as it was."""
    now = dict(after.process)
    return [f"{name} is {f'{now[name]!r} now' if name in now else 'gone'}, and was {value!r}"
            for name, value in sorted(before.process) if now.get(name) != value]


def cgroups(directory: str | Path = _CGROUPS) -> Iterator[str]:
    """Directories below a directory, less systemd's. The number of links says whether there are any (``kernfs_refresh_inode``)."""
    with suppress(OSError):
        if os.stat(directory).st_nlink != 2:  # noqa: PTH116 - a guest is slow
            with os.scandir(directory) as entries:
                own = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.endswith(_OF_SYSTEMD)]
            for path in own:
                yield path
                yield from cgroups(path)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aIX" else "a"


def foreign_modules() -> Iterator[str]:
    """Names of modules that are not the kernel's own."""
    for line in Path("/proc/modules").read_text().splitlines():
        name, *_, last = line.split()
        if last.startswith("(") and "O" in last:
            yield name


def mounts() -> Iterator[str]:
    """File system and place of each, less those of namespaces, of sessions, and that come by looking (``debugfs_create_automount``)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        own, _, rest = line.partition(" - ")
        where = own.split()[4]
        if not where.startswith(("/run/netns", "/run/user")) and where != "/sys/kernel/debug/tracing":
            yield f"{rest.split()[0]} at {where}"


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
    for where, hooks in (_of_module if _MODULE.is_dir() else _listed)(namespace, devices):
        seen: dict[tuple[str, int], int] = {}
        for hook in hooks:
            alike = seen[hook.function, hook.priority] = seen.get((hook.function, hook.priority), 0) + 1
            yield name, where, hook.function, hook.priority, alike


def _of_module(namespace: Namespace | None, devices: list[tuple[int, str]]) -> Iterator[tuple[str, Sequence[LiveSlot]]]:
    with HookModule(namespace) as module:
        for pf, point, ifindex, device in _points(devices):
            with suppress(HookRefused):
                yield _where(pf, point, device), module.slots(pf, point, ifindex)


def _listed(namespace: Namespace | None, devices: list[tuple[int, str]]) -> Iterator[tuple[str, Sequence[ListedHook]]]:
    """What a bare kernel lists by itself."""
    with closing(HookList(namespace)) as kernel:
        if not kernel.available():
            raise GuestError("neither nfharness.ko nor nfnetlink_hook tells what is hooked")
        for pf, point, _, device in _points(devices):
            with suppress(NetlinkRefused):
                yield _where(pf, point, device), [decoded(body) for body in kernel.read(pf, point, device)]


def _where(pf: Family, point: int, device: str | None) -> str:
    return f"{pf.name} {hook_name(pf, point)}" + (f" of {device}" if device else "")


def _points(devices: list[tuple[int, str]]) -> Iterator[tuple[Family, int, int, str | None]]:
    for pf, hooks in HOOK_POINTS.items():
        if pf is Family.NETDEV:
            for number in hooks.values():
                yield from ((pf, number, index, device) for index, device in devices)
        elif pf is not Family.INET:
            yield from ((pf, number, 0, None) for number in hooks.values())
