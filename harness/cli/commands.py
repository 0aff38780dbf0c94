"""The command tree. Each command imports what it needs when it runs: ``--help`` and completion stay quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

import harness
from harness.cli.say import say

__all__ = ("nfharness",)

#: Command → module of :mod:`harness.cli` that defines it, and its line in ``--help``.
_COMMANDS = {
    "run": "Run a scenario on a real kernel and on the model, and compare.",
    "check": "Check rule by rule whether kernels keep what core.c promises.",
    "coverage": "Report which lines and branches of core.c each rule reaches.",
    "diff": "Show what two kernels do differently, and what explains it.",
    "mutate": "Look whether the rules catch what is wrong: mutants of core.c.",
    "stress": "Let hooks come and go under traffic, and look for splats, losses, leaks.",
    "explore": "Look for scenarios on which a kernel and the model differ.",
    "replay": "Run a difference that was found again.",
    "minimise": "Shrink a difference that was found to the shortest scenario.",
    "profile": "Show where kernels differ, side by side, and how that was found out.",
    "trace": "Run a command in a guest and show its packets' walks through the hooks.",
    "exec": "Run a command in a fresh guest.",
    "shell": "Open an interactive terminal in a fresh guest.",
    "test": "Run tests with pytest, those for a kernel inside guests.",
    "kselftest": "Run a kernel's own selftests in guests.",
    "suite": "Run the programs of a directory as tests in guests.",
    "module": "Build a module that you write for a kernel.",
    "results": "Compare runs of tests; tests by runs as a page.",
    "bench": "Measure what this machine can do, side by side in one run.",
    "cost": "Count the instructions of a hook's call and of a registration.",
    "kernel": "Build a kernel from Debian's sources.",
    "kernels": "List the kernels that can be had and those that are here.",
    "image": "List, build, export, import and prune images and templates.",
    "vagrant": "Build a Vagrant box from the same images.",
    "doctor": "Explain each requirement, what was found, and the hint.",
    "help": "Print a page about a topic: scenarios, checking, tests, architecture …",
}


class _Lazy(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"harness.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            close = importlib.import_module("difflib").get_close_matches(args[0], _COMMANDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"{error.message}{hint}", context) from None


def _completion(context: click.Context, _parameter: click.Parameter, shell: Any) -> None:
    if not shell:
        return
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101
    say(*found(nfharness, {}, "nfharness", "_NFHARNESS_COMPLETE").source().split("\n"))
    context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(harness.__version__, prog_name="nfharness")
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    expose_value=False,
    is_eager=True,
    callback=_completion,
    help="Print the shell's completion script: source it.",
)
def nfharness() -> None:
    """A real-kernel integration harness for netfilter hooks.

    Exit status: 0 conformant, 1 different, 2 the user's mistake, 125 this host or guest cannot do it.
    """
