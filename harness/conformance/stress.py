"""Kernels under stress, the host's end of :mod:`harness.guest.stress`: a guest for each, which two processors keep busy for a time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.conformance.judge import State
from harness.conformance.matrix import NeverUp, Target
from harness.errors import GuestError, KernelDied, NfharnessError
from harness.host.deadlines import within
from harness.images.source_lines import decoded
from harness.vm.channel import Remote, Request, agent_error

__all__ = ("Stressed", "every")

_STRESS = "harness.guest.stress:main"
#: Seconds of an idle host beside those of the stress: building, warming up, waiting for what dies, kmemleak's scans.
_BESIDE_S = 300.0


@dataclass(slots=True)
class Stressed:
    """What came of one kernel.

    :ivar seconds: that the stress has lasted so far, in the guest
    :ivar operations: how often each thing was done, as the tasks counted
    :ivar wrong: what the kernel did that it should not, a line each
    :ivar doubts: why nothing can be concluded
    :ivar memory: objects of slab caches before and after, those that grew, kmemleak's report; ``None`` if it did not come to that
    :ivar log: the kernel's own words, if something was wrong; of one that died, its last
    :ivar died: how, if it did
    """

    target: Target
    seconds: float = 0.0
    operations: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    taint: str = ""
    memory: dict[str, Any] | None = None
    log: list[str] = field(default_factory=list)
    died: str = ""
    places: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        """``conformant``: nothing was wrong, and all of it was done."""
        if self.died:
            return "lost"
        return "different" if self.wrong else "inconclusive" if self.doubts else "conformant"


async def _stress(found: Stressed, seconds: float, seed: int, tell: Callable[[], None]) -> None:
    """Put a kernel under stress in a fresh guest.

    :param found: gets what comes of it, while it goes on
    :param seconds: how long, in the guest
    :param seed: what the tasks choose by
    :param tell: is called when the guest has said how far it is
    :raises HostError: QEMU does not start
    """
    source = found.target.source
    if isinstance(source, NeverUp):
        found.died = f"it never came up: {source.death.message}"
        found.log = source.death.console_tail.splitlines()
        return
    try:
        async with source.guest() as guest:
            start = time.monotonic()
            remote = await guest.open(Request(python=_STRESS, args=[seconds, str(seed)]))
            try:
                async with within(seconds + _BESIDE_S) as deadline:
                    await _read(found, remote, tell)
            except TimeoutError:
                raise await guest.hangs(f"end its stress {deadline}") from None
            finally:
                found.seconds = max(found.seconds, time.monotonic() - start)
    except KernelDied as death:
        found.died, found.log = death.message, death.console_tail.splitlines()
    except GuestError as error:
        found.doubts.append(error.message)
    else:
        told = await asyncio.to_thread(decoded, "\n".join(found.log), found.target.kernel)
        found.log = told.splitlines()


async def _read(found: Stressed, remote: Remote, tell: Callable[[], None]) -> None:
    """What the guest prints, to its end.

    :raises GuestError: it failed, or did not come to an end
    """
    said = {1: b"", 2: b""}
    ended = False
    while piece := await remote.read():
        *lines, said[piece[0]] = (said[piece[0]] + piece[1]).split(b"\n") if piece[0] == 1 else [said[2] + piece[1]]
        for line in lines:
            document = json.loads(line)
            ended |= "ended" in document
            for name, value in document.get("ended", document).items():
                setattr(found, name, value)
            tell()
    status = await remote.wait()
    if not ended:
        raise _failure(said[2].decode(errors="replace").strip() or f"exit status {status}")
    idle = [kind for kind, count in found.operations.items() if not count and kind not in _SELDOM]
    if idle and not found.wrong:
        found.doubts += [f"none of these was done: {', '.join(idle)}"]


#: What a short stress may not come to, or some kernels have not.
_SELDOM = ("BPF links made", "BPF links closed", "datagrams flushed from a queue", "datagrams that a listener dropped", "devices deleted")


def _failure(text: str) -> NfharnessError:
    try:
        return agent_error(json.loads(text.splitlines()[-1]), "the stress")
    except ValueError:
        return agent_error({"traceback": text}, "the stress")


async def every(found: Sequence[Stressed], seconds: float, seed: int, tell: Callable[[Stressed], None], jobs: int) -> None:
    """Stress every kernel, in guests side by side.

    :raises HostError: QEMU does not start
    """
    gate = asyncio.Semaphore(jobs)

    async def one(of: Stressed) -> None:
        async with gate:
            await _stress(of, seconds, seed, lambda: tell(of))

    try:
        async with asyncio.TaskGroup() as group:
            for of in found:
                group.create_task(one(of))
    except ExceptionGroup as group_error:
        raise next((error for error in group_error.exceptions if isinstance(error, NfharnessError)), group_error) from None
