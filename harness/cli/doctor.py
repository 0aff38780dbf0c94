"""``nfharness doctor``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from harness.cli.options import backend_option, json_option, wide_console
from harness.errors import ExitCode
from harness.vm.examine import Finding, examine
from harness.vm.session import Backend

__all__ = ("command",)

#: Lines that a terminal wraps and a file keeps whole, so that a mend can be copied.
_AS_IT_IS: dict[str, Any] = {"highlight": False, "soft_wrap": True}
_MARKS = {"ok": "[green]ok[/]", "slow": "[yellow]slow[/]", "missing": "[red]missing[/]"}


@click.command("doctor")
@click.option("--kernel", "spec", type=click.Path(file_okay=False), metavar="DIRECTORY", help="A kernel of your own to look at.")
@backend_option
@json_option
def command(spec: str | None, backend: Backend, as_json: bool) -> None:
    """Explain each requirement: what it is for, what was found, and the mend.

    Kernels of your own that have been used are looked at as well.

    Exit status: 0 if that backend works here, 125 if something is missing.
    """
    findings = _examined(spec, backend)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    sys.exit(ExitCode.CANNOT if any(finding.state == "missing" for finding in findings) else ExitCode.CONFORMANT)


def _examined(spec: str | None, backend: Backend) -> list[Finding]:
    if backend == "local":
        from harness.vm.examine_local import examine_local  # noqa: PLC0415

        return examine_local()
    if backend == "vagrant":
        from harness.vm.examine_vagrant import examine_vagrant  # noqa: PLC0415

        return [*examine(spec), *examine_vagrant()]
    return examine(spec)


def _print(findings: list[Finding]) -> None:
    console = wide_console()
    for finding in findings:
        console.print(f"{_MARKS[finding.state]:<20} [bold]{escape(finding.name)}[/]: {escape(finding.found)}", **_AS_IT_IS)
        console.print(f"         [dim]{escape(finding.why)}[/]", **_AS_IT_IS)
        if finding.state != "ok" and finding.mend:
            console.print(f"         mend: {escape(finding.mend)}", **_AS_IT_IS)
    missing = [finding for finding in findings if finding.state == "missing"]
    console.print(f"\n{len(missing)} of {len(findings)} missing" if missing else "\nIt can run here.", **_AS_IT_IS)
