"""Whether what a guest is made of is still what was written: a disk or a memory that flips bits kills a guest as a kernel's bug does."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.errors import HostError
from harness.host.store import altered, discard
from harness.vm.qemu import Machine

__all__ = ("damage",)


def damage(machine: Machine, state: Path | None) -> HostError | None:
    """The error for a file whose content is not what was written; ``None`` if there is none.

    :param machine: whose files are looked at
    :param state: that it was restored from, with what lies beside it

    What it belongs to is deleted, for the next command to build it anew.
    """
    files = (machine.ram, state, *machine.disks, machine.packages, machine.kernel, machine.initrd)
    for directory in dict.fromkeys(file.parent for file in files if file):
        for file in altered(directory):
            message = f"{file} is damaged: its content is not what was written, by its checksum"
            again = f"it is built anew once it is gone: rm -r {shlex.quote(str(directory))}"
            try:
                gone = discard(directory)
            except OSError:
                gone = False
            return HostError(message, hint="try again: it is deleted, and built anew" if gone else again)
    return None
