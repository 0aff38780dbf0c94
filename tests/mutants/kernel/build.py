"""Builds the kernel with every fault, as ``nfharness mutate`` builds one with every mutant: in a copy of a built tree.

usage: python3 -m tests.mutants.kernel.build DIRECTORY

The last line is the directory of the kernel, for ``tests.mutants.kernel.run``.
"""

from __future__ import annotations

import sys

from harness.conformance.statements import CORE, CoreSource
from harness.host.progress import Progress
from harness.images import kernel_tree
from harness.mutate.build import built, source_of
from tests.mutants.kernel import FAULTS
from tests.mutants.kernel.claims import unclaimed
from tests.mutants.kernel.fault import mutant


def main(arguments: list[str]) -> int:
    """:param arguments: the tree"""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    source = source_of(kernel_tree.read(arguments[0]))
    for function, branch in unclaimed(CoreSource(CORE, tuple(source.splitlines())), FAULTS):
        print(f"no fault stands for {function.name} {branch}: {branch.what}")
    made = built(arguments[0], [mutant(source, one) for one in FAULTS], Progress())
    for name, why in made.left_out.items():
        print(f"{name}: {why}")
    print(made.tree)
    return 1 if made.left_out else 0  # the numbers of those behind it are others


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
