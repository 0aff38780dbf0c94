"""Steps with address translation."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Redirect",)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A nat chain of nft's at IPv4 PREROUTING, in a table of its own: UDP datagrams to one port go to another, at this host.

    It is no hook of the hook point: NAT has one there for all of them, and calls theirs in a loop of its own (``nf_nat_inet_fn``) over
    an array that ``nf_hook_entries_insert_raw`` makes. A later ``send`` says which port its datagram came to.

    :param port: whose datagrams are redirected; :param to: where
    """

    netns: str
    to: int
    priority: int = -100
    port: int = 9
