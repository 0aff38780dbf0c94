"""``nfharness test``."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from harness.cli.options import complete_kernel
from harness.cli.signals import Interrupted
from harness.errors import ExitCode
from harness.vm.paths import source_dir
from harness.vm.tree import from_anywhere

__all__ = ("command", "exit_status", "run_pytest")

#: For pytest to end what it has begun; xdist gives its workers half of that.
_LAST_WORDS_S = 30.0

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
    sys.exit(run_pytest([*kernels, *arguments], cwd=_start(arguments)))


def run_pytest(arguments: Sequence[str], cwd: Path | None = None) -> int:
    """Run pytest to its end, also when we are interrupted: it says what has been tested until then.

    :return: our exit status for its own
    """
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=cwd) as pytest:
        try:
            status = pytest.wait()
        except Interrupted as interrupted:
            if interrupted.number != signal.SIGINT:  # which a terminal has sent to both
                pytest.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                pytest.wait(_LAST_WORDS_S)
            pytest.kill()
            raise
    return exit_status(status)


def exit_status(status: int) -> int:
    """Ours for pytest's."""
    return int(_STATUS.get(status, status)) if status >= 0 else 128 - status


def _start(arguments: tuple[str, ...]) -> Path:
    """Where pytest starts: here if something here is named, so that names complete; in the checkout otherwise, if this is one."""
    checkout = source_dir().parent
    named = any(Path(argument.partition("::")[0]).exists() for argument in arguments if not argument.startswith("-"))
    return Path.cwd() if named or not (checkout / "tests").is_dir() else checkout
