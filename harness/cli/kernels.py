"""``nfharness kernels``."""

from __future__ import annotations

import json

import click
from rich.table import Table

from harness.cli.options import json_option
from harness.cli.say import say
from harness.errors import HostError
from harness.host.progress import Progress
from harness.host.terminal import Terminal
from harness.images import archive, config
from harness.images.kernel_tree import is_current
from harness.images.kernels import Kernel, catalogue, catalogue_at_hand
from harness.images.layers import layer_path, trees_here
from harness.vm.template import template_path

__all__ = ("command",)


@click.command("kernels")
@click.option("--all", "everything", is_flag=True, help="Every build, not just the newest of each series.")
@click.option("--refresh", is_flag=True, help="Ask the archive now, however fresh the list at hand is.")
@click.option("--fragment", is_flag=True, help="Print what a kernel of your own must be configured with, for its merge_config.sh.")
@json_option
def command(everything: bool, refresh: bool, fragment: bool, as_json: bool) -> None:
    """List the kernels that Debian's suites offer, and what is already here.

    Kernels of your own, given as --kernel DIRECTORY, are listed once they have been used. The list is at most a day old; without a
    network the last one is shown. Of a build whose headers are unlisted, the image is in a suite and the rest, if it is still there, in
    the archive's pool, unsigned: --kernel fetches it over TLS and says so.
    """
    if fragment:
        say(*config.fragment())
        return
    progress = Progress()
    try:
        fresh = archive.is_fresh() and not refresh
        kernels = catalogue(refresh=not fresh, progress=progress)
    except HostError as error:
        kernels = catalogue_at_hand()
        if not kernels:
            raise
        progress.note(f"the archive does not answer ({error.message}); this is the last list")
    shown = [*(kernels if everything else _newest(kernels)), *trees_here()]
    if as_json:
        print(json.dumps([_facts(kernel) for kernel in shown], indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("series", "flavour", "version", "release", "here"):
        table.add_column(heading, no_wrap=True)
    for kernel in shown:
        table.add_row(kernel.series, kernel.flavour, kernel.version, kernel.release, _here(kernel))
    Terminal.wide(250).print(table)


def _newest(kernels: list[Kernel]) -> list[Kernel]:
    """The newest build of each series and flavour, and every other one that is here."""
    listed_last = sorted(kernels, key=lambda kernel: (not kernel.unlisted, kernel.sort_key))
    newest = {(kernel.series, kernel.flavour): kernel for kernel in listed_last}
    return [kernel for kernel in kernels if kernel in newest.values() or layer_path(kernel).is_dir()]


def _here(kernel: Kernel) -> str:
    if kernel.tree:
        return f"{_made(kernel) if is_current(kernel) else 'an older build'} of {kernel.tree}"
    return _made(kernel)


def _made(kernel: Kernel) -> str:
    templates = (template_path(kernel, kind) for kind in ("lean", "template"))
    if any(path and path.is_dir() for path in templates):
        return "template"
    if layer_path(kernel).is_dir():
        return "layer"
    return "headers unlisted: asked of the pool" if kernel.unlisted else ""


def _facts(kernel: Kernel) -> dict[str, str]:
    facts = {"series": kernel.series, "flavour": kernel.flavour, "version": kernel.version, "release": kernel.release}
    return facts | {"here": _here(kernel)} | ({"tree": kernel.tree} if kernel.tree else {})
