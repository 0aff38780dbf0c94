"""From a kernel's name to a guest that runs it: everything between is made if it is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harness.backends.local import LocalMachine
from harness.backends.machine import AttachedMachine, Purpose
from harness.backends.names import Backend, reached
from harness.backends.ssh import SshMachine
from harness.backends.vagrant import VagrantMachine
from harness.errors import UserError
from harness.host.progress import Progress
from harness.images.kernels import Kernel
from harness.images.packages import packages
from harness.images.specs import made_layer
from harness.images.userland import userland
from harness.vm.guest import Guest
from harness.vm.preparation import Saved
from harness.vm.template import Template, forget_older_builds, template

__all__ = ("OpenGuest", "Source", "made_ready", "open_guest", "source")

#: Those that a lean template does not serve.
_TEMPLATES: dict[Purpose, Saved] = {"bare": "bare", "counted": "counted", "tests": "template"}


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
class OpenGuest:
    """A guest that is open, its kernel, and where it came from."""

    guest: Guest
    kernel: Kernel
    source: Source


async def made_ready(
    spec: str, progress: Progress, kind: Saved = "template", append: str = "", *, with_packages: Sequence[str] = (),
) -> tuple[Kernel, Template]:
    """Kernel and template for *spec*, fetched and built as far as they are not there.

    :param kind: as :func:`harness.vm.template.template` has it
    :param append: more for the kernel's command line, as :func:`harness.vm.template.template` has it
    :param with_packages: Debian packages that its guests have beside the userland's
    :raises UserError: no such kernel, or no such package
    :raises HostError: the host lacks something
    """
    made, root = made_layer(spec, progress), userland(progress)
    # Before the template, which takes longer: a name that was mistyped is told soon.
    image = packages(with_packages, root, progress) if with_packages else None
    saved = await template(made, root, progress, kind, append)
    if made.kernel.tree:
        forget_older_builds(made.kernel)
    return made.kernel, replace(saved, machine=replace(saved.machine, packages=image))


async def source(
    spec: str, progress: Progress, backend: Backend = "qemu", purpose: Purpose = "scenarios", append: str = "", *,
    with_packages: Sequence[str] = (),
) -> tuple[Kernel, Source]:
    """Kernel and source of guests for *spec*, ready for a purpose; to be closed.

    :param spec: for another backend than qemu, what Vagrant is asked for; this machine's kernel, and one that ssh reaches, is what it is
    :param append: more for a fresh guest's kernel command line
    :param with_packages: Debian packages that a fresh guest has beside the userland's
    :raises UserError: no such kernel, or no such package
    :raises HostError: the host lacks something, or there is no machine that is up
    :raises GuestError: the kernel lacks something
    """
    if backend == "qemu":
        kind: Saved = _TEMPLATES.get(purpose, "lean")
        return await made_ready(spec, progress, kind, append, with_packages=with_packages)
    if purpose == "counted":
        raise UserError(f"--backend {backend}: only an emulator counts instructions", hint="leave --backend away")
    if purpose == "bare":
        raise UserError(f"--bare and --backend {backend}: only a fresh guest has a kernel without nfharness", hint="leave --backend away")
    if append:
        raise UserError(f"--append and --backend {backend}: only a fresh guest is booted", hint="leave --backend away")
    if with_packages:
        raise UserError(f"--with and --backend {backend}: only a fresh guest gets packages", hint="install them there with apt-get")
    machine = await _machine(spec, progress, backend)
    try:
        await machine.prepare(purpose)
    except BaseException:
        await machine.close()
        raise
    return machine.kernel, machine


async def _machine(spec: str, progress: Progress, backend: Backend) -> AttachedMachine:
    """The machine that a backend other than qemu is.

    :raises HostError: there is none that is up
    """
    if backend == "vagrant":
        return await VagrantMachine.found(spec, progress)
    if there := reached(backend):
        return await SshMachine.at(there, progress)
    return LocalMachine(progress)


@asynccontextmanager
async def open_guest(
    spec: str, progress: Progress, backend: Backend = "qemu", purpose: Purpose = "scenarios", append: str = "", *,
    with_packages: Sequence[str] = (),
) -> AsyncIterator[OpenGuest]:
    """A guest of kernel *spec*, fresh where there are templates, gone when the block ends."""
    kernel, found = await source(spec, progress, backend, purpose, append, with_packages=with_packages)
    try:
        async with found.guest() as guest:
            yield OpenGuest(guest, kernel, found)
    finally:
        await found.close()
