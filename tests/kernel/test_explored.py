"""Scenarios that an exploration of an unchanged kernel found to differ, through a fault of the model or of the module."""

from __future__ import annotations

import pytest

from harness.guest.executor import execute
from harness.model import predict, seen
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import compare
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario import Scenario
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert, RawList
from harness.scenario.topology import ROUTER, SINGLE

pytestmark = pytest.mark.usefixtures("nfharness_ko")

_BYPASS = Verdict(VerdictKind.QUEUE, queue=9, bypass=True).encode()



def _cut_up(pf: Family) -> Scenario:
    return Scenario(f"{pf.name}'s first fragment is the datagram's own skb", "", ROUTER, (
        Register("post", "client", pf, "POSTROUTING"), Send("client", "server", 1, pf, size=3392, ttl=1),
    ))


FOUND = (
    Scenario("a list passes a last hook that bypasses", "", SINGLE, (
        RawInsert("a", "host", "a", verdict=_BYPASS), RawList("host", "a", 2),
    )),
    _cut_up(Family.IPV4), _cut_up(Family.IPV6),
)


@pytest.mark.parametrize("scenario", FOUND, ids=lambda scenario: scenario.name)
def test_the_kernel_does_what_the_model_says(scenario: Scenario, kernel: RunningKernel) -> None:
    observed = execute(scenario)
    comparison = compare(predict(scenario, kernel.profile, seen(observed)), observed)
    assert (comparison.verdict, comparison.differences, comparison.reasons) == ("conformant", (), ())
