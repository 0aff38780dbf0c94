"""``nfharness test``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from harness.cli import GONE
from harness.cli.options import complete_kernel
from harness.cli.signals import Interrupted
from harness.errors import ExitCode
from harness.host.paths import source_dir
from harness.host.terminal import reader_has_gone
from harness.images.kernel_tree import from_anywhere

__all__ = ("command", "exit_status", "run_pytest")

#: For pytest to end what it has begun; xdist gives its workers half of that.
_LAST_WORDS_S = 30.0

#: Lets pytest heed what we send it, and take it and what others send at once for one.
_ONCE = "harness.pytest_plugin.once"
#: pytest's exit status → ours, where they differ: interrupted, pytest broke, wrong usage, no tests.
_STATUS = {2: 130, 3: ExitCode.CANNOT, 4: ExitCode.USER_ERROR, 5: ExitCode.USER_ERROR}
#: pytest's short options that take the next word.
_WITH_VALUE = ("-k", "-m", "-n", "-p", "-o", "-c", "-W")
#: How those of pytest's options begin that choose workers, or want one process.
_ALONE = ("-n", "--numprocesses", "--dist", "--tx", "--pdb", "--trace", "-s", "--capture", "--collect-only", "--shell-on-failure")
_MOST_WORKERS = 8
#: What a newcomer waits for: the others take as long again, and CI runs those.
_QUICK = "not slow and not long"
#: The project's own tests that start no guest.
_ON_HOST = ("tests/unit", "tests/model")


@click.command("test", context_settings={"ignore_unknown_options": True})
@click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel, help="Repeatable.")
@click.option("--host", is_flag=True, help="In a checkout: only the tests that need no guest (tests/unit, tests/model).")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def command(specs: tuple[str, ...], host: bool, arguments: tuple[str, ...]) -> None:
    """Run tests with pytest, those for a kernel inside guests, once for each --kernel; what follows is pytest's.

    In a checkout these are the project's own tests, less those that are slow (-m slow: those, which CI runs; -m '': all), with three
    workers for two processors (-n 0: none), unless a file or directory is named; elsewhere those of the current directory.
    Exit status: 0 all passed, 1 a test failed, 2 no tests or wrong usage, 125 this host cannot run them.
    """
    kernels = [part for spec in specs for part in ("--kernel", from_anywhere(spec))]
    checkout = _checkout(arguments)
    if host and kernels:
        raise click.UsageError("--host runs no test for a kernel: leave out --host or --kernel.")
    if host and checkout is None:
        raise click.UsageError("--host runs the tests of a checkout of nfharness: name no file, and start it from a checkout.")
    sys.exit(run_pytest([*kernels, *_defaults(checkout, arguments), *arguments, *(_ON_HOST if host else ())], cwd=checkout))


def run_pytest(arguments: Sequence[str], cwd: Path | None = None) -> int:
    """Run pytest to its end, also when we are interrupted: it says what has been tested until then.

    :returns: our exit status for its own
    """
    with subprocess.Popen([sys.executable, "-m", "pytest", "-p", _ONCE, *arguments], cwd=cwd) as pytest:
        try:
            status = pytest.wait()
        except Interrupted:
            pytest.send_signal(signal.SIGINT)  # a terminal, or timeout, may have sent one to both
            with suppress(subprocess.TimeoutExpired):
                pytest.wait(_LAST_WORDS_S)
            pytest.kill()
            raise
    # pytest ends with 1 for a pipe that nothing reads any more, which to us means that a test failed.
    return GONE if status and reader_has_gone(1) else exit_status(status)


def exit_status(status: int) -> int:
    """Ours for pytest's."""
    return int(_STATUS.get(status, status)) if status >= 0 else 128 - status


def _checkout(arguments: Sequence[str]) -> Path | None:
    """The checkout that this directory is in, where pytest starts then; ``None`` if it is in none, or something here is named.

    So names complete, and a project of another's has its own tests run by a checkout's command line, too.
    """
    checkout = source_dir().parent
    inside = Path.cwd().is_relative_to(checkout) and (checkout / "tests").is_dir()
    return checkout if inside and not any(map(_is_here, _words(arguments))) else None


def _words(arguments: Sequence[str]) -> list[str]:
    """The arguments of pytest's that are neither options nor values of options."""
    before = ("", *arguments)
    return [word for option, word in zip(before, arguments, strict=False) if not word.startswith("-") and option not in _WITH_VALUE]


def _is_here(word: str) -> bool:
    return word != "" and Path(word.partition("::")[0]).exists()


def _defaults(checkout: Path | None, arguments: Sequence[str]) -> list[str]:
    """pytest's arguments for a run of the project's own tests, unless *arguments* say otherwise.

    What is slow is left out, and there are half as many workers again as processors, each file's tests with one of them: an emulated
    guest keeps one processor busy, and a fifth of a worker's time is waiting. Files come in the order of their directories, tests/e2e
    first: those of a few long tests at the end would leave all workers but one without work.
    """
    if checkout is None:
        return []
    chosen = any(argument.startswith("-m") for argument in arguments)
    workers = min((os.cpu_count() or 1) * 3 // 2, _MOST_WORKERS)
    alone = workers == 1 or any(argument.startswith(_ALONE) for argument in arguments)
    return [*([] if chosen else ["-m", _QUICK]), *([] if alone else [f"-n{workers}", "--dist=loadfile", "--no-loadscope-reorder"])]
