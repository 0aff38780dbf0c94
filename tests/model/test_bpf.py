"""BPF programs as hooks: what their steps answer, and which make no sense."""

from __future__ import annotations

import errno

import pytest

from harness.errors import UserError
from harness.model import predict
from harness.netfilter import PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome import KernelProfile
from harness.scenario import Scenario, Step
from harness.scenario.check import check
from harness.scenario.codec import from_json, to_json
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.namespaces import DeleteNetns
from harness.scenario.topology import PAIR

_IN = ("host", Family.IPV4, "INPUT")
LINK = BpfLink("link", *_IN, 3, Verdict(VerdictKind.DROP))


def answers(*steps: Step, profile: KernelProfile | None = None) -> list[int]:
    return [step.errno for step in predict(Scenario("own", "", PAIR, steps), profile).steps]


def refused(*steps: Step) -> str:
    with pytest.raises(UserError) as error:
        check(Scenario("wrong", "", PAIR, steps))
    return error.value.message


def test_a_link_survives_json() -> None:
    scenario = Scenario("own", "", PAIR, (LINK, BpfUnlink("link")))
    assert from_json(to_json(scenario)) == scenario


def test_a_kernel_without_such_programs_refuses_them() -> None:
    assert answers(LINK, BpfUnlink("link"), profile=KernelProfile(bpf_link=False)) == [errno.EINVAL, errno.ENOENT]


def test_a_link_needs_a_priority_of_its_own_until_it_goes() -> None:
    again = BpfLink("again", *_IN, 3)
    assert answers(LINK, again, BpfUnlink("again"), BpfUnlink("link"), BpfLink("later", *_IN, 3)) == [0, errno.EBUSY, errno.ENOENT, 0, 0]
    assert answers(LINK, Register("ordinary", *_IN, 3)) == [0, 0]


def test_what_no_kernel_would_take_is_refused_with_its_place() -> None:
    document = to_json(Scenario("own", "", PAIR, (LINK,)))
    document["steps"][0]["priority"] = PRIORITY_MIN
    with pytest.raises(UserError, match=r"steps\[0\].priority: -2147483648 is out of range"):
        from_json(document)
    assert "steps[0].verdict: the verifier lets a program only" in refused(BpfLink("x", *_IN, 0, Verdict(VerdictKind.QUEUE)))
    assert "steps[1].id: \"link\" is no link that is there" in refused(Register("link", *_IN), BpfUnlink("link"))
    assert "steps[1].netns: the BPF link \"link\" keeps \"host\" alive" in refused(LINK, DeleteNetns("host"))
