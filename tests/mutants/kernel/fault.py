"""What a fault of ``net/netfilter/core.c`` is: statements of it, and what stands in their place in a wrong kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.mutate.mutant import Mutant, Replacement

__all__ = ("Edit", "Fault", "fault", "mutant", "place")


@dataclass(frozen=True, slots=True)
class Edit:
    """:param found: text of core.c that is there once: whole statements, or an expression in ``«»`` with enough around it to be found
    :param wrong: what takes the place of the statements, or of what is in ``«»``
    """

    found: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Fault:
    """:param edits: several are one fault
    :param breaks: the promise that is not kept
    :param rules: those that should tell; none: nobody can, and *why* says it
    :param why: the reason for a survivor: a proof that nobody can tell the difference, or the sanitizer or scenario that it needs
    """

    name: str
    edits: tuple[Edit, ...]
    breaks: str
    rules: tuple[str, ...] = ()
    why: str = ""


def fault(name: str, edits: str | Sequence[tuple[str, str]], wrong: str = "", *, breaks: str, rules: str = "", why: str = "") -> Fault:
    """:param edits: a text that is found, with *wrong* in its place, or pairs of both
    :param rules: ids with blanks between them
    """
    pairs = [(edits, wrong)] if isinstance(edits, str) else edits
    return Fault(name, tuple(Edit(*pair) for pair in pairs), breaks, tuple(rules.split()), why)


def mutant(source: str, one: Fault) -> Mutant:
    """What the fault is in a core.c.

    :raises ValueError: one of its texts is not there once
    """
    places = [place(source, one.name, edit) for edit in one.edits]
    changes = tuple(Replacement(*where, edit.wrong) for where, edit in zip(places, one.edits, strict=True))
    original, mutated = (" … ".join(" ".join(text.split()) for text in texts) for texts in (
        [source[first:end] for first, end in places], [edit.wrong for edit in one.edits]))
    return Mutant(one.name, "", source.count("\n", 0, places[0][0]) + 1, "by hand", original, mutated, changes)


def place(source: str, name: str, edit: Edit) -> tuple[int, int]:
    """First and last offset of what an edit replaces.

    :raises ValueError: it is not there once
    """
    before, marked, rest = edit.found.partition("«")
    text, _, after = rest.partition("»") if marked else (edit.found, "", "")
    context = f"{before}{text}{after}" if marked else text
    if source.count(context) != 1:
        raise ValueError(f"{name}: found {source.count(context)} times: {context!r}")
    first = source.index(context) + (len(before) if marked else 0)
    return first, first + len(text)
