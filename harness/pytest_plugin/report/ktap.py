"""KTAP version 1: a subtest for each kernel, in it one for each module (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.printable import printable_line
from harness.pytest_plugin.report.results import Outcome, Result

__all__ = ("ktap",)

_INDENT = "  "


def ktap(kernels: dict[str, list[Result]]) -> Iterator[str]:
    """The report as lines of KTAP."""
    yield "KTAP version 1"
    yield f"1..{len(kernels)}"
    for number, (kernel, results) in enumerate(kernels.items(), 1):
        modules: dict[str, list[Result]] = {}
        for result in results:
            modules.setdefault(result.module, []).append(result)
        name = _line(kernel.replace("#", "-"))  # the label of a tree has one, behind which KTAP expects a directive
        yield from _nested(name, len(modules))
        for place, (module, tests) in enumerate(modules.items(), 1):
            named = _line(module)
            yield from (_INDENT + line for line in _nested(named, len(tests)))
            for position, test in enumerate(tests, 1):
                yield from (2 * _INDENT + line for line in _lines(position, test))
            yield f"{_INDENT}{_INDENT}{_totals(tests)}"
            yield f"{_INDENT}{_mark(tests)} {place} {named}"
        yield f"{_INDENT}{_totals(results)}"
        yield f"{_mark(results)} {number} {name}"
    yield _totals([result for results in kernels.values() for result in results])


def _nested(name: str, count: int) -> Iterator[str]:
    yield f"{_INDENT}KTAP version 1"
    yield f"{_INDENT}# Subtest: {name}"
    yield f"{_INDENT}1..{count}"


def _lines(position: int, test: Result) -> Iterator[str]:
    name = _line(test.name.replace("#", ""))
    reason = _line(test.message.replace("#", ""))
    if not test.good:
        yield from (f"# {printable_line(line)}" for line in test.detail.splitlines())
    match test.outcome:
        case "passed":
            yield f"ok {position} {name}"
        case "skipped":
            yield f"ok {position} {name} # SKIP {reason}"
        case "xfailed":
            yield f"ok {position} {name} # XFAIL {reason}"
        case "flaky":
            yield f"ok {position} {name} # FLAKY {reason}"
        case "xpassed":
            yield f"ok {position} {name} # XPASS {reason}"
        case "error" | "lost":
            yield f"not ok {position} {name} # ERROR {test.outcome}: {reason}"
        case _:
            yield f"not ok {position} {name}"


def _mark(tests: Sequence[Result]) -> str:
    return "ok" if all(test.good for test in tests) else "not ok"


def _totals(tests: Sequence[Result]) -> str:
    count: Counter[Outcome] = Counter(test.outcome for test in tests)
    return (f"# Totals: pass:{count['passed'] + count['flaky']} fail:{count['failed']} xfail:{count['xfailed']} xpass:{count['xpassed']} "
            f"skip:{count['skipped']} error:{count['error'] + count['lost']}")


def _line(text: str) -> str:
    """One line of what a test may have made up: on a terminal its control characters would do things."""
    return printable_line(" ".join(text.split()))
