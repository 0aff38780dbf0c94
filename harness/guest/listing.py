"""Rules of nftables' as ``nft`` lists them, by the handles that the kernel knows them by.

A table's handle is not given again while its namespace lives, a rule's not while its table does; but a rule that is replaced keeps it.
Listing is a child process: what drains the tracer's rings cannot wait for it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from harness.guest.netns import DIRECTORY
from harness.walks.recording import Recording
from harness.walks.rules import rules_wanted
from harness.walks.sightings import netns_of, number_and_life

__all__ = ("Listings", "Wanted", "parsed", "with_rules")

#: Number of the namespace, which one of those that had it (from 0), handle of the table, handle of the rule.
Wanted = tuple[int, int, int, int]
_SECONDS = 60
_INIT, _OWN = "init", Path("/proc/self/ns/net")
_HANDLE = re.compile(r" # handle (\d+)$")


class Listings:
    """Rulesets that are being listed."""

    def __init__(self) -> None:
        self._running: list[tuple[Sequence[Wanted], subprocess.Popen[bytes] | None, int]] = []

    def ask(self, wanted: Sequence[Wanted], seen: Sequence[tuple[int, int, str]], paths: Mapping[str, Path] | None = None) -> None:
        """Begin to list what is wanted, all of it of one namespace.

        :param seen: :attr:`harness.guest.observe.Namespaces.seen`
        :param paths: by the name of the namespace, of those that are not in ``/run/netns`` under that name
        """
        inum, life, *_ = wanted[0]
        names = [name for _, number, name in seen if number == inum]
        running, output = None, os.memfd_create("nft", os.MFD_CLOEXEC)
        if names and life == len(names) - 1:
            path = {_INIT: _OWN, **(paths or {})}.get(names[-1], DIRECTORY / names[-1])
            with suppress(OSError):
                if path.stat().st_ino == inum:
                    argv = ["nsenter", f"--net={path}", "nft", "-s", "-a", "list", "ruleset"]
                    running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        self._running.append((wanted, running, output))

    def answers(self, *, wait: bool = False) -> Iterator[list[tuple[int, int, int, int, str, str]]]:
        """The answers of each listing that has ended: what was wanted, with the chain and the text of each rule that is there.

        :param wait: for all of them
        """
        going: list[tuple[Sequence[Wanted], subprocess.Popen[bytes] | None, int]] = []
        for wanted, running, output in self._running:
            if running and running.poll() is None:
                if not wait:
                    going.append((wanted, running, output))
                    continue
                try:
                    running.wait(_SECONDS)
                except subprocess.TimeoutExpired:
                    running.kill()
            found = parsed(_read(output)) if running and running.wait() == 0 else {}
            os.close(output)
            yield [(*each, *found[each[2:]]) for each in wanted if each[2:] in found]
        self._running = going


def with_rules(recording: Recording, paths: Mapping[str, Path], *, accepted: bool = True) -> Recording:
    """The recording with the texts of the rules that decided, as far as they are still there.

    :param paths: as of :meth:`Listings.ask`
    :param accepted: also of those that accepted: listing takes a process for each namespace
    """
    wanted, listings = rules_wanted(recording.events, recording.namespaces, accepted=accepted), Listings()
    for netns, rules in groupby(sorted(wanted), itemgetter(0)):
        listings.ask([(*number_and_life(netns), table, handle) for _, table, handle in rules], recording.namespaces, paths)
    found = {(netns_of(inum, life), table, handle): (chain, text)
             for answer in listings.answers(wait=True) for inum, life, table, handle, chain, text in answer}
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
