"""Wrong paths of packets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from harness.model import path, structures
from harness.model.path import entrance, ip, stack
from harness.model.path.neighbour import Neighbours
from harness.scenario.routing import lookup
from tests.mutants.mutant import Mutant

__all__ = ("MUTANTS",)


def no_device_points(_self: path.Stack, _netns: str, _packet: path.Packet, _hooknum: int, _device: str) -> int:
    return 1


def state_without(field: str) -> Callable[..., structures.HookState]:
    def mutant(*values: Any) -> structures.HookState:
        pf, hook, net, indev, outdev, okfn = (*values, None)[:6]
        return structures.HookState(pf, hook, net, "" if field == "in" else indev, "" if field == "out" else outdev,
                              None if field == "okfn" else okfn)
    return mutant


PATHS = ("path.local-in", "path.local-out", "path.forward", "path.loopback", "path.own-address", "path.no-forward", "path.no-route",
         "path.ttl", "path.echo", "state.fields", "path.netdev", "netdev.ingress")

def as_ipv4_has_it(on: path.Stack, netns: str, device: str, packet: path.Packet) -> int:
    """IPv6 of a host that does not forward says nothing either."""
    assert packet.destination is not None
    if netns not in on.topology.forwarding and lookup(on.topology, netns, packet.destination) is None:
        return 0
    return right_rcv_finish(on, netns, device, packet)


right_rcv_finish = ip.ip_rcv_finish


def forgets_who_moves(self: Neighbours, netns: str, device: str, _now: object = None) -> None:
    right_ifdown(self, netns, device)


def hides_that_there_is_no_route(on: stack.Stack, netns: str, packet: path.Packet) -> int:
    ret = ip.ip_send(on, netns, packet)
    return 0 if ret == -errno.ENETUNREACH else ret


right_ifdown = Neighbours.ifdown

MUTANTS = {
    "IPv6 says that there is no route where it forwards": Mutant(("path.no-route",), ((ip, "ip_rcv_finish", as_ipv4_has_it),)),
    "sendto() does not say that there is no route": Mutant(("path.no-route",), ((entrance, "ip_send", hides_that_there_is_no_route),)),
    "a device that moves is a stranger to its neighbours": Mutant(
        ("path.moved",), ((Neighbours, "ifdown", forgets_who_moves),), rules_only=True),
    "IPv4 takes what comes from its own address": Mutant(("path.martian",), ((ip, "_is_martian", lambda *_: False),), rules_only=True),
    "devices have no points": Mutant(("netdev.ingress", "netdev.egress", "path.netdev", "path.netdev-egress", "inet.ingress"),
                                     ((path.Stack, "nf_hook_device", no_device_points),)),
    "state->in is not set": Mutant(PATHS, ((stack, "HookState", state_without("in")),)),
    "state->okfn is not set": Mutant(("state.fields", "path.forward", "path.bridge", "path.arp"),
                                     ((stack, "HookState", state_without("okfn")),)),
    "state->out is not set": Mutant(("state.fields", "path.forward", "path.local-out"), ((stack, "HookState", state_without("out")),)),
}
