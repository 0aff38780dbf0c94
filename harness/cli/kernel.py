"""``nfharness kernel``: kernels built from Debian's sources."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click
from click.core import ParameterSource

from harness.cli.say import say
from harness.host.progress import Progress
from harness.images import flavours, patches
from harness.images.kernel_build import PROFILED, BuildOrder, build
from harness.images.kernels import DEFAULT

__all__ = ("command",)

_FILES = click.Path(dir_okay=False, path_type=Path)


@click.group("kernel")
def command() -> None:
    """Build kernels from Debian's sources."""


@command.command("build")
@click.option("--source", metavar="SERIES", help=f"Series (its newest sources), or Debian version of sources.  [default: {DEFAULT}]")
@click.option("--flavour", type=click.Choice(flavours.names()), help="What it is to tell beside what every kernel does.  [default: plain]")
@click.option("--patch", "patch_files", type=_FILES, multiple=True, metavar="FILE",
              help="Apply a patch, as git diff writes it. Repeatable.")
@click.option("--fragment", "fragment_files", type=_FILES, multiple=True, metavar="FILE",
              help="Merge options into its configuration, the last ones count. Repeatable.")
@click.option("--profile", "profiled", multiple=True, metavar="FILE", default=(PROFILED,), show_default=True,
              help="What gcov counts, of the flavour gcov. Repeatable.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Compilers side by side.  [default: as many as processors]")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
def build_(  # noqa: PLR0917 - click passes them by name
    source: str | None, flavour: str | None, patch_files: tuple[Path, ...], fragment_files: tuple[Path, ...], profiled: tuple[str, ...],
    jobs: int | None, directory: Path | None,
) -> None:
    """Build a kernel that has all that guests and rules need, from Debian's linux-source package.

    Without DIRECTORY it is built in the cache, and --kernel SERIES+FLAVOUR names it: 6.12+gcov. With DIRECTORY, --kernel DIRECTORY does.

    Either is a tree to edit: the same command again compiles what has changed. Patches that are not named again are taken back. A build
    that was cut off goes on where it was, and no command takes it for whole. ccache is used where it is installed.
    """
    order = BuildOrder(source, flavour, patches.read(patch_files), tuple(map(flavours.read_fragment, fragment_files)), profiled)
    start = time.monotonic()
    tree = build(order, directory, Progress(), jobs=jobs, again=_again(click.get_current_context()))
    spec = shlex.quote(str(tree.build if directory else tree.build.name))
    say(f"{tree.release}, boots {tree.image.name}, built in {time.monotonic() - start:.0f} s: nfharness check --kernel {spec}")


def _again(context: click.Context) -> str:
    """The command as it was given, with paths that lead there from anywhere."""
    words = ["nfharness", "kernel", "build"]
    for parameter in context.command.params:
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name or ""]
        for one in value if isinstance(value, tuple) else (value,):
            word = str(one.absolute() if isinstance(one, Path) else one)
            words += [word] if isinstance(parameter, click.Argument) else [parameter.opts[0], word]
    return shlex.join(words)
