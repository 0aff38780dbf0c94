"""Steps below IP."""

from __future__ import annotations

import fcntl
import socket
import struct
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from harness.guest.run import Run
from harness.guest.senders import ethernet
from harness.guest.traffic import payload
from harness.outcome.types import StepOutcome
from harness.scenario.steps.link import BROADCAST, MULTICAST, UNKNOWN, Arp, Frame, asking_device
from harness.trace.capture import setting

__all__ = ("GROUPS", "arp", "frame")

_NTF_USE, _NUD_NONE = 0x01, 0x00
_SIOCGIFHWADDR = 0x8927
_NEVER_MS = "3600000"
_EXPERIMENTAL = 0x88B5
GROUPS = {BROADCAST: "ff:ff:ff:ff:ff:ff", MULTICAST: "03:ff:ff:ff:ff:ff"}
_ADDRESSES = {**GROUPS, UNKNOWN: "02:ff:ff:ff:ff:ff"}


def arp(run: Run, index: int, step: Arp) -> StepOutcome:
    """``NTF_USE`` makes the kernel look for a neighbour that it does not know. Afterwards it knows it for good again, as all others."""
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415 - seconds in an emulated guest

    topology = run.topologies[index]
    device = asking_device(topology, step)
    entry = {"family": socket.AF_INET, "dst": step.target, "ifindex": run.ifindex(step.source, device)}
    owner = next((one for one in topology.interfaces() if step.target in (text.partition("/")[0] for text in one.addresses)), None)
    with run.network.namespaces[step.source].inside(), _asks_once(device), IPRoute() as routes:
        with suppress(NetlinkError):  # it may not have known it
            routes.neigh("del", **entry)
        routes.neigh("add", **entry, flags=_NTF_USE, state=_NUD_NONE)
        run.watch.settle(step.cookie)
        if owner is not None:
            routes.neigh("replace", **entry, lladdr=_hardware_address(run, owner.netns, owner.device), state="permanent")
        else:
            routes.neigh("del", **entry)
    return StepOutcome(index)


def _asks_once(device: str | None) -> AbstractContextManager[None]:
    """Keep the kernel from asking again a second later (``neigh_timer_handler``): a slow guest would see a second request.

    :param device: where the request leaves, in the namespace of the calling thread
    """
    return setting(Path("/proc/sys/net/ipv4/neigh", device, "retrans_time_ms"), _NEVER_MS) if device else nullcontext()


def frame(run: Run, index: int, step: Frame) -> StepOutcome:
    if step.to in _ADDRESSES:
        to = _ADDRESSES[step.to]
    else:
        netns, _, device = step.to.partition("/")
        to = _hardware_address(run, netns, device)
    header = ethernet(_hardware_address(run, step.source, step.device), to, _EXPERIMENTAL, step.vlan)
    frame = header + payload(step.size, step.cookie)
    errno = run.ground.senders.send_frame(run.network.namespaces[step.source], step.device, frame)
    run.watch.settle(step.cookie)
    return StepOutcome(index, errno)


def _hardware_address(run: Run, netns: str, device: str) -> str:
    with run.network.namespaces[netns].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        return fcntl.ioctl(control, _SIOCGIFHWADDR, struct.pack("40s", device.encode()))[18:24].hex(":")
