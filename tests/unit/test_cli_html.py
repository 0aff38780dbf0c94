"""``check --html``: one file with every result, whatever is in them, and no word to a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cli.html import page
from harness.conformance import RULES
from harness.conformance.bundle import save
from harness.conformance.judge import State, judge
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.rule import Rule
from harness.images.kernels import Kernel
from harness.model import predict
from harness.outcome import KernelProfile, Outcome

_IDS = ("order.ascending", "order.stable", "drop.eperm")
_RULES: list[Rule] = [RULES[name] for name in _IDS]
_VOID = {"meta", "br", "input"}
_OPTIONAL_END = {"html", "p", "tr", "td", "th", "li"}


class Page(HTMLParser):
    """Text by element; complains of an element that is closed and was not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID | _OPTIONAL_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _OPTIONAL_END:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def target(name: str, kernel: Kernel) -> Target:
    facts = {"profile": KernelProfile(release=kernel.release).to_json()}
    return Target(name, kernel, cast(Any, SimpleNamespace(backend="qemu", accelerator="tcg", facts=facts)))


@pytest.fixture
def targets() -> list[Target]:
    return [target("6.12", Kernel("6.12.1-cloud-amd64", "6.12.1-1", "6.12", "cloud", ())),
            target("~/linux", Kernel("6.99.0-own", "abcdef0123456789", "6.99", "tree", (), tree="/home/me/linux"))]  # fmt: skip


def results(targets: list[Target], told: RuleResult) -> list[RuleResult]:
    """Everything conformant but one."""
    all_ = [RuleResult(rule.id, one.kernel.label, "conformant", ((146, 151),), seconds=0.5) for one in targets for rule in _RULES]
    return [told if (told.rule, told.kernel) == (one.rule, one.kernel) else one for one in all_]


@pytest.mark.parametrize("state", ["different", "not_applicable", "inconclusive", "lost"])
def test_a_result_has_its_reason_and_its_lines(targets: list[Target], state: State) -> None:
    told = RuleResult("order.stable", "6.99.0-own#abcdef01", state, ((146, 151),), "<b>why</b> & so", 1.25, details=("a < b", "second"))
    shown = Page(page(targets, _RULES, results(targets, told), 12.3))
    (details,) = [attributes for tag, attributes in shown.elements if tag == "details"]
    assert (details["data-state"], details["data-rule"]) == (state, "order.stable")
    assert ("open" in details) is (state != "not_applicable")
    assert ("a < b" in shown.text) is (state != "not_applicable")
    assert ("<b>why</b> & so" in shown.text) is (state == "not_applicable")
    assert "lines 146-151" in shown.text
    assert [attributes["href"] for tag, attributes in shown.elements if tag == "a"] == [f"#{details['id']}"]
    assert f"5 conformant\n  1 {state.replace('_', ' ')}" in shown.text
    assert shown.open == []


def test_departures_have_rows_and_what_applies_to_the_reference_only_is_named(targets: list[Target]) -> None:
    told = RuleResult("order.stable", "6.12.1-cloud-amd64", "not_applicable", ((1, 2),), "the probe p says no", applies_to="6.12")
    why = "6.12 has it, this kernel has not: CONFIG_VLAN_8021Q is not set"
    departed = [RuleResult("profile.vlan", one.kernel.label, "conformant", (), why) for one in targets]
    shown = Page(page(targets, _RULES, [*results(targets, told), *departed], 1))
    assert " ".join(shown.text.split()).count("1 rule of 6.12 not applicable to 6.12: order.stable") == 1
    assert "VLAN devices can be made" in shown.text
    assert "6.12 has it, this kernel has not: CONFIG_VLAN_8021Q is not set" in shown.text


def test_a_kernel_of_ones_own_says_where_it_was_built(targets: list[Target]) -> None:
    told = RuleResult("order.stable", "6.12.1-cloud-amd64", "conformant", ((1, 2),))
    assert "built in /home/me/linux" in Page(page(targets, _RULES, results(targets, told), 1)).text


def test_a_difference_has_its_bundle_and_its_walks(targets: list[Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    script = RULES["drop.eperm"].scripts[0]
    observed = Outcome(predict(script.scenario).steps, ())
    judged = judge(script, targets[0].profile, observed)
    bundle = save("drop.eperm", judged, targets[0].identity(), "")
    told = RuleResult("drop.eperm", "6.12.1-cloud-amd64", "different", ((1, 2),), "why", 1, bundle, ("why",))
    shown = Page(page(targets, _RULES, results(targets, told), 1))
    assert f"nfharness replay {bundle}" in shown.text
    assert "not seen" in shown.text
    assert "returned -EPERM" in shown.text or "returns -EPERM" in shown.text
    bundle.unlink()
    assert "returns -EPERM" not in Page(page(targets, _RULES, results(targets, told), 1)).text


def test_it_needs_nothing_but_itself(targets: list[Target]) -> None:
    text = page(targets, _RULES, results(targets, RuleResult("order.stable", "6.12.1-cloud-amd64", "lost", ((1, 2),), "x")), 1)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|src=", text)


def test_what_a_console_says_is_written_as_far_as_a_page_can_hold_it(targets: list[Target]) -> None:
    text = page(targets, _RULES, results(targets, RuleResult("order.stable", "6.12.1-cloud-amd64", "lost", ((1, 2),), "a\x00b\x1b[1m")), 1)
    assert "a\ufffdb\ufffd[1m" in text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
