"""Vagrant machines as guests of tests: each is one kernel for all of them.

Where a guest of ours would be replaced, a machine is put back to its snapshot ``nfharness``, or boots anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.backends.vagrant import VagrantMachine
from harness.host.progress import Progress
from harness.pytest_plugin.host.machines import EMULATED, Machines
from harness.pytest_plugin.selection import Isolation
from harness.vm import acceleration

__all__ = ("VagrantMachines",)


class VagrantMachines(Machines):
    """The machines that a run's tests use."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._spoilt: set[str] = set()
        self._boots: dict[str, str] = {}

    def found(self, kernel: str) -> float:
        """Look whether a machine is there; how much slower than with KVM it is.

        :raises HostError: there is none that is up
        """
        async def boot() -> str:
            return await (await VagrantMachine.found(kernel, Progress())).boot()

        self._boots[kernel] = asyncio.run(boot())
        proof = acceleration.remembered()
        return 1.0 if proof and proof["accelerator"] == "kvm" else EMULATED

    def admit(self, isolation: Isolation) -> None:
        """Refuse none: a machine is made fresh for it."""

    @contextmanager
    def fit(self, kernel: str, *, fresh: bool) -> Iterator[None]:
        """While a guest is started on a machine, which is made fresh before if a test spoilt it, or if *fresh* is asked for.

        :raises HostError: it does not come up again
        """
        with self._capture.global_and_fixture_disabled():
            if fresh or kernel in self._spoilt:
                self._boots[kernel] = asyncio.run(VagrantMachine.refreshed(kernel, self._boots[kernel], Progress()))
                self._spoilt.discard(kernel)
            with Progress().step("vagrant: preparing for tests", expected_s=30):
                yield

    def spoil(self, kernel: str, why: str) -> None:  # noqa: ARG002 - it is made fresh, whatever it was
        """The next test gets the machine fresh."""
        self._spoilt.add(kernel)
