"""Packet filters as tcpdump has them: libpcap's own compiler and interpreter, on headers that the tracer saw."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ("answered", "matching")

_ETHERNET = 1
_NO_ADDRESSES = bytes(12)
_ANY_NETMASK = 0xFFFF_FFFF
_LONGEST = 65_535


class _Program(ctypes.Structure):
    """``struct bpf_program``."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _Header(ctypes.Structure):
    """``struct pcap_pkthdr``."""

    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long), ("captured", ctypes.c_uint32), ("length", ctypes.c_uint32))


def answered(question: dict[str, Any]) -> dict[str, Any]:
    """Which packets match each of some terms.

    :param question: ``{"terms": […], "packets": [[EtherType, length, head in hexadecimal], …]}``
    :returns: ``{"matches": {term: [number of a packet, …]}}``, or ``{"wrong": [term, what is]}``
    :raises OSError: there is no libpcap
    """
    packets = [(kind, length, bytes.fromhex(head)) for kind, length, head in question["packets"]]
    matches = {}
    for term in question["terms"]:
        try:
            matches[term] = matching(term, packets)
        except ValueError as error:
            return {"wrong": [term, str(error)]}
    return {"matches": matches}


def matching(term: str, packets: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Numbers of the packets that match.

    :param packets: each one's EtherType, length in bytes, and header from the network header on
    :raises ValueError: the term does not compile; with libpcap's words
    """
    with _compiled(term) as (pcap, program):
        return [number for number, (kind, length, head) in enumerate(packets) if _matches(pcap, program, kind, length, head)]


def _matches(pcap: ctypes.CDLL, program: _Program, kind: int, length: int, head: bytes) -> bool:
    frame = _NO_ADDRESSES + kind.to_bytes(2, "big") + head
    before = len(frame) - len(head)
    header = _Header(0, 0, len(frame), max(length, len(head)) + before)
    return bool(pcap.pcap_offline_filter(ctypes.byref(program), ctypes.byref(header), frame))


@contextmanager
def _compiled(term: str) -> Iterator[tuple[ctypes.CDLL, _Program]]:
    pcap = ctypes.CDLL("libpcap.so.0.8")
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(pcap.pcap_open_dead(_ETHERNET, _LONGEST))
    program = _Program()
    try:
        if pcap.pcap_compile(handle, ctypes.byref(program), term.encode(), 1, _ANY_NETMASK) < 0:
            raise ValueError(pcap.pcap_geterr(handle).decode(errors="replace"))
        try:
            yield pcap, program
        finally:
            pcap.pcap_freecode(ctypes.byref(program))
    finally:
        pcap.pcap_close(handle)
