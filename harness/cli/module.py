"""``nfharness module``: modules that you write."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import kernels_option
from harness.cli.say import say
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.images.kmodule import own_modules
from harness.images.specs import made_layer
from harness.images.userland import userland

__all__ = ("command",)


@click.group("module")
def command() -> None:
    """Build a module from its sources."""


@command.command("build")
@kernels_option("Kernel to build for")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def build(specs: tuple[str, ...], directory: Path) -> None:
    """Build the modules of DIRECTORY, which has a Kbuild or a Makefile with obj-m, for each kernel; print where they are.

    Nothing is written to DIRECTORY. In a guest exec and trace have a module with --file; tests have the setting kernel_modules.

    \b
    nfharness module build ~/mine --kernel 6.1 --kernel 6.12
    nfharness exec --kernel 6.12 --file "$(nfharness module build ~/mine --kernel 6.12)" -- insmod mine.ko
    """
    progress = Progress()
    for spec in specs or (DEFAULT,):
        layer = made_layer(spec, progress)
        say(*map(str, own_modules(directory, layer, userland(progress), progress)))
