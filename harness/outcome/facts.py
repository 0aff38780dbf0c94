"""What steps with connection tracking find, in words: the facts of a :class:`harness.outcome.types.StepOutcome`."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ("Facts", "duplicated", "pointers_and_zone", "port", "tracked")

Facts = tuple[tuple[str, str | int], ...]


def pointers_and_zone(pointers: Iterable[tuple[str, bool]], zone: tuple[int, int, int]) -> Facts:
    """:param pointers: of core's, each with whether it leads anywhere; :param zone: id, flags and direction of ``nf_ct_zone_dflt``"""
    number, flags, direction = zone
    return (*((name, "set" if leads else "NULL") for name, leads in pointers),
            ("nf_ct_zone_dflt", f"{number}, flags {flags}, dir {direction}"))


def tracked(found: object, info: str | None, uses: int, calls: tuple[int, int, int, int], left: int) -> Facts:
    """What a ct-run came to.

    :param found: the tuple; ``None`` for false
    :param info: ``enum ip_conntrack_info`` of the second datagram if it got the connection of the first, ``None`` if it got none
    :param uses: references to that connection, 0 for none
    :param calls: of hooks that were not nf_conntrack's: get_tuple_skb, attach, destroy after one end, destroy after both
    :param left: connections of the namespace afterwards
    """
    lookups, attaches, early, late = calls
    return (
        ("tuple", "none" if found is None else str(found)),
        ("attached", "nothing" if info is None else info),
        ("references", uses),
        ("calls", f"get_tuple_skb {lookups}, attach {attaches}, destroy {early} then {late}"),
        ("connections left", left),
    )


def duplicated(seen: int) -> Facts:
    """:param seen: datagrams that crossed the hook point, the copies among them"""
    return (("datagrams", seen),)


def port(number: int | None) -> Facts:
    """:param number: of the socket that a datagram came to; ``None`` if it came to none"""
    return (("port", "none" if number is None else number),)
