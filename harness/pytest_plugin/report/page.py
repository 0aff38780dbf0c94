"""A page of HTML about a run: a table of tests and kernels, and of whatever is not as it should be all that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape as escaped

from harness.printable import printable
from harness.pytest_plugin.report.results import Result

__all__ = ("page",)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }
td.passed { color: #187a2f } td.skipped, td.xfailed, td.xpassed { color: #777 }
td.failed, td.error, td.lost, td.flaky { color: #b3131b; font-weight: 600 }
pre { background: #f6f6f4; padding: .8em; overflow-x: auto; font-size: 13px } summary { cursor: pointer; margin: .4em 0 }
"""


def page(kernels: dict[str, list[Result]], seconds: float) -> str:
    """The whole page, without anything from elsewhere."""
    return "\n".join(_lines(kernels, seconds)) + "\n"


def _lines(kernels: dict[str, list[Result]], seconds: float) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tests in kernels</title><style>{_STYLE}</style>'
    yield f"<h1>Tests in kernels</h1><p>{sum(map(len, kernels.values()))} tests in {seconds:.0f} s.</p>"
    yield "<table><tr><th>kernel<th>tests<th>outcome</tr>"
    for kernel, results in kernels.items():
        count = Counter(result.outcome for result in results)
        shown = ", ".join(f"{number} {outcome}" for outcome, number in count.most_common())
        yield f"<tr><td>{_escape(kernel)}<td>{len(results)}<td>{shown}</tr>"
    yield "</table>"
    bad = [result for results in kernels.values() for result in results if not result.good or result.outcome == "flaky"]
    if bad:
        yield "<h2>Not as it should be</h2>"
    for result in bad:
        yield from _failure(result)
    yield "<h2>All tests</h2><table><tr><th>test<th>kernel<th>outcome<th>seconds<th></tr>"
    for results in kernels.values():
        for result in results:
            yield (f'<tr><td>{_escape(result.test)}<td>{_escape(result.kernel)}<td class="{result.outcome}">{result.outcome}'
                   f"<td>{result.seconds:.2f}<td>{_escape(result.message)}</tr>")
    yield "</table></html>"


def _failure(result: Result) -> Iterator[str]:
    yield f"<h3>{_escape(result.test)}: {result.outcome}</h3><pre>{_escape(result.detail)}</pre>"
    for title, text in result.sections:
        opened = " open" if title == "Walks" else ""
        yield f"<details{opened}><summary>{_escape(title)}</summary><pre>{_escape(text)}</pre></details>"


def _escape(text: str) -> str:
    """Text for a page of HTML, in which most control characters may not stand."""
    return escaped(printable(text))
