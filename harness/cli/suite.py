"""``nfharness suite``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from harness.backends.sources import made_ready
from harness.cli import suites
from harness.cli.options import Seconds, kernel_option, with_option
from harness.cli.say import say
from harness.errors import UserError
from harness.host.progress import Progress
from harness.images.suites import KNOWN, Suite, copied, found
from harness.images.upstream import sources
from harness.images.userland import userland

__all__ = ("command",)

_PLACE, _LIMIT_S = "suite", 120.0


@click.command("suite", context_settings={"ignore_unknown_options": True})
@kernel_option
@with_option
@click.option("--list", "listing", is_flag=True, help="Name the suite's tests and run none.")
@click.option("--source", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIRECTORY",
              help=f"The sources that hold {' or '.join(KNOWN)}.  [default: Debian's, of the version in the guests]")
@click.option("--tests", "globs", multiple=True, metavar="GLOB", help="Which of DIRECTORY's executable files are tests. Repeatable.")
@click.option("--runner", metavar="PROGRAM", help="The program in DIRECTORY that runs a test, which is its last argument.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="An environment variable for the tests. Repeatable.")
@click.option("--deadline", type=Seconds(), default=_LIMIT_S, show_default=True, metavar="SECONDS",
              help="When a test has failed if it has not ended, on a host with KVM; more where guests are slower.")
@click.argument("name", metavar=f"DIRECTORY|{'|'.join(KNOWN)}")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TEST]... [PYTEST ARGUMENT]...")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, with_packages: tuple[str, ...], listing: bool, source: Path | None, globs: tuple[str, ...], runner: str | None,
    variables: tuple[str, ...], deadline: float, name: str, arguments: tuple[str, ...],
) -> None:
    """Run the programs of a directory as tests in guests: nfharness suite ~/nftables/tests -n 2.

    Exit status 0 is a pass, 4 and 77 are skips. If a program prints TAP or KTAP, each of its points has a result. nftables and iptables
    are the projects' own shell tests. A TEST is a path below DIRECTORY, or a directory of tests. Results, reports and checks of the
    kernel's health are those of 'nfharness test': --ktap, --junitxml, --waivers …
    """
    progress = Progress()
    suite = KNOWN.get(name, Suite())
    suite = replace(suite, tests=globs or suite.tests, runner=runner.split() if runner else suite.runner)
    directory = _directory(name, suite, source, progress)
    known = found(directory, suite)
    if suite.runner and not (directory / suite.runner[0]).is_file():
        raise UserError(f"{directory} has no file {suite.runner[0]}", hint="--runner names a program by its path below DIRECTORY")
    if listing:
        say(*known)
        return
    environment = {**suite.environment, **dict(map(_variable, variables))}
    named = [one for word in arguments for one in _below(word, known) or [word]]
    wanted, rest = suites.chosen(named, known, directory, name, f"nfharness suite {name} --list")
    packages = sorted({*suite.with_packages, *with_packages})
    _, template = asyncio.run(made_ready(spec, progress, "bare", with_packages=packages))
    text = suites.tests_file("suite", "harness.pytest_plugin.guest.suites", _PLACE, wanted or known, runner=list(suite.runner),
                             environment=environment, remembered=suite.remembered, limit_s=deadline * template.slowness)
    sys.exit(suites.run("suite", spec, _PLACE, partial(copied, directory), text, deadline=deadline, with_packages=packages,
                        arguments=[f"--isolation={suite.isolation}", *rest]))


def _directory(name: str, suite: Suite, source: Path | None, progress: Progress) -> Path:
    """Where the tests are.

    :raises UserError: there is no such directory
    :raises HostError: the sources cannot be fetched
    """
    if source and not suite.package:
        raise click.UsageError(f"--source is for {' and '.join(KNOWN)}: name the directory of tests itself.")
    root = source or (sources(suite.package, userland(progress), progress) if suite.package else Path(name))
    directory = root / suite.place
    if not directory.is_dir():
        hint = f"name a directory, or one of {', '.join(KNOWN)}" if not suite.package else f"--source is the directory above {suite.place}"
        raise UserError(f"there is no directory {directory}", hint=hint)
    return directory.resolve()


def _below(word: str, known: list[str]) -> list[str]:
    """The tests of a directory."""
    return [name for name in known if name.startswith(word.rstrip("/") + "/")]


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--env takes NAME=VALUE, and {text!r} is not that.")
    return name, value
