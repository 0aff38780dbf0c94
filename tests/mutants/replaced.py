"""Wrong ends of arrays that others took the place of, and two tasks that do not keep each other out."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import entries
from harness.model.entries import Books
from harness.model.run import Run
from harness.model.steps import batches
from harness.model.structures import Entries
from harness.scenario.steps.hooks import Register
from tests.mutants.mutant import Mutant, collected, named, rules_only

__all__ = ("MUTANTS",)


def frees_no_pairs(old: Entries | None, books: Books) -> None:
    books.freed += old is not None and len(old) != 2


def frees_at_once(old: Entries | None, books: Books) -> None:
    books.freed += old is not None
    books.early += old is not None


def writes_into_the_ops(old: Entries | None, books: Books) -> None:
    books.freed += old is not None
    books.overwritten += old is not None


def the_second_is_lost(run: Run, hooks: Sequence[Register]) -> list[int]:
    """What the first task has read is published over what the second one did meanwhile."""
    errnos = right_register(run, hooks)
    run.core.nf_unregister_net_hook(run.nets[hooks[1].netns], run.live[hooks[1].id])
    return errnos


def the_second_stays(run: Run, hooks: Sequence[Register]) -> None:
    run.core.nf_unregister_net_hook(run.nets[hooks[0].netns], run.live.pop(hooks[0].id))


right_register = batches.one_after_the_other

MUTANTS: dict[str, Mutant] = {
    **collected([
        rules_only(
            named("arrays of two are never freed", entries, "nf_hook_entries_free", frees_no_pairs, "memory.freed", "memory.grace-period")),
        rules_only(named("arrays are freed at once", entries, "nf_hook_entries_free", frees_at_once, "memory.grace-period")),
        rules_only(named("arrays end in what RCU is given", entries, "nf_hook_entries_free", writes_into_the_ops, "memory.freed",
                         "memory.grace-period")),
    ]),
    "two register at once and one is lost": Mutant(("register.at-once",), (
        (batches, "one_after_the_other", the_second_is_lost),), rules_only=True),
    "two unregister at once and one stays": Mutant(("unregister.at-once",), (
        (batches, "out_one_after_the_other", the_second_stays),), rules_only=True),
}
