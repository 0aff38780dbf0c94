"""Steps with private arrays, where no packet of the stack's comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.netfilter import Verdict, VerdictKind
from harness.scenario.keys import fail_json, fail_of, priority
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.scope import Scope, line_of
from harness.scenario.step import (
    DRAWN,
    Allocates,
    Facts,
    Step,
    arrays,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    nowhere,
    same_topology,
    unless_failing,
)
from harness.scenario.steps.hooks import COUNT_MAX, WARNS
from harness.scenario.verdicts import U32_MAX, raw_verdict, raw_verdict_json

__all__ = ("LIST_MAX", "RawAlter", "RawDelete", "RawInsert", "RawList", "RawRun")

LIST_MAX = 16
"""Most packets of one list."""


def _of_one(step: RawInsert) -> Allocates:
    """Allocations fail for one hook only."""
    return Allocates.ARRAYS if step.count == 1 else Allocates.NOTHING


_FACTS = Facts(flushed=unless_failing, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait,
               redirects=False, needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)


@dataclass(frozen=True, slots=True)
class RawInsert(Step):
    """``nf_hook_entries_insert_raw``: a hook into a private array, where no packet of the stack's comes.

    :param array: the scenario's name for the array; it is there from the first hook on
    :param verdict: the u32 that the hook returns; any will do
    :param count: so many hooks that differ in their names only: see :attr:`ids`; the first refusal ends it
    :param fail: as of :class:`harness.scenario.steps.hooks.Register`, of one hook only
    :param packet: number of the one packet of a :class:`RawList` that gets the verdict; others are accepted. ``None``: every packet gets it
    """

    id: str
    netns: str
    array: str
    priority: int = 0
    verdict: int = VerdictKind.ACCEPT
    count: int = 1
    fail: tuple[int, ...] = ()
    packet: int | None = None

    do = "raw-insert"
    facts = replace(_FACTS, allocates=_of_one)

    @property
    def ids(self) -> tuple[str, ...]:
        """``a``; of several ``a.1``, ``a.2`` …, as those of :class:`harness.scenario.steps.hooks.RegisterMany`."""
        return (self.id,) if self.count == 1 else tuple(f"{self.id}.{number}" for number in range(1, self.count + 1))

    @classmethod
    def read(cls, value: Value) -> RawInsert:
        value.keys(("do", "id", "netns", "array"), ("priority", "verdict", "count", "fail", "packet"))
        return cls(
            id=value["id"].line(),
            netns=value["netns"].string(),
            array=value["array"].line(),
            priority=priority(value),
            verdict=raw_verdict(value["verdict"]) if "verdict" in value else int(VerdictKind.ACCEPT),
            count=value["count"].integer(1, COUNT_MAX) if "count" in value else 1,
            fail=fail_of(value),
            packet=value["packet"].integer(1, LIST_MAX) if "packet" in value else None,
        )

    def write(self) -> dict[str, Any]:
        return {"id": self.id, "netns": self.netns, "array": self.array, "priority": self.priority,
                "verdict": raw_verdict_json(self.verdict), "count": self.count, "packet": self.packet, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        if self.fail and self.count > 1:
            fail(f"{path}.fail", "allocations fail for one hook only", "leave count away")
        scope.new_ids(self.ids, path)
        line_of(self.array, f"{path}.array", "name for an array")
        verdict = Verdict.decode(self.verdict)
        if verdict.kind is VerdictKind.QUEUE and (self.netns, verdict.queue) in scope.listening:
            fail(f"{path}.verdict", f"queue {verdict.queue} of {self.netns} has a listener: the packet of a raw-run cannot wait",
                 "queue to another one, or hang up before")
        scope.private.update(dict.fromkeys(self.ids, self))
        scope.arrays.add((self.netns, self.array))


@dataclass(frozen=True, slots=True)
class RawDelete(Step):
    """``nf_hook_entries_delete_raw``.

    :param id: one of the :attr:`RawInsert.ids` of an earlier step
    :param array: another one of the namespace's arrays, in which core must not find the hook; ``None``: the one that it is in
    :param fail: as of :class:`harness.scenario.steps.hooks.Register`
    """

    id: str
    array: str | None = None
    fail: tuple[int, ...] = ()

    do = "raw-delete"
    facts = replace(_FACTS, allocates=arrays)

    @classmethod
    def read(cls, value: Value) -> RawDelete:
        value.keys(("do", "id"), ("array", "fail"))
        return cls(value["id"].line(), value["array"].line() if "array" in value else None, fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, "array": self.array, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        _check_inserted(scope, self, path)
        hook = scope.private[self.id]
        if self.array is None:
            del scope.private[self.id]
        elif self.array == hook.array:
            fail(f"{path}.array", f"{quote(self.id)} is in this array", "remove the key, or name another array")
        else:
            _check_array(scope, hook.netns, self.array, path)


@dataclass(frozen=True, slots=True)
class RawAlter(Step):
    """Another ``priority`` for the ops of a hook in a private array: they are the caller's, and core is not told.

    :param id: one of the :attr:`RawInsert.ids` of an earlier step
    """

    id: str
    priority: int

    do = "raw-alter"
    facts = replace(_FACTS, not_drawn=WARNS)

    @classmethod
    def read(cls, value: Value) -> RawAlter:
        value.keys(("do", "id", "priority"))
        return cls(value["id"].line(), priority(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, "priority": self.priority}

    def check(self, scope: Scope, path: str) -> None:
        _check_inserted(scope, self, path)


@dataclass(frozen=True, slots=True)
class RawRun(Step):
    """``nf_hook_slow`` over a private array, with a datagram made for it, which goes nowhere.

    :param start: the slot that it starts with
    """

    netns: str
    array: str
    start: int = 0

    do = "raw-run"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> RawRun:
        value.keys(("do", "netns", "array"), ("start",))
        return cls(value["netns"].string(), value["array"].line(), value["start"].integer(0, U32_MAX) if "start" in value else 0)

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "array": self.array, "start": self.start}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        _check_array(scope, self.netns, self.array, path)


@dataclass(frozen=True, slots=True)
class RawList(Step):
    """``nf_hook_slow_list`` over a private array, with datagrams made for it, which go nowhere.

    The step finds what each of them called, in order (``calls``), which came out of the list, in order (``passed``), and which core
    freed (``freed``).

    :param packets: so many, numbered from 1
    """

    netns: str
    array: str
    packets: int

    do = "raw-list"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> RawList:
        value.keys(("do", "netns", "array", "packets"))
        return cls(value["netns"].string(), value["array"].line(), value["packets"].integer(1, LIST_MAX))

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "array": self.array, "packets": self.packets}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        _check_array(scope, self.netns, self.array, path)


def _check_inserted(scope: Scope, step: RawAlter | RawDelete, path: str) -> None:
    if step.id not in scope.private:
        fail(f"{path}.id", f"{quote(step.id)} is no hook in a private array before this step",
             suggest(step.id, scope.private, what="inserted"))


def _check_array(scope: Scope, netns: str, array: str, path: str) -> None:
    if (netns, array) not in scope.arrays:
        known = [name for holder, name in scope.arrays if holder == netns]
        fail(f"{path}.array", f"no step before has put a hook into an array {quote(array)} of {netns}",
             suggest(array, known, what="arrays"))
