"""A guest's first network namespace (``init_net``), lent to a scenario: it was there before, and is as it was afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.guest import netns
from harness.guest.module import Hook, HookModule
from harness.guest.netns import Namespace, iproute
from harness.guest.privilege import require_guest
from harness.netfilter import Verdict, VerdictKind

__all__ = ("emptied", "lent")

_LOOPBACK, _IFF_UP = 1, 0x01


@contextlib.contextmanager
def lent(name: str, settings: Sequence[str]) -> Iterator[Namespace]:
    """The first namespace, by another name. Afterwards it has the devices and settings that it had.

    :param name: under :data:`harness.guest.netns.DIRECTORY`
    :param settings: paths below ``/proc/sys`` that may be written meanwhile
    :raises GuestError: this machine is no guest of ours
    """
    require_guest()
    namespace = netns.attach(name, 1)
    try:
        with namespace.inside():
            flags, values = _devices(), _values(settings)
        try:
            yield namespace
        finally:
            with namespace.inside():
                _put_back(flags, values)
    finally:
        namespace.detach()


def emptied(module: HookModule) -> None:
    """Take our hooks away, and dummies that failed shrinks have left: another hook that comes and goes takes them along.

    :param module: as the first namespace sees it
    """
    module.flush()
    for place, slots in module.all_slots().items():
        if not isinstance(place, int) and any(slot.dummy for slot in slots):
            pf, hook, ifindex = place
            module.add_hook(Hook(1, pf, hook, 0, Verdict(VerdictKind.ACCEPT), ifindex))
            module.del_hook(1)


def _devices() -> dict[int, int]:
    """Devices of the calling thread's namespace, each index with the device's flags (``IFF_UP`` …)."""
    with iproute() as routes:
        return {link["index"]: link["flags"] for link in routes.get_links()}


def _values(settings: Sequence[str]) -> dict[Path, str]:
    """What the settings are that there are."""
    paths = [Path("/proc/sys", name) for name in settings]
    return {path: path.read_text() for path in paths if path.exists()}


def _put_back(flags: dict[int, int], values: dict[Path, str]) -> None:
    """Take away devices that came, and write the settings that were.

    :param flags: of the devices that there were before, by index
    """
    with iproute() as routes:
        while came := _devices().keys() - flags.keys():
            routes.link("del", index=max(came))  # one at a time: others go with it
        if not flags[_LOOPBACK] & _IFF_UP:
            routes.link("set", index=_LOOPBACK, state="down")
    for path, value in values.items():
        with contextlib.suppress(FileNotFoundError):  # br_netfilter's have gone with it
            path.write_text(value)
