"""The fixture ``vm``: guests for tests of the host."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType

import pytest

from harness.backends.sources import open_guest
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.pytest_plugin.mistakes import check_command
from harness.pytest_plugin.selection import kernels, packages
from harness.vm.channel import Request
from harness.vm.guest import Guest

__all__ = ("CommandResult", "VirtualMachine", "VirtualMachines")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command.

    :param status: minus the signal's number if one ended it
    """

    status: int
    stdout: str
    stderr: str


class VirtualMachine:
    """A running guest.

    :ivar release: of its kernel
    """

    def __init__(self, runner: asyncio.Runner, guest: Guest, release: str) -> None:
        self._runner, self._guest, self.release = runner, guest, release

    def run(self, *command: str, stdin: str = "") -> CommandResult:
        """Run a command to its end.

        :raises Mistake: no kernel runs it
        :raises OSError: it cannot be run
        :raises KernelDied: the guest died of it
        """
        check_command(command)
        status, out, err = self._runner.run(self._guest.output(Request(argv=command), stdin.encode()))
        return CommandResult(status, out.decode(errors="replace"), err.decode(errors="replace"))


class VirtualMachines:
    """Starts guests, which are gone when the test is over."""

    def __init__(self, config: pytest.Config) -> None:
        self._packages = packages(config)
        self._default = (kernels(config) or [DEFAULT])[0]
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def __enter__(self) -> VirtualMachines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def start(self, kernel: str | None = None) -> VirtualMachine:
        """A fresh guest.

        :param kernel: as ``--kernel`` names it; by default the first of those
        :raises NfharnessError: it does not start
        """
        opening = open_guest(kernel or self._default, Progress(quiet=True), with_packages=self._packages)
        opened = self._runner.run(self._stack.enter_async_context(opening))
        return VirtualMachine(self._runner, opened.guest, opened.kernel.release)
