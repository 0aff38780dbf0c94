"""Hooks that do what none should, at every kind of hook point and beside others: noticed or refused, they harm nothing."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.netns import Namespace
from harness.guest.queue import Listener
from harness.guest.topology import Network
from harness.guest.traffic import payload
from harness.guest.uapi import Tamper
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.steps.queue import Listen

pytestmark = pytest.mark.usefixtures("nfharness_ko")

Flood = Callable[[Namespace, str], AbstractContextManager[None]]
ACCEPT = Verdict(VerdictKind.ACCEPT)
INGRESS, PREROUTING, INPUT = 0, 0, 1
LO = 1


def datagrams(network: Network, count: int) -> int:
    """Send some to oneself; how many arrived."""
    with network.namespaces["host"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sink.bind(("127.0.0.1", 9))
        for _ in range(count):
            sender.sendto(payload(32, 1), ("127.0.0.1", 9))
        arrived = 0
        sink.settimeout(1)
        while True:
            try:
                sink.recv(100)
            except TimeoutError:
                return arrived
            arrived += 1


@pytest.mark.parametrize(("pf", "hook"), [(Family.NETDEV, INGRESS), (Family.INET, 5)], ids=["NETDEV", "INET"])
def test_nothing_is_duplicated_at_a_device_which_has_no_okfn(network: Network, module: HookModule, pf: Family, hook: int) -> None:
    module.add_hook(Hook(1, pf, hook, 0, ACCEPT, LO))
    with pytest.raises(HookRefused, match="a device's hook point has no okfn") as refused:
        module.tamper(1, Tamper.DUPLICATE)
    assert refused.value.errno == errno.EOPNOTSUPP
    assert datagrams(network, 1) == 1


def test_a_copy_goes_on_where_there_is_an_okfn(network: Network, module: HookModule) -> None:
    module.add_hook(Hook(1, Family.IPV4, PREROUTING, 0, ACCEPT))
    module.tamper(1, Tamper.DUPLICATE)
    assert datagrams(network, 2) == 4


def test_a_copy_that_the_task_of_a_listener_makes_does_not_wait_for_tcp_s_lock(network: Network, module: HookModule) -> None:
    """The answer to a segment calls the hooks after the queue with softirqs on: what TCP sends then comes back to the socket it holds."""
    host = network.namespaces["host"]
    with host.inside(), Listener(host, Listen("host", 0)) as listener, socket.socket() as server, socket.socket() as client:
        first = "table ip t { chain c { type filter hook input priority -10; tcp dport 9 ip length 53 queue num 0; }; }"
        subprocess.run(["nft", first], check=True)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)  # the window opens with the answer
        server.bind(("127.0.0.1", 9))
        server.listen()
        client.connect(("127.0.0.1", 9))
        accepted, _ = server.accept()
        with accepted:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.send(b"1")
            deadline = time.monotonic() + 20
            while not listener.waiting():
                assert time.monotonic() < deadline, "the first segment does not wait"
            module.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
            module.tamper(1, Tamper.DUPLICATE)
            client.setblocking(False)
            sent = 1 + client.send(bytes(1 << 22))  # it waits for the first segment
            assert listener.answer(VerdictKind.ACCEPT) == 0
            assert len(accepted.recv(sent, socket.MSG_WAITALL)) == sent


@pytest.mark.parametrize(("pf", "hook", "device"), [(Family.IPV4, INPUT, 0), (Family.NETDEV, INGRESS, LO)], ids=["IPV4", "NETDEV"])
def test_sixteen_packets_are_kept_and_the_others_let_go(network: Network, module: HookModule, pf: Family, hook: int, device: int) -> None:
    module.add_hook(Hook(1, pf, hook, 0, ACCEPT, device))
    module.tamper(1, Tamper.HOLD)
    assert datagrams(network, 20) == 4
    module.del_hook(1)
    assert datagrams(network, 1) == 1


def test_segments_that_are_kept_are_freed_once(network: Network, module: HookModule) -> None:
    """TCP frees what it merges or has read even if something else refers to it."""
    with network.namespaces["host"].inside(), socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 9))
        server.listen()
        client.connect(("127.0.0.1", 9))
        accepted, _ = server.accept()
        with accepted:
            module.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
            module.tamper(1, Tamper.HOLD)
            client.sendall(bytes(100000))
            deadline = time.monotonic() + 20
            while not module.hook(1).matches:
                assert time.monotonic() < deadline, "no segment came to the hook"
            module.del_hook(1)
            assert len(accepted.recv(100000, socket.MSG_WAITALL)) == 100000


def test_a_hook_is_hidden_while_others_come_and_go_at_its_point(network: Network, module: HookModule) -> None:
    """Only core may work on an array that it works on."""
    ruleset = "flush ruleset; table ip t { chain c { type filter hook input priority 0; }; };"
    with network.namespaces["host"].inside():
        others = subprocess.Popen(["sh", "-c", f"while nft '{ruleset}'; do :; done"], start_new_session=True)
        try:
            for _ in range(200):
                module.add_hook(Hook(1, Family.INET, INPUT, 5, ACCEPT))
                module.tamper(1, Tamper.HIDE)
                assert 1 not in [slot.hook_id for slot in module.slots(Family.IPV4, INPUT)]
                assert [state.hook.id for state in module.hooks()] == [1]
                module.del_hook(1)
        finally:
            os.killpg(others.pid, signal.SIGKILL)
            others.wait()
