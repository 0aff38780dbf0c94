"""Steps below IP."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from harness.guest import traffic
from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.guest.topology import mac_of
from harness.outcome.types import StepOutcome
from harness.scenario.steps import BROADCAST, UNKNOWN, Arp, Frame, asking_device

__all__ = ("HANDLERS",)

_NTF_USE, _NUD_NONE = 0x01, 0x00
_EXPERIMENTAL = 0x88B5
_NOBODY = "02:ff:ff:ff:ff:ff"


def _arp(run: Run, index: int, step: Arp) -> StepOutcome:
    """``NTF_USE`` makes the kernel look for a neighbour that it does not know. Afterwards it knows it for good again, as all others."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    topology = run.grounds[index]
    device = asking_device(topology, step)
    entry = {"family": socket.AF_INET, "dst": step.target, "ifindex": run.ifindex(step.source, device)}
    owner = next((one for one in topology.interfaces() if step.target in (text.partition("/")[0] for text in one.addresses)), None)
    with run.network.namespaces[step.source].inside(), IPRoute() as routes:
        if owner is not None:
            routes.neigh("del", **entry)
        routes.neigh("add", **entry, flags=_NTF_USE, state=_NUD_NONE)
        run.watch.settle(step.cookie)
        if owner is not None:
            routes.neigh("replace", **entry, lladdr=mac_of(topology, owner), state="permanent")
        else:
            routes.neigh("del", **entry)
    return StepOutcome(index)


def _frame(run: Run, index: int, step: Frame) -> StepOutcome:
    from scapy.layers.l2 import Dot1Q, Ether  # noqa: PLC0415 - seconds in an emulated guest

    topology = run.grounds[index]
    if step.to in (BROADCAST, UNKNOWN):
        to = "ff:ff:ff:ff:ff:ff" if step.to == BROADCAST else _NOBODY
    else:
        netns, _, device = step.to.partition("/")
        to = mac_of(topology, topology.interface(netns, device))
    header = Ether(src=mac_of(topology, topology.interface(step.source, step.device)), dst=to, type=_EXPERIMENTAL)
    if step.vlan is not None:
        header = Ether(src=header.src, dst=to) / Dot1Q(vlan=step.vlan, type=_EXPERIMENTAL)
    errno = traffic.send_frame(run.network.namespaces[step.source], step.device, header / traffic.payload(step.size, step.cookie))
    run.watch.settle(step.cookie)
    return StepOutcome(index, errno)


HANDLERS: Mapping[type, Handler] = {Arp: _arp, Frame: _frame}
