"""``nfharness doctor``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from rich.markup import escape

from harness.cli.options import json_option, wide_console
from harness.errors import ExitCode
from harness.vm.examine import Finding, examine

__all__ = ("command",)

_MARKS = {"ok": "[green]ok[/]", "slow": "[yellow]slow[/]", "missing": "[red]missing[/]"}


@click.command("doctor")
@click.option("--kernel", "spec", type=click.Path(file_okay=False), metavar="DIRECTORY", help="A kernel of your own to look at.")
@json_option
def command(spec: str | None, as_json: bool) -> None:
    """Explain each requirement: what it is for, what was found, and the mend.

    Kernels of your own that have been used are looked at as well.

    Exit status: 0 if a guest can run here, 125 if something is missing.
    """
    findings = examine(spec)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    sys.exit(ExitCode.CANNOT if any(finding.state == "missing" for finding in findings) else ExitCode.CONFORMANT)


def _print(findings: list[Finding]) -> None:
    console = wide_console()
    for finding in findings:
        console.print(f"{_MARKS[finding.state]:<20} [bold]{escape(finding.name)}[/]: {escape(finding.found)}", highlight=False)
        console.print(f"         [dim]{escape(finding.why)}[/]", highlight=False)
        if finding.state != "ok" and finding.mend:
            console.print(f"         mend: {escape(finding.mend)}", highlight=False)
    missing = [finding for finding in findings if finding.state == "missing"]
    console.print(f"\n{len(missing)} of {len(findings)} missing" if missing else "\nA guest can run here.", highlight=False)
