"""Mutants of a core.c, whichever version it is: what each kind of statement is got wrong as."""

from __future__ import annotations

from harness.mutate import expressions, statements
from harness.mutate.mutant import Mutant, Replacement, named
from harness.mutate.operators import OPERATORS, Function
from harness.mutate.syntax import functions, nodes, statement_of

__all__ = ("OPERATORS", "mutants")

assert expressions and statements  # noqa: S101 - they fill OPERATORS

#: A call through a hook's pointer: where there are two of them in nf_hook_slow(), the tracer does not know which one to look behind.
_ONCE = "nf_hook_entry_hookfn"


def mutants(source: str) -> tuple[Mutant, ...]:
    """Mutants of all functions that run after boot, in the order of their lines, each change once.

    :param source: a ``net/netfilter/core.c``
    """
    found: dict[tuple[Replacement, ...], Mutant] = {}
    for name, node in functions(source):
        function = Function(name, source, node)
        for one in nodes(node):
            for operator in OPERATORS.values():
                if one.type not in operator.types:
                    continue
                for changes in operator.wrong(function, one):
                    if not any(_ONCE in change.wrong for change in changes):
                        found.setdefault(changes, _mutant(function, operator.name, changes))
    return tuple(named(sorted(found.values(), key=lambda one: (one.line, one.changes[0].first))))


def _mutant(function: Function, operator: str, changes: tuple[Replacement, ...]) -> Mutant:
    source = function.source
    places = list(dict.fromkeys(_place(function, change) for change in changes))
    line = source.count("\n", 0, changes[0].first) + 1
    original = " … ".join(_flat(source[first:end]) for first, end in places)
    mutated = " … ".join(_flat(_changed(source, first, end, changes)) for first, end in places)
    return Mutant("", function.name, line, operator, original, mutated, changes)


def _place(function: Function, change: Replacement) -> tuple[int, int]:
    node = function.node.descendant_for_byte_range(change.first, change.end)
    assert node is not None  # noqa: S101
    first, end = statement_of(node)
    return min(first, change.first), max(end, change.end)


def _changed(source: str, first: int, end: int, changes: tuple[Replacement, ...]) -> str:
    parts, at = [], first
    for change in sorted(changes, key=lambda one: one.first):
        if first <= change.first and change.end <= end:
            parts += [source[at:change.first], change.wrong]
            at = change.end
    return "".join([*parts, source[at:end]])


def _flat(text: str) -> str:
    return " ".join(text.split())

