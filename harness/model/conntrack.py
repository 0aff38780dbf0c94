"""Core's way to connection tracking: lines 539 to 606 of ``net/netfilter/core.c``, and behind it as much of nf_conntrack as shows there.

The functions have the names of the C ones. What a packet's hooks of nf_conntrack do is told from their symbols: those hooks are foreign
ones, see :mod:`harness.model.foreign`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.model.structures import Connection, CtSkb, Warnings
from harness.outcome.profile import KernelProfile
from harness.scenario.steps.conntrack import KERNEL_MODULES, ConntrackTuple

__all__ = (
    "NF_CT_ZONE_DFLT",
    "CtHook",
    "Tracking",
    "Zone",
    "nf_conntrack_destroy",
    "nf_conntrack_put",
    "nf_ct_attach",
    "nf_ct_get_tuple_skb",
    "nf_ct_set_closing",
    "nf_dup_ipv4",
)


@dataclass(frozen=True, slots=True)
class Zone:
    """``struct nf_conntrack_zone``.

    :param dir: bits of ``enum ip_conntrack_dir``
    """

    id: int
    flags: int
    dir: int


NF_CT_ZONE_DFLT = Zone(id=0, flags=0, dir=3)
"""``nf_ct_zone_dflt``, l.601-604: ``NF_CT_DEFAULT_ZONE_ID``, and both directions."""


@dataclass(frozen=True, slots=True)
class CtHook:
    """``struct nf_ct_hook``; before 5.17 ``attach`` had its own pointer, ``ip_ct_attach``, which is set and cleared with it."""

    destroy: Callable[[Connection], None]
    get_tuple_skb: Callable[[CtSkb], ConntrackTuple | None]
    attach: Callable[[CtSkb, CtSkb], None]
    set_closing: Callable[[Connection], None]


@dataclass(slots=True)
class Tracking:
    """Core's pointers, and what is behind them.

    :param modules: loaded ones; those that are built in are always
    :param nf_ct_hook: the pointer's value while nf_conntrack is not loaded; see :attr:`hook`
    :param connections: all of them
    :param nf_skb_duplicated: l.34, of the one processor that the model has (since 6.16 of the task)
    """

    profile: KernelProfile
    warnings: Warnings = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    nf_ct_hook: CtHook | None = None
    connections: list[Connection] = field(default_factory=list)
    nf_skb_duplicated: bool = False

    def __post_init__(self) -> None:
        self.modules |= set(self.profile.conntrack_builtin)

    @property
    def hook(self) -> CtHook | None:
        """``nf_ct_hook``, l.545."""
        if "nf_conntrack" in self.modules:
            return CtHook(self._destroy, self._get_tuple_skb, self._attach, lambda _connection: None)  # it closes those of TCP
        return self.nf_ct_hook

    def pointers(self) -> Iterator[tuple[str, bool]]:
        """Core's pointers, l.542-556, and whether each leads anywhere."""
        yield "nf_ct_hook", self.hook is not None
        if self.profile.ip_ct_attach:
            yield "ip_ct_attach", self.hook is not None
        yield "nfnl_ct_hook", "nf_conntrack_netlink" in self.modules and self.profile.conntrack_glue
        yield "nf_nat_hook", "nf_nat" in self.modules

    def load(self, name: str) -> None:
        """Load a module with all that it needs."""
        self.modules |= {name, *KERNEL_MODULES[name]}

    def unload(self, name: str) -> None:
        """Unload a module with all that need it; nf_conntrack takes its connections along."""
        going = {name, *(other for other, needed in KERNEL_MODULES.items() if name in needed)}
        self.modules -= going - set(self.profile.conntrack_builtin)
        if "nf_conntrack" not in self.modules:
            self.connections.clear()

    def count(self, net: str) -> int:
        """``nf_conntrack_count``."""
        return sum(each.net == net for each in self.connections)

    def ran(self, function: str, skb: CtSkb) -> None:
        """A hook of nf_conntrack's has run."""
        if function in ("ipv4_conntrack_in", "ipv4_conntrack_local"):
            self._conntrack_in(skb)
        elif function in ("nf_confirm", "ipv4_confirm") and skb.nfct is not None and not skb.info.endswith("_REPLY"):
            self._confirm(skb.nfct)

    def _conntrack_in(self, skb: CtSkb) -> None:
        """``nf_conntrack_in``: a packet that has a connection keeps it."""
        if skb.nfct is not None or skb.flow is None:
            return
        found = self._find(skb)
        if found is None:
            skb.nfct, skb.info = Connection(skb.net, skb.flow, skb.flow.inverted()), "NEW"
            self.connections.append(skb.nfct)
            return
        found.use += 1
        found.replied |= skb.flow == found.reply
        skb.nfct = found
        skb.info = "ESTABLISHED_REPLY" if skb.flow == found.reply else "ESTABLISHED" if found.replied else "NEW"

    @staticmethod
    def _confirm(nfct: Connection) -> None:
        """``__nf_conntrack_confirm``: a packet of the original direction takes its connection into the table."""
        if not nfct.confirmed:
            nfct.confirmed = True
            nfct.use += 1

    def _destroy(self, nfct: Connection) -> None:
        """``nf_ct_destroy``."""
        self.connections.remove(nfct)

    def _get_tuple_skb(self, skb: CtSkb) -> ConntrackTuple | None:
        """``nf_conntrack_get_tuple_skb``: a connection's own tuple in the packet's direction; else the other one of the entry found."""
        if skb.nfct is not None:
            return skb.nfct.reply if skb.info.endswith("_REPLY") else skb.nfct.original
        found = self._find(skb)
        if found is None:
            return None
        return found.reply if skb.flow == found.original else found.original

    def _find(self, skb: CtSkb) -> Connection | None:
        """``nf_conntrack_find_get``, in the default zone: those that are confirmed."""
        here = (each for each in self.connections if each.confirmed and each.net == skb.net)
        return next((each for each in here if skb.flow in (each.original, each.reply)), None)

    @staticmethod
    def _attach(new: CtSkb, skb: CtSkb) -> None:
        """``nf_conntrack_attach``: what a packet triggers goes the other way."""
        new.nfct, new.info = skb.nfct, "RELATED" if skb.info.endswith("_REPLY") else "RELATED_REPLY"
        if skb.nfct is not None:
            skb.nfct.use += 1


def nf_ct_attach(tracking: Tracking, new: CtSkb, skb: CtSkb) -> None:
    """``nf_ct_attach``, l.559-570."""
    if skb.has_nfct and tracking.hook is not None:
        tracking.hook.attach(new, skb)


def nf_conntrack_destroy(tracking: Tracking, nfct: Connection) -> None:
    """``nf_conntrack_destroy``, l.573-582: a connection needs a hook; on newer kernels otherwise a warning, and nothing is destroyed."""
    if tracking.hook is None:
        tracking.warnings.append("nf_conntrack_destroy")
        return
    tracking.hook.destroy(nfct)


def nf_ct_set_closing(tracking: Tracking, nfct: Connection | None) -> None:
    """Since 6.6 ``nf_ct_set_closing``: of a connection that a reset ends; none is nothing to close."""
    if nfct is not None and tracking.hook is not None:
        tracking.hook.set_closing(nfct)


def nf_ct_get_tuple_skb(tracking: Tracking, skb: CtSkb) -> ConntrackTuple | None:
    """``nf_ct_get_tuple_skb``, l.585-597.

    :returns: ``None`` for false
    """
    return tracking.hook.get_tuple_skb(skb) if tracking.hook is not None else None


def nf_conntrack_put(tracking: Tracking, skb: CtSkb) -> None:
    """``nf_conntrack_put`` of an skb that is freed, or whose connection is taken away (``nf_reset_ct``)."""
    nfct, skb.nfct = skb.nfct, None
    if nfct is not None:
        nfct.use -= 1
        if nfct.use == 0:
            nf_conntrack_destroy(tracking, nfct)


def nf_dup_ipv4(tracking: Tracking, leaves: Callable[[], None]) -> None:
    """``nf_dup_ipv4``: send a copy, unless one is being sent.

    :param leaves: the copy goes by the points that it crosses
    """
    if tracking.nf_skb_duplicated:
        return
    tracking.nf_skb_duplicated = True
    leaves()
    tracking.nf_skb_duplicated = False
