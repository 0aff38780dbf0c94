"""A device's points: ``NFPROTO_NETDEV`` ingress and, since 5.16, egress (l.304-328, 347-350); since 5.10 ``NFPROTO_INET`` ingress."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, Returns, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.steps.batches import RegisterBatch
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.link import Frame
from harness.scenario.steps.namespaces import AddDevice
from harness.scenario.steps.packets import Send
from harness.scenario.topology import ROUTER, Bridge, Link, Topology, VethEnd

__all__ = ("RULES",)

_V4, _V6, _NETDEV = Family.IPV4, Family.IPV6, Family.NETDEV
_INGRESS = ("host", _NETDEV, "INGRESS")
_EGRESS = ("host", _NETDEV, "EGRESS")
_DROP = Verdict(VerdictKind.DROP)
_DUMMY_PORT = Topology(
    "dummy-port", ("left", "bridge"), (Link(VethEnd("left", "eth0"), VethEnd("bridge", "to-left")),), dummies=(VethEnd("bridge", "sink"),),
    bridges=(Bridge("bridge", "br0", ("to-left", "sink")),))


def _at(hook: str, hooks: str, returned: int = 1, netns: str = "host") -> At:
    return At(netns, hook, hooks, returned, _NETDEV)


def _down(rule: str, pf: Family, hook: str) -> Script:
    """A hook at a device that is down."""
    array = ("host", _NETDEV, hook)
    return script(
        f"{rule}, down",
        AddDevice("host", "down0", up=False),
        Register("own", "host", pf, hook, device="down0"),
        Returns(0),
        Array(*array, "own", "down0"),
        Unregister("own"),
        Splats(),
        Array(*array, "", "down0"),
    )


RULES = (
    Rule("netdev.ingress", "A device's ingress hooks run for what it receives, before PREROUTING, by ascending priority.", (
        script(
            "netdev.ingress",
            Register("later", *_INGRESS, 5, device="eth0"),
            Register("sooner", *_INGRESS, -5, device="eth0"),
            Array(*_INGRESS, "sooner later", "eth0"),
            Register("pre", "host", _V4, "PREROUTING"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "sooner later", 1, _NETDEV, "eth0", ""), At("host", "PREROUTING", "pre"))),
            Unregister("sooner"),
            Array(*_INGRESS, "later", "eth0"),
            Unregister("later"),
            Array(*_INGRESS, "", "eth0"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "PREROUTING", "pre"),)),
        ),
    ), needs=("netdev",)),
    Rule("netdev.ingress-drop", "A drop at a device's ingress ends the packet before PREROUTING; the sender does not learn of it.", (
        script(
            "netdev.ingress-drop",
            Register("guard", *_INGRESS, 0, _DROP, device="eth0", cookie=1),
            Register("after", *_INGRESS, 1, device="eth0"),
            Register("pre", "host", _V4, "PREROUTING"),
            Send("peer", "host", cookie=1),
            Returns(0),
            Crosses((_at("INGRESS", "guard", -errno.EPERM),), "dropped", errno.EPERM),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((_at("INGRESS", "guard after"), At("host", "PREROUTING", "pre"))),
        ),
    ), needs=("netdev",)),
    Rule("netdev.per-device", "Each device has its own array: a hook on one does not see what another receives.", (
        script(
            "netdev.per-device",
            Register("client-side", "router", _NETDEV, "INGRESS", device="to-client"),
            Register("server-side", "router", _NETDEV, "INGRESS", device="to-server"),
            Dump("router", _NETDEV, "INGRESS", "to-client"),
            Array("router", _NETDEV, "INGRESS", "client-side", "to-client"),
            Send("client", "server", cookie=1),
            Crosses((_at("INGRESS", "client-side", netns="router"),)),
            Send("server", "client", cookie=2),
            Crosses((_at("INGRESS", "server-side", netns="router"),)),
            Send("router", "client", cookie=3),
            Crosses(()),
            topology=ROUTER,
        ),
    ), needs=("netdev",)),
    Rule("netdev.egress", "A device's egress hooks run for what it sends, after POSTROUTING.", (
        script(
            "netdev.egress",
            Register("out", "host", _V4, "OUTPUT"),
            Register("post", "host", _V4, "POSTROUTING", 300),
            Register("egress", *_EGRESS, device="eth0"),
            Register("ingress", *_INGRESS, device="eth0"),
            Send("host", "peer", cookie=1),
            Crosses((At("host", "OUTPUT", "out"), At("host", "POSTROUTING", "post"),
                     At("host", "EGRESS", "egress", 1, _NETDEV, "", "eth0"))),
            Send("peer", "host", cookie=2),
            Crosses((_at("INGRESS", "ingress"),)),
            Unregister("egress"),
            Array(*_EGRESS, "", "eth0"),
            Send("host", "peer", cookie=3, source_port=40001),
            Crosses((At("host", "OUTPUT", "out"), At("host", "POSTROUTING", "post"))),
        ),
    ), needs=("netdev", "netdev_egress")),
    Rule("netdev.egress-drop", "A drop at a device's egress ends the packet; UDP keeps ENOBUFS, which it becomes, from the sender.", (
        script(
            "netdev.egress-drop",
            Register("guard", *_EGRESS, 0, _DROP, device="eth0", cookie=1),
            Register("after", *_EGRESS, 1, device="eth0"),
            Send("host", "peer", cookie=1),
            Returns(0),
            Crosses((_at("EGRESS", "guard", -errno.EPERM),), "dropped", errno.EPERM),
            Send("host", "peer", cookie=2, source_port=40001),
            Crosses((_at("EGRESS", "guard after"),)),
        ),
        script(
            "netdev.egress-drop, who learns of it",
            Register("guard", *_EGRESS, 0, _DROP, device="eth0"),
            Send("host", "peer", cookie=1, kind="echo"), Returns(0),
            Send("host", "peer", cookie=2, pf=_V6, kind="echo"), Returns(errno.ENOBUFS),
            Frame("host", "eth0", "peer/eth0", cookie=3), Returns(errno.ENOBUFS),
            Crosses((_at("EGRESS", "guard", -errno.EPERM),), "dropped", errno.EPERM),
        ),
        script(
            "netdev.egress-drop, stolen",
            Register("thief", *_EGRESS, 0, Verdict(VerdictKind.STOLEN), device="eth0"),
            Send("host", "peer", cookie=1, pf=_V6, kind="echo"), Returns(0),
            Frame("host", "eth0", "peer/eth0", cookie=2), Returns(0),
            Crosses((_at("EGRESS", "thief", 0),), "stolen"),
        ),
    ), needs=("netdev", "netdev_egress")),
    Rule("netdev.egress-dummy", "What goes out by a dummy crosses its egress and is gone: nobody receives it.", (
        script(
            "netdev.egress-dummy",
            Register("out", "bridge", _NETDEV, "EGRESS", device="sink"), Register("in", "bridge", _NETDEV, "INGRESS", device="sink"),
            Frame("left", "eth0", "unknown", cookie=1),
            Crosses((_at("EGRESS", "out", netns="bridge"),), "sent"),
            topology=_DUMMY_PORT,
        ),
    ), needs=("netdev", "bridge", "netdev_egress")),
    Rule("netdev.no-device", "A device's point without a device: -EINVAL, no warning, nothing registered.", (
        script(
            "netdev.no-device",
            Register("own", *_INGRESS, device="eth0"),
            RegisterBatch("host", (Register("none", *_INGRESS),)),
            Returns(errno.EINVAL),
            Splats(),
            RegisterBatch("host", (Register("inet", "host", Family.INET, "INGRESS"),)),
            Returns(errno.EINVAL),
            Splats(),
            Dump(*_INGRESS, "eth0"),
            Array(*_INGRESS, "own", "eth0"),
        ),
    ), needs=("netdev",)),
    Rule("netdev.no-device-egress", "EGRESS without a device, or with another namespace's: -EINVAL, no warning, nothing registered.", (
        script(
            "netdev.no-device-egress",
            RegisterBatch("host", (Register("none", *_EGRESS),)),
            Returns(errno.EINVAL),
            Splats(),
            RegisterBatch("host", (Register("foreign", *_EGRESS, device="eth0", device_netns="peer"),)),
            Returns(errno.EINVAL),
            Splats(),
            Dump(*_EGRESS, "eth0"),
            Array(*_EGRESS, "", "eth0"),
        ),
    ), needs=("netdev", "netdev_egress")),
    Rule("netdev.foreign-device", "A device of another namespace: -EINVAL; neither namespace has the hook.", (
        script(
            "netdev.foreign-device",
            RegisterBatch("host", (Register("a", "host", _V4, "INPUT"),
                                   Register("foreign", *_INGRESS, device="eth0", device_netns="peer"))),
            Returns(errno.EINVAL),
            Splats(),
            Array("host", _V4, "INPUT", ""),
            Array("peer", _NETDEV, "INGRESS", "", "eth0"),
            RegisterBatch("host", (Register("inet", "host", Family.INET, "INGRESS", device="eth0", device_netns="peer"),)),
            Returns(errno.EINVAL),
            Dump(*_INGRESS, "eth0"),
            Array(*_INGRESS, "", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses(()),
        ),
    ), needs=("netdev",)),
    Rule("netdev.bad-hook", "A hook number that devices have not: -EINVAL, no warning, nothing registered.", (
        script(
            "netdev.bad-hook",
            Register("own", *_INGRESS, device="eth0"),
            RegisterBatch("host", (Register("bad", "host", _NETDEV, "HOOK2", device="eth0"),)),
            Returns(errno.EINVAL),
            Splats(),
            RegisterBatch("host", (Register("worse", "host", _NETDEV, "HOOK255", device="eth0"),)),
            Returns(errno.EINVAL),
            Splats(),
            Dump(*_INGRESS, "eth0"),
            Array(*_INGRESS, "own", "eth0"),
        ),
    ), needs=("netdev",)),
    Rule("netdev.down", "A device that is down takes hooks, and gives them back.", (_down("netdev.down", _NETDEV, "INGRESS"),),
         needs=("netdev",)),
    Rule("netdev.down-egress", "A device that is down takes hooks at EGRESS, too, and gives them back.",
         (_down("netdev.down-egress", _NETDEV, "EGRESS"),), needs=("netdev", "netdev_egress")),
    Rule("netdev.absent", "A kernel built without ingress says so: -EOPNOTSUPP, no warning, nothing is registered.", (
        script(
            "netdev.absent",
            Register("own", "host", _V4, "INPUT"),
            RegisterBatch("host", (Register("first", "host", _V4, "INPUT", 1), Register("ingress", *_INGRESS, device="eth0"))),
            Returns(errno.EOPNOTSUPP),
            RegisterBatch("host", (Register("inet", "host", Family.INET, "INGRESS", device="eth0"),)),
            Returns(errno.EOPNOTSUPP),
            Splats(),
            Dump("host", _V4, "INPUT"),
            Array("host", _V4, "INPUT", "own"),
        ),
    ), needs=("netdev_absent",)),
    Rule("netdev.egress-absent", "A kernel whose devices have no egress: -EINVAL or, built without it, -EOPNOTSUPP.", (
        script(
            "netdev.egress-absent",
            Register("own", *_INGRESS, device="eth0"),
            RegisterBatch("host", (Register("egress", *_EGRESS, device="eth0"),)),
            Returns(errno.EINVAL, errno.EOPNOTSUPP),
            Splats(),
            Dump(*_INGRESS, "eth0"),
            Array(*_INGRESS, "own", "eth0"),
        ),
    ), needs=("netdev", "netdev_egress_absent")),
    Rule("inet.ingress", "An NFPROTO_INET hook at INGRESS is in the device's ingress array, among those of NFPROTO_NETDEV.", (
        script(
            "inet.ingress",
            Register("netdev", *_INGRESS, 0, device="eth0"),
            Register("inet", "host", Family.INET, "INGRESS", -10, device="eth0"),
            Register("inet-later", "host", Family.INET, "INGRESS", 10, device="eth0"),
            Array(*_INGRESS, "inet netdev inet-later", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses((_at("INGRESS", "inet netdev inet-later"),)),
            Unregister("inet"),
            Array(*_INGRESS, "netdev inet-later", "eth0"),
            Unregister("netdev"),
            Unregister("inet-later"),
            Array(*_INGRESS, "", "eth0"),
        ),
        _down("inet.ingress", Family.INET, "INGRESS"),
    ), needs=("netdev", "inet_ingress")),
    Rule("inet.ingress-alone", "An NFPROTO_INET hook at INGRESS needs no other one beside it: its device looks for it.", (
        script(
            "inet.ingress-alone",
            Register("inet", "host", Family.INET, "INGRESS", device="eth0"),
            Array(*_INGRESS, "inet", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses((_at("INGRESS", "inet"),)),
            Send("peer", "host", cookie=2, pf=_V6),
            Crosses((_at("INGRESS", "inet"),)),
            Unregister("inet"),
            Array(*_INGRESS, "", "eth0"),
            Send("peer", "host", cookie=3, source_port=40001),
            Crosses(()),
        ),
    ), needs=("netdev", "inet_ingress")),
    Rule("netdev.egress-alone", "A hook at EGRESS needs no other one beside it: its device looks for it.", (
        script(
            "netdev.egress-alone",
            Register("egress", *_EGRESS, device="eth0"),
            Send("host", "peer", cookie=1),
            Crosses((_at("EGRESS", "egress"),)),
            Send("host", "peer", cookie=2, pf=_V6),
            Crosses((_at("EGRESS", "egress"),)),
            Unregister("egress"),
            Array(*_EGRESS, "", "eth0"),
            Send("host", "peer", cookie=3, source_port=40001),
            Crosses(()),
        ),
    ), needs=("netdev", "netdev_egress")),
)
