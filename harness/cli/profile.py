"""``nfharness profile``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import json_option, kernels_option, targets
from harness.cli.say import say
from harness.errors import UserError
from harness.host.terminal import Terminal
from harness.images.kernels import DEFAULT_FLAVOUR
from harness.netfilter import errno_name
from harness.outcome.profile import KernelProfile

if TYPE_CHECKING:
    from harness.conformance.matrix import Target

__all__ = ("FieldRow", "command", "in_words", "rows")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of the profile.

    :param values: in the order of the kernels
    """

    name: str
    means: str
    how: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)

    def cells(self) -> Iterator[str]:
        """The value of each kernel, as the table shows it."""
        for value in self.values:
            if isinstance(value, bool):
                yield "yes" if value else "no"
            elif isinstance(value, int) and self.name.endswith("errno"):
                yield errno_name(value)
            else:
                yield " ".join(map(str, value)) if isinstance(value, list) else str(value)


def rows(profiles: Sequence[KernelProfile]) -> list[FieldRow]:
    """Every field but the release, which is what tells kernels apart anyway."""
    documents = [profile.to_json() for profile in profiles]
    return [
        FieldRow(one.name, one.metadata["means"], one.metadata["how"], tuple(document[one.name] for document in documents))
        for one in fields(KernelProfile)
        if one.name != "release"
    ]


def in_words(name: str, values: tuple[Any, ...]) -> tuple[str, ...]:
    """Values of a field: ``no``, ``yes``, an errno's name."""
    return tuple(cell or "no" for cell in FieldRow(name, "", "", values).cells())


@click.command("profile")
@kernels_option("Kernel to look at")
@click.option("--record", type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="DIR",
              help="Write each profile to DIR, as a reference for 'check --like FILE'.")
@json_option
@click.option("--how", is_flag=True, help="Show also what the kernels warned of while they were probed.")
def command(specs: tuple[str, ...], record: Path | None, how: bool, as_json: bool) -> None:
    """Show what the hook cores of kernels were found to do where kernels legitimately differ.

    It is the model's parameter, probed on the running kernel and never told by its version number: stable branches backport. A field
    in which the kernels differ is marked. What the probing provokes stays with the guest that was probed: none of it is in another's log.

    The references that check compares with, harness/conformance/references, were written with --record, each under the name of its
    series; a series that is new has one as soon as it is recorded there. Record a series anew when Debian's kernel of it has gained
    something.
    """
    on = asyncio.run(targets(specs))
    found = rows([target.profile for target in on])
    if record:
        _record(record, on)
    if as_json:
        print(json.dumps({
            "kernels": [target.identity() for target in on],
            "fields": [{"field": row.name, "means": row.means, "how": row.how, "differs": row.differs,
                        "values": {target.kernel.label: value for target, value in zip(on, row.values, strict=True)}} for row in found],
            "provoked": {target.kernel.label: target.source.facts["provoked"] for target in on},
        }, indent=1))
        return
    _print(on, found)
    if how:
        _print_provoked(on)


def _record(directory: Path, on: Sequence[Target]) -> None:
    """Write each kernel's profile as a reference.

    :raises UserError: two of them would be one file, or one cannot be written
    """
    from harness.conformance import reference  # noqa: PLC0415

    named = {_reference_name(target): target for target in on}
    if len(named) < len(on):
        raise UserError(f"--record: {', '.join(target.name for target in on)} would be {' and '.join(f'{name}.json' for name in named)}",
                        hint="record kernels whose references have one name into separate directories, one after the other")
    for name, target in named.items():
        written = reference.record(directory, reference.Reference(name, target.kernel.release, target.kernel.version, target.profile))
        say(f"nfharness: {written}", *(f"nfharness: {written}: could not be probed: {one}" for one in target.profile.unprobed), error=True)


def _reference_name(target: Target) -> str:
    """The series, by which a kernel finds its reference; with the flavour if that is another one; of a tree the directory's name."""
    kernel = target.kernel
    if kernel.tree:
        return Path(kernel.tree).name
    return kernel.series if kernel.flavour == DEFAULT_FLAVOUR else f"{kernel.series}-{kernel.flavour}"


def _print(on: Sequence[Target], found: Sequence[FieldRow]) -> None:
    console = Terminal.wide(max(120, 36 + 18 * len(on)))
    table = Table("", "field", *(target.name for target in on), box=None, header_style="bold", pad_edge=False)
    for row in found:
        table.add_row("≠" if row.differs else "", row.name, *row.cells(), style="bold yellow" if row.differs else None)
    console.print(table)
    for row in found:
        console.print(f"\n[bold]{row.name}[/]: {escape(row.means)}", highlight=False)
        console.print(f"  [dim]probed: {escape(row.how)}[/]", highlight=False)


def _print_provoked(on: Sequence[Target]) -> None:
    console = Terminal.wide(250)
    for target in on:
        lines = target.source.facts["provoked"]
        console.print(f"\n[bold]{escape(target.name)}[/] warned while it was probed{':' if lines else ' of nothing'}", highlight=False)
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
