"""What the calls that are seen tell of loops that are not."""

from __future__ import annotations

import pytest

from harness.backends.observer import Complaints
from harness.cli.sessions import Seen, conclusion
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Traversal
from harness.outcome.unseen import unseen

ACCEPT, QUEUE = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.QUEUE)


def packet(function: str = "nft_do_chain_ipv4", verdict: Verdict = ACCEPT, *, pf: Family = Family.IPV4, indev: str = "lo") -> PacketOutcome:
    call = HookCall(0, function, None, 0, verdict)
    return PacketOutcome("UDP", None, Fate("consumed"), (Traversal(pf, 1, "init", indev, "", (call,), 1),))


def session(seen: PacketOutcome, loop: str) -> Seen:
    outcome = Outcome(packets=(seen,), blind=((loop, "why"),))
    return Seen({}, (), 0, outcome, outcome, Complaints())


@pytest.mark.parametrize(("loop", "found"), [
    ("nf_nat_inet_fn", packet("nf_nat_ipv4_pre_routing")), ("nf_nat_inet_fn", packet("nf_nat_ipv6_fn")),
    ("nf_reinject", packet(verdict=QUEUE)), ("nf_hook_bridge_pre", packet(pf=Family.BRIDGE)), ("nf_hook_slow_list", packet(indev="eth0")),
])
def test_a_loop_that_ran_unseen_is_named_in_the_last_line(loop: str, found: PacketOutcome) -> None:
    reason = f"{loop} ran, and its calls are not seen: why"
    assert unseen((packet(), found), ((loop, "why"),)) == (reason,)
    assert conclusion(session(found, loop)) == f"inconclusive: {reason}"


@pytest.mark.parametrize("loop", ["nf_nat_inet_fn", "nf_reinject", "nf_hook_bridge_pre", "nf_hook_slow_list"])
def test_a_loop_that_did_not_run_takes_nothing_away(loop: str) -> None:
    assert unseen((packet(),), ((loop, "why"),)) == ()
    assert conclusion(session(packet(), loop)) == "traced: 1 packet, 1 hook call"
