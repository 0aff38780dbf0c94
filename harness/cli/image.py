"""``nfharness image``: what lies in the cache."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click
from rich.table import Table

from harness.cli.options import json_option, kernel_option, wide_console
from harness.vm import inventory
from harness.vm.progress import Progress
from harness.vm.session import made_ready

__all__ = ("command",)


@click.group("image")
def command() -> None:
    """List, build and prune images and templates."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List userlands, kernel layers, modules and templates, with the room they take on disk."""
    items = inventory.items()
    if as_json:
        click.echo(json.dumps([asdict(item) | {"path": str(item.path)} for item in items], indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "MiB", ""):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "MiB" else "left")
    for item in items:
        table.add_row(item.kind, item.name, f"{item.size / 2**20:.1f}", "" if item.current else "stale")
    table.add_row("", "total", f"{sum(item.size for item in items) / 2**20:.1f}", "")
    wide_console().print(table)


@command.command("build")
@kernel_option
def build(spec: str) -> None:
    """Fetch and build everything that a guest of a kernel needs, template included."""
    kernel, template = asyncio.run(made_ready(spec, Progress()))
    click.echo(f"{kernel.label}: ready ({template.state.parent})")


@command.command("prune")
@click.option("--templates", "only_templates", is_flag=True, help="All templates, nothing else.")
@click.option("--all", "everything", is_flag=True, help="Everything, current or not.")
@click.option("--dry-run", is_flag=True, help="Say what would go.")
def prune(only_templates: bool, everything: bool, dry_run: bool) -> None:
    """Delete what no command would use any more, and what killed builds left.

    What another process uses or builds at the moment stays.
    """
    freed = 0
    for item in inventory.items():
        unwanted = item.kind == "template" if only_templates else everything or not item.current
        if unwanted and (dry_run or inventory.delete(item)):
            click.echo(f"{'would delete' if dry_run else 'deleted'} {item.kind} {item.name}")
            freed += item.size
    click.echo(f"{freed / 2**20:.1f} MiB {'would be ' if dry_run else ''}freed")
