"""What ``--explain`` takes of a session, and what it says of one that it does not understand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.text import Text

from harness.backends.observer import Complaints
from harness.cli.explained import explain, lines, to_json
from harness.cli.sessions import Seen
from harness.errors import UserError
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import Change, HookCall, Outcome, PacketOutcome, Ruleset, Traversal
from tests.unit.test_walks_explain import DPORT, DROP, called, match, packet, table

NFHARNESS = HookCall(1, "nfharness_hook", "nfharness", 5, Verdict(VerdictKind.DROP, errno=113), label="guard")


def session(*calls: HookCall, listed: Any = None) -> Seen:
    seen = packet()
    rules = {"base": [(1, [match(DPORT, 80), {"accept": None}]), (2, [{"drop": None}])]}
    traversal = Traversal(Family.IPV4, 2, "router", "a", "b", calls, -1, mark=7, connection="new", head=seen.head, packet="UDP x", time=5)
    own = PacketOutcome("UDP x", None, Fate("dropped", 1), (traversal,), number=3)
    ruleset = Ruleset("router", 0, 9, table(rules) if listed is None else listed)
    outcome = Outcome(packets=(own,), rulesets=(ruleset,))
    return Seen({}, (), 0, outcome, outcome, Complaints())


def shown(seen: Seen, at: str | None = None) -> str:
    return "\n".join(map(Text.__str__, lines(explain(seen, 3, at))))


def test_the_chain_that_decided_is_explained() -> None:
    told = shown(session(called(), called(DROP, 2)))
    assert told.count("ip t base  FORWARD  router  in a, out b") == 1
    assert "✗ rule 1: text 1\n      not matched: udp dport is 9" in told
    assert "✓ rule 2: text 2  → decided: drop" in told


def test_where_another_hook_decided_that_is_said_and_all_chains_are_explained() -> None:
    told = shown(session(called(DROP, 2), NFHARNESS))
    assert "guard decided at router FORWARD, whose rules are not seen" in told
    assert "ip t base  FORWARD" in told
    assert "the packet met no base chain of nftables'" in shown(session(NFHARNESS))


def test_json_has_the_same() -> None:
    document = json.loads(json.dumps(to_json(explain(session(called(DROP, 2)), 3, "forward"))))
    call, = document["calls"]
    assert (call["chain"], call["point"], call["rule"], call["here"]["mark"]) == ("ip t base", "FORWARD", 2, 7)
    assert [(rule["handle"], rule["state"]) for rule in call["rules"]] == [(1, "not matched"), (2, "matched")]


@pytest.mark.parametrize(("number", "at", "message", "hint"), [
    (4, None, "the session has no packet 4", "its last packet is 3"), (3, "nowhere", "met no base chain", "it met ip t base"),
])
def test_what_is_not_there_is_refused(number: int, at: str | None, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        explain(session(called(DROP, 2)), number, at)
    assert hint in (error.value.hint or "")


@pytest.mark.parametrize("listed", [
    ({"table": {"family": "ip", "name": "t", "handle": 7}}, {"rule": {"family": "ip", "table": "t"}}),
    ({"table": {"family": "ip", "name": "t", "handle": 7}}, {"rule": {"family": "ip", "table": "t", "chain": "base", "handle": 1}}),
])
def test_a_listing_that_is_damaged_is_the_sessions_fault(listed: Any) -> None:
    with pytest.raises(UserError, match="not as trace --json writes it"):
        explain(session(called(DROP, 2), listed=listed), 3, None)


def test_a_change_that_is_damaged_is_too() -> None:
    damaged = replace(called(), changed=(Change("mark", "0x7", "seven"),))
    with pytest.raises(UserError, match="not as trace --json writes it"):
        explain(session(damaged, called(DROP, 2)), 3, None)
