"""Paths: which points a packet crosses, and the ``nf_hook_state`` that each gives its hooks (``include/linux/netfilter.h``)."""

from __future__ import annotations

import errno
from dataclasses import replace

from harness.conformance.expect import BY_STACK, Answered, At, Crosses, Expectation, Returns
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.namespaces import MoveDevice
from harness.scenario.steps.packets import Group, Send
from harness.scenario.topology import PAIR, ROUTER, SINGLE, Link, Route, Topology, VethEnd

__all__ = ("RULES",)

_V4, _V6, _NETDEV = Family.IPV4, Family.IPV6, Family.NETDEV
_NO_FORWARD = Topology(
    "no-forward",
    ("peer", "host", "far"),
    (*PAIR.links, Link(VethEnd("host", "eth1", ("10.0.9.1/24",)), VethEnd("far", "eth0", ("10.0.9.2/24",)))),
    (Route("peer", "10.0.9.0/24", "10.0.0.1"),),
)
_NO_ROUTE = Topology(
    "no-route",
    ("peer", "host", "far", "beyond"),
    (*PAIR.links,
     Link(VethEnd("far", "eth0", ("10.0.9.1/24", "fd00:9::1/64")), VethEnd("beyond", "eth0", ("10.0.9.2/24", "fd00:9::2/64")))),
    (Route("peer", "0.0.0.0/0", "10.0.0.1"), Route("peer", "::/0", "fd00::1")),
)
_BEYOND = Topology(
    "beyond",
    ("peer", "host", "far"),
    (Link(VethEnd("peer", "eth0", ("10.0.0.2/24", "fd00::2/64")), VethEnd("host", "to-peer", ("10.0.0.1/24", "fd00::1/64"))),
     Link(VethEnd("host", "to-far", ("10.0.9.1/24", "fd00:9::1/64")), VethEnd("far", "eth0", ("10.0.9.2/24", "fd00:9::2/64")))),
    (Route("peer", "0.0.0.0/0", "10.0.0.1"), Route("peer", "::/0", "fd00::1")),
    ("peer",),
)
_OKFN = {
    _V4: {"PREROUTING": "ip_rcv_finish", "INPUT": "ip_local_deliver_finish", "FORWARD": "ip_forward_finish", "OUTPUT": "dst_output",
          "POSTROUTING": "ip_finish_output"},
    _V6: {"PREROUTING": "ip6_rcv_finish", "INPUT": "ip6_input_finish", "FORWARD": "ip6_forward_finish", "OUTPUT": "dst_output",
          "POSTROUTING": "ip6_finish_output"},
}
_GROUPS: tuple[Group | None, ...] = ("broadcast", "multicast", None)
_ALL = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def _everywhere(pf: Family, topology: Topology) -> list[Step | Expectation]:
    """A hook at each of the five points in each namespace, called ``host-INPUT``."""
    return [Register(f"{netns}-{hook}", netns, pf, hook) for netns in topology.namespaces for hook in _ALL]


def _at(pf: Family, netns: str, hook: str, indev: str, outdev: str) -> At:
    return At(netns, hook, f"{netns}-{hook}", 1, pf, indev, outdev, _OKFN[pf][hook], 0)


def _pair(name: str, pf: Family, source: str, to: str) -> Script:
    return script(
        f"{name}, {pf.name}", *_everywhere(pf, PAIR),
        Send(source, to, 1, pf),
        Crosses((_at(pf, source, "OUTPUT", "", "eth0"), _at(pf, source, "POSTROUTING", "", "eth0"),
                 _at(pf, to, "PREROUTING", "eth0", ""), _at(pf, to, "INPUT", "eth0", ""))),
    )


def _group(pf: Family) -> Script:
    """One frame for all, one for a group, and one for the host."""
    return script(
        f"path.group, {pf.name}", *_everywhere(pf, PAIR), Register("ingress", "host", _NETDEV, "INGRESS", device="eth0"),
        *(line for cookie, group in enumerate(_GROUPS, 1) for line in (
            Send("peer", "host", cookie, pf, source_port=40000 + cookie, group=group),
            Crosses((_at(pf, "peer", "OUTPUT", "", "eth0"), _at(pf, "peer", "POSTROUTING", "", "eth0"),
                     At("host", "INGRESS", "ingress", 1, _NETDEV), _at(pf, "host", "PREROUTING", "eth0", ""),
                     _at(pf, "host", "INPUT", "eth0", ""))))),
    )


def _forward(pf: Family) -> Script:
    router = ("to-client", "to-server")
    return script(
        f"path.forward, {pf.name}", *_everywhere(pf, ROUTER),
        Send("client", "server", 1, pf),
        Crosses((_at(pf, "client", "OUTPUT", "", "eth0"), _at(pf, "client", "POSTROUTING", "", "eth0"),
                 _at(pf, "router", "PREROUTING", "to-client", ""), _at(pf, "router", "FORWARD", *router),
                 _at(pf, "router", "POSTROUTING", *router),
                 _at(pf, "server", "PREROUTING", "eth0", ""), _at(pf, "server", "INPUT", "eth0", ""))),
        topology=ROUTER,
    )


def _loopback(pf: Family, address: str) -> Script:
    return script(
        f"path.loopback, {pf.name}", *_everywhere(pf, SINGLE),
        *(line for cookie, size in ((1, 64), (2, 4000)) for line in (  # lo takes in one piece what others do not
            Send("host", address, cookie, pf, size=size, source_port=40000 + cookie),
            Crosses((_at(pf, "host", "OUTPUT", "", "lo"), _at(pf, "host", "POSTROUTING", "", "lo"),
                     _at(pf, "host", "PREROUTING", "lo", ""), _at(pf, "host", "INPUT", "lo", ""))))),
        topology=SINGLE,
    )


def _ttl(pf: Family) -> Script:
    return script(
        f"path.ttl, {pf.name}",
        *(Register(f"router-{hook}", "router", pf, hook) for hook in ("PREROUTING", "FORWARD", "POSTROUTING")),
        Send("client", "server", 1, pf, ttl=1),
        Crosses((_at(pf, "router", "PREROUTING", "to-client", ""),), BY_STACK),
        Crosses((_at(pf, "router", "POSTROUTING", "", "to-client"),), BY_STACK, nth=1), Answered(1),
        Send("client", "server", 2, pf, ttl=2, source_port=40001),
        Crosses((_at(pf, "router", "PREROUTING", "to-client", ""), _at(pf, "router", "FORWARD", "to-client", "to-server"),
                 _at(pf, "router", "POSTROUTING", "to-client", "to-server"))),
        topology=ROUTER,
    )


def _echo(pf: Family) -> Script:
    return script(
        f"path.echo, {pf.name}", *_everywhere(pf, ROUTER),
        Send("client", "server", 1, pf, kind="echo"),
        Crosses((_at(pf, "client", "OUTPUT", "", "eth0"), _at(pf, "client", "POSTROUTING", "", "eth0"),
                 _at(pf, "router", "PREROUTING", "to-client", ""), _at(pf, "router", "FORWARD", "to-client", "to-server"),
                 _at(pf, "router", "POSTROUTING", "to-client", "to-server"),
                 _at(pf, "server", "PREROUTING", "eth0", ""), _at(pf, "server", "INPUT", "eth0", ""))),
        Crosses((_at(pf, "server", "OUTPUT", "", "eth0"), _at(pf, "server", "POSTROUTING", "", "eth0"),
                 _at(pf, "router", "PREROUTING", "to-server", ""), _at(pf, "router", "FORWARD", "to-server", "to-client"),
                 _at(pf, "router", "POSTROUTING", "to-server", "to-client"),
                 _at(pf, "client", "PREROUTING", "eth0", ""), _at(pf, "client", "INPUT", "eth0", "")), nth=1),
        topology=ROUTER,
    )


def _no_route(pf: Family, topology: Topology) -> Script:
    """IPv6 says so whether it forwards or not: the discarding route's ``ip6_pkt_discard`` comes before ``ip6_forward``."""
    walk = Crosses((_at(pf, "peer", "OUTPUT", "", "eth0"), _at(pf, "peer", "POSTROUTING", "", "eth0"),
                    _at(pf, "host", "PREROUTING", "eth0", "")), BY_STACK)
    error = Crosses((_at(pf, "host", "OUTPUT", "", "eth0"), _at(pf, "host", "POSTROUTING", "", "eth0"),
                     _at(pf, "peer", "PREROUTING", "eth0", ""), _at(pf, "peer", "INPUT", "eth0", "")), BY_STACK, nth=1)
    return script(
        f"path.no-route, {pf.name}, {'forwarding' if topology.forwarding else 'not forwarding'}", *_everywhere(pf, PAIR),
        Send("peer", "10.0.9.1" if pf is _V4 else "fd00:9::1", 1, pf),
        walk, *([error, Answered(1)] if pf is _V6 or topology.forwarding else [Answered(0)]),
        Send("host", "far", 2, pf), Returns(errno.ENETUNREACH),  # and crosses nothing
        topology=topology,
    )


def _moved(pf: Family) -> Script:
    """The neighbour's entry stays, with a hardware address that is another namespace's now."""
    return script(
        f"path.moved, {pf.name}", *_everywhere(pf, _BEYOND), MoveDevice("host", "to-peer", "far"),
        Send("peer", "far", 1, pf),
        Crosses((_at(pf, "peer", "OUTPUT", "", "eth0"), _at(pf, "peer", "POSTROUTING", "", "eth0"),
                 _at(pf, "far", "PREROUTING", "to-peer", ""), _at(pf, "far", "INPUT", "to-peer", ""))),
        topology=_BEYOND,
    )


def _martian(pf: Family) -> Script:
    """IPv6 forwards what comes back, until its hop limit is used up."""
    out = (_at(pf, "peer", "OUTPUT", "", "eth0"), _at(pf, "peer", "POSTROUTING", "", "eth0"))
    back = (_at(pf, "peer", "PREROUTING", "to-peer", ""),)
    again = (_at(pf, "peer", "FORWARD", "to-peer", "eth0"), _at(pf, "peer", "POSTROUTING", "to-peer", "eth0"), *back)
    return script(
        f"path.martian, {pf.name}", *_everywhere(pf, _BEYOND), MoveDevice("host", "to-peer", "peer"),
        Send("peer", "far", 1, pf, ttl=2),
        Crosses((*out, *back, *(again if pf is _V6 else ())), BY_STACK), Answered(0 if pf is _V4 else 1),
        topology=_BEYOND,
    )


RULES = (
    Rule("path.local-in", "A packet for the host itself crosses PREROUTING and INPUT, with its device as in and no out.",
         tuple(_pair("path.local-in", pf, "peer", "host") for pf in (_V4, _V6))),
    Rule("path.local-out", "A packet of the host's own crosses OUTPUT and POSTROUTING, with its device as out and no in.",
         tuple(_pair("path.local-out", pf, "host", "peer") for pf in (_V4, _V6))),
    Rule("path.forward", "A forwarded packet crosses PREROUTING, FORWARD and POSTROUTING; from FORWARD on both devices are known.",
         tuple(_forward(pf) for pf in (_V4, _V6))),
    Rule("path.group", "A packet whose frame is for a group, or for all, crosses the points of any.",
         tuple(_group(pf) for pf in (_V4, _V6)), needs=("netdev",)),
    Rule("path.loopback", "A packet to oneself crosses OUTPUT, POSTROUTING, PREROUTING and INPUT, all on lo.",
         (_loopback(_V4, "127.0.0.1"), _loopback(_V6, "::1"))),
    Rule("path.own-address", "A packet to an address of the sending host goes by way of lo.", (
        script(
            "path.own-address", *_everywhere(_V4, PAIR),
            Send("host", "10.0.0.1", 1),
            Crosses((_at(_V4, "host", "OUTPUT", "", "lo"), _at(_V4, "host", "POSTROUTING", "", "lo"),
                     _at(_V4, "host", "PREROUTING", "lo", ""), _at(_V4, "host", "INPUT", "lo", ""))),
        ),
    )),
    Rule("path.no-forward", "A host that does not forward lets a packet for another cross PREROUTING and nothing else.", (
        script(
            "path.no-forward", *_everywhere(_V4, _NO_FORWARD),
            Send("peer", "10.0.9.2", 1),
            Crosses((_at(_V4, "peer", "OUTPUT", "", "eth0"), _at(_V4, "peer", "POSTROUTING", "", "eth0"),
                     _at(_V4, "host", "PREROUTING", "eth0", "")), BY_STACK),
            topology=_NO_FORWARD,
        ),
    )),
    Rule("path.no-route", "A packet that no route leads on has crossed PREROUTING; the error that says so is a packet of the host's own. "
         "One of the host's own crosses nothing: sendto() says ENETUNREACH.",
         tuple(_no_route(pf, topology) for topology in (_NO_ROUTE, replace(_NO_ROUTE, forwarding=("host",))) for pf in (_V4, _V6))),
    Rule("path.ttl", "A packet whose ttl runs out at a router has crossed PREROUTING, not FORWARD.", tuple(_ttl(pf) for pf in (_V4, _V6))),
    Rule("path.moved", "A packet to a neighbour whose device has moved to another namespace comes in there.",
         tuple(_moved(pf) for pf in (_V4, _V6))),
    Rule("path.martian", "An IPv4 packet that comes in from an address of the namespace's own has crossed PREROUTING and crosses no more.",
         tuple(_martian(pf) for pf in (_V4, _V6))),
    Rule("path.echo", "An echo request crosses the points of any packet; its reply is another packet.",
         tuple(_echo(pf) for pf in (_V4, _V6))),
    Rule("path.netdev", "Ingress comes before PREROUTING, also on a router and for both families.", tuple(
        script(
            f"path.netdev, {pf.name}",
            Register("ingress", "router", _NETDEV, "INGRESS", device="to-client"),
            Register("pre", "router", pf, "PREROUTING"),
            Register("forward", "router", pf, "FORWARD"),
            Send("client", "server", 1, pf),
            Crosses((At("router", "INGRESS", "ingress", 1, _NETDEV, "to-client", "", ""), At("router", "PREROUTING", "pre", 1, pf),
                     At("router", "FORWARD", "forward", 1, pf))),
            topology=ROUTER,
        ) for pf in (_V4, _V6)), needs=("netdev",)),
    Rule("path.netdev-egress", "Egress comes after POSTROUTING, also on a router and for both families.", tuple(
        script(
            f"path.netdev-egress, {pf.name}",
            Register("post", "router", pf, "POSTROUTING"),
            Register("egress", "router", _NETDEV, "EGRESS", device="to-server"),
            Register("other-egress", "router", _NETDEV, "EGRESS", device="to-client"),
            Send("client", "server", 1, pf),
            Crosses((At("router", "POSTROUTING", "post", 1, pf), At("router", "EGRESS", "egress", 1, _NETDEV, "", "to-server"))),
            topology=ROUTER,
        ) for pf in (_V4, _V6)), needs=("netdev", "netdev_egress")),
    Rule("state.fields", "A hook's state says family, hook number, namespace, both devices and okfn as its point has them.", tuple(
        script(
            f"state.fields, {pf.name}",
            *_everywhere(pf, ROUTER),
            Send("client", "router", 1, pf),
            Crosses((_at(pf, "client", "OUTPUT", "", "eth0"), _at(pf, "client", "POSTROUTING", "", "eth0"),
                     _at(pf, "router", "PREROUTING", "to-client", ""), _at(pf, "router", "INPUT", "to-client", ""))),
            Send("router", "server", 2, pf, source_port=40001),
            Crosses((_at(pf, "router", "OUTPUT", "", "to-server"), _at(pf, "router", "POSTROUTING", "", "to-server"),
                     _at(pf, "server", "PREROUTING", "eth0", ""), _at(pf, "server", "INPUT", "eth0", ""))),
            topology=ROUTER,
        ) for pf in (_V4, _V6))),
)
