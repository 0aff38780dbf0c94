"""Builds the kernel with every fault: core.c of a tree that is built already, rewritten, and ``make`` once more.

usage: python3 -m tests.mutants.kernel.build SOURCE [MAKE'S ARGUMENTS…]

core.c is put back as it was; the kernel that was built stays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.conformance.statements import CORE, Core
from tests.mutants.kernel import FAULTS
from tests.mutants.kernel.claims import unclaimed
from tests.mutants.kernel.schemata import with_faults


def main(arguments: list[str]) -> int:
    """:param arguments: the tree, and what make gets beside it: ``O=…``, ``-j2``"""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    source = Path(arguments[0])
    core = source / CORE
    pristine = core.read_text()
    faulty = with_faults(pristine, FAULTS)
    print(f"{len(FAULTS)} faults in {core}")
    for function, branch in unclaimed(Core(CORE, tuple(pristine.splitlines())), FAULTS):
        print(f"no fault stands for {function.name} {branch}: {branch.what}")
    try:
        core.write_text(faulty)
        return subprocess.run(["make", "-C", source, *arguments[1:]], check=False).returncode
    finally:
        core.write_text(pristine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
