"""core.c with every mutant in it: each stands beside what is right, and ``nfh_faults`` chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.mutate.mutant import Replacement

__all__ = ("PARAMETER", "chosen_in", "on_line", "with_mutants")

PARAMETER = "nfh_faults"
"""On the kernel's command line, and in ``/sys/module/kernel/parameters``: numbers with commas between them, as ``3,17``."""

#: As :c:macro:`core_param` has it, with a callback.
_DEFINED = f"""#include <linux/bitmap.h>
#include <linux/moduleparam.h>

#define NFH_FAULTS {{count}}
static DECLARE_BITMAP({PARAMETER}, NFH_FAULTS);
static int nfh_faults_set(const char *numbers, const struct kernel_param *param)
{{{{
	return bitmap_parselist(numbers, {PARAMETER}, NFH_FAULTS);
}}}}
static const struct kernel_param_ops nfh_faults_ops = {{{{ .set = nfh_faults_set }}}};
__module_param_call("", {PARAMETER}, &nfh_faults_ops, NULL, 0200, -1, 0);
static __always_inline bool nfh_fault(unsigned int number)
{{{{
	return test_bit(number, {PARAMETER});
}}}}
/* What a compiler only warns of is no mutant that a developer would overlook. */
#pragma GCC diagnostic error "-Wint-conversion"
#define NFH_FAULT(number) unlikely(nfh_fault(number))
"""
_AFTER = '#include "nf_internals.h"\n'
_LEAST = 1024


@dataclass(slots=True)
class _Span:
    """Text that some mutants replace, and spans within it.

    :param wrong: by the mutant's number
    """

    first: int
    end: int
    wrong: dict[int, str] = field(default_factory=dict)
    inner: list[_Span] = field(default_factory=list)


def with_mutants(source: str, mutants: Sequence[Sequence[Replacement]], *, apart: bool = False) -> str:
    """core.c with all mutants, numbered from 1; what is right stays on the lines that it had, and the kernel's warnings name these.

    :param mutants: the changes that each makes
    :param apart: each wrong text has a line to itself, so that the line of a compiler's error names its mutant
    :raises ValueError: two changes share some of a text and not all, or this is no core.c
    """
    whole = _Span(0, len(source))
    for number, changes in enumerate(mutants, 1):
        for change in changes:
            wrong = " ".join(change.wrong.split())
            _put(whole, _Span(change.first, change.end, {number: f"\n{wrong} /* {number} */\n" if apart else wrong}))
    if source.count(_AFTER) != 1:
        raise ValueError(f"{_AFTER!r} is not there once")
    defined = _DEFINED.format(count=max(_LEAST, len(mutants) + 1))
    following = source.count("\n", 0, source.index(_AFTER)) + 2
    onwards = "" if apart else f"#line {following}\n"
    return _right(source, whole).replace(_AFTER, f"{_AFTER}{defined}{onwards}")


def chosen_in(preprocessed: str) -> set[int]:
    """Numbers of the mutants that are left when the preprocessor has decided what is compiled."""
    return set(map(int, re.findall(r"\bnfh_fault\((\d+)\)", preprocessed)))


def on_line(apart: str, line: int) -> int | None:
    """Number of the mutant whose text, or the choice of which, is on a line, from 1, of a core.c in which they are apart."""
    lines = apart.splitlines()
    for at in (line, line - 1):  # what is behind a wrong text begins on the next line
        text = lines[at - 1] if 0 < at <= len(lines) else ""
        if found := re.search(r"/\* (\d+) \*/$", text) or (not text.startswith(")") and re.search(r"NFH_FAULT\((\d+)\)", text)):
            return int(found[1])
    return None


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
    """The text of what is right, with the alternatives to what is within it."""
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
    statements = right.rstrip()
    chosen = "".join(f"if (NFH_FAULT({number})) {{ {wrong} }} else " for number, wrong in span.wrong.items())
    return f"{{ {chosen}{{ {statements} }} }}{right[len(statements):]}"
