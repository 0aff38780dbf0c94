"""Connection tracking, NAT's inner loop and copies in the model: what each step answers."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.model import predict
from harness.netfilter import Family
from harness.outcome import KernelProfile, Outcome
from harness.outcome.facts import tracked
from harness.scenario import Scenario, Step
from harness.scenario.steps.conntrack import ConntrackTuple, CtRead, CtRun, KernelModule, Tee, Track
from harness.scenario.steps.hooks import Dump
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR

FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)
ABSENT = KernelModule("nf_conntrack", loaded=False)
SILENT = (0, 0, 0, 0)


def run(*script: Step, profile: KernelProfile | None = None) -> Outcome:
    return predict(Scenario("own", "", PAIR, (ABSENT, *script)), profile)


def facts(*script: Step) -> tuple[tuple[str, str | int], ...]:
    return run(*script).steps[-1].facts


def pointers(*script: Step, profile: KernelProfile | None = None) -> set[str]:
    """Core's pointers that lead somewhere."""
    return {name for name, value in run(*script, CtRead(), profile=profile).steps[-1].facts if value == "set"}


@pytest.mark.parametrize(("script", "leading"), [
    ((), set()),
    ((KernelModule("nf_conntrack"),), {"nf_ct_hook"}),
    ((KernelModule("nf_nat"),), {"nf_ct_hook", "nf_nat_hook"}),
    ((KernelModule("nf_conntrack_netlink"), KernelModule("nf_nat")), {"nf_ct_hook", "nfnl_ct_hook", "nf_nat_hook"}),
    ((KernelModule("nf_nat"), KernelModule("nf_nat", loaded=False)), {"nf_ct_hook"}),
    ((KernelModule("nf_nat"), ABSENT), set()),
    ((Track("host"),), {"nf_ct_hook"}),
])
def test_core_s_pointers_lead_to_what_is_loaded(script: tuple[Step, ...], leading: set[str]) -> None:
    assert pointers(*script) == leading


def test_what_is_built_in_stays() -> None:
    builtin = KernelProfile(conntrack_module=False, conntrack_builtin=("nf_conntrack", "nf_conntrack_netlink"))
    assert pointers(profile=builtin) == {"nf_ct_hook", "nfnl_ct_hook"}
    assert pointers(KernelModule("nf_nat"), ABSENT, profile=builtin) == {"nf_ct_hook", "nfnl_ct_hook"}
    assert pointers(profile=replace(builtin, conntrack_glue=False)) == {"nf_ct_hook"}


def test_older_kernels_have_a_pointer_for_attach_alone() -> None:
    assert pointers(KernelModule("nf_conntrack"), profile=KernelProfile(ip_ct_attach=True)) == {"nf_ct_hook", "ip_ct_attach"}


@pytest.mark.parametrize(("name", "hooks"), [("nf_conntrack", 0), ("nf_nat", 1)])
def test_conntrack_s_hooks_go_with_it_and_with_nothing_else(name: str, hooks: int) -> None:
    outcome = run(Track("host"), KernelModule("nf_nat"), KernelModule(name, loaded=False), Dump("host", Family.IPV4, "INPUT"))
    assert [len(slots) for _, slots in outcome.steps[-1].slots] == [hooks]


@pytest.mark.parametrize(("own", "found", "info", "uses", "calls"), [
    ((), None, None, 0, SILENT),
    (("connection",), None, None, 1, SILENT),
    (("hooks",), FLOW, None, 0, (1, 0, 0, 0)),
    (("connection", "hooks"), FLOW, "NEW", 2, (1, 1, 0, 1)),
], ids=["nothing", "a connection", "hooks", "both"])
def test_core_asks_whoever_is_behind_its_pointers(
        own: tuple[str, ...], found: ConntrackTuple | None, info: str | None, uses: int, calls: tuple[int, int, int, int]) -> None:
    assert facts(CtRun("host", FLOW, own=own)) == tracked(found, info, uses, calls, 0)


def test_hooks_of_one_s_own_do_not_take_the_place_of_conntrack_s() -> None:
    step = run(KernelModule("nf_conntrack"), CtRun("host", FLOW, own=("hooks",))).steps[-1]
    assert (step.errno, step.facts) == (errno.EBUSY, ())


def test_a_packet_that_was_let_through_leaves_a_connection_which_core_finds_from_both_sides() -> None:
    before = (Track("host"), Send("peer", "host", 1))
    assert facts(*before, CtRun("host", FLOW)) == tracked(FLOW.inverted(), None, 0, SILENT, 1)
    assert facts(*before, CtRun("host", FLOW.inverted())) == tracked(FLOW, None, 0, SILENT, 1)
    assert facts(*before, CtRun("peer", FLOW)) == tracked(None, None, 0, SILENT, 0)


def test_a_connection_goes_with_its_module() -> None:
    assert facts(Track("host"), Send("peer", "host", 1), ABSENT, CtRun("host", FLOW)) == tracked(None, None, 0, SILENT, 0)


@pytest.mark.parametrize(("flow", "info"), [(FLOW, "RELATED_REPLY"), (FLOW.inverted(), "RELATED")], ids=["original", "reply"])
def test_what_a_packet_triggers_is_related_and_goes_the_other_way(flow: ConntrackTuple, info: str) -> None:
    assert facts(Track("host"), Send("peer", "host", 1), CtRun("host", flow, track=True)) == tracked(flow, info, 3, SILENT, 1)


def ports(*script: Step) -> list[object]:
    return [dict(step.facts)["port"] for step in run(*script).steps if step.facts]


def test_the_first_chain_that_redirects_decides_and_for_good() -> None:
    assert ports(Redirect("host", 20), Send("peer", "host", 1),
                 Redirect("host", 21), Send("peer", "host", 2, source_port=40001),
                 Redirect("host", 22, priority=-101), Send("peer", "host", 3, source_port=40002),
                 Redirect("host", 23, priority=-99), Send("peer", "host", 4, source_port=40003),
                 Send("peer", "host", 5)) == [20, 21, 22, 22, 20]


def test_what_no_chain_redirects_keeps_its_port_and_what_comes_by_lo_too() -> None:
    assert ports(Redirect("host", 20), Send("peer", "host", 1, port=8), Send("host", "10.0.0.1", 2), Send("host", "peer", 3)) == [8, 9, 9]


def test_a_copy_is_not_copied() -> None:
    assert facts(Tee("host", "peer")) == (("datagrams", 2),)


def test_an_orphan_is_not_put_where_the_kernel_would_stop() -> None:
    orphan = CtRun("host", FLOW, own=("connection", "orphan"))
    assert run(orphan).steps[-1].splats == ("net/netfilter/core.c",) * 2
    refused = run(orphan, profile=KernelProfile(orphans_warn=False)).steps[-1]
    assert (refused.errno, refused.splats) == (errno.EOPNOTSUPP, ())
