"""Expressions got wrong: comparisons, conditions, masks, constants, arguments, barriers."""

from __future__ import annotations

from itertools import pairwise

from harness.mutate.mutant import Replacement
from harness.mutate.operators import Changes, Function, change, operator
from harness.mutate.syntax import Node, callee, field

__all__ = ()

_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
#: What is easily taken for what.
_SIBLINGS = {"NFPROTO_IPV4": "NFPROTO_IPV6", "NFPROTO_INET": "NFPROTO_NETDEV", "NF_NETDEV_INGRESS": "NF_NETDEV_EGRESS",
             "NF_INET_INGRESS": "NF_INET_PRE_ROUTING", "hooks_ipv4": "hooks_ipv6", "hooks_arp": "hooks_ipv4", "hooks_bridge": "hooks_ipv4",
             "nf_hooks_ingress": "nf_hooks_egress", "true": "false",
             "net_inc_ingress_queue": "net_inc_egress_queue", "net_dec_ingress_queue": "net_dec_egress_queue",
             "static_key_slow_inc": "static_key_slow_dec"}
_SIBLINGS |= {other: one for one, other in _SIBLINGS.items() if one not in ("hooks_arp", "hooks_bridge")}
#: What reads or writes in a way that other processors, or the compiler, must respect → the same without.
_PLAIN = {"READ_ONCE": "({0})", "rcu_dereference": "({0})", "rcu_dereference_raw": "({0})",
          "WRITE_ONCE": "({0}) = ({1});", "rcu_assign_pointer": "RCU_INIT_POINTER({0}, {1});",
          "smp_store_release": "*({0}) = ({1});", "smp_load_acquire": "(*({0}))"}


@operator("boundary", "binary_expression", "a limit is one off: < for <=")
def _boundary(function: Function, node: Node) -> Changes:
    yield from _other(function, node, _BOUNDARY)


@operator("comparison", "binary_expression", "the opposite is compared: == for !=")
def _comparison(function: Function, node: Node) -> Changes:
    if not _is_decided(node):
        yield from _other(function, node, _OPPOSITE)


def _is_decided(node: Node) -> bool:
    """Whether a comparison is the whole condition of an ``if`` or a loop, of which other operators say that it always holds, or never."""
    at = node.parent if node.parent and node.parent.type == "parenthesized_expression" else node
    return bool(at and at.parent and at.parent.type in ("if_statement", "while_statement", "for_statement"))


@operator("arithmetic", "binary_expression assignment_expression", "- for +, += for -=")
def _arithmetic(function: Function, node: Node) -> Changes:
    yield from _other(function, node, {"+": "-", "-": "+", "+=": "-=", "-=": "+="})


def _other(function: Function, node: Node, others: dict[str, str]) -> Changes:
    between = field(node, "operator")
    if (wrong := others.get(function.of(between))) is None:
        return
    left, right = function.of(field(node, "left")), function.of(field(node, "right"))
    yield (change(node, f"{left} {wrong} {right}"),)


@operator("connective", "binary_expression", "of two conditions that are joined by && or || one is left away")
def _connective(function: Function, node: Node) -> Changes:
    if function.of(field(node, "operator")) in ("&&", "||"):
        yield (change(node, function.of(field(node, "left"))),)
        yield (change(node, function.of(field(node, "right"))),)


@operator("mask", "binary_expression", "a mask is left away, or is half as wide")
def _mask(function: Function, node: Node) -> Changes:
    if function.of(field(node, "operator")) == "&":
        left, right = function.of(field(node, "left")), function.of(field(node, "right"))
        yield (change(node, left),)
        yield (change(node, f"{left} & (({right}) >> 1)"),)


@operator("condition", "if_statement", "a condition always holds, or never")
def _condition(function: Function, node: Node) -> Changes:
    condition = field(node, "condition")
    text = function.of(condition)
    for wrong in ("1", "0"):  # what it does beside being true is still done
        yield (change(condition, f"((void){text}, {wrong})" if "(" in text[1:] else f"({wrong})"),)


@operator("choice", "conditional_expression", "of two alternatives always the one, or the other")
def _choice(function: Function, node: Node) -> Changes:
    for name in ("consequence", "alternative"):
        yield (change(node, function.of(field(node, name))),)


@operator("constant", "number_literal", "a number is one larger, 1 is 0")
def _constant(function: Function, node: Node) -> Changes:
    parent = node.parent
    if parent is None or parent.type in ("case_statement", "return_statement") or _begins_a_loop(parent):
        return
    text = function.of(node)
    warns = parent.type == "argument_list" and parent.parent and callee(function.source, parent.parent).startswith("WARN")
    if text.isdigit() and not warns:
        yield (change(node, "0" if text == "1" else str(int(text) + 1)),)


def _begins_a_loop(node: Node) -> bool:
    at: Node | None = node
    while at and at.type in ("assignment_expression", "comma_expression"):
        if at.parent and at.parent.type == "for_statement":
            return True
        at = at.parent
    return False


@operator("sibling", "identifier true false field_expression", "a name that is easily taken for another: IPV6 for IPV4, EGRESS for INGRESS")
def _sibling(function: Function, node: Node) -> Changes:
    if node.parent and node.parent.type in ("case_statement", "return_statement"):
        return
    name = function.of(field(node, "field") if node.type == "field_expression" else node)
    if (wrong := _SIBLINGS.get(name)) is not None:
        yield (change(node, function.of(node).removesuffix(name) + wrong),)


@operator("errno", "unary_expression", "another errno")
def _errno(function: Function, node: Node) -> Changes:
    text = function.of(node)
    if text.startswith("-E"):
        yield (change(node, "-ENOENT" if text == "-EINVAL" else "-EINVAL"),)


@operator("arguments", "call_expression", "two arguments change places")
def _arguments(function: Function, node: Node) -> Changes:
    if node.has_error:
        return
    given = field(node, "arguments").named_children
    texts = [function.of(one) for one in given]
    for first, (one, other) in enumerate(pairwise(texts)):
        if one != other:
            swapped = [*texts[:first], other, one, *texts[first + 2:]]
            yield (_called(node, f"{function.of(field(node, 'function'))}({', '.join(swapped)})"),)


@operator("barrier", "call_expression", "a pointer is read or written as any other")
def _barrier(function: Function, node: Node) -> Changes:
    name = callee(function.source, node)
    given = [function.of(one) for one in field(node, "arguments").named_children]
    if name in _PLAIN and len(given) >= 1 + ("{1}" in _PLAIN[name]):
        yield (_called(node, _PLAIN[name].format(*given)),)


@operator("free", "call_expression", "freed at once rather than after a grace period, or as what it is not")
def _free(function: Function, node: Node) -> Changes:
    name = callee(function.source, node)
    given = [function.of(one) for one in field(node, "arguments").named_children]
    if name in ("call_rcu", "call_rcu_hurry") and len(given) == 2:
        yield (_called(node, f"{given[1]}({given[0]})"),)
    elif name.startswith("kfree_skb") and given:
        yield (_called(node, f"consume_skb({given[0]})"),)
    elif name == "nf_hook_entries_free" and given:
        yield (_called(node, f"kvfree({given[0]})"),)
    elif name == "kvfree_call_rcu" and given:
        yield (_called(node, f"kvfree({given[-1]})"),)


def _called(node: Node, wrong: str) -> Replacement:
    """A call in another one's place: as a statement where it is one, because a macro need not be an expression."""
    statement = node.parent if node.parent and node.parent.type == "expression_statement" else None
    return change(statement, f"{wrong.rstrip(';')};") if statement else change(node, wrong)
