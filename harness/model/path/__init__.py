"""Which hook points a packet crosses: the layers of the stack, as far as they decide where a verdict loop is called.

A module for each layer, its functions named as the kernel's: :mod:`ip`, :mod:`arp`, :mod:`fragment`, :mod:`neighbour`,
:mod:`device` with links and VLANs, :mod:`bridge`, and ``br_netfilter`` in :mod:`brnf`. Each hands a packet on to okfn when the verdict
loop returns 1, as ``NF_HOOK`` does.
IPv6 has the same points in the same places as IPv4; its functions' names are given beside those of IPv4 where hooks see them.
"""

from __future__ import annotations

from harness.model.path.entrance import arp_solicit, known_hooks, register_br_netfilter, send_frame, sendto, settle
from harness.model.path.packet import BROADCAST, Mac, Packet, Piece, Record, mac_of
from harness.model.path.stack import Stack

__all__ = (
    "BROADCAST", "Mac", "Packet", "Piece", "Record", "Stack", "arp_solicit", "known_hooks", "mac_of", "register_br_netfilter",
    "send_frame", "sendto", "settle",
)
