"""From a kernel's name to a running guest: everything between is made if it is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.errors import HostError
from harness.vm import config, inventory, kernels, tree, treecopy
from harness.vm.code import code_archive
from harness.vm.guest import Guest, restored
from harness.vm.kernels import Kernel
from harness.vm.layers import layer, layer_path
from harness.vm.progress import Progress
from harness.vm.template import Template, template
from harness.vm.userland import userland

__all__ = ("Session", "foresee", "made_ready", "session")


@dataclass(frozen=True, slots=True)
class Session:
    """A guest and what it was made from."""

    guest: Guest
    kernel: Kernel
    template: Template


def foresee(spec: str, progress: Progress) -> None:
    """Raise what is wrong with a kernel that need not be waited for.

    :raises UserError: no such kernel, or no kernel tree
    :raises HostError: the tree is not built, or without what a guest needs
    """
    if tree.means_tree(spec):
        treecopy.check_options(tree.read(spec))
    else:
        kernels.resolve(spec, at_hand=_is_here, progress=progress)


async def made_ready(spec: str, progress: Progress) -> tuple[Kernel, Template]:
    """Kernel and template for *spec*, fetched and built as far as they are not there.

    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    if tree.means_tree(spec):
        return await _from_tree(spec, progress)
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


async def _from_tree(spec: str, progress: Progress) -> tuple[Kernel, Template]:
    found = tree.read(spec)
    kernel = found.kernel()
    for doubt in found.doubts():
        progress.note(f"{spec}: {doubt}")
    treecopy.check_options(found)
    if not _is_here(kernel):
        unchecked = [f"{what} ({name})" for name, what in config.wished(found.options).items()]
        if unchecked:
            progress.note(f"{spec}: not checked on it: {', '.join(unchecked)}; to have that too: {treecopy.merge_command(found)}")
    root = userland(progress)
    made = layer(kernel, root, progress)
    saved = await template(made, root, progress)
    inventory.forget_older_builds(kernel)
    return kernel, saved


def _is_here(kernel: Kernel) -> bool:
    return layer_path(kernel).is_dir()


@asynccontextmanager
async def session(spec: str, progress: Progress) -> AsyncIterator[Session]:
    """A fresh guest of kernel *spec*, gone when the block ends."""
    kernel, saved = await made_ready(spec, progress)
    async with restored(saved.machine, saved.state, code_archive(), guest_has=saved.code) as guest:
        yield Session(guest, kernel, saved)
