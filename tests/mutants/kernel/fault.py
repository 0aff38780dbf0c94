"""What a fault of ``net/netfilter/core.c`` is: statements of it, and what stands in their place in a wrong kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ("Edit", "Fault", "fault")


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
