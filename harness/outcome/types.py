"""What happened, or what the model says would happen: the common answer of both executors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from harness.netfilter import Family, Verdict, VerdictKind, hook_name
from harness.outcome.fate import Fate

__all__ = (
    "BEFORE",
    "NF_HOOK_SLOW",
    "NF_HOOK_SLOW_LIST",
    "NF_NAT_INET_FN",
    "NF_REINJECT",
    "OURS",
    "OUR_MODULE",
    "Change",
    "Connection",
    "Evaluated",
    "HookCall",
    "Missed",
    "Outcome",
    "PacketOutcome",
    "QueueState",
    "RawOutcome",
    "Registration",
    "Relation",
    "Ruleset",
    "RulesetRule",
    "Slot",
    "StepOutcome",
    "Traversal",
    "by_namespace",
    "point_key",
    "queue_key",
    "raw_key",
)

T = TypeVar("T")

OURS, OUR_MODULE = "nfharness_hook", "nfharness"
"""Hook function of every hook of ours, and its module."""

NF_HOOK_SLOW, NF_HOOK_SLOW_LIST, NF_REINJECT = "nf_hook_slow", "nf_hook_slow_list", "nf_reinject"
NF_NAT_INET_FN = "nf_nat_inet_fn"

BEFORE = -1
"""Number of the step before the first one: what an executor found when the topology stood and nothing had been done yet."""

class Relation(NamedTuple):
    """What a packet is to another one.

    :param packet: the other one's number
    """

    kind: Literal["answer to", "segment of", "copy of"]
    packet: int


class Connection(NamedTuple):
    """The entry of connection tracking's that a packet belongs to.

    :param id: as ``conntrack -L -o id`` shows it; ``None`` where the kernel had not made the key of such ids yet
    :param zone: 0 for the default one
    :param status: bits of ``enum ip_conntrack_status`` that are set: ``SEEN_REPLY``, ``CONFIRMED``
    :param direction: of the packet
    """

    id: int | None
    zone: int
    status: tuple[str, ...]
    direction: Literal["original", "reply"]


class Change(NamedTuple):
    """Something about a packet that became something else.

    :param what: ``destination``, ``TTL``, ``mark``, ``connection``
    """

    what: str
    before: str
    after: str


class RulesetRule(NamedTuple):
    """A rule of nftables', or of an xtables table.

    :param handle: its number in its table; of xtables' its number in its chain, from 1, as ``iptables -L --line-numbers`` counts
    :param chain: where it stands
    :param text: as ``nft`` lists it; both empty for a rule that was not listed. Of xtables' only its target: ``-j DROP``
    :param via: handles of the rules that jumped to its chain, the base chain's first; empty for a rule of the base chain, and where the
        way is not known
    """

    handle: int
    chain: str = ""
    text: str = ""
    via: tuple[int, ...] = ()


class Evaluated(NamedTuple):
    """What was seen of how a base chain of nftables' came to its verdict, besides the rule that gave that.

    :param table: handle of the chain's table
    :param jumps: how many rules jumped
    :param jumped: handles of the first of those, in the order of the jumps
    """

    table: int
    jumps: int = 0
    jumped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A namespace's ruleset of nftables', as it was listed.

    :param netns: name of the namespace
    :param first: when it was listed first, ns since the session's first record: it was so at the end of that listing
    :param last: when a listing showed the same last, when that began
    :param listed: what ``nft --json --numeric`` lists, object by object; each rule has its ``text``, too
    """

    netns: str
    first: int
    last: int
    listed: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of one hook function by the verdict loop.

    :param index: slot in the array that was walked
    :param function: symbol of the hook function, as kallsyms has it
    :param module: owner; ``None`` for vmlinux
    :param priority: of the slot's ``nf_hook_ops``; ``None`` where it could not be read
    :param verdict: what the function returned
    :param ns: nanoseconds the call took, the probe's own cost included; ``None`` in a prediction
    :param label: the scenario's name for the hook, if it is one of ours
    :param chain: ``inet admin forward``: family, table and name of the base chain of nftables' that it is; ``iptables filter FORWARD``: of
        an xtables table; ``None`` of others and in a prediction
    :param calls: that the function made in its own loop: NAT's hooks those of nat chains (``nf_nat_inet_fn``). No prediction has them,
        and they are not compared
    :param changed: what the function made of the packet; this and what follows is not compared
    :param rule: of nftables' or an xtables table's, which decided
    :param policy: whether the base chain's policy did: no rule gave a verdict. Of a chain for
        which neither holds, the kernel does not tell
    :param evaluated: of a base chain; ``None`` of other hooks
    :param head: the packet's header behind the call if the call changed it, as of a :class:`Traversal`; else empty
    """

    index: int
    function: str
    module: str | None
    priority: int | None
    verdict: Verdict
    ns: int | None = None
    label: str | None = None
    chain: str | None = None
    calls: tuple[HookCall, ...] = ()
    changed: tuple[Change, ...] = field(default=(), compare=False)
    rule: RulesetRule | None = field(default=None, compare=False)
    policy: bool = field(default=False, compare=False)
    evaluated: Evaluated | None = field(default=None, compare=False)
    head: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Traversal:
    """One run of a verdict loop over one hook point's array.

    :param hook: ``hooknum``
    :param netns: the namespace's name in the scenario
    :param indev: ``state->in``, empty for none
    :param outdev: ``state->out``
    :param returned: the loop's return value; 1 means that okfn runs; ``None`` if it was not seen. ``nf_reinject`` returns nothing: 1 if
        it called okfn, else 0
    :param okfn: symbol of ``state->okfn``; ``None`` for NULL
    :param start: the slot that the loop began with; of ``nf_reinject`` that of the hook that queued
    :param loop: ``nf_hook_slow``, ``nf_hook_slow_list`` if that called it, or another loop such as ``nf_hook_bridge_pre``
    :param answer: what the listener said to ``nf_reinject``; ``None`` of other loops
    :param packet: one-line summary of the packet's headers as they were here; this and what follows is for a reader, never compared
    :param mark: ``skb->mark`` here
    :param connection: state of its connection here, ``none`` for no connection; no prediction has them
    :param changed: what the packet had become since it was seen last
    :param head: up to 64 bytes from the network header on, as they were here
    :param length: ``skb->len`` here, bytes
    :param slots: of the array; 0 in a prediction
    :param time: when the loop was entered, ns since the first record of the recording; ``None`` in a prediction
    :param waited: ns from the end of the traversal that queued the packet to the listener's answer; ``None`` of other loops than
        ``nf_reinject``, and where the queue was full and went on by itself
    :param socket: whether it had one here, which had sent it or was to get it
    :param tracked: its connection here; ``None`` for none
    :param generation: of the array, as a :class:`Registration` has it; ``None`` in a session that does not see registrations, and of an
        array that none of those which it saw has made
    :param missed: registrations and unregistrations at the point until the loop was left that this array is without
    :param answered_by: the function that called ``nf_reinject``: ``nfqnl_recv_verdict`` of a listener, another one of the kernel in its
        place; ``None`` of other loops
    """

    pf: Family
    hook: int
    netns: str
    indev: str
    outdev: str
    calls: tuple[HookCall, ...]
    returned: int | None
    okfn: str | None = None
    start: int = 0
    loop: str = NF_HOOK_SLOW
    answer: Verdict | None = None
    packet: str = field(default="", compare=False)
    mark: int = field(default=0, compare=False)
    connection: str = field(default="none", compare=False)
    changed: tuple[Change, ...] = field(default=(), compare=False)
    head: bytes = field(default=b"", compare=False)
    length: int = field(default=0, compare=False)
    slots: int = field(default=0, compare=False)
    time: int | None = field(default=None, compare=False)
    waited: int | None = field(default=None, compare=False)
    socket: bool = field(default=False, compare=False)
    tracked: Connection | None = field(default=None, compare=False)
    generation: int | None = field(default=None, compare=False)
    missed: tuple[Missed, ...] = field(default=(), compare=False)
    answered_by: str | None = field(default=None, compare=False)

    @property
    def slow_drops(self) -> bool:
        """Whether ``nf_hook_slow`` itself frees the packet here: of such an end it tells the rest of the kernel the reason, since 5.18."""
        by_slow = self.loop in (NF_HOOK_SLOW, NF_HOOK_SLOW_LIST)
        return by_slow and bool(self.calls) and self.calls[-1].verdict.kind is VerdictKind.DROP


@dataclass(frozen=True, slots=True)
class PacketOutcome:
    """One packet's walk, through every namespace that it came to; of one in fragments in the order of :func:`by_namespace`.

    Answers that quote the payload (an echo reply, an ICMP error) carry the cookie of what they answer, and are packets of
    their own, after it.

    :param packet: one-line summary of its headers; for a reader only, never compared
    :param cookie: the number it carries in its last 8 bytes; ``None`` for an unrelated packet
    :param sent_errno: positive errno that ``sendto()`` failed with, 0 if it did not; what is compared is the errno of the step
    :param alive: skbs of it that were seen at a hook point and not to end; never compared: what it means is the fate's to say
    :param kind: what its headers say that it is (``udp``, ``echo reply``, ``arp request``): that differs from what it answers
    :param number: which one of a capture it is, from 1
    :param relation: to another one of them; neither is compared
    :param lost_events: that the tracer lost while the packet was under way, perhaps some about it; never compared
    """

    packet: str
    cookie: int | None
    fate: Fate
    traversals: tuple[Traversal, ...]
    sent_errno: int = 0
    alive: int = 0
    kind: str = ""
    number: int = field(default=0, compare=False)
    relation: Relation | None = field(default=None, compare=False)
    lost_events: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Slot:
    """One element of a hook point's array.

    :param dummy: left behind by a shrink that found no memory (``accept_all``)
    :param label: the scenario's name for the hook, if it is one of ours
    :param chain: as of a :class:`HookCall`, where the tracer has seen the slot; ``BPF program 12 NAME`` of one of those
    """

    index: int
    function: str
    module: str | None
    priority: int
    dummy: bool = False
    label: str | None = None
    chain: str | None = field(default=None, compare=False)


class Missed(NamedTuple):
    """A change of a point's array that a traversal of the point did not see.

    :param registration: its number
    :param hook: what was registered or unregistered
    :param before: whether the new array was there before the loop was entered; otherwise it came while the loop ran
    """

    registration: int
    what: Literal["registered", "unregistered"]
    hook: str
    before: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """A hook was registered or unregistered, or was refused.

    :param number: which one of a session it is, from 1
    :param time: when the new array was about to be published, ns since the session's first record; of what was unregistered, when it
        had become a dummy
    :param netns: name of the namespace; empty for an array that is no hook point's, as NAT has them
    :param device: that the point is of; empty for none
    :param hook: the hook, with its index in the array where it is found there; the array is the old one of what was unregistered
    :param errno: positive, that registering failed with; 0 for success
    :param process: name of the one that did it
    :param by: functions that called core.c's, the nearest first, with their modules: ``nf_tables_newchain [nf_tables]``
    :param key: ``nf_hooks_needed`` of the point afterwards, of all namespaces; ``None`` where it is not known
    :param generation: number of the new array at its point, from 1: 0 is what was there at first; ``None`` for an array that is no
        point's, or that did not change
    :param before: the array that was there, up to 64 slots of it; what was unregistered is a dummy there
    :param after: the one that was made, as much of it
    :param slots_before: how many the first has
    :param link: id of the BPF link that holds the hook; ``None`` for none, or where it had none yet
    """

    number: int
    what: Literal["registered", "unregistered"]
    time: int
    pf: Family
    point: int
    netns: str
    device: str
    hook: Slot
    errno: int
    process: str
    pid: int
    by: tuple[str, ...]
    key: int | None
    generation: int | None
    before: tuple[Slot, ...]
    after: tuple[Slot, ...]
    slots_before: int
    slots_after: int
    link: int | None = None


@dataclass(frozen=True, slots=True)
class RawOutcome:
    """One ``nf_hook_slow`` over a private array.

    :param returned: its return value
    :param called: the scenario's names of the hooks that it called, in order
    :param users: ``skb->users`` afterwards, with one reference that the caller keeps: 1 if core freed the skb, 2 if not, 0 if twice
    :param altered: calls with another ``nf_hook_state`` than core was given
    """

    returned: int
    called: tuple[str, ...]
    users: int
    altered: int = 0


@dataclass(frozen=True, slots=True)
class QueueState:
    """The kernel's books of one NFQUEUE queue that has a listener.

    :param total: packets that wait
    :param dropped: for want of room in the queue
    :param user_dropped: for want of room in the listener's socket
    :param sequence: id of the packet that came last
    """

    total: int
    dropped: int = 0
    user_dropped: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one step of a scenario answered.

    register, unregister and dump report the array(s) of their point, after the step; an INET hook has two points. nft reports every
    array of its namespace that the ruleset changed, the emptied ones as ``()``. send reports none. A step with a private array reports
    that one. An observation begins with the step
    ``BEFORE``: every array of every namespace that is not empty (AppArmor and SELinux put hooks into each new namespace).

    :param step: its position, from 0; ``BEFORE``
    :param errno: positive; 0 for success; for send what ``sendto()`` failed with
    :param slots: arrays by :func:`point_key` or :func:`raw_key`, sorted by it
    :param raw: of a raw-run that was not refused
    :param splats: what the kernel warned of, in order: the warning's message, or else its source file
    :param facts: what else the step was to find out, by name
    :param disputes: of a real kernel: readings of one array that do not agree, in words
    :param queues: those that have a listener after the step, by :func:`queue_key`, sorted by namespace and number
    """

    step: int
    errno: int = 0
    slots: tuple[tuple[str, tuple[Slot, ...]], ...] = ()
    raw: RawOutcome | None = None
    splats: tuple[str, ...] = ()
    facts: tuple[tuple[str, str | int], ...] = ()
    disputes: tuple[str, ...] = ()
    queues: tuple[tuple[str, QueueState], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one executor says of one scenario.

    :param lost_events: events that the tracer knows it did not see
    :param doubts: reasons why the observation cannot be trusted; any makes the run inconclusive
    :param blind: verdict loops that the tracer cannot see, each with the reason; a run in which one should have run is inconclusive
    :param log: of a real kernel that warned, its own words, stack traces and all; for a reader
    :param began: of a session, when its times begin, by the kernel's own clock (ns since 1970); ``None`` where that is not known
    :param registrations: of hooks, in the order of time, of a session that sees them
    :param rulesets: of the namespaces in which chains of nftables' were called, in the order of time, of a session that is to explain them
    """

    steps: tuple[StepOutcome, ...] = ()
    packets: tuple[PacketOutcome, ...] = ()
    lost_events: int = 0
    doubts: tuple[str, ...] = ()
    blind: tuple[tuple[str, str], ...] = ()
    log: tuple[str, ...] = field(default=(), compare=False)
    began: int | None = field(default=None, compare=False)
    registrations: tuple[Registration, ...] = field(default=(), compare=False)
    rulesets: tuple[Ruleset, ...] = field(default=(), compare=False)


def by_namespace(traversals: Iterable[T], netns: Callable[[T], object]) -> tuple[T, ...]:
    """The walk of a packet in fragments: namespace by namespace, in each in order, and its fate is the last one's. Nothing orders what
    several skbs of a packet, under way at once, do in different namespaces.

    :param traversals: or what stands for them
    :param netns: where each is
    """
    found = tuple(traversals)
    order = list(dict.fromkeys(map(netns, found)))
    return tuple(sorted(found, key=lambda one: order.index(netns(one))))


def point_key(netns: str, pf: Family, hook: int, device: str | None = None) -> str:
    """``netns/FAMILY/HOOK[/device]``: the key of a hook point's array."""
    return "/".join((netns, pf.name, hook_name(pf, hook), *((device,) if device else ())))


def raw_key(netns: str, array: str) -> str:
    """``netns/raw/ARRAY``: the key of a private array."""
    return f"{netns}/raw/{array}"


def queue_key(netns: str, number: int) -> str:
    """``netns/queue/NUMBER``: the key of an NFQUEUE queue."""
    return f"{netns}/queue/{number}"
