"""``nfharness test``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from harness.cli.options import complete_kernel
from harness.errors import ExitCode
from harness.vm.paths import source_dir
from harness.vm.tree import from_anywhere

__all__ = ("command", "exit_status")

#: pytest's exit status → ours, where they differ: interrupted, pytest broke, wrong usage, no tests.
_STATUS = {2: 130, 3: ExitCode.CANNOT, 4: ExitCode.USER_ERROR, 5: ExitCode.USER_ERROR}

@click.command("test", context_settings={"ignore_unknown_options": True})
@click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel, help="Repeatable.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def command(specs: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Run tests with pytest, those for a kernel inside guests, once for each --kernel; what follows is pytest's.

    In a checkout these are the project's own tests, unless a file or directory is named; elsewhere those of the current directory.
    Exit status: 0 all passed, 1 a test failed, 2 no tests or wrong usage, 125 this host cannot run them.
    """
    kernels = [part for spec in specs for part in ("--kernel", from_anywhere(spec))]
    pytest = [sys.executable, "-m", "pytest", *kernels, *arguments]
    sys.exit(exit_status(subprocess.run(pytest, cwd=_start(arguments), check=False).returncode))


def exit_status(status: int) -> int:
    """Ours for pytest's."""
    return int(_STATUS.get(status, status)) if status >= 0 else 128 - status


def _start(arguments: tuple[str, ...]) -> Path:
    """Where pytest starts: here if something here is named, so that names complete; in the checkout otherwise, if this is one."""
    checkout = source_dir().parent
    named = any(Path(argument.partition("::")[0]).exists() for argument in arguments if not argument.startswith("-"))
    return Path.cwd() if named or not (checkout / "tests").is_dir() else checkout
