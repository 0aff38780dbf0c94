"""Wrong paths of packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model import path, slow
from harness.model.path import stack
from tests.mutants.mutant import Mutant

__all__ = ("MUTANTS",)


def no_device_points(_self: path.Stack, _netns: str, _packet: path.Packet, _hooknum: int, _device: str) -> int:
    return 1


def state_without(field: str) -> Callable[..., slow.HookState]:
    def mutant(*values: Any) -> slow.HookState:
        pf, hook, net, indev, outdev, okfn = (*values, None)[:6]
        return slow.HookState(pf, hook, net, "" if field == "in" else indev, "" if field == "out" else outdev,
                              None if field == "okfn" else okfn)
    return mutant


PATHS = ("path.local-in", "path.local-out", "path.forward", "path.loopback", "path.own-address", "path.no-forward", "path.ttl", "path.echo",
         "state.fields", "path.netdev", "netdev.ingress")

MUTANTS = {
    "devices have no points": Mutant(("netdev.ingress", "netdev.egress", "path.netdev", "path.netdev-egress", "inet.ingress"),
                                     ((path.Stack, "nf_hook_device", no_device_points),)),
    "state->in is not set": Mutant(PATHS, ((stack, "HookState", state_without("in")),)),
    "state->okfn is not set": Mutant(("state.fields", "path.forward", "path.bridge", "path.arp"),
                                     ((stack, "HookState", state_without("okfn")),)),
    "state->out is not set": Mutant(("state.fields", "path.forward", "path.local-out"), ((stack, "HookState", state_without("out")),)),
}
