"""core.c as a syntax tree, whichever configuration it is compiled with; offsets in the tree are those in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import tree_sitter_c
from tree_sitter import Language, Node, Parser

__all__ = ("Node", "callee", "field", "functions", "nodes", "statement_of", "text_of")

#: Annotations that are no C: for the parser they are blanks.
_ANNOTATIONS = re.compile(r"\b(?:__rcu|__init|__net_init|__net_exit|__exit|__read_mostly|__maybe_unused|__always_unused|noinline|__visible|"
                          r"__cold|__must_check)\b")
_BOOT = re.compile(r"\b__(?:init|exit)\b")
_HEADS = {"if_statement": "consequence", "while_statement": "body", "for_statement": "body", "switch_statement": "body"}


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_c.language()))


def functions(source: str) -> Iterator[tuple[str, Node]]:
    """Functions that run after boot, by name: those of ``__init`` have run before a mutant can be chosen."""
    plain = "".join(character if character.isascii() else "?" for character in source)
    bare = _ANNOTATIONS.sub(lambda found: " " * len(found[0]), plain)
    for node in nodes(_parser().parse(bare.encode()).root_node):
        body = node.child_by_field_name("body")
        if node.type == "function_definition" and body and not _BOOT.search(source[node.start_byte:body.start_byte]):
            declared = node.child_by_field_name("declarator")
            while declared and declared.type != "identifier":
                declared = declared.child_by_field_name("declarator")
            if declared:
                yield text_of(source, declared), node


def nodes(node: Node) -> Iterator[Node]:
    """A node and all below it; nothing of what the parser did not understand, nor of a preprocessor's condition."""
    if node.type == "ERROR" or node.is_missing:
        return
    yield node
    condition = node.child_by_field_name("condition") if node.type.startswith("preproc") else None
    for child in node.children:
        if child != condition:
            yield from nodes(child)


def field(node: Node, name: str) -> Node:
    """The child of a node under a name of the grammar's."""
    found = node.child_by_field_name(name)
    assert found is not None, f"{node.type} has no {name}"  # noqa: S101
    return found


def text_of(source: str, node: Node) -> str:
    """The text of a node."""
    return source[node.start_byte:node.end_byte]


def callee(source: str, node: Node) -> str:
    """The name of the function or macro that an expression calls; empty if it is no call, or one through a pointer."""
    called = node.child_by_field_name("function") if node.type == "call_expression" else None
    return text_of(source, called) if called and called.type == "identifier" else ""


def statement_of(node: Node) -> tuple[int, int]:
    """First and last offset of the statement that a node is in, without the body of an ``if`` or a loop."""
    at: Node | None = node
    while at and at.parent and at.parent.type not in ("compound_statement", "function_definition"):
        body = at.parent.child_by_field_name(_HEADS.get(at.parent.type, ""))
        if at.type.endswith("_statement") or at.type == "declaration":
            break
        if body and at != body:
            return at.parent.start_byte, body.start_byte
        at = at.parent
    assert at is not None  # noqa: S101
    body = at.child_by_field_name(_HEADS.get(at.type, ""))
    return at.start_byte, body.start_byte if body else at.end_byte
