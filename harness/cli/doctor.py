"""``nfharness doctor``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from harness.backends.names import Backend, has_its_kernel
from harness.cli.options import backend_option, json_option
from harness.doctor.examine import Finding, examine
from harness.errors import ExitCode
from harness.host.terminal import Terminal

__all__ = ("command",)

#: Lines that a terminal wraps and a file keeps whole, so that a hint can be copied.
_AS_IT_IS: dict[str, Any] = {"highlight": False, "soft_wrap": True}
_COLOURS = {"ok": "green", "slow": "yellow", "missing": "red"}
#: Columns that the state takes, the gap after it included.
_STATE = 9


@click.command("doctor")
@click.option("--kernel", "spec", type=click.Path(file_okay=False), metavar="DIRECTORY", help="A kernel of your own to look at.")
@click.option("--deep", is_flag=True, help="Read all of the cache as well: whether it is still what was written.")
@backend_option
@json_option
def command(spec: str | None, deep: bool, backend: Backend, as_json: bool) -> None:
    """Explain each requirement: what it is for, what was found, and the hint.

    Kernels of your own that have been used are looked at as well.

    Exit status: 0 if that backend works here, 125 if something is missing.
    """
    findings = _examined(spec, backend, deep)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    sys.exit(ExitCode.CANNOT if any(finding.state == "missing" for finding in findings) else ExitCode.CONFORMANT)


def _examined(spec: str | None, backend: Backend, deep: bool) -> list[Finding]:
    if backend == "local":
        from harness.doctor.local import examine_local  # noqa: PLC0415

        return examine_local()
    if has_its_kernel(backend):
        raise click.UsageError(f"doctor looks at the machine that it runs on, and --backend {backend} is another: start it there, with "
                               "--backend local.")
    if backend == "vagrant":
        from harness.doctor.vagrant import examine_vagrant  # noqa: PLC0415

        return [*examine(spec, deep=deep), *examine_vagrant()]
    return examine(spec, deep=deep)


def _print(findings: list[Finding]) -> None:
    console = Terminal.wide(250)
    for finding in findings:
        # Padded before it is coloured: markup takes no column.
        state = f"[{_COLOURS[finding.state]}]{finding.state:<{_STATE}}[/]"
        console.print(f"{state}[bold]{escape(finding.name)}[/]: {escape(finding.found)}", **_AS_IT_IS)
        console.print(f"{'':{_STATE}}[dim]{escape(finding.why)}[/]", **_AS_IT_IS)
        if finding.state != "ok" and finding.hint:
            console.print(f"{'':{_STATE}}hint: {escape(finding.hint)}", **_AS_IT_IS)
    missing = [finding for finding in findings if finding.state == "missing"]
    console.print(f"\n{len(missing)} of {len(findings)} missing" if missing else "\nIt can run here.", **_AS_IT_IS)
