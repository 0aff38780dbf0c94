"""``nfharness profile``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import json_option, kernels_option, targets, wide_console
from harness.netfilter import errno_name
from harness.outcome.profile import KernelProfile

if TYPE_CHECKING:
    from harness.conformance.matrix import Target

__all__ = ("Row", "command", "rows")


@dataclass(frozen=True, slots=True)
class Row:
    """One field of the profile. :param values: in the order of the kernels"""

    name: str
    means: str
    how: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)

    def cells(self) -> Iterator[str]:
        for value in self.values:
            if isinstance(value, bool):
                yield "yes" if value else "no"
            elif isinstance(value, int) and self.name.endswith("errno"):
                yield errno_name(value)
            else:
                yield " ".join(map(str, value)) if isinstance(value, list) else str(value)


def rows(profiles: Sequence[KernelProfile]) -> list[Row]:
    """Every field but the release, which is what tells kernels apart anyway."""
    documents = [profile.to_json() for profile in profiles]
    return [
        Row(one.name, one.metadata["means"], one.metadata["how"], tuple(document[one.name] for document in documents))
        for one in fields(KernelProfile)
        if one.name != "release"
    ]


@click.command("profile")
@kernels_option("Kernel to look at")
@json_option
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Show what the hook cores of kernels were found to do where kernels legitimately differ.

    It is the model's parameter, probed on the running kernel and never told by its version number: stable branches backport. A field
    in which the kernels differ is marked.
    """
    on = asyncio.run(targets(specs))
    found = rows([target.profile for target in on])
    if as_json:
        click.echo(json.dumps({
            "kernels": [target.identity() for target in on],
            "fields": [{"field": row.name, "means": row.means, "how": row.how, "differs": row.differs,
                        "values": {target.kernel.label: value for target, value in zip(on, row.values, strict=True)}} for row in found],
        }, indent=1))
        return
    _print(on, found)


def _print(on: Sequence[Target], found: Sequence[Row]) -> None:
    console = wide_console(max(120, 36 + 18 * len(on)))
    table = Table("", "field", *(target.name for target in on), box=None, header_style="bold", pad_edge=False)
    for row in found:
        table.add_row("≠" if row.differs else "", row.name, *row.cells(), style="bold yellow" if row.differs else None)
    console.print(table)
    for row in found:
        console.print(f"\n[bold]{row.name}[/]: {escape(row.means)}", highlight=False)
        console.print(f"  [dim]probed: {escape(row.how)}[/]", highlight=False)
