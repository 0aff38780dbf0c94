"""Statements got wrong: calls and assignments that are missing, loops, jumps, results, locks."""

from __future__ import annotations

from collections.abc import Iterator

from harness.mutate.mutant import Replacement
from harness.mutate.operators import Changes, Function, change, operator
from harness.mutate.syntax import Node, callee, field, nodes

__all__ = ()

_LOCKS = {"mutex_lock": "mutex_unlock", "rcu_read_lock": "rcu_read_unlock", "spin_lock": "spin_unlock", "spin_lock_bh": "spin_unlock_bh"}
#: Macros that declare what is used further on.
_DECLARING = ("LIST_HEAD", "HLIST_HEAD", "DEFINE_", "DECLARE_")
#: A result of a kind that is wrong.
_WRONG = {"pointer": "NULL", "bool": "false", "int": "0"}


@operator("call", "expression_statement", "a call is missing: what is locked, freed, counted, flushed, taken back, warned of")
def _call(function: Function, node: Node) -> Changes:
    called = node.named_children[0] if node.named_children else None
    if not called or called.type != "call_expression" or node.has_error:
        return
    name = callee(function.source, called)
    if name not in _LOCKS and not name.startswith(_DECLARING):
        yield (change(node, ";"),)


@operator("assignment", "expression_statement", "an assignment, or counting, is missing")
def _assignment(function: Function, node: Node) -> Changes:
    done = node.named_children[0] if node.named_children else None
    if done and (done.type == "update_expression" or (
            done.type == "assignment_expression" and _has_a_value(function, field(done, "left")))):
        yield (change(node, ";"),)


def _has_a_value(function: Function, target: Node) -> bool:
    """Whether what is assigned to has a value already. A variable without one may have any, for the compiler the right one."""
    if target.type != "identifier":
        return True
    name, around = function.of(target), set(_around(target))
    return any(
        (one.type == "assignment_expression" and function.of(field(one, "left")) == name and next(_around(one), None) in around)
        or (one.type in ("init_declarator", "parameter_declaration") and name in map(function.of, nodes(field(one, "declarator"))))
        for one in nodes(function.node) if one.end_byte <= target.start_byte)


def _around(node: Node) -> Iterator[Node]:
    """The blocks that a node is in, the innermost first."""
    while node.parent:
        node = node.parent
        if node.type == "compound_statement":
            yield node


@operator("loop-skipped", "for_statement while_statement", "a loop's body never runs")
def _skipped(_function: Function, node: Node) -> Changes:
    if condition := node.child_by_field_name("condition"):
        yield (change(condition, "(0)" if condition.type == "parenthesized_expression" else "0"),)


@operator("loop-late", "for_statement", "a loop begins at the second")
def _late(function: Function, node: Node) -> Changes:
    first = node.child_by_field_name("initializer")
    for one in nodes(first) if first else ():
        if one.type == "assignment_expression":
            right = field(one, "right")
            yield (change(right, f"{function.of(right)} + 1"),)


@operator("loop-early", "for_statement while_statement", "a loop ends before the last")
def _early(function: Function, node: Node) -> Changes:
    for one in nodes(condition) if (condition := node.child_by_field_name("condition")) else ():
        if one.type == "binary_expression" and function.of(field(one, "operator")) in ("<", "<="):
            left = field(one, "left")
            yield (change(left, f"{function.of(left)} + 1"),)


@operator("loop-endless", "for_statement", "a loop does not go on")
def _endless(function: Function, node: Node) -> Changes:
    update = node.child_by_field_name("update")
    if update and update.type == "update_expression":
        yield (change(update, function.of(field(update, "argument"))),)


@operator("jump", "break_statement continue_statement goto_statement", "a jump is missing, or goes elsewhere")
def _jump(function: Function, node: Node) -> Changes:
    yield (change(node, ";"),)
    if node.type == "continue_statement":
        yield (change(node, "break;"),)
    if node.type == "goto_statement":
        target = function.of(field(node, "label"))
        labels = (function.of(field(one, "label")) for one in nodes(function.node) if one.type == "labeled_statement")
        yield from ((change(node, f"goto {label};"),) for label in labels if label != target)


@operator("return", "return_statement", "another result, or none: what comes after is done, too")
def _return(function: Function, node: Node) -> Changes:
    last = node.next_named_sibling is None and node.parent == function.node.child_by_field_name("body")
    if not last:
        yield (change(node, ";"),)
    values = [one for one in node.named_children if one.type != "comment"]
    yield from ((change(values[0], wrong),) for wrong in _results(function, function.of(values[0]))) if values else ()


def _results(function: Function, text: str) -> Iterator[str]:
    if function.returns == "bool":
        yield f"!({text})"
    elif function.returns == "int" and text in ("0", "1"):
        yield "1" if text == "0" else "0"
    elif function.returns in _WRONG and text != _WRONG[function.returns]:
        yield _WRONG[function.returns]


@operator("lock", "compound_statement", "a lock is not taken, nor given back")
def _lock(function: Function, node: Node) -> Changes:
    if node.parent != function.node:
        return
    calls = [(callee(function.source, one.named_children[0]), one) for one in nodes(node)
             if one.type == "expression_statement" and one.named_children and one.named_children[0].type == "call_expression"]
    for taken, given in _LOCKS.items():
        pair: tuple[Replacement, ...] = tuple(change(one, ";") for name, one in calls if name in (taken, given))
        if {taken, given} <= {name for name, _ in calls}:
            yield pair
