"""Changes of a network that stands: namespaces and devices come, move and go."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.guest import netns
from harness.guest.module import HookModule
from harness.guest.netns import Namespace, iproute
from harness.guest.topology import Network, add_pair, await_ready, mac_address, set_sysctls, set_up
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, MoveDevice
from harness.scenario.topology import VethEnd

__all__ = ("add_dummy", "add_link", "add_netns", "await_gone", "await_quiet", "delete_device", "delete_netns", "has_loggers", "move_device",
           "proc_directory", "proc_inode")

_PROC = "/proc/thread-self/net/netfilter"
_POLL_SECONDS = 0.005


def add_netns(network: Network, name: str) -> Namespace:
    """Make another namespace, its ``lo`` up.

    :raises OSError: there is none, as :func:`harness.guest.netns.create` says
    """
    namespace = network.namespaces[name] = netns.create(f"{network.prefix}-{name}")
    network.topology = AddNetns(name).after(network.topology)
    with namespace.inside():
        set_sysctls(network.topology, name)
        with iproute() as routes:
            routes.link("set", index=1, state="up")
        network.ifindexes[name, "lo"] = 1
    return namespace


def delete_netns(network: Network, name: str) -> None:
    """Let go of a namespace: nothing of the network's uses it any more; other users' sockets may."""
    network.topology = DeleteNetns(name).after(network.topology)
    network.namespaces.pop(name).delete()
    _forget_devices(network)


def add_link(network: Network, a: VethEnd, b: VethEnd) -> None:
    """A veth pair, up."""
    network.topology = AddLink(a, b).after(network.topology)
    number = network.new_pair()
    with network.namespaces[a.netns].inside(), iproute() as routes:
        add_pair(routes, a, b, number, network.namespaces[b.netns])
    for side, end, peer in ((0, a, b), (1, b, a)):
        with network.namespaces[end.netns].inside(), iproute() as routes:
            index = network.ifindexes[end.netns, end.device] = socket.if_nametoindex(end.device)
            if any(":" in address for address in end.addresses):
                _enable_ipv6(end.device)
            set_up(routes, index, end, [(peer, mac_address(number, 1 - side))])
    await_ready(network)


def add_dummy(network: Network, name: str, device: str, *, up: bool) -> None:
    """A device of type dummy."""
    network.topology = AddDevice(name, device).after(network.topology)
    with network.namespaces[name].inside(), iproute() as routes:
        routes.link("add", kind="dummy", ifname=device)
        network.ifindexes[name, device] = socket.if_nametoindex(device)
        if up:
            routes.link("set", index=network.ifindexes[name, device], state="up")


def delete_device(network: Network, name: str, device: str) -> None:
    """A device, and a veth's peer with it."""
    with network.namespaces[name].inside(), iproute() as routes:
        routes.link("del", index=network.ifindexes[name, device])
    network.topology = DeleteDevice(name, device).after(network.topology)
    _forget_devices(network)


def move_device(network: Network, name: str, device: str, to: str) -> None:
    """A device moves to another namespace, where it is up, and takes what comes of either family."""
    with network.namespaces[name].inside(), iproute() as routes, network.namespaces[to].path.open() as there:
        routes.link("set", index=network.ifindexes[name, device], net_ns_fd=there.fileno())
    network.topology = MoveDevice(name, device, to).after(network.topology)
    _forget_devices(network)
    with network.namespaces[to].inside(), iproute() as routes:
        network.ifindexes[to, device] = socket.if_nametoindex(device)
        _enable_ipv6(device)
        routes.link("set", index=network.ifindexes[to, device], state="up")
    await_ready(network)


def _enable_ipv6(device: str) -> None:
    """Where its namespace has none by default. A kernel without IPv6 has nothing of it."""
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("0")


def _forget_devices(network: Network) -> None:
    for name, device in list(network.ifindexes):
        if name not in network.topology.namespaces or device not in network.topology.devices(name):
            del network.ifindexes[name, device]


def await_gone(module: HookModule, inum: int, seconds: float) -> bool:
    """Wait until a namespace, and every other one that nothing uses, has gone through all of ``cleanup_net()``; whether it was in time.

    :param inum: its ``net->ns.inum``
    """
    return _await(module, lambda live: inum not in live, seconds)


def await_quiet(module: HookModule, seconds: float) -> bool:
    """Wait until every namespace that was deleted, and any other that nothing uses, has been cleaned up; whether that was in time."""
    quiet = _await(module, lambda live: not live & netns.deleted, seconds)
    if quiet:
        netns.deleted.clear()
    return quiet


def _await(module: HookModule, done: Callable[[frozenset[int]], bool], seconds: float) -> bool:
    """Wait until what is live satisfies, and nothing is dying: one that is neither live nor dying may still be in ``cleanup_net()`` with
    those that are."""
    deadline = time.monotonic() + seconds
    while True:
        live, dying = module.namespaces()
        if not dying and done(live):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def proc_inode(namespace: Namespace | None) -> int | None:
    """Inode number of a namespace's ``/proc/net/netfilter``; ``None`` if it has none.

    :param namespace: ``None``: the caller's
    """
    with namespace.inside() if namespace else contextlib.nullcontext(), contextlib.suppress(FileNotFoundError):
        return Path(_PROC).stat().st_ino
    return None


def has_loggers(namespace: Namespace) -> bool:
    """Whether a namespace has the ``nf_log`` of ``netfilter_log_init`` in its ``/proc/net/netfilter``."""
    with namespace.inside():
        return Path(_PROC, "nf_log").exists()


@contextlib.contextmanager
def proc_directory(namespace: Namespace) -> Iterator[Callable[[], list[str]]]:
    """What is in a namespace's ``/proc/net/netfilter``, which does not keep the namespace alive; nothing once that is gone."""
    with namespace.inside():
        directory = os.open(_PROC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield lambda: os.listdir(directory)  # noqa: PTH208 - of a directory that has no path any more
    finally:
        os.close(directory)
