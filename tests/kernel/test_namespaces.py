"""Namespaces on their way out, static keys, and what the module does with hooks whose device goes."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from harness.guest import netns
from harness.guest.changes import (
    add_dummy,
    add_link,
    add_netns,
    await_gone,
    await_quiet,
    delete_device,
    delete_netns,
    move_device,
    proc_directory,
    proc_inode,
)
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.topology import Network
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.scenario.topology import VethEnd

pytestmark = pytest.mark.usefixtures("nfharness_ko")

ACCEPT = Verdict(VerdictKind.ACCEPT)
INPUT = hook_number(Family.IPV4, "INPUT")
SECONDS = 20.0


@pytest.fixture
def later(module: HookModule) -> Iterator[netns.Namespace]:
    """A new namespace."""
    namespace = netns.create(f"later-{os.getpid()}")
    yield namespace
    namespace.delete()
    assert await_gone(module, namespace.inum, SECONDS)


def test_a_namespace_is_used_as_long_as_a_socket_is_in_it(module: HookModule) -> None:
    namespace = netns.create(f"kept-{os.getpid()}")
    inside = HookModule(namespace)
    namespace.delete()
    assert namespace.inum in module.namespaces()[0]
    assert not await_gone(module, namespace.inum, 0.2)
    inside.close()
    assert await_gone(module, namespace.inum, SECONDS)


def test_a_namespace_is_waited_for_that_a_socket_holds_for_a_grace_period_more(module: HookModule) -> None:
    for number in range(8):
        namespace = netns.create(f"held-{number}-{os.getpid()}")
        with namespace.inside():
            held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            held.bind(("", 9))
        namespace.delete()
        held.close()
        assert await_quiet(module, SECONDS)
        assert namespace.inum not in set().union(*module.namespaces())


def test_a_namespace_that_is_gone_has_taken_its_hooks_and_their_static_keys_along(module: HookModule, later: netns.Namespace) -> None:
    assert await_quiet(module, SECONDS)  # a namespace of the test before may still have hooks
    before = module.keys()
    doomed = netns.create(f"doomed-{os.getpid()}")
    with HookModule(doomed) as inside:
        inside.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
        inside.add_hook(Hook(2, Family.INET, INPUT, 0, ACCEPT))
        assert module.keys()[Family.IPV4, INPUT] == before[Family.IPV4, INPUT] + 2
    doomed.delete()
    assert await_gone(module, doomed.inum, SECONDS)
    assert module.keys() == before


def test_every_namespace_has_a_proc_directory_of_its_own_that_is_empty_once_it_is_gone(module: HookModule, later: netns.Namespace) -> None:
    doomed = netns.create(f"doomed-{os.getpid()}")
    assert len({proc_inode(None), proc_inode(later), proc_inode(doomed), None}) == 4
    with proc_directory(doomed) as entries:
        assert "nf_log" in entries()
        doomed.delete()
        assert await_gone(module, doomed.inum, SECONDS)
        assert entries() == []


def test_a_device_that_dies_takes_its_hooks_along(network: Network, module: HookModule) -> None:
    add_dummy(network, "host", "doomed", up=True)
    module.add_hook(Hook(1, Family.NETDEV, 0, 0, ACCEPT, network.ifindexes["host", "doomed"]))
    module.add_hook(Hook(2, Family.NETDEV, 0, 0, ACCEPT, network.ifindexes["host", "eth0"]))
    before = module.keys()[Family.NETDEV, 0]
    delete_device(network, "host", "doomed")
    assert [state.hook.id for state in module.hooks()] == [2]
    assert module.keys()[Family.NETDEV, 0] == before - 1


def test_a_device_that_moves_leaves_its_hooks_behind(network: Network, module: HookModule) -> None:
    add_dummy(network, "host", "mover", up=True)
    module.add_hook(Hook(1, Family.NETDEV, 0, 0, ACCEPT, network.ifindexes["host", "mover"]))
    move_device(network, "host", "mover", "peer")
    assert module.hooks() == []
    with HookModule(network.namespaces["peer"]) as there:
        assert there.slots(Family.NETDEV, 0, network.ifindexes["peer", "mover"]) == []


def test_a_namespace_and_a_link_made_later_carry_packets_and_go(network: Network, module: HookModule) -> None:
    namespace = add_netns(network, "later")
    add_link(network, VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",)))
    with namespace.inside():
        assert subprocess.run(["ping", "-c", "1", "-W", "5", "10.0.9.2"], check=False, capture_output=True).returncode == 0
    delete_netns(network, "later")
    assert await_gone(module, namespace.inum, SECONDS)
    assert ("host", "to-later") not in network.ifindexes
    with network.namespaces["host"].inside():
        assert "to-later" not in [name for _, name in socket.if_nameindex()]


def test_core_refuses_another_namespace_s_device(network: Network, module: HookModule) -> None:
    with ExitStack() as stack:
        peer = stack.enter_context(network.namespaces["peer"].path.open("rb"))
        hook = Hook(1, Family.NETDEV, 0, 0, ACCEPT, network.ifindexes["peer", "eth0"], unchecked=True, device_netns=peer.fileno())
        with pytest.raises(HookRefused) as refusal:
            module.add_batch([hook])
    assert refusal.value.errno == errno.EINVAL
    assert module.hooks() == []
