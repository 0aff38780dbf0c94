"""Machines that were there before the run, as guests of tests: what only a fresh guest can do is refused.

A guest of ours that a test has spoilt is thrown away. Of machines there are two sorts: those that are made fresh again (``vagrant``), and
those that are not (:class:`LastingMachine`): no test runs on one any more then.
"""

from __future__ import annotations

import asyncio
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness.backends.machine import is_emulated
from harness.backends.names import Reached, has_its_kernel, reached
from harness.backends.ssh import SshMachine
from harness.errors import HostError, NfharnessError
from harness.host.progress import Progress
from harness.pytest_plugin.host.gateway import Lost
from harness.pytest_plugin.selection import Isolation, backend_of, kernels, packages

__all__ = ("EMULATED", "GUEST", "LastingMachine", "Machines", "Refused", "check_options", "name_kernel", "tell_worker")

#: How much slower than with KVM an emulated machine is taken to be.
EMULATED = 8.0
#: What a test may lose.
GUEST = "the guest"
#: What a worker of xdist's is told.
_RELEASE = "nfharness_release"
_HINT = re.compile(r"^  hint: (.+)$", re.MULTILINE)


class Refused(HostError):
    """A test may not run on the machine. The session that may be open there is as it was."""


class Machines(ABC):
    """The machines that a run's tests use.

    :ivar what_is_lost: where a test takes its worker along: a machine of ours, or what we have on one that stays
    """

    what_is_lost = GUEST

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")

    @abstractmethod
    def found(self, kernel: str) -> float:
        """Look whether the machine of a kernel is there; how much slower than with KVM it is.

        :raises HostError: there is none that is up
        """

    @abstractmethod
    def admit(self, isolation: Isolation) -> None:
        """Look whether a test may run.

        :param isolation: that the test wants
        :raises Refused: the machine is not what it wants
        """

    @abstractmethod
    def fit(self, kernel: str, *, fresh: bool) -> AbstractContextManager[None]:
        """While a guest is started on a machine, which is made fresh before if a test spoilt it, or if *fresh* is asked for.

        :raises HostError: the machine does not come up again, or cannot be used
        """

    @abstractmethod
    def spoil(self, kernel: str, why: str) -> None:
        """The machine is not fit for another test.

        :param why: what happened, and in which test
        """


class LastingMachine(Machines):
    """The machine that this is, or that ssh reaches. Its kernel cannot be made anew: the run ends with it."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._there = reached(backend_of(config))
        self.what_is_lost = f"the session on {self._there.host if self._there else 'this machine'}"
        self._what = f"the kernel of {self._there.host}" if self._there else "this machine's kernel"
        self._spoilt = ""
        self._unfit: Refused | None = None

    def found(self, kernel: str) -> float:
        """How much slower than with KVM the machine is.

        :raises HostError: it does not answer, or has another kernel than at the beginning
        """
        there = self._there

        async def emulated(there: Reached) -> bool:
            machine = await SshMachine.at(there, Progress())
            if machine.kernel.release != kernel:
                raise HostError(f"{there.host} runs {machine.kernel.release} now, and ran {kernel}", hint="start the run again")
            return await machine.is_emulated()

        return EMULATED if (asyncio.run(emulated(there)) if there else is_emulated(Path("/proc/cpuinfo").read_text())) else 1.0

    def admit(self, isolation: Isolation) -> None:
        """No test on a kernel that is spoilt, nor one that wants a fresh one.

        :raises Refused: it may not run
        """
        if self._unfit:
            raise self._unfit
        if self._spoilt:
            raise Refused(f"{self._what} is spoilt: {self._spoilt}", hint="boot it anew, then run what is left: pytest --lf")
        if isolation != "worker":
            raise Refused(f"isolation({isolation!r}) wants a fresh kernel, and {self._what} cannot be made anew",
                          hint="leave such tests out: -m 'not isolation'")

    @contextmanager
    def fit(self, kernel: str, *, fresh: bool) -> Iterator[None]:  # noqa: ARG002 - admit() has refused what wants more
        """While a session is started; what the machine lacks is told before the first test, and the same again for each that follows.

        :raises Refused: the machine lacks something
        """
        place = self._there.host if self._there else "this machine"
        with self._capture.global_and_fixture_disabled(), Progress().step(f"preparing {place} for tests", expected_s=10):
            try:
                yield
            except Lost as lost:
                doctor = f"nfharness doctor --backend local{'' if not self._there else ', there,'} names all that is missing"
                self._unfit = Refused(lost.reason, hint="; ".join([*_HINT.findall(lost.said)[-1:], doctor]))
                raise self._unfit from None

    def spoil(self, kernel: str, why: str) -> None:  # noqa: ARG002 - there is just one
        """No other test runs."""
        self._spoilt = self._spoilt or why


def name_kernel(config: pytest.Config) -> None:
    """Name the kernel of a machine that has one: by its release.

    A worker of xdist's is told by the process that started it what ssh reaches. Ends pytest with 125 if the machine does not answer.
    """
    option, backend, told = config.option, backend_of(config), getattr(config, "workerinput", {})
    if not has_its_kernel(backend) or option.help or option.version:
        return
    there = reached(backend)
    try:
        release = told.get(_RELEASE) or asyncio.run(SshMachine.at(there, Progress())).kernel.release if there else os.uname().release
        option.kernels = [release]
    except NfharnessError as error:
        pytest.exit(f"{error.message}\n  hint: {error.hint}", returncode=int(error.exit_code))


def tell_worker(config: pytest.Config, workerinput: dict[str, object]) -> None:
    """Tell a worker of xdist's what :func:`name_kernel` has found out.

    :param workerinput: for it
    """
    if reached(backend_of(config)):
        workerinput[_RELEASE] = kernels(config)[0]


def check_options(config: pytest.Config) -> None:
    """Look whether what is asked for can be done on the machine that is asked for.

    :raises pytest.UsageError: only a fresh guest can do it
    """
    backend, option = backend_of(config), config.option
    if backend == "qemu":
        return
    only = f"and --backend {backend}: only a fresh guest"
    if option.bare:
        raise pytest.UsageError(f"--bare {only} has a kernel without nfharness\n  hint: leave one of them away")
    if packages(config):
        raise pytest.UsageError(f"the setting packages {only} gets packages\n"
                                f"  hint: apt-get install {' '.join(packages(config))} there, and give pytest -o packages=")
    if not has_its_kernel(backend):
        return
    if option.kernels:
        raise pytest.UsageError(f"--kernel chooses a kernel, and --backend {backend} is the one that runs there\n"
                                "  hint: leave one of them away")
    if option.isolation != "worker":
        raise pytest.UsageError(f"--isolation {option.isolation} {only} has a kernel that no other test has used\n  hint: leave it away")
    if option.flaky:
        raise pytest.UsageError(f"--flaky {only} shows whether a test passes in another kernel\n  hint: leave it away")
    if _shares(getattr(option, "tx", None) or ()):
        raise pytest.UsageError(f"--tx and --backend {backend}: one machine holds one worker\n  hint: leave --tx away")


def _shares(workers: Sequence[str]) -> bool:
    """Whether several of xdist's workers would be on one machine."""
    return len(set(workers)) < len(workers) or any(re.match(r"0*(?!1\*)[1-9]\d*\*", worker) for worker in workers)
