"""A page of HTML about a run: a table of tests and kernels, and of whatever is not as it should be all that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape

from harness.pytest_plugin.results import Result

__all__ = ("page",)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }
td.passed { color: #187a2f } td.skipped, td.xfailed { color: #777 }
td.failed, td.error, td.lost, td.xpassed { color: #b3131b; font-weight: 600 }
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
        yield f"<tr><td>{escape(kernel)}<td>{len(results)}<td>{shown}</tr>"
    yield "</table>"
    bad = [result for results in kernels.values() for result in results if not result.good]
    if bad:
        yield "<h2>Not as it should be</h2>"
    for result in bad:
        yield from _failure(result)
    yield "<h2>All tests</h2><table><tr><th>test<th>kernel<th>outcome<th>seconds<th></tr>"
    for results in kernels.values():
        for result in results:
            yield (f'<tr><td>{escape(result.test)}<td>{escape(result.kernel)}<td class="{result.outcome}">{result.outcome}'
                   f"<td>{result.seconds:.2f}<td>{escape(result.message)}</tr>")
    yield "</table></html>"


def _failure(result: Result) -> Iterator[str]:
    yield f"<h3>{escape(result.test)}: {result.outcome}</h3><pre>{escape(result.detail)}</pre>"
    for title, text in result.sections:
        opened = " open" if title in ("Walks", "Console") else ""
        yield f"<details{opened}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
