"""From a kernel's name to a running guest: everything between is made if it is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.errors import HostError
from harness.vm import kernels
from harness.vm.code import code_archive
from harness.vm.guest import Guest, restored
from harness.vm.kernels import Kernel
from harness.vm.layers import layer, layer_path
from harness.vm.progress import Progress
from harness.vm.template import Template, template
from harness.vm.userland import userland

__all__ = ("Session", "made_ready", "session")


@dataclass(frozen=True, slots=True)
class Session:
    """A guest and what it was made from."""

    guest: Guest
    kernel: Kernel
    template: Template


async def made_ready(spec: str, progress: Progress) -> tuple[Kernel, Template]:
    """Kernel and template for *spec*, fetched and built as far as they are not there.

    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    kernel = kernels.resolve(spec, at_hand=_is_here, progress=progress)
    root = userland(progress)
    try:
        made = layer(kernel, root, progress)
    except HostError as error:
        older = kernels.newest(spec, _is_here)
        if older is None:
            raise
        progress.note(f"{kernel.release} cannot be had ({error.message}); using {older.release}, which is here")
        kernel, made = older, layer(older, root, progress)
    return kernel, await template(made, root, progress)


def _is_here(kernel: Kernel) -> bool:
    return layer_path(kernel).is_dir()


@asynccontextmanager
async def session(spec: str, progress: Progress) -> AsyncIterator[Session]:
    """A fresh guest of kernel *spec*, gone when the block ends."""
    kernel, saved = await made_ready(spec, progress)
    async with restored(saved.machine, saved.state, code_archive(), guest_has=saved.code) as guest:
        yield Session(guest, kernel, saved)
