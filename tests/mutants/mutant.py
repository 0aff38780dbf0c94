"""What a mutant is, and wrong verdict loops that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.model import slow, structures
from harness.model.entries import DUMMY_OPS
from harness.model.structures import Entries, HookOps
from harness.netfilter import Verdict, VerdictKind

__all__ = ("ACCEPT", "Mutant", "Patch", "collected", "deletes_the_first", "keep_dummies", "named", "oldest_first", "rules_only", "without")

ACCEPT = Verdict(VerdictKind.ACCEPT)

Patch = tuple[Any, str, Any]
"""Module or class, attribute, what takes its place."""


@dataclass(frozen=True)
class Mutant:
    """A wrong model.

    :param rules: ids of rules that it breaks, the one that is about just that first
    :param rules_only: no built-in scenario tells it from the right model
    """

    rules: tuple[str, ...]
    patches: tuple[Patch, ...]
    rules_only: bool = False

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for target, attribute, replacement in self.patches:
            monkeypatch.setattr(target, attribute, replacement)


def named(name: str, target: Any, attribute: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    """A mutant of one patch."""
    return name, Mutant(rules, ((target, attribute, replacement),))


def rules_only(named_mutant: tuple[str, Mutant]) -> tuple[str, Mutant]:
    """The mutant of rules that no built-in scenario shows, as none does what these rules do."""
    name, mutant = named_mutant
    return name, replace(mutant, rules_only=True)


def collected(named_mutants: Iterable[tuple[str, Mutant]]) -> dict[str, Mutant]:
    """Mutants by their names.

    :raises ValueError: two have the same name
    """
    found: dict[str, Mutant] = {}
    for name, mutant in named_mutants:
        if name in found:
            raise ValueError(f"two mutants are called {name!r}")
        found[name] = mutant
    return found


def oldest_first(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([*(old or ()), reg], key=lambda hook: hook.priority)


def keep_dummies(_old: Entries, _pp: object, _alloc: object, _warnings: object) -> None:
    return None


def deletes_the_first(old: Entries, _unreg: HookOps) -> bool:
    old[0] = DUMMY_OPS
    return True


def without(kind: VerdictKind, become: Callable[[Verdict], Verdict]) -> Callable[..., int]:
    """A loop that takes one verdict for another."""
    def mutant(context: structures.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
        replaced = [HookOps(lambda ops, ctx, hook=ops.hook: become(found) if (found := hook(ops, ctx)).kind is kind else found,  # type: ignore[misc]
                            ops.function, ops.module, ops.pf, ops.hooknum, ops.priority, ops.device, ops.label) for ops in e]
        return slow.nf_hook_slow(context, replaced, s, **keywords)
    return mutant
