"""``nfharness image``: what lies in the cache."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from harness.backends.sources import made_ready
from harness.cli.options import json_option, kernel_option, kernels_option
from harness.cli.say import say
from harness.doctor import inventory
from harness.host.progress import Progress
from harness.host.store import discard
from harness.host.terminal import Terminal
from harness.images.kernels import DEFAULT, Kernel
from harness.vm import shipping
from harness.vm.preparation import Saved
from harness.vm.template import Template

__all__ = ("command",)


@click.group("image")
def command() -> None:
    """List, build, export, import and prune images and templates."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List userlands, kernel layers, modules, templates and packages, with the room they take on disk."""
    items = inventory.items()
    if as_json:
        print(json.dumps([asdict(item) | {"path": str(item.path)} for item in items], indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "MiB", ""):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "MiB" else "left")
    for item in items:
        table.add_row(item.kind, item.name, f"{item.size / 2**20:.1f}", _state(item))
    table.add_row("", "total", f"{sum(item.size for item in items) / 2**20:.1f}", "")
    Terminal.wide(250).print(table)


def _state(item: inventory.Item) -> str:
    return "being built" if item.building else "" if item.current else "stale"


@command.command("build")
@kernel_option
def build(spec: str) -> None:
    """Fetch and build everything that a guest of a kernel needs, template included."""
    kernel, template = asyncio.run(made_ready(spec, Progress()))
    say(f"{kernel.label}: ready ({template.state.parent})")


@command.command("export")
@kernels_option("Kernel whose guests are exported")
@click.option("--bare", is_flag=True, help="Also what 'exec --bare', 'kselftest' and 'suite' use.")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def export(specs: tuple[str, ...], bare: bool, directory: Path) -> None:
    """Write all that guests of kernels need to one file in DIRECTORY, for machines with the same QEMU.

    The file's name ends in the digest of its content. 'nfharness image import FILE' reads it.
    """
    async def ready(progress: Progress) -> list[tuple[Kernel, Template]]:
        kinds: tuple[Saved, ...] = ("template", "bare") if bare else ("template",)
        return [await made_ready(spec, progress, kind) for spec in specs or (DEFAULT,) for kind in kinds]

    progress = Progress()
    file = shipping.exported(asyncio.run(ready(progress)), directory, progress)
    say(f"{file} ({file.stat().st_size / 2**20:.0f} MiB)")


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(file: Path) -> None:
    """Put what FILE of 'nfharness image export' holds into the cache: its kernels' guests start at once, without a network."""
    manifest, came = shipping.imported(file, Progress())
    for label in manifest.labels:
        say(f"{label}: ready")
    say(*(f"  {entry}" for entry in came) if came else ("all of it was here already",))


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
        unwanted = unwanted and not item.building
        if unwanted and (dry_run or discard(item.path)):
            say(f"{'would delete' if dry_run else 'deleted'} {item.kind} {item.name}")
            freed += item.size
    say(f"{freed / 2**20:.1f} MiB {'would be ' if dry_run else ''}freed")
