"""``nfharness test``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from harness.cli.options import complete_kernel
from harness.errors import UserError
from harness.vm.paths import source_dir
from harness.vm.tree import from_anywhere

__all__ = ("command",)


@click.command("test", context_settings={"ignore_unknown_options": True})
@click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel, help="Repeatable.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def command(specs: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Run the project's own tests with pytest; what follows is pytest's.

    Tests under tests/kernel run inside guests, once for each --kernel; all others run on this machine.
    """
    checkout = source_dir().parent
    if not (checkout / "tests").is_dir():
        raise UserError("there are no tests beside this installation", mend="run it in a checkout: python3 -m harness test")
    kernels = [part for spec in specs for part in ("--kernel", from_anywhere(spec))]
    pytest = [sys.executable, "-m", "pytest", *kernels, *arguments]
    sys.exit(subprocess.run(pytest, cwd=_start(checkout, arguments), check=False).returncode)


def _start(checkout: Path, arguments: tuple[str, ...]) -> Path:
    """Where pytest starts: here if something here is named, so that names complete; in the checkout otherwise."""
    named = any(Path(argument.partition("::")[0]).exists() for argument in arguments if not argument.startswith("-"))
    return Path.cwd() if named else checkout
