"""The test that a template has run once, so that a guest's first one finds all that it needs."""

from __future__ import annotations

from scapy.layers.inet import IP, UDP

from harness.pytest_plugin import Delivered
from harness.pytest_plugin.lab import Lab

__all__ = ("test_rehearsal",)


def test_rehearsal(lab: Lab) -> None:
    """Build a network, load a ruleset, register a hook, send a packet: what most tests need is imported and warm then."""
    net = lab.router()
    lab.nft("table ip t { chain c { type filter hook forward priority 0; }; }")
    lab.hook(net.router, "ipv4", "FORWARD", priority=5)
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).fate == Delivered()  # noqa: S101
