"""What a difference is about, in words: the promise, the statements of the kernel's own core.c, and where the kernel warned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from harness.conformance import coverage
from harness.conformance.statements import CoreSource, pinned, read
from harness.errors import NfharnessError
from harness.images import kernel_tree

__all__ = ("core_of", "statements", "warnings")

#: ``WARNING: CPU: 0 PID: 7 at net/netfilter/core.c:517 __nf_unregister_net_hook+0x1/0x2``, and as newer kernels have it,
#: ``WARNING: net/netfilter/core.c:517 at __nf_unregister_net_hook+0x1/0x2``.
_WARNING = re.compile(r"WARNING: (?:.* at )?(?P<file>\S+:\d+) (?:at )?(?P<function>[\w.]+)\+0x|kernel BUG at (?P<bug>\S+:\d+)")
_STATEMENTS, _RULES = 4, 6


@cache
def core_of(directory: str) -> CoreSource:
    """The core.c of a kernel's tree; the pinned one where there is no tree, or its sources are gone."""
    try:
        found = read(kernel_tree.read(directory).source) if directory else None
    except NfharnessError:
        found = read(Path(directory))
    return found or pinned()


def statements(rule: str, core: CoreSource) -> Iterator[str]:
    """Lines of core.c that a rule is about, and under each the other rules that are about it: one of theirs may be what broke."""
    found = list(core.statements(rule))
    for statement in found[:_STATEMENTS]:
        yield f"{statement}"
        yield from (f"    {line}" for line in statement.text)
        others = coverage.rules_about(statement.function, statement.what, besides=rule)
        if others:
            more = f" and {len(others) - _RULES} more" if len(others) > _RULES else ""
            yield f"    also promised by {', '.join(others[:_RULES])}{more}"
    if len(found) > _STATEMENTS:
        yield f"and {len(found) - _STATEMENTS} more statements: nfharness check --explain {rule}"


def warnings(log: Sequence[str]) -> Iterator[str]:
    """Where the kernel warned, each place once: file, line and function."""
    places = (found for line in log if (found := _WARNING.search(line)))
    yield from dict.fromkeys("the kernel warned: " + (one["bug"] or f"{one['file']} {one['function']}") for one in places)
