"""What an operator is: a way in which statements are got wrong; and all of them, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.mutate.mutant import Replacement
from harness.mutate.syntax import Node, text_of

__all__ = ("OPERATORS", "Changes", "Function", "Operator", "change", "operator")

Changes = Iterator[tuple[Replacement, ...]]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of core.c.

    :param source: all of core.c
    """

    name: str
    source: str
    node: Node

    def of(self, node: Node) -> str:
        """The text of a node."""
        return text_of(self.source, node)

    @property
    def returns(self) -> str:
        """The kind of its result: ``pointer``, ``bool``, ``void`` or ``int``."""
        declarator, kind = self.node.child_by_field_name("declarator"), self.node.child_by_field_name("type")
        if declarator and declarator.type == "pointer_declarator":
            return "pointer"
        named = self.of(kind) if kind else "int"
        return named if named in ("void", "bool") else "int"


@dataclass(frozen=True, slots=True)
class Operator:
    """A way in which statements are got wrong.

    :param what: that it does, for a reader
    :param types: of the nodes that it looks at
    :param wrong: the changes that it would make at a node
    """

    name: str
    what: str
    types: frozenset[str]
    wrong: Callable[[Function, Node], Changes]


OPERATORS: dict[str, Operator] = {}


def operator(name: str, types: str, what: str) -> Callable[[Callable[[Function, Node], Changes]], Callable[[Function, Node], Changes]]:
    """Add a function to :data:`OPERATORS`.

    :param types: of nodes, as the grammar calls them, with blanks between
    """

    def added(wrong: Callable[[Function, Node], Changes]) -> Callable[[Function, Node], Changes]:
        OPERATORS[name] = Operator(name, what, frozenset(types.split()), wrong)
        return wrong

    return added


def change(node: Node, wrong: str) -> Replacement:
    """The replacement of a node's text by another one."""
    return Replacement(node.start_byte, node.end_byte, wrong)
