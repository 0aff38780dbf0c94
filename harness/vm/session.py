"""From a kernel's name to a guest that runs it: everything between is made if it is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.errors import HostError, UserError
from harness.vm import config, inventory, kernels, tree, treecopy
from harness.vm.guest import Guest
from harness.vm.kernels import Kernel
from harness.vm.layers import Layer, layer, layer_path
from harness.vm.machines import LocalMachine, Purpose, VagrantMachine
from harness.vm.progress import Progress
from harness.vm.template import Template, template
from harness.vm.userland import userland

__all__ = ("Backend", "Session", "Source", "foresee", "made_layer", "made_ready", "resolved", "session", "source")

Backend = Literal["qemu", "vagrant", "local"]
"""Guests of our own, a Vagrant machine that is up, or the kernel that this very machine runs."""


class Source(Protocol):
    """Where guests come from.

    :ivar facts: what preparing it found out, the kernel's profile
    :ivar accelerator: of the virtual machine, where that is known
    """

    @property
    def backend(self) -> str: ...

    @property
    def accelerator(self) -> str | None: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    def guest(self) -> AbstractAsyncContextManager[Guest]:
        """A guest: fresh from a template; elsewhere a session on a kernel that was there before."""
        ...

    async def close(self) -> None:
        """Let go of what is still open."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """A guest and where it came from."""

    guest: Guest
    kernel: Kernel
    source: Source


def foresee(spec: str, progress: Progress) -> None:
    """Raise what is wrong with a kernel that need not be waited for.

    :raises UserError: no such kernel, or no kernel tree
    :raises HostError: the tree is not built, or without what a guest needs
    """
    if tree.means_tree(spec):
        treecopy.check_options(tree.read(spec))
    else:
        kernels.resolve(spec, at_hand=_is_here, progress=progress)


async def made_ready(spec: str, progress: Progress, *, bare: bool = False) -> tuple[Kernel, Template]:
    """Kernel and template for *spec*, fetched and built as far as they are not there.

    :param bare: as :func:`harness.vm.template.template` has it
    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    made = made_layer(spec, progress)
    saved = await template(made, userland(progress), progress, bare=bare)
    if made.kernel.tree:
        inventory.forget_older_builds(made.kernel)
    return made.kernel, saved


def resolved(spec: str, progress: Progress) -> Kernel:
    """The kernel that *spec* means. :raises UserError: there is none"""
    return tree.read(spec).kernel() if tree.means_tree(spec) else kernels.resolve(spec, at_hand=_is_here, progress=progress)


def made_layer(spec: str, progress: Progress) -> Layer:
    """The layer of the kernel that *spec* means, fetched and built as far as it is not there.

    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    if tree.means_tree(spec):
        return _from_tree(spec, progress)
    kernel, root = resolved(spec, progress), userland(progress)
    try:
        return layer(kernel, root, progress)
    except HostError as error:
        older = kernels.newest(spec, _is_here)
        if older is None:
            raise
        progress.note(f"{kernel.release} cannot be had ({error.message}); using {older.release}, which is here")
        return layer(older, root, progress)


def _from_tree(spec: str, progress: Progress) -> Layer:
    found = tree.read(spec)
    kernel = found.kernel()
    for doubt in found.doubts():
        progress.note(f"{spec}: {doubt}")
    treecopy.check_options(found)
    if not _is_here(kernel):
        unchecked = [f"{what} ({name})" for name, what in config.wished(found.options).items()]
        if unchecked:
            progress.note(f"{spec}: not checked on it: {', '.join(unchecked)}; to have that too: {treecopy.merge_command(found)}")
    return layer(kernel, userland(progress), progress)


def _is_here(kernel: Kernel) -> bool:
    return layer_path(kernel).is_dir()


async def source(spec: str, progress: Progress, backend: Backend = "qemu", purpose: Purpose = "scenarios") -> tuple[Kernel, Source]:
    """Kernel and source of guests for *spec*, ready for a purpose; to be closed.

    :param spec: for another backend than qemu, what Vagrant is asked for; the local kernel is what it is
    :raises UserError: no such kernel
    :raises HostError: the host lacks something, or there is no machine that is up
    :raises GuestError: the kernel lacks something
    """
    if backend == "qemu":
        return await made_ready(spec, progress, bare=purpose == "bare")
    if purpose == "bare":
        raise UserError(f"--bare and --backend {backend}: only a fresh guest has a kernel without nfharness", mend="leave --backend away")
    machine = await VagrantMachine.found(spec, progress) if backend == "vagrant" else LocalMachine(progress)
    try:
        await machine.prepare(purpose)
    except BaseException:
        await machine.close()
        raise
    return machine.kernel, machine


@asynccontextmanager
async def session(spec: str, progress: Progress, backend: Backend = "qemu", purpose: Purpose = "scenarios") -> AsyncIterator[Session]:
    """A guest of kernel *spec*, fresh where there are templates, gone when the block ends."""
    kernel, found = await source(spec, progress, backend, purpose)
    try:
        async with found.guest() as guest:
            yield Session(guest, kernel, found)
    finally:
        await found.close()
