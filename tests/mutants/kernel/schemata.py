"""core.c with every fault in it: each stands beside what is right, and ``nfh_faults`` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.mutants.kernel.fault import Edit, Fault

__all__ = ("PARAMETER", "place", "with_faults")

PARAMETER = "nfh_faults"
"""On the kernel's command line, and in ``/sys/module/kernel/parameters``: numbers with commas between them, as ``3,17``."""

#: As :c:macro:`core_param` has it, with a callback.
_DEFINED = f"""
#define NFH_FAULTS 1024
static DECLARE_BITMAP({PARAMETER}, NFH_FAULTS);
static int nfh_faults_set(const char *numbers, const struct kernel_param *param)
{{
	return bitmap_parselist(numbers, {PARAMETER}, NFH_FAULTS);
}}
static const struct kernel_param_ops nfh_faults_ops = {{ .set = nfh_faults_set }};
__module_param_call("", {PARAMETER}, &nfh_faults_ops, NULL, 0200, -1, 0);
#define NFH_FAULT(number) unlikely(test_bit(number, {PARAMETER}))
"""
_AFTER = '#include "nf_internals.h"\n'


@dataclass(slots=True)
class _Span:
    """Text that some faults replace, and spans within it.

    :param wrong: by the fault's number
    """

    first: int
    end: int
    wrong: dict[int, str] = field(default_factory=dict)
    inner: list[_Span] = field(default_factory=list)


def with_faults(source: str, faults: Sequence[Fault]) -> str:
    """:raises ValueError: a text is not there once, or two faults share some of a text and not all"""
    whole = _Span(0, len(source))
    for number, one in enumerate(faults, 1):
        for edit in one.edits:
            first, end = place(source, one.name, edit)
            _put(whole, _Span(first, end, {number: edit.wrong}))
    text = _right(source, whole)
    if text.count(_AFTER) != 1:
        raise ValueError(f"{_AFTER!r} is not there once")
    return text.replace(_AFTER, f"{_AFTER}#include <linux/bitmap.h>\n#include <linux/moduleparam.h>\n{_DEFINED}")


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


def _put(outer: _Span, span: _Span) -> None:
    for one in outer.inner:
        if (one.first, one.end) == (span.first, span.end):
            one.wrong |= span.wrong
            return
        if one.first <= span.first and span.end <= one.end:
            _put(one, span)
            return
        if span.first < one.end and one.first < span.end and not (span.first <= one.first and one.end <= span.end):
            raise ValueError(f"faults {[*one.wrong, *span.wrong]} share some of their text")
    span.inner = [one for one in outer.inner if span.first <= one.first and one.end <= span.end]
    outer.inner = [*(one for one in outer.inner if one not in span.inner), span]


def _right(source: str, span: _Span) -> str:
    """Its text, with the alternatives to what is within it."""
    parts, at = [], span.first
    for one in sorted(span.inner, key=lambda inner: inner.first):
        parts += [source[at:one.first], _alternatives(source, one)]
        at = one.end
    return "".join([*parts, source[at:span.end]])


def _alternatives(source: str, span: _Span) -> str:
    right = _right(source, span)
    if not source[span.first:span.end].rstrip().endswith((";", "}")):
        for number, wrong in span.wrong.items():
            right = f"(NFH_FAULT({number}) ? ({wrong}) : ({right}))"
        return right
    chosen = "".join(f"if (NFH_FAULT({number})) {{ {wrong} }} else " for number, wrong in span.wrong.items())
    return f"{{ {chosen}{{ {right} }} }}\n"
