"""Namespaces by their inode numbers, which are used again once a namespace is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.trace.events import Entry, Event

__all__ = ("told_apart",)


def told_apart(events: Iterable[Event], sightings: Sequence[tuple[int, int, str]]) -> tuple[list[Event], dict[int, str]]:
    """Events, and names by number of namespace; a number that was used again after its namespace had gone gets another one.

    :param sightings: ``CLOCK_MONOTONIC`` in ns, ``net->ns.inum`` and name, in the order of time
    """
    lives: dict[int, list[tuple[int, str]]] = {}
    for time, inum, name in sightings:
        lives.setdefault(inum, []).append((time, name))
    names = {_numbered(inum, life): name for inum, named in lives.items() for life, (_, name) in enumerate(named)}
    found: list[Event] = []
    for event in events:
        if isinstance(event, Entry) and len(named := lives.get(event.netns, ())) > 1:
            life = max(0, sum(time <= event.time for time, _ in named) - 1)
            found.append(event._replace(netns=_numbered(event.netns, life)))
        else:
            found.append(event)
    return found, names


def _numbered(inum: int, life: int) -> int:
    """Inode numbers of namespaces have 32 bits."""
    return inum | life << 32
