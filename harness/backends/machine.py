"""A kernel that ran before we came, as a source of guests: each is a session, with its own agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from harness.backends.attached import AttachedGuest
from harness.backends.programs import programs
from harness.host.progress import Progress
from harness.images import kernels
from harness.images.kernels import Kernel
from harness.vm.preparation import PREPARATIONS

__all__ = ("BOX_MODULE", "BOX_MODULE_KEY", "AttachedMachine", "Purpose", "is_emulated", "running_kernel")

Purpose = Literal["command", "trace", "scenarios", "tests", "bare", "counted"]
"""What is about to be done there: what is loaded before a guest is handed over. Only our own guest can be ``bare``: with nothing of
ours in its kernel, if that kernel lists its hooks itself."""

#: Where a box has the module of its kernel, and the hash of the sources that it was built from.
BOX_MODULE, BOX_MODULE_KEY = "/usr/lib/nfharness/nfharness.ko", "/usr/lib/nfharness/module-key"


class AttachedMachine(ABC):
    """A source of sessions, each with its own agent. The kernel is always the same one, and what is done to it stays done."""

    backend: str
    accelerator = None

    def __init__(self, kernel: Kernel, progress: Progress) -> None:
        self.kernel = kernel
        self.facts: dict[str, Any] = {"profile": None, "provoked": []}
        self._progress = progress
        self._purpose: Purpose = "command"
        #: The session that was opened to prepare it: the first guest.
        self._first: tuple[AsyncExitStack, AttachedGuest] | None = None

    async def prepare(self, purpose: Purpose) -> None:
        """Open a session and load what it needs; what it finds out are the facts.

        :raises HostError: the machine cannot be reached
        :raises GuestError: its kernel lacks something
        """
        self._purpose = purpose
        async with AsyncExitStack() as stack:
            guest = await stack.enter_async_context(self._session())
            self._first = stack.pop_all(), guest

    @asynccontextmanager
    async def guest(self) -> AsyncIterator[AttachedGuest]:
        """A session."""
        if self._first is None:
            async with self._session() as guest:
                yield guest
            return
        (stack, guest), self._first = self._first, None
        async with stack:
            yield guest

    async def close(self) -> None:
        """Close a session that nobody has asked for."""
        if self._first is not None:
            (stack, _), self._first = self._first, None
            await stack.aclose()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AttachedGuest]:
        async with AsyncExitStack() as stack:
            guest = await stack.enter_async_context(self._attached())
            if self._purpose != "command":
                kernel_object = None if self._purpose == "trace" else await self._kernel_object(guest)
                with self._progress.step(f"{self.backend}: preparing for {self._purpose}", expected_s=30):
                    await guest.import_all(PREPARATIONS[self._purpose])
                    source = await guest.place(bare=False, modules=kernel_object is not None)
                    code = await programs(guest, source, self.kernel.release) if source else None
                    self.facts = await guest.prepare(PREPARATIONS[self._purpose], kernel_object, code)
            yield guest

    @abstractmethod
    def _attached(self) -> Any:
        """An agent there, as a context."""

    @abstractmethod
    async def _kernel_object(self, guest: AttachedGuest) -> str:
        """Path there of nfharness.ko for its kernel, of our sources."""


def running_kernel(release: str, version: str) -> Kernel:
    """A kernel that runs: one that Debian has, or one of which only its name is known."""
    known = next((kernel for kernel in kernels.catalogue_at_hand() if kernel.release == release), None)
    return known or Kernel(release, version, kernels.series_of(release), "", ())


def is_emulated(processors: str) -> bool:
    """Whether a machine's processor is QEMU's emulation, and says so.

    :param processors: its ``/proc/cpuinfo``
    """
    return "QEMU TCG" in processors
