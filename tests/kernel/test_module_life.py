"""Hooks that are live, and in the middle of a packet, when their namespace, their device or the module goes."""

from __future__ import annotations

import errno
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.guest import netns
from harness.guest.module import Hook, HookModule, HookRefused, load, unload
from harness.guest.netns import Namespace
from harness.guest.topology import Network, built
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.topology import PAIR

pytestmark = pytest.mark.usefixtures("nfharness_ko")

Flood = Callable[[Namespace, str], AbstractContextManager[None]]

ACCEPT = Verdict(VerdictKind.ACCEPT)
PREROUTING, INPUT, _, OUTPUT, POSTROUTING = range(5)


def everywhere(network: Network, name: str) -> list[Hook]:
    """Hooks on a datagram's way through the namespace ``host``, in or out."""
    points = [(Family.NETDEV, 0, network.ifindexes[name, "eth0"]), (Family.INET, 5, network.ifindexes[name, "eth0"])]
    points += [(pf, hook, 0) for pf in (Family.IPV4, Family.INET) for hook in (PREROUTING, INPUT, OUTPUT, POSTROUTING)]
    return [Hook(number, pf, hook, number, ACCEPT, ifindex) for number, (pf, hook, ifindex) in enumerate(points, 1)]


def await_calls(module: HookModule, hook_id: int, more: int = 50) -> None:
    """Until packets do run through a hook."""
    deadline, start = time.monotonic() + 20, module.hook(hook_id).calls
    while module.hook(hook_id).calls < start + more:
        assert time.monotonic() < deadline, f"hook {hook_id} saw no packets"


def iproute(network: Network, name: str, *arguments: str) -> None:
    with network.namespaces[name].inside():
        subprocess.run(["ip", *arguments], check=True)


def test_a_device_takes_its_hooks_along_under_traffic(network: Network, flood: Flood) -> None:
    with HookModule(network.namespaces["host"]) as module, flood(network.namespaces["peer"], "10.0.0.1"):
        hooks = everywhere(network, "host")
        assert module.add_hooks(hooks) == [None] * len(hooks)
        await_calls(module, 1)
        iproute(network, "host", "link", "del", "eth0")
        assert [state.hook for state in module.hooks()] == [hook for hook in hooks if not hook.ifindex]
        with pytest.raises(HookRefused) as refused:
            module.slots(Family.NETDEV, 0, hooks[0].ifindex)
        assert refused.value.errno == errno.ENODEV


def test_a_device_that_moves_to_another_namespace_leaves_its_hooks_behind(network: Network) -> None:
    other = netns.create(f"{network.namespaces['host'].name}-other")
    try:
        with HookModule(network.namespaces["host"]) as module, HookModule(other) as there:
            index = network.ifindexes["host", "eth0"]
            module.add_hook(Hook(1, Family.NETDEV, 0, 0, ACCEPT, index))
            iproute(network, "host", "link", "set", "eth0", "netns", other.name)
            assert module.hooks() == []
            assert there.slots(Family.NETDEV, 0, index) == []
    finally:
        other.delete()


def test_a_namespace_dies_with_hooks_live_and_packets_in_flight(flood: Flood) -> None:
    """Its device goes with it, and so does the other end of the veth pair: that is how its death is seen."""
    for _ in range(5):
        with built(PAIR) as doomed, flood(doomed.namespaces["peer"], "10.0.0.1"):
            with HookModule(doomed.namespaces["host"]) as module:
                hooks = everywhere(doomed, "host")
                assert module.add_hooks(hooks) == [None] * len(hooks)
                await_calls(module, 1)
            doomed.namespaces["host"].delete()
            with doomed.namespaces["peer"].inside():
                deadline = time.monotonic() + 20
                while "eth0" in (name for _, name in socket.if_nameindex()):
                    assert time.monotonic() < deadline, "the namespace lives on"
                    time.sleep(0.01)


def test_the_module_is_unloaded_with_hooks_live_and_packets_in_flight(network: Network, flood: Flood) -> None:
    for _ in range(5):
        with flood(network.namespaces["peer"], "10.0.0.1"), flood(network.namespaces["host"], "10.0.0.2"):
            for name in ("host", "peer"):
                with HookModule(network.namespaces[name]) as module:
                    hooks = everywhere(network, name)
                    assert module.add_hooks(hooks) == [None] * len(hooks)
                    await_calls(module, 1)
            unload()
            load()
            for name in ("host", "peer"):
                with HookModule(network.namespaces[name]) as module:
                    assert module.hooks() == []
                    assert [slot.function for slot in module.slots(Family.IPV4, INPUT)] == []


def test_hooks_come_and_go_under_traffic_and_every_packet_passes_those_that_stay(network: Network, flood: Flood) -> None:
    with HookModule(network.namespaces["host"]) as module:
        assert module.add_hooks(Hook(number, Family.IPV4, PREROUTING, number, ACCEPT) for number in (1, 1000)) == [None, None]
        with flood(network.namespaces["peer"], "10.0.0.1"):
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                module.add_hooks(Hook(number, Family.IPV4, PREROUTING, number, ACCEPT) for number in range(2, 40))
                for number in range(2, 40):
                    module.del_hook(number)
            await_calls(module, 1000)
        assert module.hook(1).calls == module.hook(1000).calls


def test_unregistered_hooks_are_freed(network: Network) -> None:
    """More than 6 MB of them, if they were not."""
    with HookModule(network.namespaces["host"]) as module:
        before = unreclaimable()
        for _ in range(512):
            assert module.add_hooks(Hook(number, Family.IPV4, INPUT, 0, ACCEPT) for number in range(1, 65)) == [None] * 64
            module.flush()
        deadline = time.monotonic() + 20
        while unreclaimable() - before > 4 << 20:
            assert time.monotonic() < deadline, "hooks are not freed"
            time.sleep(0.1)


def unreclaimable() -> int:
    """Bytes of SUnreclaim."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("SUnreclaim:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no SUnreclaim")
