"""What is refused without a word of the kernel's that says so."""

from __future__ import annotations

import socket

import pytest

from harness.outcome import describe
from harness.pytest_plugin.lab import Lab
from tests.kernel.test_ends import sockets


def test_a_chain_that_cannot_reroute_what_it_accepted_has_no_policy_to_blame(lab: Lab) -> None:
    net = lab.pair()
    net.peer.run("ip", "rule", "add", "fwmark", "5", "prohibit")
    net.peer.run("nft", "table ip r { chain o { type route hook output priority 0; policy accept; udp dport 55 meta mark set 5; }; }")
    with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,), lab.trace() as walks, pytest.raises(PermissionError):
        client.sendto(b"marked", (net.host.address, 55))
    call = walks[0].outcome.traversals[-1].calls[-1]
    assert (str(call.verdict), call.policy, call.rule) == ("DROP(EACCES)", False, None)
    assert describe.decided_by(call) == "its chain accepted, and there was no route for what it made of the packet"
