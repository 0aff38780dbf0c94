"""Which hook points a packet crosses: the layers of the stack, as far as they decide where a verdict loop is called.

The life of a packet: it enters where a program sends it, or the kernel asks something of itself (``entrance``), and goes from layer to
layer: ``ip``, ``arp``, ``fragment``, ``neighbour``, ``device`` with links and VLANs, ``bridge``, and ``br_netfilter`` in ``brnf``. A layer
calls the one way into a verdict loop (``stack``) and hands the packet on to okfn when the loop returns 1, as ``NF_HOOK`` does.

Read ``packet`` (one ``struct sk_buff``, and what its copies share), ``stack``, then ``ip``. Functions are named as the kernel's.
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
