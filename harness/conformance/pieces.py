"""Packets in pieces: fragments, segments that the kernel keeps together, lists (``net/ipv4/ip_output.c``, ``ip_fragment.c``)."""

from __future__ import annotations

import errno

from harness.conformance.expect import BY_STACK, Answered, At, Crosses, Expectation, Returns
from harness.conformance.rule import Rule, Script, script
from harness.model.foreign import Foreign
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.fate import FateKind
from harness.outcome.types import Slot, point_key
from harness.scenario.rulesets import CONNTRACK
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Nft, Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR, ROUTER, ROUTER_GRO, Topology

__all__ = ("RULES",)

_V4, _V6, _NETDEV = Family.IPV4, Family.IPV6, Family.NETDEV
_ALL = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_SIZE, _LARGE = 4000, 16000
"""Three fragments on a veth, and twelve of IPv6."""


def _everywhere(pf: Family, topology: Topology) -> list[Step | Expectation]:
    return [Register(f"{netns}-{hook}", netns, pf, hook) for netns in topology.namespaces for hook in _ALL]


def _at(pf: Family, netns: str, hook: str, loop: str | None = None) -> At:
    return At(netns, hook, f"{netns}-{hook}", 1, pf, loop=loop)


def _by_the_kernel(pf: Family) -> Script:
    """IPv6 puts fragments together behind INPUT (``ipv6_frag_rcv`` is a protocol's receive function), IPv4 before it."""
    return script(
        f"path.fragments, {pf.name}, by the kernel", *_everywhere(pf, PAIR), Register("ingress", "host", _NETDEV, "INGRESS", device="eth0"),
        Send("peer", "host", 1, pf, size=_SIZE),
        Crosses((_at(pf, "peer", "OUTPUT"), _at(pf, "peer", "POSTROUTING"),
                 *(point for _ in range(3) for point in (At("host", "INGRESS", "ingress", 1, _NETDEV), _at(pf, "host", "PREROUTING"),
                                                         *((_at(pf, "host", "INPUT"),) if pf is _V6 else ()))),
                 *((_at(pf, "host", "INPUT"),) if pf is _V4 else ()))),
    )


def _exactly(pf: Family) -> Script:
    """About the largest payload that a device takes in one piece, and that which fills two fragments."""
    sent = [(1472, 1), (1488, 2), (2952, 2), (2968, 3)] if pf is _V4 else [(1440, 1), (1456, 2), (2888, 2), (2904, 3)]
    return script(
        f"path.fragments-full, {pf.name}", Register("pre", "host", pf, "PREROUTING"),
        *(line for cookie, (size, fragments) in enumerate(sent, 1)
          for line in (Send("peer", "host", cookie, pf, size=size), Crosses((At("host", "PREROUTING", "pre", 1, pf),) * fragments))),
    )


def _egress(pf: Family) -> Script:
    return script(
        f"path.fragments-egress, {pf.name}", Register("out", "peer", pf, "POSTROUTING"),
        Register("egress", "peer", _NETDEV, "EGRESS", device="eth0"),
        Send("peer", "host", 1, pf, size=_SIZE),
        Crosses((At("peer", "POSTROUTING", "out", 1, pf), *(At("peer", "EGRESS", "egress", 1, _NETDEV, "", "eth0"),) * 3)),
    )


def _by_the_sender(pf: Family) -> Script:
    """Through a router without conntrack: every fragment is a packet like any other, up to where it is put together."""
    way = [("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "PREROUTING"), ("router", "FORWARD"), ("router", "POSTROUTING"),
           ("server", "PREROUTING"), *([("server", "INPUT")] if pf is _V6 else [])]
    each = tuple(_at(pf, *point) for point in way)
    return script(
        f"path.fragments, {pf.name}, by the sender", *_everywhere(pf, ROUTER),
        Send("client", "server", 1, pf, size=1200, fragment=608),
        Crosses((*(each[:2] * 2), *(each[2:5] * 2), *(each[5:] * 2), *((_at(pf, "server", "INPUT"),) if pf is _V4 else ()))),
        topology=ROUTER,
    )


def _errors(pf: Family) -> Script:
    """``icmp_send`` says nothing of a fragment with an offset; ``icmp6_send`` does not look at it. Neither quotes as much as would have to
    be cut up again.
    """
    there = (_at(pf, "client", "OUTPUT"), _at(pf, "client", "POSTROUTING"))
    back = (_at(pf, "router", "OUTPUT"), _at(pf, "router", "POSTROUTING"), _at(pf, "client", "PREROUTING"), _at(pf, "client", "INPUT"))
    times, more = (1, 1) if pf is _V4 else (2, 3)
    end: FateKind = BY_STACK if pf is _V4 else "consumed"  # what protocol a fragment of IPv6 carries is not recorded
    return script(
        f"path.fragments-error, {pf.name}", *_everywhere(pf, ROUTER),
        Send("client", "server", 1, pf, size=1200, fragment=608, ttl=1),
        Crosses((*there * 2, *(_at(pf, "router", "PREROUTING"),) * 2), BY_STACK),
        *(Crosses(back, end, nth=number) for number in range(1, times + 1)), Answered(times),
        Send("client", "server", 2, pf, size=_SIZE, ttl=1, source_port=40001),
        Crosses((*there, *(_at(pf, "router", "PREROUTING"),) * 3), BY_STACK),
        *(Crosses(back, "delivered" if number == 1 else end, nth=number) for number in range(1, more + 1)), Answered(more),
        topology=ROUTER,
    )


def _refused_each(pf: Family) -> Script:
    """Each fragment is a separate ``sendto()`` to the sender: ``NF_HOOK`` in ``raw_send_hdrinc``, ``rawv6_send_hdrinc``."""
    return script(
        f"path.fragments-refused, {pf.name}, each", Register("out", "peer", pf, "OUTPUT", verdict=Verdict(VerdictKind.DROP, errno.EACCES)),
        Send("peer", "host", 1, pf, size=1200, fragment=608),
        Returns(errno.EACCES),
        Crosses((At("peer", "OUTPUT", "out", -errno.EACCES, pf),) * 2, "dropped", errno.EACCES),
    )


_FIRST = {_V4: "ip frag-off & 0x3fff == 0x2000", _V6: "frag frag-off 0 frag more-fragments 1"}
_LATER = {_V4: "ip frag-off & 0x1fff != 0", _V6: "frag frag-off != 0"}
_NFT_DROP = Verdict(VerdictKind.STOLEN, errno.EPERM)
"""What nft's ``drop`` says where STOLEN carries an errno."""


def _refused_first(pf: Family, hook: str) -> Script:
    """One of two is refused; the other one is sent. It would wait at the other end for a minute, so it is dropped there."""
    table = "ip" if pf is _V4 else "ip6"
    nft = f"table {table} first {{\n chain out {{\n  type filter hook {hook.lower()} priority 0\n  {_FIRST[pf]} drop\n }}\n}}\n"
    function, number = f"nft_do_chain_ipv{pf.name[-1]}", hook_number(pf, hook)
    foreign = Foreign({0: ((point_key("peer", pf, number), (Slot(0, function, "nf_tables", 0),)),)},
                      {(1, 0, "peer", pf, number, function, "nf_tables", 0): (_NFT_DROP,)})
    behind = (At("peer", "POSTROUTING", "post", 1, pf),) if hook == "OUTPUT" else ()
    passed = (At("peer", "OUTPUT", "out", 1, pf),) if hook == "POSTROUTING" else ()
    before = "out" if hook == "OUTPUT" else "post"
    return script(
        f"path.fragments-refused, {pf.name} {hook}", Nft("peer", nft),
        Register("out", "peer", pf, "OUTPUT", -1), Register("post", "peer", pf, "POSTROUTING", -1),
        Register("after", "peer", pf, hook, 1), Register("end", "host", pf, "PREROUTING", verdict=Verdict(VerdictKind.DROP)),
        Send("peer", "host", 1, pf, size=1200, fragment=608),
        Returns(errno.EPERM),
        Crosses((*passed, At("peer", hook, before, -errno.EPERM, pf), *passed, At("peer", hook, f"{before} after", 1, pf), *behind,
                 At("host", "PREROUTING", "end", -errno.EPERM, pf)), "dropped", errno.EPERM),
        foreign=foreign,
    )


def _egress_first(pf: Family) -> Script:
    """``ip_do_fragment`` and ``ip6_fragment`` end with the first fragment whose output fails; UDP hides that it was ENOBUFS."""
    return script(
        f"path.fragments-cut-short, {pf.name}, the first",
        Register("egress", "peer", _NETDEV, "EGRESS", verdict=Verdict(VerdictKind.DROP, errno.EACCES), device="eth0", cookie=1),
        Send("peer", "host", 1, pf, size=_SIZE),
        Returns(0),
        Crosses((At("peer", "EGRESS", "egress", -errno.EACCES, _NETDEV),), "dropped", errno.EACCES),
        Register("thief", "peer", _NETDEV, "EGRESS", verdict=Verdict(VerdictKind.STOLEN), device="eth0", cookie=2),
        Send("peer", "host", 2, pf, size=_SIZE, source_port=40001),
        Crosses((At("peer", "EGRESS", "thief", 0, _NETDEV),) * 3, "stolen"),
    )


def _egress_second(pf: Family) -> Script:
    """What has left before goes its way, to where it is dropped as it would wait there for the others."""
    nft = f"table netdev later {{\n chain out {{\n  type filter hook egress device eth0 priority 0\n  {_LATER[pf]} drop\n }}\n}}\n"
    number = hook_number(_NETDEV, "EGRESS")
    function = "nft_do_chain_netdev"
    foreign = Foreign({0: ((point_key("peer", _NETDEV, number, "eth0"), (Slot(0, function, "nf_tables", 0),)),)},
                      {(1, 0, "peer", _NETDEV, number, function, "nf_tables", 0): (Verdict(VerdictKind.ACCEPT), _NFT_DROP)})
    return script(
        f"path.fragments-cut-short, {pf.name}, the second", Nft("peer", nft),
        Register("egress", "peer", _NETDEV, "EGRESS", -1, device="eth0"), Register("after", "peer", _NETDEV, "EGRESS", 1, device="eth0"),
        Register("end", "host", pf, "PREROUTING", verdict=Verdict(VerdictKind.DROP)),
        Send("peer", "host", 1, pf, size=_SIZE),
        Returns(0),
        Crosses((At("peer", "EGRESS", "egress after", 1, _NETDEV), At("peer", "EGRESS", "egress", -errno.EPERM, _NETDEV),
                 At("host", "PREROUTING", "end", -errno.EPERM, pf)), "dropped", errno.EPERM),
        foreign=foreign,
    )


def _conntrack_hooks(pf: Family) -> Foreign:
    """What the ruleset brings to the router's PREROUTING."""
    names = ("ipv4_conntrack_defrag", "ipv4_conntrack_in") if pf is _V4 else ("ipv6_defrag", "ipv6_conntrack_in")
    slots = (Slot(0, names[0], f"nf_defrag_{pf.name.lower()}", -400), Slot(1, names[1], "nf_conntrack", -200))
    return Foreign({0: ((point_key("router", pf, hook_number(pf, "PREROUTING")), slots),)})


def _with_conntrack(pf: Family) -> Script:
    """conntrack's hook at -400 keeps the fragments until the datagram is whole; what is behind it sees one packet."""
    before = Register("before", "router", pf, "PREROUTING", -500)
    return script(
        f"path.fragments, {pf.name}, conntrack", Nft("router", CONNTRACK), before,
        *(Register(f"router-{hook}", "router", pf, hook, 0) for hook in ("PREROUTING", "FORWARD", "POSTROUTING")),
        *(Register(f"server-{hook}", "server", pf, hook) for hook in ("PREROUTING", "INPUT")),
        Send("client", "server", 1, pf, size=_SIZE),
        Crosses((At("router", "PREROUTING", "before", 0, pf), At("router", "PREROUTING", "before", 0, pf),
                 At("router", "PREROUTING", "before router-PREROUTING", 1, pf), _at(pf, "router", "FORWARD"),
                 _at(pf, "router", "POSTROUTING"),
                 *(point for _ in range(3) for point in (_at(pf, "server", "PREROUTING"),
                                                         *((_at(pf, "server", "INPUT"),) if pf is _V6 else ()))),
                 *((_at(pf, "server", "INPUT"),) if pf is _V4 else ()))),
        topology=ROUTER, foreign=_conntrack_hooks(pf),
    )


def _segments(pf: Family) -> Script:
    """Four segments are one skb at every point of every namespace: a veth hands it on as it is."""
    way = [("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "PREROUTING"), ("router", "FORWARD"), ("router", "POSTROUTING"),
           ("server", "PREROUTING"), ("server", "INPUT")]
    return script(
        f"path.gso, {pf.name}", *_everywhere(pf, ROUTER), Register("ingress", "server", _NETDEV, "INGRESS", device="eth0"),
        Send("client", "server", 1, pf, size=_SIZE, segment=1000),
        Crosses((*(_at(pf, *point) for point in way[:5]), At("server", "INGRESS", "ingress", 1, _NETDEV),
                 *(_at(pf, *point) for point in way[5:]))),
        topology=ROUTER,
    )


def _apart(pf: Family) -> Script:
    """The first device takes them apart: four packets from there on. Of small ones some end where the linear part of the skb does."""
    router, server = ("PREROUTING", "FORWARD", "POSTROUTING"), ("PREROUTING", "INPUT")
    walk = Crosses((_at(pf, "client", "OUTPUT"), _at(pf, "client", "POSTROUTING"), *(tuple(_at(pf, "router", hook) for hook in router) * 4),
                    *(tuple(_at(pf, "server", hook) for hook in server) * 4)))
    return script(
        f"path.gso-apart, {pf.name}", *_everywhere(pf, ROUTER), Send("client", "server", 1, pf, size=_SIZE, segment=1000), walk,
        *(line for number, size in enumerate((64, 104, 120), 2)
          for line in (Send("client", "server", number, pf, size=4 * size, segment=size, source_port=40000 + number), walk)),
        topology=ROUTER,
    )


def _listed(pf: Family) -> Script:
    """A router that has put a datagram together cuts it up again in one go: the server's device receives the pieces as one list."""
    lists = "nf_hook_slow_list"
    return script(
        f"list, {pf.name}", Nft("router", CONNTRACK),
        *(Register(f"server-{hook}", "server", pf, hook) for hook in ("PREROUTING", "INPUT")),
        Register("second", "server", pf, "PREROUTING", 1),
        Send("client", "server", 1, pf, size=_SIZE),
        Crosses((*(At("server", "PREROUTING", "server-PREROUTING second", 1, pf, "eth0", "", loop=lists),) * 3,
                 *(_at(pf, "server", "INPUT", "nf_hook_slow"),) * (3 if pf is _V6 else 1))),
        Register("guard", "server", _NETDEV, "INGRESS", verdict=Verdict(VerdictKind.DROP), device="eth0", cookie=3),
        Send("client", "server", 3, pf, size=_SIZE, source_port=40003),
        Crosses((At("server", "INGRESS", "guard", -errno.EPERM, _NETDEV),) * 3, "dropped", errno.EPERM),
        Unregister("guard"),
        Send("client", "server", 2, pf, source_port=40001),
        Crosses((At("server", "PREROUTING", "server-PREROUTING second", 1, pf, loop=lists), _at(pf, "server", "INPUT", "nf_hook_slow"))),
        topology=ROUTER_GRO, foreign=_conntrack_hooks(pf),
    )


def _at_once() -> Script:
    """Twelve pieces at once, from a softirq. INPUT shows where a list ends: IPv6 puts pieces together behind it."""
    piece, behind = (_at(_V6, "server", "PREROUTING"),), (_at(_V6, "server", "INPUT"),)
    return script(
        "list.batch, at once", Nft("router", CONNTRACK),
        *(Register(f"server-{hook}", "server", _V6, hook) for hook in ("PREROUTING", "INPUT")),
        Send("client", "server", 1, _V6, size=_LARGE),
        Crosses((*piece * 8, *behind * 8, *piece * 4, *behind * 4)),
        topology=ROUTER_GRO, foreign=_conntrack_hooks(_V6),
    )


def _one_by_one(pf: Family) -> Script:
    """Bottom halves run as soon as ``dev_queue_xmit`` enables them again: a process has not sent the next piece then."""
    return script(
        f"list.batch, {pf.name}, one by one", *(Register(f"router-{hook}", "router", pf, hook) for hook in ("PREROUTING", "FORWARD")),
        Send("client", "server", 1, pf, size=_SIZE),
        Crosses((At("router", "PREROUTING", "router-PREROUTING", 1, pf, loop="nf_hook_slow_list"), _at(pf, "router", "FORWARD")) * 3),
        topology=ROUTER_GRO,
    )


RULES = (
    Rule("path.fragments", "A datagram too large for its device crosses OUTPUT and POSTROUTING whole, its fragments everything behind; "
         "INPUT sees the whole of IPv4 and the fragments of IPv6; behind conntrack's hook there is one packet.",
         tuple(make(pf) for make in (_by_the_kernel, _by_the_sender, _with_conntrack) for pf in (_V4, _V6)), needs=("netdev",)),
    Rule("path.fragments-full", "A datagram that fills its device goes whole, one that fills its fragments has no empty one behind; what "
         "is more takes a fragment more.", tuple(_exactly(pf) for pf in (_V4, _V6))),
    Rule("path.fragments-error", "Of a datagram's fragments whose ttl runs out ICMP answers the first, ICMPv6 each.",
         tuple(_errors(pf) for pf in (_V4, _V6))),
    Rule("path.fragments-egress", "Egress sees the fragments.", tuple(_egress(pf) for pf in (_V4, _V6)), needs=("netdev", "netdev_egress")),
    Rule("path.fragments-refused", "sendto() of a fragment that OUTPUT or POSTROUTING refuses says so, and the other fragments of its "
         "datagram are sent all the same.",
         (*map(_refused_each, (_V4, _V6)), *(_refused_first(pf, hook) for pf in (_V4, _V6) for hook in ("OUTPUT", "POSTROUTING")))),
    Rule("path.fragments-cut-short", "Of a datagram that the kernel cuts up nothing follows a fragment that egress refuses, which sendto() "
         "does not tell; one that is stolen is followed.",
         tuple(make(pf) for make in (_egress_first, _egress_second) for pf in (_V4, _V6)), needs=("netdev", "netdev_egress")),
    Rule("path.gso", "Segments that the kernel keeps together are one packet at every point.", tuple(_segments(pf) for pf in (_V4, _V6)),
         needs=("netdev", "veth_udp_gso")),
    Rule("path.gso-apart", "Segments are one packet up to a device that cannot take them, and one packet each from there on.",
         tuple(_apart(pf) for pf in (_V4, _V6)), needs=("veth_segments",)),
    Rule("list", "Packets received as a list cross PREROUTING one after the other, each all of its hooks, before any goes on.",
         tuple(_listed(pf) for pf in (_V4, _V6)), needs=("netdev", "veth_gro")),
    Rule("list.batch", "A list has eight packets at most; what a process sends piece by piece comes in piece by piece.",
         (_at_once(), *map(_one_by_one, (_V4, _V6))), needs=("veth_gro",)),
)
