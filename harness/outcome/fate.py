"""The ends that a packet comes to: one vocabulary for ``run``, ``trace`` and ``lab``, the same on every kernel.

Hook functions say the same in different ways: nft drops by returning DROP, or frees the skb itself and returns STOLEN with an errno. So
an end is told from what was seen to become of the skb: the last hook's verdict, whether the skb was freed (``kfree_skb``) or consumed
(``consume_skb``) and when, what it came to behind the hook point. The verdict as the hook returned it stands at its call.

============================  ==============================================================================================
``delivered``                 the host that it was meant for took it: a protocol behind INPUT kept or consumed it, read or not; of a
                              datagram that is segmented for its socket, at least one segment
``dropped``                   a hook dropped it: DROP, or STOLEN of a hook that freed it and returns an errno; or no listener of a queue
``rejected``                  as ``dropped``, and the hook answered it with an ICMP error or a reset
``dropped by the stack``      freed behind a hook point, or consumed without use: fragments of which no datagram was made, a SYN that its
                              listener does not answer, a ping that the host ignores; the reason is the kernel's, else the function
                              that freed it
``sent``                      a device took it and nothing was seen of it behind that: a dummy, a tun device's reader, a network card
``queued``                    it waits for an NFQUEUE listener
``stolen``                    a hook returned STOLEN and kept it, or consumed it; one that sent it on is no thief
``absorbed``                  a fragment that went into the datagram that another fragment's skb became
``segmented``                 it was taken apart, and its segments or fragments go on: their ends tell
``consumed``                  the stack consumed it, and no more is known (ARP, a duplicate)
``leaked``                    the scenario is over, and it has not been freed, nor does it wait in a queue
``doubled``                   it came to more than one end: delivered twice, or dropped and delivered
``unknown``                   its end was not seen
============================  ==============================================================================================
"""

from __future__ import annotations

import difflib
import errno as errno_names
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import Mistake
from harness.netfilter import errno_name

__all__ = (
    "Absorbed", "Consumed", "Delivered", "Dropped", "DroppedByStack", "Fate", "FateKind", "Queued", "Rejected", "Segmented", "Sent",
    "Stolen", "UnknownErrno", "number_of",
)

FateKind = Literal[
    "delivered", "dropped", "rejected", "dropped by the stack", "sent", "queued", "stolen", "absorbed", "segmented", "consumed", "leaked",
    "doubled", "unknown",
]

_NAMES = {"dropped by the stack": "DroppedByStack"}


@dataclass(frozen=True, slots=True, repr=False)
class Fate:
    """What became of a packet. It prints as the functions below are written: ``Dropped("EPERM")``.

    :param errno: positive; what the last verdict loop returned, negated; 0 where that returned 0 or 1
    :param reason: for a reader only, never compared: the kernel's drop reason, or the function that freed the skb
    """

    kind: FateKind
    errno: int = 0
    reason: str | None = field(default=None, compare=False)

    def __eq__(self, other: object) -> bool:
        """A fate with the same kind and errno.

        :raises Mistake: it is compared with a word, which no fate ever is
        """
        if isinstance(other, str):
            raise Mistake(f"a fate is compared with {other!r}", hint="compare it with Delivered(), Dropped(…) …; its word is fate.kind")
        return isinstance(other, Fate) and (self.kind, self.errno) == (other.kind, other.errno)

    def __hash__(self) -> int:
        return hash((self.kind, self.errno))

    def __repr__(self) -> str:
        name = _NAMES.get(self.kind, self.kind.capitalize())
        if self.errno:
            return f'{name}("{errno_name(self.errno)}")'
        return f"{name}(0)" if self.kind in ("dropped", "rejected") else f"{name}()"


def Delivered() -> Fate:  # noqa: N802 - a fate is compared as if it were a class
    """The host that it was meant for took it."""
    return Fate("delivered")


def Dropped(errno: int | str = "EPERM") -> Fate:  # noqa: N802
    """A hook dropped it.

    :param errno: what the loop returned, EPERM for a DROP that names none (``nf_hook_slow``)
    """
    return Fate("dropped", number_of(errno))


def Rejected(errno: int | str = "EPERM") -> Fate:  # noqa: N802
    """A hook dropped it and answered it.

    :param errno: as of :func:`Dropped`
    """
    return Fate("rejected", number_of(errno))


def DroppedByStack() -> Fate:  # noqa: N802
    """The stack dropped it: no route, no socket, its time to live …"""
    return Fate("dropped by the stack")


def Sent() -> Fate:  # noqa: N802
    """A device took it."""
    return Fate("sent")


def Queued() -> Fate:  # noqa: N802
    """The packet waits for an NFQUEUE listener."""
    return Fate("queued")


def Stolen(errno: int | str = 0) -> Fate:  # noqa: N802
    """A hook took it, and keeps it or has consumed it.

    :param errno: what the loop returned, 0 for none
    """
    return Fate("stolen", number_of(errno))


def Absorbed() -> Fate:  # noqa: N802
    """The fragment went into a datagram."""
    return Fate("absorbed")


def Segmented() -> Fate:  # noqa: N802
    """The packet was taken apart."""
    return Fate("segmented")


def Consumed() -> Fate:  # noqa: N802
    """The stack consumed it, and no more is known."""
    return Fate("consumed")


class UnknownErrno(Mistake, ValueError):
    """No errno has that name."""

    __module__ = "builtins"


def number_of(errno: int | str) -> int:
    """``"EPERM"`` → 1.

    :raises UnknownErrno: no errno has that name
    """
    if isinstance(errno, int):
        return errno
    known = {name: number for name, number in vars(errno_names).items() if isinstance(number, int)}
    if errno not in known:
        near = difflib.get_close_matches(str(errno).upper(), known, n=1)
        raise UnknownErrno(f'there is no errno "{errno}"', hint=f'did you mean "{near[0]}"?' if near else 'a number, or a name: "EPERM"')
    return known[errno]
