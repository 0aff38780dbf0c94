"""Filtering a session's packets: libpcap's terms are looked at where libpcap is, in the guest or on this host."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from harness.errors import HostError
from harness.netfilter import Family
from harness.outcome.types import Outcome, PacketOutcome, Traversal
from harness.vm.guest import Guest
from harness.walks.filter import Filter, wrong
from harness.walks.pcap import answered

__all__ = ("Ask", "compiled", "filtered", "in_guest", "on_this_host")

#: Hands a question of :func:`harness.walks.pcap.answered` to it.
Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
_MAIN = "harness.guest.pcap:main"
#: EtherTypes: by the version in an IP header's first byte, and of ARP, which begins with the hardware type Ethernet.
_IP = {4: 0x0800, 6: 0x86DD}
_ARP, _ARP_HEAD = 0x0806, b"\0\1"


def in_guest(guest: Guest) -> Ask:
    """Ask a guest's libpcap."""

    async def ask(question: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await guest.call(_MAIN, stdin=json.dumps(question).encode()))
        return answer

    return ask


async def on_this_host(question: dict[str, Any]) -> dict[str, Any]:
    """Ask this host's libpcap.

    :raises HostError: it has none
    """
    try:
        return answered(question)
    except OSError as error:
        raise HostError(f"this host has no libpcap: {error}", hint="apt-get install libpcap0.8, or filter with words of ours") from None


async def compiled(ask: Ask, wanted: Filter) -> None:
    """Look whether libpcap takes the filter's terms.

    :raises UserError: it does not, with its words and the column at which the term begins
    """
    if wanted.pcap:
        await _asked(ask, wanted, ())


async def filtered(ask: Ask, wanted: Filter, outcome: Outcome) -> Outcome:
    """The outcome with the packets alone that match.

    :raises UserError: as :func:`compiled` does
    """
    points = [(packet, traversal) for packet in outcome.packets for traversal in packet.traversals if traversal.head]
    found = await _asked(ask, wanted, points) if wanted.pcap else {}
    matches = {term: {points[number][0].number for number in numbers} for term, numbers in found.items()}
    return replace(outcome, packets=wanted.wanted(outcome.packets, matches))


async def _asked(ask: Ask, wanted: Filter, points: Sequence[tuple[PacketOutcome, Traversal]]) -> dict[str, list[int]]:
    answer = await ask({"terms": list(wanted.pcap), "packets": list(_heads(traversal for _, traversal in points))})
    if "wrong" in answer:
        term, problem = answer["wrong"]
        raise wrong(wanted.text, wanted.pcap[term], f"{problem} (libpcap)")
    matches: dict[str, list[int]] = answer["matches"]
    return matches


def _heads(traversals: Iterator[Traversal]) -> Iterator[tuple[int, int, str]]:
    for traversal in traversals:
        arp = traversal.pf is Family.ARP or traversal.head.startswith(_ARP_HEAD)
        yield _ARP if arp else _IP.get(traversal.head[0] >> 4, 0), traversal.length, traversal.head.hex()
