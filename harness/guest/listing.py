"""Rules of nftables' as ``nft`` lists them, by the handles that the kernel knows them by.

A table's handle is not given again while its namespace lives, a rule's not while its table does; but a rule that is replaced keeps it.
Listing is a child process: what drains the tracer's rings cannot wait for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from harness.guest.netns import DIRECTORY
from harness.walks.recording import Recording
from harness.walks.rules import rules_wanted
from harness.walks.sightings import netns_of, number_and_life

__all__ = ("Listed", "Listings", "Wanted", "parsed", "with_rules")

#: Number of the namespace, which one of those that had it (from 0), handle of the table, handle of the rule.
Wanted = tuple[int, int, int, int]
#: When a listing of a whole ruleset began and ended (``CLOCK_MONOTONIC``, ns), what ``nft --json --numeric`` lists, and of each rule the
#: table's handle, its own and its text.
Listed = tuple[int, int, str, list[tuple[int, int, str]]]
_TEXT, _WHOLE = "nft -s -a list ruleset", "nft -s -a list ruleset && nft -s -a -n -j list ruleset"
#: A longer listing is not sent.
_LONGEST = 4 << 20
_SECONDS = 60
_INIT, _OWN = "init", Path("/proc/self/ns/net")
_HANDLE = re.compile(r" # handle (\d+)$")


class _Listing(NamedTuple):
    """A child process that lists. Parameters as of :meth:`Listings.ask`.

    :param running: ``None`` where the namespace has gone
    :param output: descriptor of what it writes
    :param began: ``CLOCK_MONOTONIC``, ns
    """

    netns: tuple[int, int]
    wanted: Sequence[Wanted]
    running: subprocess.Popen[bytes] | None
    output: int
    began: int
    whole: bool


class Listings:
    """Rulesets that are being listed."""

    def __init__(self) -> None:
        self._running: list[_Listing] = []

    def ask(
        self, netns: tuple[int, int], wanted: Sequence[Wanted], seen: Sequence[tuple[int, int, str]],
        paths: Mapping[str, Path] | None = None, *, whole: bool = False,
    ) -> None:
        """Begin to list what is wanted of a namespace.

        :param netns: number of the namespace, which one of those that had it
        :param whole: the ruleset itself, too
        :param seen: :attr:`harness.guest.observe.Namespaces.seen`
        :param paths: by the name of the namespace, of those that are not in ``/run/netns`` under that name
        """
        inum, life = netns
        names = [name for _, number, name in seen if number == inum]
        running, output = None, os.memfd_create("nft", os.MFD_CLOEXEC)
        if names and life == len(names) - 1:
            path = {_INIT: _OWN, **(paths or {})}.get(names[-1], DIRECTORY / names[-1])
            with suppress(OSError):
                if path.stat().st_ino == inum:
                    argv = ["nsenter", f"--net={path}", "sh", "-c", _WHOLE if whole else _TEXT]
                    running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        self._running.append(_Listing(netns, wanted, running, output, time.monotonic_ns(), whole))

    def answers(self, *, wait: bool = False) -> Iterator[tuple[tuple[int, int], list[tuple[int, int, int, int, str, str]], Listed | None]]:
        """The answers of each listing that has ended: its namespace; what was wanted, with the chain and the text of each rule that is
        there; and the whole ruleset if it was asked for.

        :param wait: for all of them
        """
        going: list[_Listing] = []
        for listing in self._running:
            running = listing.running
            if running and running.poll() is None:
                if not wait:
                    going.append(listing)
                    continue
                try:
                    running.wait(_SECONDS)
                except subprocess.TimeoutExpired:
                    running.kill()
            text = _read(listing.output) if running and running.wait() == 0 else ""
            os.close(listing.output)
            text, _, whole = text.rstrip("\n").rpartition("\n") if listing.whole else (text, "", "")
            found = parsed(text)
            texts = [(table, handle, rule) for (table, handle), (_, rule) in found.items()]
            yield listing.netns, [(*each, *found[each[2:]]) for each in listing.wanted if each[2:] in found], (
                (listing.began, time.monotonic_ns(), whole, texts) if whole and len(text) + len(whole) < _LONGEST else None)
        self._running = going


def with_rules(recording: Recording, paths: Mapping[str, Path], *, accepted: bool = True) -> Recording:
    """The recording with the texts of the rules that decided, as far as they are still there.

    :param paths: as of :meth:`Listings.ask`
    :param accepted: also of those that accepted: listing takes a process for each namespace
    """
    wanted, listings = rules_wanted(recording.events, recording.namespaces, accepted=accepted), Listings()
    for netns, rules in groupby(sorted(wanted), itemgetter(0)):
        number = number_and_life(netns)
        listings.ask(number, [(*number, table, handle) for _, table, handle in rules], recording.namespaces, paths)
    found = {(netns_of(inum, life), table, handle): (chain, text)
             for _, answer, _ in listings.answers(wait=True) for inum, life, table, handle, chain, text in answer}
    return replace(recording, rules=found)


def _read(output: int) -> str:
    size = os.fstat(output).st_size
    return os.pread(output, size, 0).decode(errors="replace")


def parsed(listing: str) -> dict[tuple[int, int], tuple[str, str]]:
    """(handle of the table, handle of the rule) → (its chain, its text).

    :param listing: of ``nft -s -a list ruleset``
    """
    found: dict[tuple[int, int], tuple[str, str]] = {}
    table, chain, text = 0, "", ""
    for line in listing.splitlines():
        handle = _HANDLE.search(line)
        words = line.split()
        if line.startswith("table ") and handle:
            table = int(handle[1])
        elif line.startswith("\tchain ") and handle:
            chain, text = words[1], ""
        elif line.startswith("\t}"):
            chain = ""
        elif chain:
            # A long anonymous set goes on in the next line.
            text = f"{text} {line.strip()}".strip()
            if handle:
                found[table, int(handle[1])] = chain, _HANDLE.sub("", text)
                text = ""
            elif text.startswith(("type ", "comment ", "policy ")) and text.endswith((";", '"')):
                text = ""
    return found
