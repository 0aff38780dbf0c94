"""Steps with private arrays, where no packet of the stack's comes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.netfilter import VerdictKind

__all__ = ("RawAlter", "RawDelete", "RawInsert", "RawRun")


@dataclass(frozen=True, slots=True)
class RawInsert:
    """``nf_hook_entries_insert_raw``: a hook into a private array, where no packet of the stack's comes.

    :param array: the scenario's name for the array; it is there from the first hook on
    :param verdict: the u32 that the hook returns; any will do
    :param count: so many hooks that differ in their names only: see :attr:`ids`; the first refusal ends it
    :param fail: as of :class:`harness.scenario.steps.Register`, of one hook only
    """

    id: str
    netns: str
    array: str
    priority: int = 0
    verdict: int = VerdictKind.ACCEPT
    count: int = 1
    fail: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """``a``; of several ``a.1``, ``a.2`` …, as those of :class:`RegisterMany`."""
        return (self.id,) if self.count == 1 else tuple(f"{self.id}.{number}" for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True)
class RawDelete:
    """``nf_hook_entries_delete_raw``.

    :param id: one of the :attr:`RawInsert.ids` of an earlier step
    :param array: another one of the namespace's arrays, in which core must not find the hook; ``None``: the one that it is in
    :param fail: as of :class:`harness.scenario.steps.Register`
    """

    id: str
    array: str | None = None
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RawAlter:
    """Another ``priority`` for the ops of a hook in a private array: they are the caller's, and core is not told.

    :param id: one of the :attr:`RawInsert.ids` of an earlier step
    """

    id: str
    priority: int


@dataclass(frozen=True, slots=True)
class RawRun:
    """``nf_hook_slow`` over a private array, with a datagram made for it, which goes nowhere.

    :param start: the slot that it starts with
    """

    netns: str
    array: str
    start: int = 0
