"""Hook calls by owner: counted, timed, the most time first."""

from __future__ import annotations

import io
from array import array

from rich.console import Console

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, PacketOutcome, Traversal
from harness.walks.owners import Owner, Owners, owners_table

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)


def packet(*calls: HookCall) -> PacketOutcome:
    return PacketOutcome("UDP", None, Fate("consumed"), (Traversal(Family.IPV4, 2, "router", "a", "b", calls, 1),))


def chain(verdict: Verdict, ns: int | None) -> HookCall:
    return HookCall(0, "nft_do_chain_inet", "nf_tables", 0, verdict, ns, chain="inet fw fwd")


def nat(ns: int) -> HookCall:
    inner = HookCall(0, "nft_nat_do_chain", "nf_tables", 0, ACCEPT, 100, chain="ip nat post")
    return HookCall(1, "nf_nat_ipv4_out", "nf_nat", 100, ACCEPT, ns, calls=(inner,))


def owners(*packets: PacketOutcome) -> Owners:
    found = Owners()
    for each in packets:
        found.add(each)
    return found


def test_calls_are_counted_by_point_and_name_those_of_nat_too() -> None:
    found = owners(packet(chain(ACCEPT, 1000), nat(5000)), packet(chain(DROP, 3000)), packet(chain(ACCEPT, None)))
    assert [(owner.name, owner.where, owner.calls, dict(owner.verdicts)) for owner in found] == [
        ("nf_nat_ipv4_out [nf_nat]", "router FORWARD", 1, {"ACCEPT": 1}),
        ("inet fw fwd", "router FORWARD", 3, {"ACCEPT": 2, "DROP": 1}),
        ("ip nat post", "router FORWARD", 1, {"ACCEPT": 1})]


def test_percentiles_are_times_that_were_measured() -> None:
    owner = Owner("router FORWARD", "guard", ns=array("Q", range(1, 201)))
    assert [owner.percentile(percent) for percent in (50, 99, 100)] == [100, 198, 200]
    assert (Owner("", "", ns=array("Q", [7])).percentile(50), Owner("", "").percentile(99)) == (7, None)


def test_the_table_has_a_row_for_each() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(owners_table(owners(packet(chain(ACCEPT, 1000)), packet(chain(DROP, 3000)))))
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["hook", "point", "calls", "verdicts", "p50", "p99", "in", "all"],
        ["inet", "fw", "fwd", "router", "FORWARD", "2", "ACCEPT", "1,", "DROP", "1", "1.00", "µs", "3.00", "µs", "4.00", "µs"]]
