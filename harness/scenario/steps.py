"""Scenario and its steps: plain data that a person writes, Hypothesis generates and a failure bundle replays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind
from harness.scenario.routing import Address, first_address, owner, source_address
from harness.scenario.topology import Topology

__all__ = (
    "ACCEPT",
    "COOKIE_BYTES",
    "COUNT_MAX",
    "SIZE_MAX",
    "BatchStep",
    "Dump",
    "Nft",
    "PacketKind",
    "RawDelete",
    "RawInsert",
    "RawRun",
    "RawStep",
    "Register",
    "RegisterAgain",
    "RegisterBatch",
    "RegisterMany",
    "Scenario",
    "Send",
    "Step",
    "Unregister",
    "UnregisterAbsent",
    "UnregisterBatch",
    "destination",
    "is_point",
    "packet_summary",
)

ACCEPT = Verdict(VerdictKind.ACCEPT)

PacketKind = Literal["udp", "echo"]

COOKIE_BYTES = 16
"""A payload ends with eight bytes of magic and the cookie; it is never smaller."""
SIZE_MAX = 1400
"""Largest payload: below a veth's MTU with any headers, so that nothing is fragmented."""


COUNT_MAX = 2048
"""Most hooks of one register-many: twice what fits at a point."""


@dataclass(frozen=True, slots=True)
class Register:
    """``nf_register_net_hook``.

    :param id: the scenario's name for the hook
    :param device: for NETDEV, and for INGRESS of INET
    :param cookie: the one packet that gets the verdict, others are accepted; ``None``: every packet gets it
    """

    id: str
    netns: str
    pf: Family
    hook: str
    priority: int = 0
    verdict: Verdict = ACCEPT
    device: str | None = None
    cookie: int | None = None


@dataclass(frozen=True, slots=True)
class RegisterMany:
    """``nf_register_net_hook`` for each of *count* hooks alike; those that come after a refused one are tried all the same.

    The step's errno is that of the first refusal; its array is read once, after the last.

    :param id: the hooks are called ``id.1`` to ``id.count``, in the order of their registration
    """

    id: str
    netns: str
    pf: Family
    hook: str
    count: int
    priority: int = 0
    device: str | None = None

    def each(self) -> Iterator[Register]:
        """The registrations, one by one."""
        for number in range(1, self.count + 1):
            yield Register(f"{self.id}.{number}", self.netns, self.pf, self.hook, self.priority, device=self.device)


@dataclass(frozen=True, slots=True)
class Unregister:
    """``nf_unregister_net_hook``. :param id: that of an earlier :class:`Register`"""

    id: str


@dataclass(frozen=True, slots=True)
class Send:
    """One packet, made with scapy and sent with ``sendto()`` on a raw socket; a sink waits at the other end.

    :param source: the sending namespace (``from`` in JSON)
    :param to: a namespace, whose first address of the family is meant, or an address
    :param cookie: carried in the last 8 bytes of the payload; no two packets of a scenario share one
    :param size: bytes of payload (of UDP, of the echo request)
    :param source_port: of UDP; 0 for echo, as is ``port``
    """

    source: str
    to: str
    cookie: int
    pf: Family = Family.IPV4
    kind: PacketKind = "udp"
    size: int = 32
    ttl: int = 64
    source_port: int = 40000
    port: int = 9

    def __post_init__(self) -> None:
        if self.kind == "echo":
            object.__setattr__(self, "source_port", 0)
            object.__setattr__(self, "port", 0)


@dataclass(frozen=True, slots=True)
class Dump:
    """Read one hook point's array, slot by slot."""

    netns: str
    pf: Family
    hook: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Nft:
    """Load a real nft ruleset: its hooks are foreign ones, which the model adopts from what was seen.

    :param ruleset: as ``nft -f`` reads it
    """

    netns: str
    ruleset: str


@dataclass(frozen=True, slots=True)
class RawInsert:
    """``nf_hook_entries_insert_raw``: a hook into a private array, where no packet of the stack's comes.

    :param array: the scenario's name for the array; it is there from the first hook on
    :param verdict: the u32 that the hook returns; any will do
    :param count: so many hooks that differ in their names only: see :attr:`ids`; the first refusal ends it
    """

    id: str
    netns: str
    array: str
    priority: int = 0
    verdict: int = VerdictKind.ACCEPT
    count: int = 1

    @property
    def ids(self) -> tuple[str, ...]:
        """``a``; of several ``a.1``, ``a.2`` …, as those of :class:`RegisterMany`."""
        return (self.id,) if self.count == 1 else tuple(f"{self.id}.{number}" for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True)
class RawDelete:
    """``nf_hook_entries_delete_raw``.

    :param id: one of the :attr:`RawInsert.ids` of an earlier step
    :param array: another one of the namespace's arrays, in which core must not find the hook; ``None``: the one that it is in
    """

    id: str
    array: str | None = None


@dataclass(frozen=True, slots=True)
class RawRun:
    """``nf_hook_slow`` over a private array, with a datagram made for it, which goes nowhere.

    :param start: the slot that it starts with
    """

    netns: str
    array: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class RegisterBatch:
    """``nf_register_net_hooks``: all of the hooks, or none and the errno of the first that fails.

    :param hooks: of this namespace, 64 at most; to make one fail, leave out its device, or choose a point ``HOOK<n>`` that the family
        has not, of which core warns
    """

    netns: str
    hooks: tuple[Register, ...]


@dataclass(frozen=True, slots=True)
class UnregisterBatch:
    """``nf_unregister_net_hooks``. :param id: that of a hook that came in a :class:`RegisterBatch`, all of which is there still"""

    id: str


@dataclass(frozen=True, slots=True)
class RegisterAgain:
    """``nf_register_net_hook`` of the ops of an earlier :class:`Register`; each :class:`Unregister` then takes one registration."""

    id: str


@dataclass(frozen=True, slots=True)
class UnregisterAbsent:
    """``nf_unregister_net_hook`` of ops that were never registered: core warns. The parameters are those of :class:`Register`."""

    netns: str
    pf: Family
    hook: str
    device: str | None = None


RawStep = RawInsert | RawDelete | RawRun
BatchStep = RegisterBatch | UnregisterBatch | RegisterAgain | UnregisterAbsent
Step = Register | RegisterMany | Unregister | Send | Dump | Nft | RawInsert | RawDelete | RawRun | BatchStep


@dataclass(frozen=True, slots=True)
class Scenario:
    """:param summary: one line for a list"""

    name: str
    summary: str
    topology: Topology
    steps: tuple[Step, ...]


def destination(topology: Topology, send: Send) -> tuple[str, Address]:
    """The namespace and the address that a packet is meant for.

    :raises ValueError: nobody has the address, or the namespace has none of the family
    """
    if send.to in topology.namespaces:
        address = first_address(topology, send.to, send.pf)
        if address is None or (address.is_loopback and send.to != send.source):
            raise ValueError(f"{send.to} has no {send.pf.name} address")
        return send.to, address
    address = ip_address(send.to)
    holder = send.source if address.is_loopback else owner(topology, address)
    if holder is None:
        raise ValueError(f"no namespace has the address {address}")
    return holder, address


def packet_summary(topology: Topology, send: Send) -> str:
    """One line on a packet's headers: ``udp 10.0.1.2:40000 > 10.0.2.2:9, 32 bytes, ttl 64``."""
    _, to = destination(topology, send)
    source = source_address(topology, send.source, to)
    if send.kind == "udp":
        ends = f"udp {_endpoint(source, send.source_port)} > {_endpoint(to, send.port)}"
    else:
        ends = f"icmp{'v6' if to.version == 6 else ''} echo request {source or '?'} > {to}"
    return f"{ends}, {send.size} bytes, ttl {send.ttl}"


def _endpoint(address: Address | None, port: int) -> str:
    if address is None:
        return f"?:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def is_point(step: Register | UnregisterAbsent) -> bool:
    """Whether the hook point is one: a number that the family has, and the device that it belongs to."""
    by_device = step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")
    return step.hook in HOOK_POINTS[step.pf] and by_device == (step.device is not None)
