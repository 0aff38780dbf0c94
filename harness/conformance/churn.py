"""Hooks that come and go under traffic: readers walk the old array or the new one, never something between (RCU, l.75-89, 336-356)."""

from __future__ import annotations

from harness.conformance.expect import Array, Finds, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family
from harness.scenario.steps.churn import Churn
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.namespaces import Keys
from harness.scenario.topology import ROUTER

__all__ = ("RULES",)

_V4, _INET, _NETDEV = Family.IPV4, Family.INET, Family.NETDEV
_FORWARD = ("router", _V4, "FORWARD")


def _at_a_device(rule: str, hook: str, device: str) -> Script:
    """A hook comes and goes among others of a device's point."""
    point = ("router", _NETDEV, hook)
    return script(
        rule,
        *(Register(name, *point, priority, device=device) for name, priority in (("a", -5), ("b", 0), ("c", 5))),
        Churn("churned", *point, "client", "server", rounds=200, packets=100, priority=1, device=device),
        Finds.of(sent=100, arrived=100, rounds=200, torn=0),
        Splats(),
        Array(*point, "a b c", device),
        topology=ROUTER,
    )


RULES = (
    Rule("unregister.in-flight", "A hook comes and goes while packets pass: each meets one of the two arrays whole, none is lost.", (
        script(
            "unregister.in-flight",
            *(Register(name, *_FORWARD, priority) for name, priority in (("a", -5), ("b", 0), ("c", 5), ("d", 5))),
            Churn("churned", *_FORWARD, "client", "server", rounds=400, packets=200, priority=1),
            Finds.of(sent=200, arrived=200, rounds=400, torn=0),
            Splats(),
            Array(*_FORWARD, "a b d c"),
            topology=ROUTER,
        ),
        script(
            "unregister.in-flight, in both halves of INET",
            Register("first", *_FORWARD, -5),
            Register("last", *_FORWARD, 5),
            Churn("churned", "router", _INET, "FORWARD", "client", "server", rounds=200, packets=100),
            Finds.of(sent=100, arrived=100, rounds=200, torn=0),
            Splats(),
            Array(*_FORWARD, "first last"),
            topology=ROUTER,
        ),
    )),
    Rule("unregister.in-flight-devices", "At a device's INGRESS, too, each packet meets one of the two arrays whole.",
         (_at_a_device("unregister.in-flight-devices", "INGRESS", "to-client"),), needs=("netdev",)),
    Rule("unregister.in-flight-egress", "At a device's EGRESS, too, each packet meets one of the two arrays whole.",
         (_at_a_device("unregister.in-flight-egress", "EGRESS", "to-server"),), needs=("netdev", "netdev_egress")),
    Rule("key.in-flight", "The only hook of a point comes and goes while packets pass, its static key with it: none is lost.", (
        script(
            "key.in-flight",
            Keys(),
            Churn("churned", *_FORWARD, "client", "server", rounds=60, packets=100),
            Finds.of(sent=100, arrived=100, rounds=60, torn=0),
            Splats(),
            Array(*_FORWARD, ""),
            Keys(),
            Finds(()),
            topology=ROUTER,
        ),
        script(
            "key.in-flight, of a device",
            Keys(),
            Churn("churned", "router", _NETDEV, "INGRESS", "client", "server", rounds=60, packets=100, device="to-client"),
            Finds.of(sent=100, arrived=100, rounds=60, torn=0),
            Splats(),
            Array("router", _NETDEV, "INGRESS", "", "to-client"),
            Keys(),
            Finds(()),
            topology=ROUTER,
        ),
    ), needs=("netdev", "static_keys")),
)
