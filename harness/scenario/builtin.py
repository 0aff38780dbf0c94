"""The scenarios that come with nfharness, and how a command line's argument becomes one."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.errors import UserError
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.scenario.codec import loads
from harness.scenario.layers import LAYERS
from harness.scenario.namespaces import NAMESPACES
from harness.scenario.queues import QUEUES
from harness.scenario.raw import RAW
from harness.scenario.reader import quote, suggest, text_of
from harness.scenario.rulesets import CONNTRACK
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.batches import RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch
from harness.scenario.steps.churn import Churn
from harness.scenario.steps.conntrack import ConntrackTuple, CtRead, CtRun, KernelModule, Tee, Track
from harness.scenario.steps.hooks import Dump, Nft, Register, Unregister
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR, ROUTER, SINGLE, Topology

__all__ = ("BUILTIN", "DEFAULT", "load")

DEFAULT = "router"

def _drop(name: str) -> Verdict:
    return Verdict(VerdictKind.DROP, errno=getattr(errno, name))


def _through_the_router(name: str, summary: str, pf: Family) -> Scenario:
    """Hooks at all three points a forwarded packet crosses, two of them with equal priority, among those of nft and conntrack."""
    return Scenario(name, summary, ROUTER, (
        Nft("router", CONNTRACK),
        Register("first", "router", pf, "PREROUTING", PRIORITY_MIN),
        Register("before-conntrack", "router", pf, "PREROUTING", -300),
        Register("mangle", "router", pf, "PREROUTING", -150),
        Register("filter-older", "router", pf, "FORWARD", 0),
        Register("filter-newer", "router", pf, "FORWARD", 0),
        Register("guard", "router", pf, "FORWARD", 50, _drop("EHOSTUNREACH"), cookie=2),
        Register("after-guard", "router", pf, "FORWARD", 100),
        Register("post", "router", pf, "POSTROUTING", 100),
        Register("last", "router", pf, "POSTROUTING", PRIORITY_MAX),
        Send("client", "server", cookie=1, pf=pf),
        Send("client", "server", cookie=2, pf=pf, source_port=40001),
    ))


def _host(name: str, summary: str, *steps: Step, topology: Topology = PAIR) -> Scenario:
    return Scenario(name, summary, topology, steps)


_V4, _V6 = Family.IPV4, Family.IPV6

_SCENARIOS = (
    _through_the_router("router", "IPv4 through a router with nft and conntrack; a hook at FORWARD drops the second datagram", _V4),
    _through_the_router("router-ipv6", "the same through IPv6", _V6),
    _host(
        "local-in", "a datagram to the host itself: PREROUTING, INPUT; the second one is dropped at INPUT",
        Register("pre", "host", _V4, "PREROUTING", -10),
        Register("in", "host", _V4, "INPUT", 0),
        Register("in-drop", "host", _V4, "INPUT", 10, Verdict(VerdictKind.DROP), cookie=2),
        Send("peer", "host", cookie=1),
        Send("peer", "host", cookie=2, source_port=40001),
    ),
    _host(
        "output-errno", "drops at OUTPUT: sendto() sees the errno, EPERM where the hook gave none",
        Register("out", "host", _V4, "OUTPUT", 0),
        Register("out-acces", "host", _V4, "OUTPUT", 10, _drop("EACCES"), cookie=1),
        Register("out-plain", "host", _V4, "OUTPUT", 10, Verdict(VerdictKind.DROP), cookie=2),
        Register("post-unreach", "host", _V4, "POSTROUTING", 0, _drop("ENETUNREACH"), cookie=3),
        Send("host", "peer", cookie=1),
        Send("host", "peer", cookie=2, source_port=40001),
        Send("host", "peer", cookie=3, source_port=40002),
        Send("host", "peer", cookie=4, source_port=40003),
    ),
    _host(
        "stolen", "a hook steals the datagram: the loop returns 0 and later hooks do not run",
        Register("before", "host", _V4, "PREROUTING", -1),
        Register("thief", "host", _V4, "PREROUTING", 0, Verdict(VerdictKind.STOLEN), cookie=1),
        Register("after", "host", _V4, "PREROUTING", 1),
        Send("peer", "host", cookie=1),
        Send("peer", "host", cookie=2, source_port=40001),
    ),
    _host(
        "removal", "hooks come and go between datagrams: removing one keeps the order of the others",
        *(Register(name, "host", _V4, "INPUT", priority) for name, priority in
          (("a", 0), ("b", 0), ("c", -5), ("d", 0), ("e", 7))),
        Dump("host", _V4, "INPUT"),
        Send("peer", "host", cookie=1),
        Unregister("b"),
        Dump("host", _V4, "INPUT"),
        Send("peer", "host", cookie=2, source_port=40001),
        *(Unregister(name) for name in ("c", "e", "a", "d")),
        Dump("host", _V4, "INPUT"),
        Send("peer", "host", cookie=3, source_port=40002),
    ),
    _host(
        "ingress", "a device's ingress before PREROUTING: NETDEV and INET hooks share one array",
        Register("netdev", "host", Family.NETDEV, "INGRESS", 0, device="eth0"),
        Register("inet", "host", Family.INET, "INGRESS", -10, device="eth0"),
        Register("netdev-drop", "host", Family.NETDEV, "INGRESS", 10, _drop("ENOBUFS"), device="eth0", cookie=2),
        Register("pre", "host", _V4, "PREROUTING", 0),
        Dump("host", Family.NETDEV, "INGRESS", "eth0"),
        Send("peer", "host", cookie=1),
        Send("peer", "host", cookie=2, source_port=40001),
    ),
    _host(
        "no-listener", "QUEUE without a listener: with the bypass flag it goes on, without it the datagram is dropped",
        Register("bypass", "host", _V4, "INPUT", 0, Verdict(VerdictKind.QUEUE, queue=7, bypass=True), cookie=1),
        Register("queue", "host", _V4, "INPUT", 0, Verdict(VerdictKind.QUEUE, queue=8), cookie=2),
        Register("later", "host", _V4, "INPUT", 1),
        Send("peer", "host", cookie=1),
        Send("peer", "host", cookie=2, source_port=40001),
    ),
    _host(
        "inet", "INET hooks land in the arrays of IPv4 and IPv6, and leave both",
        Register("both", "host", Family.INET, "INPUT", 0),
        Register("v4", "host", _V4, "INPUT", 0),
        Register("v6", "host", _V6, "INPUT", -1),
        Send("peer", "host", cookie=1),
        Send("peer", "host", cookie=2, pf=_V6),
        Unregister("both"),
        Dump("host", _V4, "INPUT"),
        Dump("host", _V6, "INPUT"),
    ),
    _host(
        "ping", "an echo request through the router and its reply, each with its own walk",
        Register("forward", "router", _V4, "FORWARD", 0),
        Register("in", "client", _V4, "INPUT", 0),
        Register("out", "server", _V4, "OUTPUT", 0),
        Send("client", "server", cookie=1, kind="echo"),
        topology=ROUTER,
    ),
    _host(
        "loopback", "a datagram to oneself crosses four points on lo",
        *(Register(hook.lower(), "host", _V4, hook, 0) for hook in ("OUTPUT", "POSTROUTING", "PREROUTING", "INPUT")),
        Send("host", "127.0.0.1", cookie=1),
        topology=SINGLE,
    ),
)

def _batch(*hooks: Register) -> RegisterBatch:
    return RegisterBatch("host", hooks)


_BATCHES = (
    _host("batch", "nf_register_net_hooks registers all or none, and nf_unregister_net_hooks takes all",
          Register("there", "host", _V4, "INPUT"),
          _batch(Register("a", "host", _V4, "INPUT", 1), Register("b", "host", _V4, "INPUT", -1), Register("c", "host", _V6, "INPUT")),
          Send("peer", "host", cookie=1),
          _batch(Register("d", "host", _V4, "INPUT", 2), Register("e", "host", Family.NETDEV, "INGRESS"),
                 Register("f", "host", _V4, "INPUT")),
          _batch(Register("g", "host", Family.INET, "INPUT", 2), Register("h", "host", _V4, "HOOK7")),
          _batch(Register("i", "host", Family.INET, "HOOK9"), Register("j", "host", _V4, "INPUT")),
          _batch(),
          UnregisterBatch("b"),
          Send("peer", "host", cookie=2, source_port=40001)),
    _host("twice", "the same ops twice take two slots, run twice, and leave one at a time",
          Register("twice", "host", _V4, "INPUT"),
          Register("newer", "host", _V4, "INPUT"),
          RegisterAgain("twice"),
          Send("peer", "host", cookie=1),
          Unregister("twice"),
          Send("peer", "host", cookie=2, source_port=40001),
          Unregister("twice"),
          Dump("host", _V4, "INPUT")),
    _host("absent", "unregistering what is not there: core warns, and nothing else changes",
          Register("there", "host", _V4, "INPUT"),
          UnregisterAbsent("host", _V4, "INPUT"),
          UnregisterAbsent("host", _V6, "INPUT"),
          UnregisterAbsent("host", Family.INET, "INPUT"),
          UnregisterAbsent("host", Family.ARP, "HOOK3"),
          UnregisterAbsent("host", Family.NETDEV, "INGRESS", "eth0"),
          Send("peer", "host", cookie=1)),
    _host("refused", "what core refuses: a device that is missing or another namespace's, numbers that mean nothing",
          _batch(Register("no-device", "host", Family.NETDEV, "INGRESS")),
          _batch(Register("foreign", "host", Family.NETDEV, "INGRESS", device="eth0", device_netns="peer")),
          _batch(Register("bad-hook", "host", Family.NETDEV, "HOOK2", device="eth0")),
          _batch(Register("bad-family", "host", Family(4), "HOOK1")),
          UnregisterAbsent("host", Family(4), "HOOK1"),
          Register("the-peer-s", "peer", Family.NETDEV, "INGRESS", device="eth0"),
          UnregisterAbsent("host", Family.NETDEV, "INGRESS", "eth0", device_netns="peer"),
          Send("peer", "host", cookie=1)),
    _host("no-memory", "allocations that fail: nothing grows, and what cannot shrink keeps a dummy that accepts",
          *(Register(name, "host", _V4, "INPUT", priority) for name, priority in (("a", 0), ("b", 1), ("c", 2), ("d", 3))),
          Register("refused", "host", _V4, "INPUT", 9, fail=(0,)),
          Register("inet", "host", Family.INET, "INPUT", -1, fail=(1, 2)),
          Unregister("b", fail=(0,)),
          UnregisterAbsent("host", _V4, "INPUT", fail=(0,)),
          Send("peer", "host", cookie=1),
          Unregister("a"),
          Unregister("d", fail=(0,)),
          UnregisterAbsent("host", _V4, "INPUT"),
          Unregister("c", fail=(0,)),
          Register("e", "host", _V4, "INPUT"),
          Register("f", "host", _V4, "INPUT", 1),
          Unregister("f", fail=(0,)),
          RegisterBatch("host", (Register("g", "host", _V6, "INPUT"), Register("h", "host", _V4, "INPUT", -1)), fail=(1,)),
          Register("i", "host", _V4, "INPUT", 2),
          Send("peer", "host", cookie=2, source_port=40001)),
)

#: A hook that comes and goes under traffic.
_CHURN = (
    Scenario("churn", "a hook comes and goes on one processor while another forwards: each packet meets one array or the other", ROUTER, (
        Register("before", "router", _V4, "FORWARD", -5),
        Register("behind", "router", _V4, "FORWARD", 5),
        Churn("churned", "router", _V4, "FORWARD", "client", "server"),
        Churn("alone", "router", _V4, "PREROUTING", "client", "server", rounds=40, packets=60),
        Dump("router", _V4, "FORWARD"))),
)

_FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)

#: Connection tracking and NAT, as far as core.c has to do with them.
_TRACKED = (
    _host("conntrack", "what core asks of connection tracking: without it, with hooks in its place, and with it",
          KernelModule("nf_conntrack", loaded=False),
          CtRead(),
          CtRun("host", _FLOW, own=("connection",)),
          CtRun("host", _FLOW, own=("hooks",)),
          CtRun("host", _FLOW, own=("connection", "hooks")),
          Track("host"),
          CtRead(),
          CtRun("host", _FLOW, track=True),
          Send("peer", "host", cookie=1),
          CtRun("host", _FLOW.inverted()),
          CtRun("host", _FLOW, track=True)),
    _host("redirects", "nat chains run in an array of NAT's own, until one of them binds the connection",
          Redirect("host", 20),
          Redirect("host", 21),
          Send("peer", "host", cookie=1),
          Redirect("host", 22, priority=-110),
          Send("peer", "host", cookie=2, source_port=40001),
          Send("peer", "host", cookie=3)),
    _host("tee", "the copy of a datagram crosses OUTPUT too, and is not copied again", Tee("host", "peer")),
)

#: The built-in scenarios by name, the default one first.
BUILTIN = {scenario.name: scenario for scenario in (*_SCENARIOS, *QUEUES, *LAYERS, *_BATCHES, *NAMESPACES, *_CHURN, *RAW, *_TRACKED)}


def load(argument: str | None = None) -> Scenario:
    """A built-in scenario by its name, or the one in a file; the default for ``None``.

    :raises UserError: neither, or the file holds no scenario that makes sense
    """
    if argument is None:
        return BUILTIN[DEFAULT]
    if argument in BUILTIN:
        return BUILTIN[argument]
    path = Path(argument)
    try:
        text = text_of(path)
    except (FileNotFoundError, NotADirectoryError):
        hint = suggest(argument, BUILTIN, what="built in")
        raise UserError(f"no built-in scenario and no file {quote(argument)}", hint=hint) from None
    except UnicodeDecodeError:
        raise UserError(f"{argument}: not JSON: not UTF-8 text", hint="write the file as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{quote(argument)}: {reason}", hint="give a file that can be read") from None
    try:
        return loads(text)
    except UserError as error:
        raise UserError(f"{argument}: {error.message}", hint=error.hint) from error
