"""Files taken out of a check's guests: before they end, or rule by rule. Counters of gcov, which live in debugfs, above all."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HostError, NfharnessError
from harness.host.unpacked import unpack
from harness.vm.guest import Guest

__all__ = ("Collect", "Collector", "EachRule")

_DEADLINE_S = 300


class Collector:
    """What is taken out of a check's guests, and when; of a guest that does not answer any more, nothing is."""

    async def begin(self, guest: Guest) -> None:
        """Prepare a guest in which no rule has run yet."""

    async def after(self, guest: Guest, rule: str) -> None:
        """Take what a guest has to give after a rule.

        :param rule: its id
        """

    async def take(self, guest: Guest, kernel: str) -> None:
        """Take what a guest has to give at its end.

        :param kernel: its label
        :raises HostError: what was taken cannot be written
        """


@dataclass(frozen=True, slots=True)
class Collect(Collector):
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
        """The files of one guest.

        :raises HostError: they cannot be written
        """
        self.guests[kernel] += 1
        packed = await _packed(guest, self.glob)
        if packed is None:
            return
        place = self.directory / kernel / str(self.guests[kernel])
        try:
            self.files[kernel] += unpack(packed, place)
        except OSError as error:
            raise HostError(f"{place}: {error.strerror}", hint="give --collect a directory that can be written") from None


@dataclass(frozen=True, slots=True)
class EachRule(Collector):
    """One file as it was before each rule and after it, of one kernel.

    :param glob: its absolute path in the guest, as :class:`Collect` has it
    :ivar first: as it was before any rule, of each guest; empty where it was not there
    :ivar changes: rule → before and after, in the order in which the rules ran
    :ivar lost: rules whose guest did not live to tell
    """

    glob: str
    first: list[bytes] = field(default_factory=list)
    changes: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    _latest: dict[int, bytes | None] = field(default_factory=dict)
    """By the guest's ``id()``, as of its last reading; a guest that takes the place of another begins anew."""

    async def begin(self, guest: Guest) -> None:
        content = self._latest[id(guest)] = await self._content(guest)
        if content is not None:
            self.first.append(content)

    async def after(self, guest: Guest, rule: str) -> None:
        before = self._latest[id(guest)]
        after = self._latest[id(guest)] = await self._content(guest)
        if before is None or after is None:
            self.lost.append(rule)
        else:
            self.changes[rule] = (before, after)

    async def _content(self, guest: Guest) -> bytes | None:
        packed = await _packed(guest, self.glob)
        if packed is None:
            return None
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            found = next(iter(archive), None)
            opened = archive.extractfile(found) if found else None
            return opened.read() if opened else b""


async def _packed(guest: Guest, pattern: str) -> bytes | None:
    """The files of a guest that match a glob, as a tar; ``None`` if it does not answer any more."""
    try:
        return await guest.call("harness.guest.files:pack", pattern, deadline_s=_DEADLINE_S)
    except NfharnessError:
        return None
