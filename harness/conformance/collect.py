"""Files taken out of a check's guests before they end: counters of gcov, which live in debugfs, above all."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HostError, NfharnessError
from harness.vm.guest import Guest

__all__ = ("Collect",)

_DEADLINE_S = 300


@dataclass(frozen=True, slots=True)
class Collect:
    """What to take, and where to.

    :param glob: absolute path in the guest, ``**`` for directories at any depth
    :param directory: gets ``KERNEL/NUMBER/PATH``, a number for each guest
    :ivar guests: how many of each kernel's have been asked
    :ivar files: how many were found
    """

    glob: str
    directory: Path
    guests: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    async def take(self, guest: Guest, kernel: str) -> None:
        """The files of one guest; of one that does not answer any more there are none.

        :param kernel: its label
        :raises HostError: they cannot be written
        """
        self.guests[kernel] += 1
        try:
            packed = await guest.call("harness.guest.files:pack", self.glob, deadline_s=_DEADLINE_S)
        except NfharnessError:
            return
        place = self.directory / kernel / str(self.guests[kernel])
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                self.files[kernel] += len(archive.getmembers())
                place.mkdir(parents=True, exist_ok=True)
                archive.extractall(place, filter="data")
        except OSError as error:
            raise HostError(f"{place}: {error.strerror}", hint="give --collect a directory that can be written") from None
