"""Hooks of nf_tables' own, which go with their device or namespace as their owner takes them away: core does not look for them."""

from __future__ import annotations

from harness.conformance.expect import Array, At, Crosses, Finds, Returns, Splats
from harness.conformance.rule import Rule, script
from harness.model import Foreign
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome import Slot, point_key
from harness.scenario.steps.hooks import Nft, Register, Unregister
from harness.scenario.steps.namespaces import AddDevice, AddNetns, DeleteDevice, DeleteNetns, Keys
from harness.scenario.steps.packets import Send

__all__ = ("RULES",)

_NETDEV = Family.NETDEV
_NETDEV_CHAIN = "table netdev d {{ chain c {{ type filter hook ingress device {} priority 0; policy accept; counter; }}; }}"
_INET_CHAIN = "table inet t { chain c { type filter hook input priority 5; policy accept; counter; }; }"
_TWO_CHAINS = ("table ip t { chain accepts { type filter hook input priority 1; policy accept; }; "
               "chain drops { type filter hook input priority 2; policy drop; }; }")
_CHAIN, _AT_INPUT = "nft_do_chain_ipv4", point_key("host", Family.IPV4, hook_number(Family.IPV4, "INPUT"))
_LATER_IN = ("later", Family.IPV4, "INPUT")
_NONE_LEFT = Finds(())


def _brought(step: int, netns: str, device: str, *families: Family) -> Foreign:
    """What the rulesets bring at a step, and the step before for other families."""
    ingress = (point_key(netns, _NETDEV, 0, device), (Slot(0, "nft_do_chain_netdev", "nf_tables", 0),))
    hook = hook_number(Family.INET, "INPUT")
    inet = tuple((point_key(netns, pf, hook), (Slot(0, "nft_do_chain_inet", "nf_tables", 5),)) for pf in families)
    return Foreign({step: (ingress,), step - 1: inet})


RULES = (
    Rule("unregister.one-of-two-chains", "Of two chains of nftables at a point, whose function is one, the one that is deleted goes.", (
        script(
            "unregister.one-of-two-chains",
            Nft("host", _TWO_CHAINS),
            Register("behind", "host", Family.IPV4, "INPUT", 9),
            Nft("host", "delete chain ip t drops"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "behind"),)),
            foreign=Foreign({0: ((_AT_INPUT, (Slot(0, _CHAIN, "nf_tables", 1), Slot(1, _CHAIN, "nf_tables", 2))),),
                             2: ((_AT_INPUT, (Slot(0, _CHAIN, "nf_tables", 1),)),)},
                            {(1, 0, "host", Family.IPV4, hook_number(Family.IPV4, "INPUT"), _CHAIN, "nf_tables", 2):
                             (Verdict(VerdictKind.DROP),)}),
        ),
    )),
    Rule("device.dies-ruleset", "A device dies with a ruleset's hook on it and one beside: both go, and nothing counts them any more.", (
        script(
            "device.dies-ruleset",
            AddDevice("host", "doomed"),
            Nft("host", _NETDEV_CHAIN.format("doomed")),
            Register("behind", "host", _NETDEV, "INGRESS", 1, device="doomed"),
            Keys(),
            Finds.of(**{"NETDEV INGRESS": 2, "ingress_needed_key": 2}),
            DeleteDevice("host", "doomed"),
            Returns(0),
            Splats(),
            Keys(),
            _NONE_LEFT,
            foreign=_brought(1, "host", "doomed"),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("pernet.exit-ruleset", "A namespace dies with rulesets: their hooks go as all others, and nothing counts them any more.", (
        script(
            "pernet.exit-ruleset",
            AddNetns("later"),
            Register("before", *_LATER_IN, 4),
            Register("goes", *_LATER_IN, 5),
            Nft("later", _INET_CHAIN),
            Nft("later", _NETDEV_CHAIN.format("lo")),
            Register("after", *_LATER_IN, 6),
            Unregister("goes"),
            Array(*_LATER_IN, "before after"),
            Register("host", "host", *_LATER_IN[1:]),
            Keys(),
            Finds((("IPV4 INPUT", 4), ("IPV6 INPUT", 1), ("NETDEV INGRESS", 1), ("ingress_needed_key", 1)), more=True),
            DeleteNetns("later"),
            Finds.of(netns="gone", proc="gone"),
            Splats(),
            Keys(),
            Finds((("IPV4 INPUT", 1),)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "host"),)),
            foreign=_brought(4, "later", "lo", Family.IPV4, Family.IPV6),
        ),
    ), needs=("netdev", "static_keys")),
)
