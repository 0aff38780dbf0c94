"""What happens in a guest beside a command: the host's end of :mod:`harness.guest.observe`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from harness.outcome.types import Outcome
from harness.trace.events import Call, End, Entry, Event, decode
from harness.trace.ring import records
from harness.trace.sightings import told_apart
from harness.trace.symbols import Symbol
from harness.trace.walk import walk
from harness.vm.channel import Remote, Request, agent_error
from harness.vm.guest import Guest

__all__ = ("Observation", "ends_of")

_OBSERVER = "harness.guest.observe:main"


class Observation:
    """A guest's tracer, armed from :meth:`start` to :meth:`end`."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._records = bytearray()
        self._said = bytearray()
        self._more = asyncio.Event()
        self._over = False
        #: Both ends of the connection that this goes over itself, as a packet's summary has them.
        self._connection: frozenset[str] = frozenset()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, guest: Guest) -> Observation:
        """Arm the tracer. :raises GuestError: it does not work there"""
        observation = cls(await guest.open(Request(python=_OBSERVER, args=[guest.networked])))
        armed = await observation._message()
        observation._connection = ends_of(armed["connection"]) if guest.networked else frozenset()
        return observation

    async def end(self) -> Outcome:
        """Disarm the tracer; the packets that were seen."""
        await self._remote.write(b'{"ended": true}\n')
        ended = await self._message()
        while len(self._records) < ended["records"]:
            await self._wait()
        events, names = told_apart(decode(records(bytes(self._records))), ended["namespaces"])
        symbols = await self._symbols({address for event in events for address in _addresses(event)})
        seen = walk(events, symbols.get, netns=names, reasons=dict(ended["reasons"]), loops=ended["loops"])
        packets = tuple(packet for packet in seen.packets if not self._is_our_own(packet.packet))
        return Outcome((), packets, ended["lost_events"], (*ended["doubts"], *seen.doubts), tuple(ended["blind"].items()))

    def _is_our_own(self, packet: str) -> bool:
        """Whether it is one that carries all this."""
        return bool(self._connection) and self._connection <= set(packet.replace(",", "").split())

    async def _symbols(self, addresses: set[int]) -> dict[int, Symbol]:
        await self._remote.write(json.dumps({"addresses": sorted(addresses)}).encode() + b"\n")
        answer = await self._message()
        return {address: Symbol(address, name, module) for address, name, module in answer["symbols"]}

    async def _read(self) -> None:
        """Take what comes as it comes: a guest's agent keeps little, and its memory is small."""
        while piece := await self._remote.read():
            into = self._records if piece[0] == 1 else self._said
            into += piece[1]
            self._more.set()
        self._over = True
        self._more.set()

    async def _wait(self) -> None:
        """:raises GuestError: the observer has ended; with its last words"""
        if self._over:
            status = await self._remote.wait()
            raise agent_error({"traceback": self._said.decode(errors="replace") or f"exit status {status}"}, "observing")
        self._more.clear()
        await self._more.wait()

    async def _message(self) -> dict[str, Any]:
        while b"\n" not in self._said:
            await self._wait()
        line, _, rest = bytes(self._said).partition(b"\n")
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:  # a traceback
            while True:
                await self._wait()
        if "error" in message:
            raise agent_error(message, "observing")
        self._said = bytearray(rest)
        return message


def ends_of(connection: str) -> frozenset[str]:
    """``SSH_CONNECTION`` (client address, port, server address, port) as a packet's summary has its ends."""
    words = connection.split()
    return frozenset(f"{address}:{port}" for address, port in (words[:2], words[2:])) if len(words) == 4 else frozenset()


def _addresses(event: Event) -> Iterator[int]:
    if isinstance(event, Call):
        yield event.function
    elif isinstance(event, Entry):
        yield from filter(None, (event.okfn, event.caller))
    elif isinstance(event, End) and event.location:
        yield event.location
