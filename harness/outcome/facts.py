"""What steps with connection tracking find, in words: the facts of a :class:`harness.outcome.types.StepOutcome`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

__all__ = ("NO_PROC", "Facts", "duplicated", "listed", "pointers_and_zone", "port", "remembered", "tracked")

#: What ``netfilter_net_init`` prints, l.636.
NO_PROC = "cannot create netfilter proc entry"

Facts = tuple[tuple[str, str | int], ...]


def pointers_and_zone(pointers: Iterable[tuple[str, bool]], zone: tuple[int, int, int]) -> Facts:
    """What conntrack's pointers and the default zone are.

    :param pointers: of core's, each with whether it leads anywhere
    :param zone: id, flags and direction of ``nf_ct_zone_dflt``
    """
    number, flags, direction = zone
    return (*((name, "set" if leads else "NULL") for name, leads in pointers),
            ("nf_ct_zone_dflt", f"{number}, flags {flags}, dir {direction}"))


def tracked(found: object, info: str | None, uses: int, calls: tuple[int, int, int, int], left: int, *,
            closings: int | None = None) -> Facts:
    """What a ct-run came to.

    :param found: the tuple; ``None`` for false
    :param info: ``enum ip_conntrack_info`` of the second datagram if it got the connection of the first, ``None`` if it got none
    :param uses: references to that connection, 0 for none
    :param calls: of hooks that were not nf_conntrack's: get_tuple_skb, attach, destroy after one end, destroy after both
    :param left: connections of the namespace afterwards
    :param closings: calls of set_closing; ``None``: nobody asked for one
    """
    lookups, attaches, early, late = calls
    return (
        ("tuple", "none" if found is None else str(found)),
        ("attached", "nothing" if info is None else info),
        ("references", uses),
        ("calls", f"get_tuple_skb {lookups}, attach {attaches}, destroy {early} then {late}"),
        ("connections left", left),
        *([("closings", closings)] if closings is not None else []),
    )


def duplicated(seen: int) -> Facts:
    """How many copies of a datagram were made.

    :param seen: datagrams that crossed the hook point, the copies among them
    """
    return (("datagrams", seen),)


def port(number: int | None) -> Facts:
    """Which port a datagram came to.

    :param number: of the socket that a datagram came to; ``None`` if it came to none
    """
    return (("port", "none" if number is None else number),)


def listed(calls: Iterable[tuple[int, str]], passed: Sequence[int], freed: Sequence[int], linked: Sequence[int],
           altered: int) -> Facts:
    """What became of a list of packets, which are numbered from 1.

    :param calls: packet and hook of each, in order
    :param passed: packets that came out of the list, in that order
    :param freed: those that core freed
    :param linked: those that a hook met while they were linked to another one
    :param altered: calls with another ``nf_hook_state`` than the list came with
    """
    each = (f"{number}: {' '.join(hook for _, hook in called)}" for number, called in groupby(calls, key=lambda call: call[0]))
    return (("calls", ", ".join(each) or "none"), ("passed", " ".join(map(str, passed)) or "none"),
            ("freed", " ".join(map(str, freed)) or "none"), ("linked", " ".join(map(str, linked)) or "none"), ("altered", altered))


def remembered(allocated: int, left: int, early: int, overwritten: int) -> Facts:
    """What became of core's allocations.

    :param allocated: arrays that core got
    :param left: those that are neither in use nor freed
    :param early: those that were freed by the very call that replaced them
    :param overwritten: those into whose ops core wrote before they were freed
    """
    return (("allocated", allocated), ("early", early), ("left", left), ("overwritten", overwritten))
