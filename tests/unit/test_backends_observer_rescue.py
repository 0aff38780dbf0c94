"""What is left of an observation when the kernel dies, and what is asked of one that lives."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.backends import observer
from harness.backends.following import Told
from harness.backends.observer import Complaints, Observation
from harness.errors import GuestError, KernelDied
from harness.outcome.types import Outcome, RulesetRule
from harness.vm.guest import Guest
from harness.walks.events import NAME_BYTES, Came, Turn

FUNCTION = 0xFFFFFFFFC0001000
ARMED = {"armed": True, "connection": "", "reasons": [], "loops": ["nf_hook_slow"], "blind": {}, "unnamed": None, "undecided": None,
         "unregistered": None, "uncounted": None, "sees_registrations": False, "tells": [], "clock": 10**18,
         "namespaces": [[0, 7, "init"]]}


def framed(record: bytes) -> bytes:
    """As it lies in the ring."""
    return struct.pack("<II", len(record), 0) + record.ljust(len(record) + 7 & ~7, b"\0")


ENTRY = framed(struct.pack("<BBBBIQQQQQQIIHHHHHHIBxHII16s16s64s16s", 1, 0, 2, 1, 7, 1, 0xA, 5, 0, 0, 0, 28, 0, 0, 1, 0x0008, 0, 28, 0,
                           0, 0, 0, 0, 0, b"lo", b"", bytes.fromhex("4500001c000000004011") + bytes(18), b""))
DECISION = struct.pack("<QQiI4QQHH4x", 0, 5, 1, 0, 0, 0, 0, 0, 3, 1, 1)
CALL = framed(struct.pack("<BBHIQQQQiIQ", 5, 0, 0, 1, 1, FUNCTION, 0, 0, 0, 70, 6) + DECISION + b"t".ljust(NAME_BYTES, b"\0")
              + b"in".ljust(NAME_BYTES, b"\0"))
EXIT = framed(struct.pack("<BBHiQQ", 3, 0, 0, 1, 1, 7))


class Remote:
    """The observer in a guest.

    :param answer: what it says to a message of the host's
    """

    def __init__(self, answer: Callable[[Remote, dict[str, Any]], None]) -> None:
        self._answer = answer
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.asked: list[int] = []
        self.rules: list[list[int]] = []
        self.whole: list[bool] = []
        self.time = 100
        self.rule = "accept"
        self.say(**ARMED)

    def say(self, **message: Any) -> None:
        self._pieces.put_nowait((2, json.dumps(message).encode() + b"\n"))

    def send(self, records: bytes) -> None:
        self._pieces.put_nowait((1, records))

    def die(self) -> None:
        self._pieces.put_nowait(None)

    async def read(self) -> tuple[int, bytes] | None:
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        for message in map(json.loads, data.splitlines()):
            if "addresses" in message:
                self.asked += message["addresses"]
                self.say(symbols=[(number, FUNCTION, "nft_do_chain_inet", "nf_tables") for number in message["addresses"]], frees=[])
            if "rules" in message:
                inum, life = message["netns"]
                self.rules += [[inum, life, *rule] for rule in message["rules"]]
                self.whole.append(message["whole"])
                listed = json.dumps({"nftables": [{"metainfo": {}}, {"table": {"family": "inet", "name": "t", "handle": 3}},
                                                  {"rule": {"family": "inet", "table": "t", "chain": "in", "handle": 5, "expr": []}}]})
                self.time += 10
                self.say(rules=[(inum | life << 32, table, rule, "in", self.rule) for table, rule in message["rules"]],
                         ruleset=[inum | life << 32, self.time, self.time + 5, listed, [(3, 5, self.rule)]] if message["whole"] else None)
            self._answer(self, message)

    async def end_input(self) -> None:
        self.die()

    async def wait(self) -> int:
        raise KernelDied("the kernel panicked")


async def begun(remote: Remote, *, rulesets: bool = False, forgets: bool = False) -> Observation:
    async def opened(_: object) -> Remote:
        return remote

    guest = cast(Guest, SimpleNamespace(open=opened, networked=False))
    return await Observation.start(guest, rulesets=rulesets, forgets=forgets)


def calls(outcome: Outcome) -> list[tuple[str, str | None]]:
    return [(call.function, call.chain) for packet in outcome.packets for traversal in packet.traversals for call in traversal.calls]


def test_the_walks_of_a_kernel_that_died_are_there_with_the_names_that_it_had_told() -> None:
    async def died() -> tuple[Outcome, list[int]]:
        remote = Remote(lambda *_: None)
        observation = await begun(remote)
        remote.send(ENTRY + CALL[:30])
        await asyncio.sleep(0)
        remote.send(CALL[30:] + EXIT + ENTRY[:50])
        while not remote.asked:
            await asyncio.sleep(0)
        remote.die()
        with pytest.raises(KernelDied):
            await observation.end()
        return await observation.rescued(KernelDied("it panicked")), remote.asked

    outcome, asked = asyncio.run(asyncio.wait_for(died(), 20))
    assert (calls(outcome), asked) == ([("nft_do_chain_inet", "inet t in")], [FUNCTION])
    assert outcome.doubts[0].startswith("the kernel died")


def test_an_observation_that_ends_has_everything_and_asks_for_each_name_once() -> None:
    def answer(remote: Remote, message: dict[str, Any]) -> None:
        if "ended" in message:
            remote.send(ENTRY + CALL + EXIT)
            remote.say(records=2 * len(ENTRY + CALL + EXIT), lost_events=0, doubts=[], namespaces=[[0, 7, "init"]], frees=[],
                       splats=["net/core/dev.c"], taint="W", log=["one"])

    async def ended() -> tuple[Outcome, Complaints, list[int], list[list[int]]]:
        remote = Remote(answer)
        observation = await begun(remote)
        remote.send(ENTRY + CALL + EXIT)
        return *await observation.end(), remote.asked, remote.rules

    outcome, complaints, asked, rules = asyncio.run(asyncio.wait_for(ended(), 20))
    assert (len(calls(outcome)), outcome.doubts, asked, rules) == (2, (), [FUNCTION], 2 * [[7, 0, 3, 5]])
    assert {call.rule for packet in outcome.packets for one in packet.traversals for call in one.calls} == {RulesetRule(5, "in", "accept")}
    assert complaints == Complaints(("net/core/dev.c",), "W", ("one",))


def test_an_observer_that_fails_is_heard() -> None:
    async def failed() -> None:
        remote = Remote(lambda *_: None)
        observation = await begun(remote)
        remote.say(error="GuestError", message="the tracer does not work", hint=None)
        await observation.end()

    with pytest.raises(GuestError, match="the tracer does not work"):
        asyncio.run(asyncio.wait_for(failed(), 20))


def test_an_observer_that_is_killed_says_by_which_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed(_: Remote) -> int:
        return -9

    async def ended() -> None:
        remote = Remote(lambda *_: None)
        observation = await begun(remote)
        remote.die()
        await observation.end()

    monkeypatch.setattr(Remote, "wait", killed)
    with pytest.raises(GuestError, match="the observer in the guest was killed by signal 9") as told:
        asyncio.run(asyncio.wait_for(ended(), 20))
    assert "traceback" not in str(told.value.hint)


def test_a_rule_that_reads_otherwise_at_the_end_has_no_text() -> None:
    def answer(remote: Remote, message: dict[str, Any]) -> None:
        if "ended" in message:
            remote.send(ENTRY + CALL + EXIT)
            remote.say(records=len(ENTRY + CALL + EXIT), lost_events=0, doubts=[], namespaces=[[0, 7, "init"]], frees=[], splats=[],
                       taint="", log=[])
        if "rules" in message and len(remote.rules) == 1:
            remote.rule = "drop"

    async def ended() -> Outcome:
        return (await (await begun(Remote(answer))).end())[0]

    outcome = asyncio.run(asyncio.wait_for(ended(), 20))
    assert {call.rule for packet in outcome.packets for one in packet.traversals for call in one.calls} == {RulesetRule(5)}


@pytest.mark.parametrize("rulesets", [False, True])
def test_a_ruleset_is_listed_again_and_kept_as_long_as_it_reads_the_same(*, rulesets: bool) -> None:
    def answer(remote: Remote, message: dict[str, Any]) -> None:
        if "ended" in message:
            remote.rule = "accept"
            remote.say(records=len(ENTRY + CALL + EXIT), lost_events=0, doubts=[], namespaces=[[0, 7, "init"]], frees=[], splats=[],
                       taint="", log=[])

    async def ended() -> tuple[Outcome, list[bool]]:
        remote = Remote(answer)
        remote.rule = "drop"
        observation = await begun(remote, rulesets=rulesets)
        remote.send(ENTRY + CALL + EXIT)
        while not remote.rules or observation._open_questions:
            await asyncio.sleep(0)
        return (await observation.end())[0], remote.whole

    outcome, whole = asyncio.run(asyncio.wait_for(ended(), 20))
    assert whole == [rulesets, rulesets]
    texts = [(one.netns, one.first, one.last, one.listed[-1]["rule"]["text"]) for one in outcome.rulesets]
    assert texts == ([("init", 110, 105, "drop"), ("init", 120, 115, "accept")] if rulesets else [])


def crossed(number: int, time: int) -> bytes:
    """A packet's records: entered, called, left, freed."""
    found = bytearray(ENTRY + CALL + EXIT)
    for at, times in ((8, 24), (8 + len(ENTRY), 48), (8 + len(ENTRY + CALL), 16)):
        struct.pack_into("<Q", found, at + 8, number)
        struct.pack_into("<Q", found, at + times, time)
    struct.pack_into("<Q", found, 8 + 16, number)
    return bytes(found) + framed(struct.pack("<BBHIQQQQ", 4, 2, 0, 0, number, 0, 0, time))


def test_what_a_session_that_is_followed_holds_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "_FEW", 400)
    second, every = 10**9, 3000

    async def followed() -> tuple[int, int, list[int]]:
        remote, told, shown, most = Remote(lambda *_: None), Told(lean=True), [0] * 0, 0
        observation = await begun(remote)
        for number in range(1, every + 1):
            remote.send(crossed(number, number * second // 20))
            if number % 100 == 0:
                while observation._bytes < number * len(crossed(1, 1)) or observation._open_questions:
                    await asyncio.sleep(0)
                fresh = observation.settled(told.numbers).packets
                shown += [packet.number for packet in fresh]
                told.note(fresh, fresh, observation)
                told.forget(observation)
                most = max(most, len(observation._events))
        return most, told.seen()["earlier"].packets, shown

    most, forgotten, shown = asyncio.run(asyncio.wait_for(followed(), 60))
    assert shown == list(range(1, len(shown) + 1))
    assert (most < 1600, forgotten == len(shown), len(shown) > every - 200) == (True, True, True)


def test_the_name_of_a_devices_driver_is_asked_for() -> None:
    assert list(observer._addresses(Turn(1, Came.XMIT, 0, 2, "gn0", driver=FUNCTION))) == [FUNCTION]
    assert list(observer._addresses(Turn(1, Came.LOCAL, 0))) == []


def test_a_flood_is_read_as_fast_as_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "_FEW", 100)
    monkeypatch.setattr(observer, "_MOST", 400)
    second, every = 10**9, 2000

    def answer(remote: Remote, message: dict[str, Any]) -> None:
        if "ended" in message:
            remote.say(records=every * len(crossed(1, 1)), lost_events=0, doubts=[], namespaces=[[0, 7, "init"]], frees=[], splats=[],
                       taint="", log=[])

    async def flooded() -> tuple[int, int, int, int]:
        remote, told, most = Remote(answer), Told(lean=True), 0
        observation = await begun(remote, forgets=True)
        remote.send(crossed(1, second // 20))
        while not observation._asked or observation._open_questions or not observation._asked_rules:
            await asyncio.sleep(0)
        for number in range(2, every + 1):
            remote.send(crossed(number, number * second // 20))
        for _ in range(1000):
            await asyncio.sleep(0)
        held = len(observation._events)
        while observation._bytes < every * len(crossed(1, 1)):
            fresh = observation.settled(told.numbers).packets
            told.note(fresh, fresh, observation)
            told.forget(observation)
            for _ in range(100):
                await asyncio.sleep(0)
            most = max(most, len(observation._events))
        outcome, _ = await observation.end(told.done)
        return held, most, told.earlier.packets + len(outcome.packets), every

    held, most, seen, sent = asyncio.run(asyncio.wait_for(flooded(), 60))
    assert (held < 900, most < 1200, seen) == (True, True, sent)


def test_all_is_read_at_the_end_of_a_flood_that_nobody_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "_MOST", 100)
    every = 200

    def answer(remote: Remote, message: dict[str, Any]) -> None:
        if "ended" in message:
            remote.say(records=every * len(crossed(1, 1)), lost_events=0, doubts=[], namespaces=[[0, 7, "init"]], frees=[], splats=[],
                       taint="", log=[])

    async def flooded() -> int:
        remote = Remote(answer)
        observation = await begun(remote, forgets=True)
        for number in range(1, every + 1):
            remote.send(crossed(number, number))
        for _ in range(1000):
            await asyncio.sleep(0)
        return len((await observation.end())[0].packets)

    assert asyncio.run(asyncio.wait_for(flooded(), 60)) == every
