"""Registration: ``nf_hook_entries_grow`` (l.103-162), ``nf_register_net_hook`` (l.314-357, 449-470), the heads of namespaces."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from harness.conformance.expect import Array, At, Crosses, Expectation, Returns, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family
from harness.scenario.step import Step
from harness.scenario.steps.batches import RegisterBatch
from harness.scenario.steps.hooks import Alter, Dump, Nft, Register, RegisterMany, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawDelete, RawInsert
from harness.scenario.topology import ROUTER

__all__ = ("RULES",)

_V4, _V6 = Family.IPV4, Family.IPV6
_IN = ("host", _V4, "INPUT")
_FULL = 1024
_WARNING = "net/netfilter/core.c"


def _newest_first(name: str, count: int = _FULL) -> str:
    return " ".join(f"{name}.{number}" for number in range(count, 0, -1))


def _fill(pf: Family, hook: str, device: str | None = None) -> RegisterMany:
    return RegisterMany("full", "host", pf, hook, _FULL, device=device)


def _one_too_many(rule: str, pf: Family, hook: str) -> Script:
    """A device's point is filled."""
    return script(
        rule,
        _fill(pf, hook, "eth0"),
        Returns(0),
        Register("too-many", "host", pf, hook, device="eth0"),
        Returns(errno.E2BIG),
    )


def _by_priority(hooks: Iterable[tuple[str, int]]) -> str:
    """Ids of hooks given in the order of their registration, in the order in which they run."""
    numbered = sorted((priority, -number, name) for number, (name, priority) in enumerate(hooks))
    return " ".join(name for _, _, name in numbered)


_MANY = [(f"{number}", (number * 37 % 11) - 5) for number in range(40)]
"""In no order, each priority three or four times."""
_EVERY_THIRD = [hook for hook in _MANY if int(hook[0]) % 3 == 0]
_OTHERS = [hook for hook in _MANY if hook not in _EVERY_THIRD]
_LAST = [hook for number in range(5) for hook in _OTHERS[number::5]]
"""In which order the others go."""
_IP = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def _come_and_go(netns: str, pf: Family, hook: str, device: str | None = None) -> Iterator[Step | Expectation]:
    """Five hooks come to a point in no order, two pairs of them with equal priorities, and go again."""
    def array(hooks: str) -> Array:
        return Array(netns, pf if pf is not Family.INET else Family.NETDEV, hook, " ".join(f"{prefix}{name}" for name in hooks), device)

    prefix = f"{netns}-{pf.name}-{hook}-{device or ''}-"
    for name, priority in zip("abcde", (-5, 3, -5, 0, 3), strict=True):
        yield Register(f"{prefix}{name}", netns, pf, hook, priority, device=device)
    yield array("cadeb")
    for name, left in zip("dbcea", ("caeb", "cae", "ae", "a", ""), strict=True):
        yield Unregister(f"{prefix}{name}")
        yield array(left)


ORDER = (
    Rule("order.ascending", "Hooks at a point run by ascending priority, whatever the order of registration, from INT_MIN to INT_MAX.", (
        script(
            "order.ascending",
            Register("zero", *_IN, 0),
            Register("last", *_IN, PRIORITY_MAX),
            Register("first", *_IN, PRIORITY_MIN),
            Register("minus-5", *_IN, -5),
            Register("seven", *_IN, 7),
            Register("one", *_IN, 1),
            Array(*_IN, "first minus-5 zero one seven last"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "first minus-5 zero one seven last"),)),
        ),
        script(
            "order.ascending, other ways round",
            *(Register(f"down{priority}", "host", _V4, "PREROUTING", priority) for priority in (3, 2, 1)),
            Array("host", _V4, "PREROUTING", "down1 down2 down3"),
            *(Register(f"up{priority}", *_IN, priority) for priority in (1, 2, 3)),
            Array(*_IN, "up1 up2 up3"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "PREROUTING", "down1 down2 down3"), At("host", "INPUT", "up1 up2 up3"))),
        ),
    )),
    Rule("order.equal-newest-first", "Of hooks with equal priority the newest registration runs first.", (
        script(
            "order.equal-newest-first, behind many",
            RegisterMany("many", *_IN, 80, -1),
            Register("older", *_IN, 0),
            Register("newer", *_IN, 0),
            Array(*_IN, f"{_newest_first('many', 80)} newer older"),
        ),
        script(
            "order.equal-newest-first",
            Register("oldest", *_IN, 0),
            Register("older", *_IN, 0),
            Register("newest", *_IN, 0),
            Array(*_IN, "newest older oldest"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "newest older oldest"),)),
        ),
        script(
            "order.equal-newest-first, at the ends",
            *(Register(f"{name}{number}", *_IN, priority) for number in (1, 2)
              for name, priority in (("max", PRIORITY_MAX), ("min", PRIORITY_MIN))),
            Array(*_IN, "min2 min1 max2 max1"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "min2 min1 max2 max1"),)),
        ),
    )),
    Rule("order.stable", "Inserting or removing one hook keeps the order of the others.", (
        script(
            "order.stable",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 0), ("c", -5), ("d", 7))),
            Array(*_IN, "c b a d"),
            Register("e", *_IN, 3),
            Array(*_IN, "c b a e d"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "c b a e d"),)),
            Unregister("b"),
            Array(*_IN, "c a e d"),
            Register("f", *_IN, 0),
            Array(*_IN, "c f a e d"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "INPUT", "c f a e d"),)),
        ),
    )),
    Rule("order.many", "Forty hooks of eleven priorities, registered in no order, run in order; also when every third has gone.", (
        script(
            "order.many",
            *(Register(name, *_IN, priority) for name, priority in _MANY),
            Array(*_IN, _by_priority(_MANY)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", _by_priority(_MANY)),)),
            *(Unregister(name) for name, _ in _EVERY_THIRD),
            Array(*_IN, _by_priority(_OTHERS)),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "INPUT", _by_priority(_OTHERS)),)),
            *(line for gone, (name, _) in enumerate(_LAST, 1) for line in (
                Unregister(name), Array(*_IN, _by_priority(hook for hook in _OTHERS if hook not in _LAST[:gone])))),
        ),
        script(
            "order.many, of more than 256",
            RegisterMany("low", *_IN, 300, -1),
            Register("high", *_IN, 5),
            Register("mid", *_IN, 0),
            Array(*_IN, f"{_newest_first('low', 300)} mid high"),
        ),
    )),
    Rule("order.every-point", "At each point of IPV4 and IPV6 hooks stand by ascending priority, equal ones newest first, also as "
         "they go.", (
        *(script(f"order.every-point, {pf.name}", *(line for hook in _IP for line in _come_and_go("host", pf, hook))) for pf in (_V4, _V6)),
    )),
    Rule("order.layer-2",
         "At each point of ARP and BRIDGE hooks stand by ascending priority, equal ones newest first, also as they go.", (
        script("order.layer-2, ARP", *(line for hook in ("INPUT", "OUTPUT", "FORWARD") for line in _come_and_go("host", Family.ARP, hook))),
        script("order.layer-2, BRIDGE", *(line for hook in _IP for line in _come_and_go("host", Family.BRIDGE, hook))),
    ), needs=("arp", "bridge")),
    Rule("order.devices",
         "At INGRESS of each device, lo too, hooks stand by ascending priority, equal ones newest first, also as they go.", (
        script("order.devices", *(line for device in ("eth0", "lo") for line in _come_and_go("host", Family.NETDEV, "INGRESS", device))),
    ), needs=("netdev",)),
    Rule("order.egress",
         "At EGRESS of each device, lo too, hooks stand by ascending priority, equal ones newest first, also as they go.", (
        script("order.egress", *(line for device in ("eth0", "lo") for line in _come_and_go("host", Family.NETDEV, "EGRESS", device))),
    ), needs=("netdev", "netdev_egress")),
    Rule("order.inet-ingress",
         "At INGRESS of each device, lo too, NFPROTO_INET hooks stand by ascending priority, equal ones newest first, also as they go.", (
        script("order.inet-ingress", *(line for device in ("eth0", "lo") for line in _come_and_go("host", Family.INET, "INGRESS", device))),
    ), needs=("netdev", "inet_ingress")),
    Rule("validate.order", "hooks_validate finds every array in order: equal priorities, the ends of the range, whatever comes and goes.", (
        script(
            "validate.order",
            *(Register(f"{name}{number}", "host", Family.INET, "INPUT", priority)
              for number in (1, 2) for name, priority in (("max", PRIORITY_MAX), ("min", PRIORITY_MIN), ("mid", 0))),
            Splats(),
            Array(*_IN, "min2 min1 mid2 mid1 max2 max1"),
            Unregister("mid1"),
            Splats(),
            Unregister("min2"),
            Splats(),
            Register("again", *_IN, PRIORITY_MIN),
            Splats(),
            Array(*_IN, "again min1 mid2 max2 max1"),
            RegisterMany("many", *_IN, 10, PRIORITY_MAX),
            Splats(),
            *(RawInsert(f"raw{number}", "host", "a", priority) for number, priority in enumerate((3, 1, 3, 2, 1))),
            Splats(),
            RawDelete("raw3"),
            Splats(),
        ),
    )),
    Rule("validate.altered-live", "A hook whose owner has changed its priority stays where it is; each array made of it warns.", (
        script(
            "validate.altered-live",
            *(Register(name, *_IN, number) for number, name in enumerate("abc")),
            Alter("a", 5),
            Splats(),
            Array(*_IN, "a b c"),
            Register("d", *_IN, 3),
            Array(*_IN, "d a b c"),
            Splats((_WARNING,) * 2),
            Unregister("d"),
            Array(*_IN, "a b c"),
            Splats((_WARNING,) * 2),
            Alter("a", 0),
            Register("e", *_IN, 4),
            Array(*_IN, "a b c e"),
            Splats(),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "a b c e"),)),
        ),
    ), needs=("hooks_validated",)),
    Rule("order.foreign", "Hooks of nftables and conntrack stand among others by priority like any.", (
        script(
            "order.foreign",
            Register("before", *_IN, -1),
            Register("older", *_IN, 5),
            Nft("host", "table ip t { chain c { type filter hook input priority 5; policy accept; ct state new counter; }; }"),
            Register("newer", *_IN, 5),
            Register("after", *_IN, 6),
            Array(*_IN, "before newer older after"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "before newer older after"),)),
        ),
    )),
)

LIMIT = (
    Rule("limit.1024", "1024 hooks fit at a point; one more gets -E2BIG and changes nothing; after one removal one fits again.", (
        script(
            "limit.1024",
            _fill(_V4, "INPUT"),
            Returns(0),
            Array(*_IN, _newest_first("full")),
            Register("too-many", *_IN, 0),
            Returns(errno.E2BIG),
            Array(*_IN, _newest_first("full")),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", _newest_first("full")),)),
            Unregister("full.512"),
            Register("fits", *_IN, 0),
            Returns(0),
            Array(*_IN, f"fits {_newest_first('full')}".replace(" full.512 ", " ")),
            Register("too-many-again", *_IN, PRIORITY_MIN),
            Returns(errno.E2BIG),
        ),
    )),
    Rule("limit.per-point", "The limit is that of one namespace, family and hook: a full point does not affect its neighbours.", (
        script(
            "limit.per-point",
            _fill(_V4, "FORWARD"),
            Register("full-point", "host", _V4, "FORWARD"),
            Returns(errno.E2BIG),
            Register("other-hook", *_IN),
            Returns(0),
            Register("other-family", "host", _V6, "FORWARD"),
            Returns(0),
            Register("other-namespace", "peer", _V4, "FORWARD"),
            Returns(0),
            Register("a-device", "host", Family.NETDEV, "INGRESS", device="eth0"),
            Returns(0),
        ),
    ), needs=("netdev",)),
    Rule("limit.layer-2", "ARP's and BRIDGE's points take 1024 hooks, too; one more gets -E2BIG and changes nothing.", (
        *(script(
            f"limit.layer-2, {pf.name}",
            _fill(pf, "INPUT"),
            Returns(0),
            Register("too-many", "host", pf, "INPUT"),
            Returns(errno.E2BIG),
            Array("host", pf, "INPUT", _newest_first("full")),
            Register("other-point", "host", pf, "FORWARD"),
            Returns(0),
        ) for pf in (Family.ARP, Family.BRIDGE)),
    ), needs=("arp", "bridge")),
    Rule("limit.batch", "A batch with a hook for a full point gets -E2BIG as that hook alone would; those before it are gone again.", (
        script(
            "limit.batch",
            _fill(_V6, "OUTPUT"),
            RegisterBatch("host", (Register("v4", *_IN), Register("v6", "host", _V6, "OUTPUT"))),
            Returns(errno.E2BIG),
            Array("host", _V6, "OUTPUT", _newest_first("full")),
            Array(*_IN, ""),
        ),
    )),
    Rule("limit.per-device", "The limit of a device's point is that device's own.", (
        script(
            "limit.per-device",
            _fill(Family.NETDEV, "INGRESS", "eth0"),
            Register("full-device", "host", Family.NETDEV, "INGRESS", device="eth0"),
            Returns(errno.E2BIG),
            Register("other-device", "host", Family.NETDEV, "INGRESS", device="lo"),
            Returns(0),
            Register("peer-device", "peer", Family.NETDEV, "INGRESS", device="eth0"),
            Returns(0),
        ),
    ), needs=("netdev",)),
    Rule("limit.egress", "A device's EGRESS takes 1024 hooks, too; one more gets -E2BIG.", (
        _one_too_many("limit.egress", Family.NETDEV, "EGRESS"),
    ), needs=("netdev", "netdev_egress")),
    Rule("limit.inet-ingress", "A device's INGRESS takes 1024 NFPROTO_INET hooks, too; one more gets -E2BIG.", (
        _one_too_many("limit.inet-ingress", Family.INET, "INGRESS"),
    ), needs=("netdev", "inet_ingress")),
)

INET = (
    Rule("inet.fanout", "An NFPROTO_INET hook is in the arrays of IPV4 and IPV6, and runs for both.", (
        script(
            "inet.fanout",
            Register("both", "host", Family.INET, "INPUT", 0),
            Array(*_IN, "both"),
            Array("host", _V6, "INPUT", "both"),
            Register("v4", *_IN, 0),
            Register("v6", "host", _V6, "INPUT", 1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "v4 both"),)),
            Send("peer", "host", cookie=2, pf=_V6),
            Crosses((At("host", "INPUT", "both v6", pf=_V6),)),
        ),
    )),
    Rule("inet.first-half", "IPV4 refuses an NFPROTO_INET hook: its errno is returned and IPV6 is not tried.", (
        script(
            "inet.first-half",
            _fill(_V4, "PREROUTING"),
            Register("v6", "host", _V6, "PREROUTING"),
            Register("both", "host", Family.INET, "PREROUTING"),
            Returns(errno.E2BIG),
            Array("host", _V4, "PREROUTING", _newest_first("full")),
            Array("host", _V6, "PREROUTING", "v6"),
        ),
    )),
    Rule("inet.rollback", "IPV6 refuses an NFPROTO_INET hook: the IPV4 half is taken out again and the errno returned.", (
        script(
            "inet.rollback",
            Register("v4", *_IN),
            _fill(_V6, "INPUT"),
            Register("both", "host", Family.INET, "INPUT", -1),
            Returns(errno.E2BIG),
            Array(*_IN, "v4"),
            Array("host", _V6, "INPUT", _newest_first("full")),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "v4"),)),
        ),
    )),
)

HEADS = (
    Rule("head.by-hook", "Each hook number of a family has its own array, and so has each family.", (
        script("head.by-hook", *(
            line for pf in (_V4, _V6) for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING") for line in (
                Dump("host", pf, hook), Array("host", pf, hook, ""),
                Register(f"{pf.name} {hook}".replace(" ", "-"), "host", pf, hook), Array("host", pf, hook, f"{pf.name}-{hook}"))
        )),
    )),
    Rule("head.arp", "ARP has three points, IN, OUT and FORWARD, each with its own array.", (
        script("head.arp", *(
            line for hook in ("INPUT", "OUTPUT", "FORWARD") for line in (
                Dump("host", Family.ARP, hook), Array("host", Family.ARP, hook, ""),
                Register(hook, "host", Family.ARP, hook), Returns(0), Array("host", Family.ARP, hook, hook))
        )),
    ), needs=("arp",)),
    Rule("head.bridge", "BRIDGE has five points, each with its own array.", (
        script("head.bridge", *(
            line for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING") for line in (
                Dump("host", Family.BRIDGE, hook), Array("host", Family.BRIDGE, hook, ""),
                Register(hook, "host", Family.BRIDGE, hook), Returns(0), Array("host", Family.BRIDGE, hook, hook))
        )),
    ), needs=("bridge",)),
    Rule("netns.isolated", "A hook in one namespace never sees another's packets; a namespace starts without any.", (
        script(
            "netns.isolated",
            Register("client", "client", _V4, "INPUT"),
            Dump("router", _V4, "INPUT"),
            Array("router", _V4, "INPUT", ""),
            Register("router", "router", _V4, "INPUT"),
            Array("router", _V4, "INPUT", "router"),
            Register("elsewhere", "client", _V4, "FORWARD"),
            Dump("server", _V4, "INPUT"),
            Array("server", _V4, "INPUT", ""),
            Send("client", "server", cookie=1),
            Crosses(()),
            Send("server", "router", cookie=2),
            Crosses((At("router", "INPUT", "router"),)),
            topology=ROUTER,
        ),
    )),
    Rule("key.off", "A point without hooks is not traversed; the first registration turns it on, the last unregistration off.", (
        script(
            "key.off",
            Register("input", *_IN),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "input"),)),
            Register("pre", "host", _V4, "PREROUTING"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "PREROUTING", "pre"), At("host", "INPUT", "input"))),
            Unregister("pre"),
            Send("peer", "host", cookie=3, source_port=40002),
            Crosses((At("host", "INPUT", "input"),)),
            Unregister("input"),
            Send("peer", "host", cookie=4, source_port=40003),
            Crosses(()),
            Register("pre-again", "host", _V4, "PREROUTING"),
            Send("peer", "host", cookie=5, source_port=40004),
            Crosses((At("host", "PREROUTING", "pre-again"),)),
        ),
    )),
)

RULES = (*ORDER, *LIMIT, *INET, *HEADS)
