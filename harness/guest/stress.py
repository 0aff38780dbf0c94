"""A kernel under stress, in its guest: tasks on two processors for a time, and what stays when they have ended.

Processes are placed in turns by the scheduler, and a guest's clock is the host's, so that a seed repeats what the tasks choose, and not how
they meet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.errors import GuestError
from harness.guest.changes import await_quiet
from harness.guest.health import KMEMLEAK, KernelLog, memory_leaks, splats, taint, taint_names, warn_again
from harness.guest.module import HookModule
from harness.guest.privilege import require_root
from harness.guest.slabs import Objects, objects, stays
from harness.guest.stress_tasks import Place, World, open_places
from harness.guest.topology import Network, built
from harness.scenario.topology import PAIR, ROUTER

__all__ = ("main",)

_LOOK_S, _TELL_S = 0.5, 5.0
#: For what the first ones leave behind, and everything after them finds there: caches, modules that are loaded on demand.
_WARM_UP_S = 5.0
_END_S, _QUIET_S = 120.0, 60.0
_LOG_LINES, _LEAKS = 400, 10
_NETWORKS = {"router": ROUTER, "tracked": PAIR, "queued": PAIR}


@dataclass
class _Watched:
    """What was seen of the kernel so far.

    :ivar wrong: what it should not have done, a line each
    :ivar doubts: why nothing can be concluded
    :ivar lines: its log since the stress began
    """

    log: KernelLog
    wrong: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def look(self, world: World) -> None:
        """Take what the tasks and the kernel's log have said since."""
        self.wrong += world.faults()
        said = self.log.lines()
        self.lines += [line.text for line in said if line.kernel]
        self.wrong += [f"{splat.kind}: {splat.summary}" for splat in splats(said)]


def main(seconds: float, seed: str) -> None:
    """Put the kernel under stress, and print a JSON object on a line: now and then how far it is, at last what came of it.

    It ends with the first thing that is wrong.

    :param seconds: how long, beside warming up, which is part of the stress but for the accounts
    """
    require_root()
    warn_again()
    tainted, begun = taint(), time.monotonic()
    with KernelLog() as log:
        seen, memory = _Watched(log), None
        with _standing() as networks:
            places = open_places(networks)
        first = _phase(seen, f"{seed} first", min(_WARM_UP_S, seconds), places)
        counts = first
        if not seen.wrong and not seen.doubts:
            before = objects()
            memory_leaks()
            counts = _added(first, _phase(seen, seed, seconds, places))
            if not seen.wrong and not seen.doubts:
                memory = _accounts(seen, before)
        if log.lost:
            seen.doubts.append("the kernel's log overran before it was read: a warning may be missing")
    letters = taint_names(taint() & ~tainted)
    print(json.dumps({"ended": {
        "seconds": time.monotonic() - begun, "operations": counts, "wrong": seen.wrong, "doubts": seen.doubts, "taint": letters,
        "memory": memory, "log": seen.lines[:_LOG_LINES] if seen.wrong else [],
        "places": [f"{place.pf.name} {place.hook}" for place in places],
    }}), flush=True)


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {kind: count + other[kind] for kind, count in one.items()}


@contextmanager
def _standing() -> Iterator[dict[str, Network]]:
    """The topologies that the tasks work in; afterwards none is left, nor anything in them.

    :raises GuestError: one does not come up, or its namespaces do not die
    """
    with HookModule() as module:
        with ExitStack() as stack:
            yield {name: stack.enter_context(built(topology)) for name, topology in _NETWORKS.items()}
        if not await_quiet(module, _QUIET_S):
            raise GuestError(f"namespaces that were deleted are still there after {_QUIET_S:.0f} s", hint="look at the guest's console")


def _phase(seen: _Watched, seed: str, seconds: float, places: tuple[Place, ...]) -> dict[str, int]:
    """Let every task work for a time, or until something is wrong; how often each thing was done."""
    with _standing() as networks:
        world = World(seed, networks, places)
        world.start()
        begun = told = time.monotonic()
        while time.monotonic() < begun + seconds and world.all_live() and not seen.wrong:
            time.sleep(_LOOK_S)
            seen.look(world)
            if time.monotonic() > told + _TELL_S:
                told = time.monotonic()
                print(json.dumps({"seconds": told - begun, "operations": world.counts()}), flush=True)
        failed = world.end(_END_S)
        seen.look(world)
        # What a kernel that has gone wrong does to a task is no doubt.
        seen.doubts += failed if not seen.wrong else []
        return world.counts()


def _accounts(seen: _Watched, before: Objects | None) -> dict[str, Any]:
    """What has stayed in memory: objects in the slab caches, and kmemleak's report; ``None`` for what the kernel does not tell."""
    leaks = memory_leaks() if KMEMLEAK.exists() else None
    after, more = stays(before) if before else (None, {})
    seen.wrong += [f"{name} holds {count} objects more than before the stress" for name, count in more.items()]
    seen.wrong += [f"memory leaked: {leak}" for leak in (leaks or [])[:_LEAKS]]
    return {"objects_before": sum(before.values()) if before else None, "objects_after": sum(after.values()) if after else None,
            "grown": more, "leaks": None if leaks is None else len(leaks)}
