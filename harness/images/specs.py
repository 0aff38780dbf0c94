"""From a kernel's name, such as ``6.12`` or a developer's tree, to its layer: everything between is made if it is not there."""

from __future__ import annotations

from harness.errors import HostError
from harness.host.progress import Progress
from harness.images import config, kernel_tree, kernels, treecopy
from harness.images.kernels import Kernel
from harness.images.layers import Layer, layer, layer_path
from harness.images.userland import userland

__all__ = ("foresee", "made_layer", "resolved")


def foresee(spec: str, progress: Progress) -> None:
    """Raise what is wrong with a kernel that need not be waited for.

    :raises UserError: no such kernel, or no kernel tree
    :raises HostError: the tree is not built, or without what a guest needs
    """
    if kernel_tree.means_tree(spec):
        treecopy.check_options(kernel_tree.read(spec))
    else:
        kernels.resolve(spec, at_hand=_is_here, progress=progress)


def resolved(spec: str, progress: Progress) -> Kernel:
    """The kernel that *spec* means.

    :raises UserError: there is none
    """
    return kernel_tree.read(spec).kernel() if kernel_tree.means_tree(spec) else kernels.resolve(spec, at_hand=_is_here, progress=progress)


def made_layer(spec: str, progress: Progress) -> Layer:
    """The layer of the kernel that *spec* means, fetched and built as far as it is not there.

    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    if kernel_tree.means_tree(spec):
        return _from_tree(spec, progress)
    kernel, root = resolved(spec, progress), userland(progress)
    try:
        return layer(kernel, root, progress)
    except HostError as error:
        older = kernels.newest(spec, _is_here)
        # One that is here and fails is damaged: its own error says what to do.
        if older is None or _is_here(kernel):
            raise
        progress.note(f"{kernel.release} is unavailable ({error.message}); using {older.release}, which is here")
        return layer(older, root, progress)


def _from_tree(spec: str, progress: Progress) -> Layer:
    found = kernel_tree.read(spec)
    kernel = found.kernel()
    for doubt in found.doubts():
        progress.note(f"{spec}: {doubt}")
    treecopy.check_options(found)
    if not _is_here(kernel):
        unchecked = [f"{what} ({name})" for name, what in config.wished(found.options).items()]
        if unchecked:
            progress.note(f"{spec}: not checked on it: {', '.join(unchecked)}; to have that too: {found.merge()}")
    return layer(kernel, userland(progress), progress)


def _is_here(kernel: Kernel) -> bool:
    return layer_path(kernel).is_dir()
