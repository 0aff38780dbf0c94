"""What core and its callers hand one another: structures of ``include/linux/netfilter.h``, ``skbuff.h``, ``netdevice.h``,
``net/net_namespace.h`` and ``net/netfilter/nf_queue.h``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from harness.netfilter import Family, Verdict
from harness.outcome.types import HookCall
from harness.scenario.steps.conntrack import ConntrackTuple

__all__ = (
    "ARRAY_SIZE", "NETDEV_EGRESS", "NETDEV_INGRESS", "NET_DEVICE_HOOKS", "Connection", "Context", "CtSkb", "Entries", "Head",
    "HookFunction", "HookOps", "HookState", "Net", "NetDevice", "QueueEntry", "QueueHandler", "Skb", "SkbState", "Warnings",
)

NETDEV_INGRESS, NETDEV_EGRESS = 0, 1
NET_DEVICE_HOOKS = (NETDEV_INGRESS, NETDEV_EGRESS)

ARRAY_SIZE = {Family.IPV4: 5, Family.IPV6: 5, Family.ARP: 3, Family.BRIDGE: 5}
"""Heads of each family in ``struct netns_nf`` (BRIDGE has none for BROUTING, although the number is defined)."""

Warnings = list[str]
"""What ``WARN_ON`` said: on a real kernel each is a splat."""

HookFunction = Callable[["HookOps", "Context"], Verdict]

SkbState = Literal["in flight", "freed", "stolen", "queued", "leaked"]


@dataclass(slots=True, eq=False)
class HookOps:
    """``struct nf_hook_ops``. Compared by identity, as core.c compares pointers; its owner's, who may change it.

    :param function: symbol of ``hook``, and the module that it is in: what a dump shows
    :param device: ``dev``, for points that belong to one
    :param label: the scenario's name for it, if it is one of ours
    :param bpf: since 6.4: ``hook_ops_type`` is ``NF_HOOK_OP_BPF``
    """

    hook: HookFunction
    function: str
    module: str | None
    pf: Family
    hooknum: int
    priority: int
    device: NetDevice | None = None
    label: str | None = None
    bpf: bool = False


Entries = list[HookOps]
"""``struct nf_hook_entries``: never empty."""


@dataclass(slots=True)
class Head:
    """``struct nf_hook_entries __rcu **pp``: the place that points to an array."""

    entries: Entries | None = None


def _heads(sizes: dict[Family, int]) -> dict[Family, list[Head]]:
    return {pf: [Head() for _ in range(size)] for pf, size in sizes.items()}


@dataclass(slots=True, eq=False)
class NetDevice:
    """``struct net_device``.

    :param up: ``netif_running()``
    :param hooks: ``nf_hooks_ingress``, and since 5.16 ``nf_hooks_egress``
    """

    name: str
    net: Net
    up: bool = True
    hooks: dict[int, Head] = field(default_factory=lambda: {hooknum: Head() for hooknum in NET_DEVICE_HOOKS})


@dataclass(slots=True, eq=False)
class Net:
    """``struct net``, as ``netfilter_net_init`` (l.608-643) leaves it: every head NULL.

    :param first: ``net_eq(net, &init_net)``: the one that is there before any process
    :param sysctl: settings by name; 0 by default
    """

    name: str
    first: bool = False
    sysctl: Counter[str] = field(default_factory=Counter)
    hooks: dict[Family, list[Head]] = field(default_factory=lambda: _heads(ARRAY_SIZE))
    devices: dict[str, NetDevice] = field(default_factory=dict)

    def add_device(self, name: str) -> NetDevice:
        """The device of that name, made if there is none."""
        return self.devices.setdefault(name, NetDevice(name, self))


@dataclass(slots=True, eq=False)
class Connection:
    """``struct nf_conn``.

    :param use: references
    :param replied: ``IPS_SEEN_REPLY``
    :param confirmed: it is in the table
    """

    net: str
    original: ConntrackTuple
    reply: ConntrackTuple
    use: int = 1
    replied: bool = False
    confirmed: bool = False


#: ``IP_CT_UNTRACKED``, without a connection: conntrack leaves the packet alone.
UNTRACKED = "UNTRACKED"


@dataclass(slots=True)
class CtSkb:
    """``struct sk_buff``, as far as connection tracking looks at it.

    :param nfct: the connection that ``skb->_nfct`` leads to, and with it
    :param info: ``enum ip_conntrack_info``
    """

    net: str = ""
    flow: ConntrackTuple | None = None
    nfct: Connection | None = None
    info: str = ""

    @property
    def has_nfct(self) -> bool:
        """Whether ``skb->_nfct``, the connection with *info* in its lower bits, is not 0: so is that of a packet that is not tracked."""
        return self.nfct is not None or self.info == UNTRACKED


@dataclass(slots=True)
class Skb:
    """``struct sk_buff``, as far as hooks of ours look at it.

    :param nth: which of the packets with this cookie it is, from 0: answers carry the cookie of what they answer
    :param state: who has it: ``freed`` by core, ``stolen`` by the hook, ``leaked`` by an unconventional verdict
    :param linked: whether it is in a list: ``skb->next``
    :param met_linked: whether a hook was called with it then
    """

    cookie: int | None = None
    nth: int = 0
    state: SkbState = "in flight"
    ct: CtSkb = field(default_factory=CtSkb)
    linked: bool = False
    met_linked: bool = False


@dataclass(frozen=True, slots=True)
class HookState:
    """``struct nf_hook_state``.

    :param indev: empty for none, as is *outdev*
    :param okfn: its name, ``None`` for NULL
    """

    pf: Family
    hook: int
    net: str
    indev: str = ""
    outdev: str = ""
    okfn: str | None = None


@dataclass(slots=True)
class Context:
    """What a hook function is called with, and the calls of this run of the loop so far.

    :param okfn: ``state->okfn``, bound to what it needs
    :param reinjected: it is ``nf_reinject`` that runs
    :param states: what each of the calls was given
    """

    skb: Skb
    state: HookState
    okfn: Callable[[], object] = lambda: None
    reinjected: bool = False
    calls: list[HookCall] = field(default_factory=list)
    states: list[HookState] = field(default_factory=list)
    warnings: Warnings = field(default_factory=list)

    def call(self, hooks: Entries, index: int) -> Verdict:
        """``nf_hook_entry_hookfn``."""
        ops = hooks[index]
        self.skb.met_linked |= self.skb.linked
        self.states.append(self.state)
        verdict = ops.hook(ops, self)
        self.calls.append(HookCall(index, ops.function, ops.module, ops.priority, verdict, label=ops.label))
        return verdict


@dataclass(slots=True, eq=False)
class QueueEntry:
    """``struct nf_queue_entry``.

    :param context: the skb, and the state that its hook point gave it
    :param hook_index: slot of the hook that queued it; whatever the array becomes meanwhile
    """

    context: Context
    hook_index: int
    id: int = 0


class QueueHandler(Protocol):
    """``struct nf_queue_handler``."""

    def outfn(self, entry: QueueEntry, queuenum: int) -> int:
        """Take a packet.

        :returns: 0, or a negative errno
        """

    def nf_hook_drop(self, net: Net) -> None:
        """Drop every packet that waits in a namespace."""
