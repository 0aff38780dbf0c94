"""What the stacks of a topology's namespaces keep, and the one way into a verdict loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from harness.model.conntrack import Tracking
from harness.model.nat import Redirections
from harness.model.nfqnl import Nfqnl
from harness.model.path.neighbour import Neighbours
from harness.model.path.packet import Packet, Piece
from harness.model.queue import nf_reinject
from harness.model.register import Core
from harness.model.slow import nf_hook_slow
from harness.model.structures import NETDEV_EGRESS, Context, Entries, HookState, Net, QueueEntry
from harness.netfilter import Family, Verdict, hook_number
from harness.outcome.types import NF_HOOK_SLOW, NF_HOOK_SLOW_LIST, NF_REINJECT, Traversal
from harness.scenario.topology import Topology

__all__ = ("Okfn", "Stack", "named", "open_softirq")

Okfn = Callable[[Packet], int]
"""What a packet that every hook accepts goes on with, bound to what else it needs; answers with 0 or a negative errno."""

_softirq: list[Callable[[Stack], None]] = []


def open_softirq(action: Callable[[Stack], None]) -> None:
    """``open_softirq(NET_RX_SOFTIRQ, …)``.

    :param action: takes everything from the backlog
    """
    _softirq[:] = [action]


_IP6 = {"ip_finish_output": "ip6_finish_output", "ip_rcv_finish": "ip6_rcv_finish", "ip_forward_finish": "ip6_forward_finish",
        "ip_local_deliver_finish": "ip6_input_finish", "br_nf_pre_routing_finish": "br_nf_pre_routing_finish_ipv6"}

_ENDLESS = 128
"""Traversals, more than any packet makes that comes to an end."""


def named(okfn: Okfn, pf: Family) -> str:
    """The C function's name; IPv6 often has another one."""
    name: str = okfn.func.__name__ if isinstance(okfn, partial) else okfn.__name__
    return _IP6.get(name, name) if pf is Family.IPV6 else name


@dataclass(slots=True)
class Stack:
    """The network stacks of a topology's namespaces.

    :param answers: packets that a stack sends because of one that it got, each with what sends it; in order
    :param backlog: packets that devices have received, with namespace and device: ``softnet_data``'s queue
    :param pieces: fragments that wait for the rest of their datagram, by who waits
    :param queues: who listens
    :param neighbours: whose hardware address each device knows
    :param doubts: what the model cannot tell
    :param bh_disabled: how many times over bottom halves are kept from running
    """

    topology: Topology
    core: Core
    nets: dict[str, Net]
    tracking: Tracking
    nat: Redirections
    answers: list[tuple[Okfn, Packet]] = field(default_factory=list)
    backlog: deque[tuple[str, str, Packet]] = field(default_factory=deque)
    pieces: dict[tuple[str, str, int | None], dict[int, Piece]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    neighbours: Neighbours = field(default_factory=Neighbours)
    bh_disabled: int = 0
    queues: Nfqnl = field(init=False)

    def __post_init__(self) -> None:
        self.queues = self.core.nf_queue_handler = Nfqnl(self.reinject)

    def local_bh_disable(self) -> None:
        """``local_bh_disable``: until it is enabled as often, nothing of the backlog is taken."""
        self.bh_disabled += 1

    def local_bh_enable(self) -> None:
        """``local_bh_enable``: what the devices have got meanwhile goes on; to what runs then, bottom halves are disabled."""
        if self.bh_disabled == 1:
            _softirq[0](self)
        self.bh_disabled -= 1

    def nf_hook(self, netns: str, packet: Packet, point: tuple[Family, str], devices: tuple[str, str], okfn: Okfn) -> int:
        """``NF_HOOK``: okfn, if every hook accepts. A point whose head is NULL is passed without a call of the loop.

        :param devices: ``state->in`` and ``state->out``, empty for none
        :returns: what okfn or else the loop answers
        """
        ret = self._hook(netns, packet, point, devices, okfn)
        return okfn(packet) if ret == 1 else ret

    def nf_hook_list(self, netns: str, packet: Packet, point: tuple[Family, str], devices: tuple[str, str], okfn: Okfn) -> bool:
        """``NF_HOOK_LIST`` for one packet of the list: whether it stays in the list, which okfn gets when all have been here."""
        return self._hook(netns, packet, point, devices, okfn, loop=NF_HOOK_SLOW_LIST) == 1

    def _hook(self, netns: str, packet: Packet, point: tuple[Family, str], devices: tuple[str, str], okfn: Okfn,
              *, loop: str = NF_HOOK_SLOW) -> int:
        pf, hook = point
        number = hook_number(pf, hook)
        state = HookState(pf, number, netns, *devices, named(okfn, pf))
        return self.run(packet, state, self.nets[netns].hooks[pf][number].entries, okfn=okfn, loop=loop)

    def nf_hook_device(self, netns: str, packet: Packet, hooknum: int, device: str) -> int:
        """``nf_hook_ingress``, since 5.16 ``nf_hook_egress``: the points of a device, whatever the packet's family."""
        egress = hooknum == NETDEV_EGRESS
        state = HookState(Family.NETDEV, hooknum, netns, "" if egress else device, device if egress else "")
        return self.run(packet, state, self.nets[netns].devices[device].hooks[hooknum].entries)

    def run(self, packet: Packet, state: HookState, entries: Entries | None, start: int = 0, *, okfn: Okfn | None = None,
            loop: str = NF_HOOK_SLOW, errnos: bool = True) -> int:
        """A verdict loop over an array. What its hooks bring about comes after it in the packet's walk, which is in order of entry.

        :param okfn: what a packet goes on with that was queued; the caller goes on with one that was not
        :param errnos: whether the loop hands on the errno of a verdict
        """
        if entries is None:
            return 1
        if len(packet.walk.traversals) >= _ENDLESS:  # br_netfilter in a core whose arrays are out of order
            self.doubts.append(f"a packet goes round without end at {state.net} {state.pf.name}: its fate cannot be told")
            packet.walk.unknown = "it goes round without end"
            return 0
        packet.walk.in_pieces |= packet.piece is not None
        context = Context(packet, state, partial(okfn, packet) if okfn else lambda: None)
        place = packet.walk.enter(packet)
        ret = nf_hook_slow(context, entries, start, profile=self.core.profile, handler=self.queues)
        ret = ret if errnos else max(ret, 0)
        packet.walk.leave(place, _traversal(context, ret, start, loop), packet.state)
        return ret

    def reinject(self, entry: QueueEntry, verdict: Verdict) -> None:
        """``nf_reinject`` of a packet that was queued; okfn runs in it, and what comes of that."""
        packet, state = entry.context.skb, entry.context.state
        assert isinstance(packet, Packet)  # noqa: S101 - private arrays' packets are not queued

        def okfn() -> None:
            self.local_bh_disable()
            entry.context.okfn()
            self.local_bh_enable()

        context = Context(packet, state, okfn, reinjected=True)
        hooks = self.nets[state.net].hooks[state.pf][state.hook].entries
        place = packet.walk.enter(packet)
        called_okfn = nf_reinject(context, hooks, entry.hook_index, verdict, self.queues, profile=self.core.profile)
        self.core.warnings += context.warnings
        packet.walk.leave(place, _traversal(context, called_okfn, entry.hook_index, NF_REINJECT, verdict), packet.state)


def _traversal(context: Context, returned: int, start: int, loop: str, answer: Verdict | None = None) -> Traversal:
    state = context.state
    return Traversal(state.pf, state.hook, state.net, state.indev, state.outdev, tuple(context.calls), returned, state.okfn, start, loop,
                     answer)
