"""Steps with connection tracking: its kernel modules, core's pointers to them, and core's functions that go by way of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("KERNEL_MODULES", "OWN", "CtRead", "CtRun", "Flow", "KernelModule", "Tee", "Track")

KERNEL_MODULES = {"nf_conntrack": (), "nf_conntrack_netlink": ("nf_conntrack",), "nf_nat": ("nf_conntrack",)}
"""Those that a :class:`KernelModule` may be about, with what each needs of the others."""

OWN = ("connection", "hooks", "orphan")


@dataclass(frozen=True, slots=True)
class Flow:
    """What tells a datagram from others: IPv4 addresses and UDP ports. Also ``struct nf_conntrack_tuple``."""

    source: str
    source_port: int
    destination: str
    port: int

    def __str__(self) -> str:
        return f"{self.source}:{self.source_port} > {self.destination}:{self.port}"

    def inverted(self) -> Flow:
        """``nf_ct_invert_tuple``: that of an answer."""
        return Flow(self.destination, self.port, self.source, self.source_port)


@dataclass(frozen=True, slots=True)
class KernelModule:
    """Load a kernel module with what it needs, or unload it with all that need it, the scenario's rulesets first.

    When the scenario is over, those that were loaded before it are again.
    """

    name: str
    loaded: bool = True


@dataclass(frozen=True, slots=True)
class Track:
    """Have the IPv4 packets of a namespace tracked, by a ruleset that asks for their state."""

    netns: str


@dataclass(frozen=True, slots=True)
class CtRead:
    """Read core's pointers ``nf_ct_hook``, ``nfnl_ct_hook``, ``nf_nat_hook`` (and ``ip_ct_attach`` ▲), and ``nf_ct_zone_dflt``."""


@dataclass(frozen=True, slots=True)
class CtRun:
    """``nf_ct_get_tuple_skb`` of a datagram made for it, ``nf_ct_attach`` of a second one to it, the end of the second and then of the
    first: ``nf_conntrack_destroy`` with the last reference.

    :param track: the namespace's hooks at IPv4 PREROUTING see the first one before
    :param own: ``connection``: the first one has one of the module's; ``hooks``: core's pointers lead to the module meanwhile;
        ``orphan``: the last reference to the module's connection is put while there is no hook to destroy it; all of it while
        nf_conntrack is not loaded
    """

    netns: str
    flow: Flow
    track: bool = False
    own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tee:
    """nft's ``dup to`` for the UDP datagrams that leave a namespace by OUTPUT, where the copies come too; one datagram is sent.

    :param to: the namespace at the other end of a link, to which the datagram goes and its copy
    """

    netns: str
    to: str
