"""Core's way to connection tracking, driven directly: with nf_conntrack, without it, and with hooks of the module's own."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.guest import conntrack, ct
from harness.guest.ct import CtResult, Own
from harness.guest.genetlink import attribute
from harness.guest.module import HookModule, HookRefused, load, unload
from harness.guest.netns import Namespace
from harness.guest.queue import Listener, queues
from harness.guest.topology import Network
from harness.guest.uapi import Attribute, Command, pack
from harness.netfilter import VerdictKind
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.steps.conntrack import ConntrackTuple
from harness.scenario.steps.queue import Listen
from harness.trace.btf import Btf
from harness.trace.bugs import only_warns
from harness.trace.symbols import Symbols

pytestmark = pytest.mark.usefixtures("nfharness_ko")

FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)
TRACKING = "table ip t { chain c { type filter hook prerouting priority 0; ct state invalid drop; }; }"
NONE = CtResult(connection=False, found=None, attached=False, info=None, uses=0, calls=(0, 0, 0, 0))
NEW, RELATED_REPLY, UNTRACKED = 2, 4, 7


def nft(netns: Namespace, ruleset: str) -> None:
    with netns.inside():
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=60)


@pytest.fixture
def absent() -> Iterator[None]:
    """nf_conntrack is not loaded; afterwards what was is again."""
    if not conntrack.is_module("nf_conntrack"):
        pytest.skip("nf_conntrack is no module of this kernel")
    before = conntrack.unload("nf_conntrack")
    yield
    for name in reversed(before):
        conntrack.load(name)


@pytest.fixture
def present() -> None:
    conntrack.load("nf_conntrack")


# Without nf_conntrack

def test_without_conntrack_there_is_no_tuple_and_nothing_to_attach(absent: None, module: HookModule) -> None:
    assert ct.run(module, FLOW, track=True) == NONE


def test_a_connection_without_a_hook_is_not_attached(absent: None, module: HookModule) -> None:
    assert ct.run(module, FLOW, own=Own.CONNECTION) == CtResult(True, None, False, None, 1, (0, 0, 0, 0))


def test_hooks_are_asked_for_the_tuple_but_attach_only_a_packet_with_a_connection(absent: None, module: HookModule) -> None:
    assert ct.run(module, FLOW, own=Own.HOOKS) == CtResult(False, FLOW, False, None, 0, (1, 0, 0, 0))


def test_a_connection_is_attached_by_the_hook_and_destroyed_once_with_the_last_packet(absent: None, module: HookModule) -> None:
    assert ct.run(module, FLOW, own=Own.CONNECTION | Own.HOOKS) == CtResult(True, FLOW, True, NEW, 2, (1, 1, 0, 1))
    assert conntrack.pointers(Symbols())["nf_ct_hook"] is False


def test_the_mark_of_what_is_not_tracked_is_attached_by_the_hook(absent: None, module: HookModule) -> None:
    assert ct.run(module, FLOW, own=Own.UNTRACKED | Own.HOOKS) == CtResult(False, FLOW, True, UNTRACKED, 0, (1, 1, 0, 0))
    assert ct.run(module, FLOW, own=Own.UNTRACKED) == NONE
    with pytest.raises(HookRefused, match="has no connection"):
        ct.run(module, FLOW, own=Own.UNTRACKED | Own.CONNECTION)


@pytest.mark.may_warn("net/netfilter/core.c")
def test_a_connection_that_nobody_destroys_is_left(absent: None, module: HookModule, kernel: RunningKernel) -> None:
    kernel.require(probe="orphans_warn")
    assert ct.run(module, FLOW, own=Own.CONNECTION | Own.ORPHAN) == CtResult(True, None, False, None, 1, (0, 0, 0, 0))
    assert ct.run(module, FLOW, own=Own.CONNECTION | Own.HOOKS) == CtResult(True, FLOW, True, NEW, 2, (1, 1, 0, 1))


@pytest.mark.parametrize("own", [Own.ORPHAN, Own.ORPHAN | Own.HOOKS, Own.ORPHAN | Own.HOOKS | Own.CONNECTION], ids=str)
def test_an_orphan_is_the_module_s_own_and_has_no_hook(absent: None, module: HookModule, own: Own) -> None:
    with pytest.raises(HookRefused, match="an orphan is the module's connection") as refused:
        ct.run(module, FLOW, own=own)
    assert refused.value.errno == errno.EINVAL


def test_the_bug_table_tells_a_warning_from_a_bug(kernel: RunningKernel) -> None:
    symbols, btf = Symbols(), Btf.of_running_kernel()
    assert only_warns(symbols, btf, "nf_hook_slow") == kernel.profile.unknown_verdict_warns
    assert not only_warns(symbols, btf, "nf_hook_entries_insert_raw"), "BUG_ON(p == new_hooks)"
    assert not only_warns(symbols, btf, "no_such_function")


# With nf_conntrack

@pytest.mark.parametrize("own", [Own.CONNECTION, Own.HOOKS, Own.CONNECTION | Own.HOOKS], ids=str)
def test_with_conntrack_nothing_of_one_s_own_takes_its_place(present: None, module: HookModule, own: Own) -> None:
    with pytest.raises(HookRefused, match="nf_conntrack is loaded") as refused:
        ct.run(module, FLOW, own=own)
    assert refused.value.errno == errno.EBUSY


def test_an_untracked_packet_has_no_tuple(present: None, module: HookModule) -> None:
    assert ct.run(module, FLOW) == NONE


def test_a_packet_gets_its_own_tuple_and_what_it_triggers_its_connection(present: None, network: Network, module: HookModule) -> None:
    nft(network.namespaces["host"], TRACKING)
    assert ct.run(module, FLOW, track=True) == CtResult(True, FLOW, True, RELATED_REPLY, 2, (0, 0, 0, 0))
    assert conntrack.count(network.namespaces["host"]) == 0


def test_a_hook_that_drops_the_datagram_is_told(present: None, network: Network, module: HookModule) -> None:
    nft(network.namespaces["host"], "table ip t { chain c { type filter hook prerouting priority 0; drop; }; }")
    with pytest.raises(HookRefused, match="a hook at PRE_ROUTING did not let the datagram pass") as refused:
        ct.run(module, FLOW, track=True)
    assert refused.value.errno == errno.ECANCELED


def test_a_datagram_that_waits_in_a_queue_outlives_the_module(network: Network) -> None:
    """Accepted then, it goes to a function that is still there."""
    host = network.namespaces["host"]
    nft(host, "table ip t { chain c { type filter hook prerouting priority 0; queue num 7; }; }")
    with Listener(host, Listen("host", 7)) as listener:
        with HookModule(host) as module, pytest.raises(HookRefused, match="did not let the datagram pass"):
            ct.run(module, FLOW, track=True)
        unload()
        assert [(number, queue.total) for number, queue in queues(host)] == [(7, 1)]
        assert listener.answer(VerdictKind.ACCEPT) == 0
        assert [(number, queue.total) for number, queue in queues(host)] == [(7, 0)]
    load()


def test_a_tracked_datagram_has_no_connection_of_the_module_s(module: HookModule) -> None:
    with pytest.raises(HookRefused, match="a tracked datagram has no connection of the module's") as refused:
        ct.run(module, FLOW, track=True, own=Own.HOOKS)
    assert refused.value.errno == errno.EINVAL


def test_an_orphan_is_refused_until_it_is_known_that_core_only_warns(absent: None, module: HookModule) -> None:
    Path("/sys/module/nfharness/parameters/orphans").write_text("N")
    flow = b"".join(attribute(kind, bytes(4)) for kind in (Attribute.SADDR, Attribute.DADDR))
    flow += pack(Attribute.SPORT, 9) + pack(Attribute.DPORT, 9)
    with pytest.raises(HookRefused, match="an orphan stops older kernels") as refused:
        module.request(Command.CT_RUN, flow + pack(Attribute.CT_OWN, Own.CONNECTION | Own.ORPHAN))
    assert refused.value.errno == errno.EOPNOTSUPP


def test_the_default_zone_is_zero_in_both_directions() -> None:
    assert conntrack.zone_default(Symbols()) == conntrack.Zone(id=0, flags=0, dir=3)


def test_core_s_pointers_come_and_go_with_the_modules(absent: None) -> None:
    symbols = Symbols()
    assert set(conntrack.pointers(symbols).values()) == {False}
    conntrack.load("nf_conntrack")
    assert {name for name, is_set in conntrack.pointers(symbols).items() if is_set} <= {"nf_ct_hook", "ip_ct_attach"}
    conntrack.load("nf_nat")
    conntrack.load("nf_conntrack_netlink")
    assert set(conntrack.pointers(symbols).values()) == {True}
    assert conntrack.unload("nf_conntrack")[-1] == "nf_conntrack"
    assert set(conntrack.pointers(symbols).values()) == {False}


def test_an_ordinary_user_is_refused(module: HookModule, in_child: Callable[[Callable[[], object]], str],
                                     unshare_user_and_network: Callable[[], None]) -> None:
    def as_owner_of_a_namespace() -> object:
        unshare_user_and_network()
        return ct.run(HookModule(), FLOW)

    assert f"[Errno {errno.EPERM}]" in in_child(as_owner_of_a_namespace)
