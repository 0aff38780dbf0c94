"""A packet comes to one end: what the tracer saw of it and what the sinks got are put together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.guest.fates import judged
from harness.guest.run import Sent
from harness.guest.traffic import Arrival
from harness.netfilter import Family
from harness.outcome import Fate, PacketOutcome, Traversal, describe

WALK = (Traversal(Family.IPV4, 1, "host", "eth0", "", (), 1),)


def run(*arrivals: tuple[str, int], source: str = "peer", waiting: Collection[int] = ()) -> Any:
    """What :func:`judged` asks of a run: packet 1 went from *source* to ``host``.

    :param waiting: cookies, after all listeners died
    """
    sinks = SimpleNamespace(wait=lambda _cookies, _seconds: tuple(Arrival(*arrival) for arrival in arrivals))
    return SimpleNamespace(sinks=sinks, sent={1: Sent(0, source, "host", "udp")}, watch=SimpleNamespace(waiting=waiting))


def packet(kind: Any = "consumed", alive: int = 0, reason: str | None = None) -> PacketOutcome:
    return PacketOutcome("udp", 1, Fate(kind, reason=reason), WALK, alive=alive, kind="udp")


ANSWER = replace(packet(reason="somewhere"), kind="echo reply")


@pytest.mark.parametrize(("seen", "arrivals", "fate"), [
    (packet(), [("host", 1)], "delivered"),
    (packet(), [], "consumed"),
    (packet("dropped"), [], "dropped"),
    (packet("delivered"), [], "consumed"),
    (packet("dropped by the stack"), [], "dropped by the stack"),
    (packet("rejected"), [("host", 1)], "doubled (rejected, and delivered)"),
    (packet("dropped"), [("host", 1)], "doubled (dropped, and delivered)"),
    (packet("stolen"), [("host", 1)], "doubled (stolen, and delivered)"),
    (packet(), [("host", 1), ("host", 1)], "doubled (delivered 2 times)"),
    (packet("unknown", 1), [], "leaked (no end was seen, and 1 skb of it not freed)"),
    (packet("unknown", 1), [("host", 1)], "leaked (delivered, and 1 skb of it not freed)"),
    (packet("stolen", 1), [], "leaked (stolen, and 1 skb of it not freed)"),
    (packet("queued", 1), [], "queued"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_fate_of_a_packet(seen: PacketOutcome, arrivals: list[tuple[str, int]], fate: str) -> None:
    (found,) = judged(run(*arrivals), (seen,))
    assert describe.fate(found.fate) == fate


@pytest.mark.parametrize(("arrivals", "fates"), [
    ([("host", 1), ("peer", 1)], ["delivered", "delivered"]),
    ([("host", 1)], ["delivered", "consumed"]),
    ([("host", 1), ("host", 1), ("peer", 1)], ["doubled", "delivered"]),
])
def test_an_answer_has_an_end_of_its_own(arrivals: list[tuple[str, int]], fates: list[str]) -> None:
    assert [one.fate.kind for one in judged(run(*arrivals), (packet(), ANSWER))] == fates


def test_an_answer_is_none_to_what_crossed_no_hook() -> None:
    found = judged(run(("host", 1), ("peer", 1)), (ANSWER,))
    assert [(one.kind, one.fate.kind) for one in found] == [("echo reply", "delivered"), ("udp", "delivered")]


def test_an_answer_to_oneself_arrives_where_the_question_did() -> None:
    found = judged(run(("host", 1), ("host", 1), source="host"), (packet(), ANSWER))
    assert [one.fate.kind for one in found] == ["delivered", "delivered"]


@pytest.mark.parametrize(("times", "kind"), [(1, "delivered"), (2, "delivered"), (3, "doubled")])
def test_an_echo_request_to_oneself_and_its_answer_arrive_in_one_place_where_no_hook_is(times: int, kind: str) -> None:
    asked = run(*[("host", 1)] * times)
    asked.sent[1] = Sent(0, "host", "host", "echo request")
    (found,) = judged(asked, ())
    assert found.fate.kind == kind


def test_a_packet_that_crossed_no_hook_arrives_once() -> None:
    assert [one.fate.kind for one in judged(run(("host", 1)), ())] == ["delivered"]
    assert [one.fate.kind for one in judged(run(("host", 1), ("host", 1)), ())] == ["doubled"]


def test_an_end_that_was_not_seen_because_the_loop_was_not_seen_to_return_is_no_leak() -> None:
    lost = PacketOutcome("udp", 1, Fate("unknown"), (Traversal(Family.IPV4, 1, "host", "eth0", "", (), None),), alive=1, kind="udp")
    assert [one.fate.kind for one in judged(run(), (lost,))] == ["unknown"]


def test_a_packet_that_waits_though_its_listener_is_dead_has_leaked() -> None:
    (found,) = judged(run(waiting=[1]), (packet("queued", alive=1),))
    assert (found.fate.kind, found.fate.reason) == ("leaked", "its listener is gone, and nobody has freed it")
