"""Which kernels gcov counts, and how to build one."""

from __future__ import annotations

from harness.errors import HostError
from harness.images import kernel_tree
from harness.images.kernel_build import command_of
from harness.images.kernel_tree import Tree
from harness.images.kernels import series_of

__all__ = ("counted", "must_count")


def counted(spec: str) -> Tree:
    """The tree of a kernel that gcov counts.

    :param spec: as ``--kernel`` takes it
    :raises HostError: it counts nothing
    :raises UserError: there is no such kernel
    """
    if not kernel_tree.means_tree(spec):
        raise HostError(f"{spec} is Debian's kernel, which gcov does not count",
                        hint=f"{command_of(spec, 'gcov')}, then --kernel {spec}+gcov")
    tree = kernel_tree.read(spec)
    must_count(tree)
    return tree


def must_count(tree: Tree) -> None:
    """Look whether a tree's kernel has gcov's counters.

    :raises HostError: it has none
    """
    if tree.options.get("GCOV_KERNEL") != "y":
        series = series_of(tree.release)
        raise HostError(f"{tree.build} is built without CONFIG_GCOV_KERNEL: it counts nothing",
                        hint=f"{command_of(series, 'gcov')}, then --kernel {series}+gcov")
