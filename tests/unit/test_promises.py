"""Every promise of the hook core that was written down has a rule of its name."""

from __future__ import annotations

import pytest

from harness.conformance import RULES
from harness.conformance.coverage import functions_of

#: What is promised, by what it is about.
PROMISES = {
    "registration": """order.ascending order.equal-newest-first order.stable limit.1024 limit.per-point grow.enomem grow.drops-dummies
        netns.isolated inet.fanout inet.unregister inet.rollback inet.ingress netdev.ingress netdev.egress netdev.no-device
        netdev.foreign-device netdev.bad-hook head.bad-hook head.bad-family batch.all batch.rollback batch.empty duplicate.same-ops
        validate.order key.off""",
    "unregistration": """unregister.shrinks unregister.last unregister.missing unregister.empty-head unregister.failed-shrink
        unregister.flushes-queue unregister.in-flight batch.unregister raw.insert raw.delete raw.missing""",
    "verdicts": """accept.all accept.high-bits drop.eperm drop.errno drop.positive stolen stolen.errno queue.no-handler queue.bypass
        queue.reinject-accept queue.reinject-drop queue.reinject-repeat queue.reinject-queue queue.reinject-stop queue.number queue.full
        queue.listener-dies repeat stop unknown start-index list""",
    "paths": """path.local-in path.forward path.local-out path.arp path.bridge path.netdev path.families-together state.fields
        path.fragments path.gso path.vlan path.loopback""",
    "connection tracking": "ct.absent ct.present ct.zone-default nat.hook tee.duplicated",
    "namespaces": "pernet.proc pernet.exit",
}

ALL = [rule for rules in PROMISES.values() for rule in rules.split()]


def test_every_promise_has_a_rule_of_its_name() -> None:
    assert set(ALL) <= RULES.keys()


@pytest.mark.parametrize("rule", ALL)
def test_a_promise_s_rule_knows_the_functions_that_keep_it(rule: str) -> None:
    assert functions_of(rule)
