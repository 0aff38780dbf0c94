"""Puts the kernel with every fault under stress, one fault after the other in a fresh guest, and tells what came of each.

usage: python3 -m tests.mutants.kernel.stress [--time S] [--seed N] [--append TEXT] KERNEL FAULT…

A fault is a name, or the number that the kernel's parameter is set to; 0 is none. KERNEL is what ``tests.mutants.kernel.build`` made, of a
tree with KASAN above all: a missing lock or grace period shows where registrations meet traffic.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace

from harness.conformance.matrix import target
from harness.conformance.stress import Stressed, every
from harness.host.progress import Progress
from harness.mutate.run import Faulty
from tests.mutants.kernel import FAULTS

_NUMBERS = {fault.name: number for number, fault in enumerate(FAULTS, 1)}
_SHOWN, _KINDS = 3, ("hooks registered", "base chains added", "BPF links made", "datagrams sent")


async def _main(arguments: argparse.Namespace) -> int:
    on = await target(arguments.kernel, Progress(), append=arguments.append)
    survivors = 0
    try:
        for name in arguments.fault:
            number = _NUMBERS.get(name) or int(name)
            source = Faulty(on.source, [number], on.source.facts, accelerator=on.source.accelerator) if number else on.source
            found = Stressed(replace(on, source=source))
            await every([found], arguments.time, arguments.seed, lambda _one: None, 1)
            survivors += found.state == "conformant"
            said = [found.died] if found.died else [*found.wrong, *found.doubts]
            done = ", ".join(f"{kind} {found.operations.get(kind, 0)}" for kind in _KINDS)
            print(f"{name:30} {found.state} after {found.seconds:.0f} s: {done}", *said[:_SHOWN], sep="\n    ", flush=True)
    finally:
        await on.source.close()
    print(f"{len(arguments.fault)} faults, {survivors} survive")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=float, default=60, help="seconds of each")
    parser.add_argument("--seed", type=int, default=1, help="what the tasks choose by")
    parser.add_argument("--append", default="", help="more for the kernel's command line")
    parser.add_argument("kernel")
    parser.add_argument("fault", nargs="+", metavar="FAULT")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
