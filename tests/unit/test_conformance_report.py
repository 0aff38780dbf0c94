"""Results for programs, and bundles: no state is lost."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.conformance import RULES
from harness.conformance.bundle import Bundle, load, save
from harness.conformance.coverage import core_lines
from harness.conformance.judge import State, judge
from harness.conformance.matrix import RuleResult, default_jobs
from harness.conformance.report import exit_code, junit, ktap
from harness.errors import UserError
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import dumps


def result(rule: str, state: State, kernel: str = "6.12", **more: object) -> RuleResult:
    return RuleResult(rule, kernel, state, ((1, 2), (5, 5)), **more)  # type: ignore[arg-type]


RESULTS = [
    result("a", "conformant", seconds=0.5),
    result("b", "different", reason="x: y # z", details=("x: y # z", "second\nline"), bundle=Path("/b.json")),
    result("c", "not_applicable", reason="the probe p says no"),
    result("d", "inconclusive", reason="lost 3 events"),
    result("e", "lost", reason="Kernel panic"),
    result("a", "conformant", kernel="7.3"),
]


@pytest.mark.parametrize(("states", "code"), [
    (["conformant", "not_applicable"], 0), (["conformant", "different", "lost", "inconclusive"], 1), (["inconclusive", "conformant"], 125),
    (["lost"], 1), (["lost", "inconclusive"], 1), ([], 0),
])
def test_different_and_lost_beat_inconclusive_which_beats_conformant(states: list[State], code: int) -> None:
    assert exit_code([result("r", state) for state in states]) == code


def test_a_kernel_that_never_came_up_is_different_only_if_it_is_to_be() -> None:
    results = [result("r", "lost", asked=False)]
    assert (exit_code(results), exit_code(results, dead_is_different=True)) == (125, 1)


def test_ktap_is_nested_by_kernel_and_counts() -> None:
    assert list(ktap(RESULTS)) == [
        "KTAP version 1",
        "1..2",
        "  KTAP version 1",
        "  # Subtest: 6.12",
        "  1..5",
        "  ok 1 a",
        "  # x: y # z",
        "  # second line",
        "  # bundle: /b.json",
        "  not ok 2 b",
        "  ok 3 c # SKIP the probe p says no",
        "  not ok 4 d # ERROR inconclusive: lost 3 events",
        "  not ok 5 e # ERROR lost: Kernel panic",
        "  # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:2",
        "not ok 1 6.12",
        "  KTAP version 1",
        "  # Subtest: 7.3",
        "  1..1",
        "  ok 1 a",
        "  # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0",
        "ok 2 7.3",
        "# Totals: pass:2 fail:1 xfail:0 xpass:0 skip:1 error:2",
    ]


def test_in_ktap_the_label_of_a_tree_does_not_read_as_a_directive() -> None:
    lines = list(ktap([result("a", "conformant", kernel="6.12.1-own#abcdef01")]))
    assert (lines[3], lines[7]) == ("  # Subtest: 6.12.1-own-abcdef01", "ok 1 6.12.1-own-abcdef01")


def test_junit_has_a_suite_for_each_kernel_and_a_child_for_each_state() -> None:
    root = ElementTree.fromstring(junit(RESULTS))  # noqa: S314 - our own
    first, second = root.findall("testsuite")
    counts = {key: first.get(key) for key in ("name", "tests", "failures", "errors", "skipped")}
    assert counts == {"name": "6.12", "tests": "5", "failures": "1", "errors": "2", "skipped": "1"}
    cases = {case.get("name"): case for case in first.findall("testcase")}
    children = {name: [(child.tag, child.get("type")) for child in case if child.tag != "system-out"] for name, case in cases.items()}
    assert children == {"a": [], "b": [("failure", "different")], "c": [("skipped", None)], "d": [("error", "inconclusive")],
                        "e": [("error", "lost")]}
    assert cases["b"].findtext("system-out") == "state: different\ncore.c lines: 1-2, 5\nbundle: /b.json\n"
    assert second.get("name") == "7.3"


def test_junit_has_nothing_that_the_schema_of_jenkins_does_not_know() -> None:
    counts = {"name", "tests", "failures", "errors", "time"}
    finding: tuple[set[str], set[str]] = (set(), {"type", "message"})
    #: Element → the elements that may be in it, and its attributes, of junit-10.xsd those that are used.
    grammar: dict[str, tuple[set[str], set[str]]] = {
        "testsuites": ({"testsuite"}, counts), "testsuite": ({"testcase"}, counts | {"skipped"}),
        "testcase": ({"failure", "error", "skipped", "system-out"}, {"name", "classname", "time"}),
        "failure": finding, "error": finding, "skipped": finding, "system-out": (set(), set()),
    }
    for element in ElementTree.fromstring(junit(RESULTS)).iter():  # noqa: S314 - our own
        children, attributes = grammar[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.keys()) <= attributes


def test_junit_survives_what_xml_cannot_hold() -> None:
    root = ElementTree.fromstring(junit([result("r", "lost", reason="console \x1b[1m\x00")]))  # noqa: S314
    assert [error.get("message") for error in root.iter("error")] == ["console �[1m�"]


KERNEL = {"release": "6.12.1+x/y", "profile": {}, "config_hash": "c", "module_hash": "m"}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a kernel that has lost every hook call."""
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    one = RULES["order.ascending"].scripts[0]
    observed = Outcome(predict(one.scenario).steps, (), log=("WARNING: at core.c", " stack"))
    return save("order.ascending", judge(one, KernelProfile(), observed), KERNEL, "last words\n")


def test_a_bundle_holds_all_of_a_difference(bundle: Path) -> None:
    document = json.loads(bundle.read_text())
    assert {*document} == {"bundle", "rule", "core_lines", "seed", "kernel", "before", "scenario", "differences", "predicted", "observed",
                           "trace", "console"}
    assert (document["kernel"], document["seed"], document["console"]) == (KERNEL, None, "WARNING: at core.c\n stack\nlast words")
    assert document["core_lines"] == [list(lines) for lines in core_lines("order.ascending")]
    assert document["trace"][0] == "order.ascending on 6.12.1+x/y"
    assert document["trace"][-1] == "inconclusive: packet 1 was sent but not seen"
    assert "/" not in bundle.name.removesuffix(".json")


def test_a_bundle_is_read_back_with_the_rule_s_own_expectations(bundle: Path) -> None:
    loaded = load(bundle)
    assert loaded.observed is not None
    assert loaded.script is RULES["order.ascending"].scripts[0]
    assert judge(loaded.script, KernelProfile(), loaded.observed).comparison.differences == loaded.differences


def test_a_bundle_of_a_rule_that_has_changed_still_has_its_scenario(bundle: Path) -> None:
    document = json.loads(bundle.read_text())
    document["rule"] = "gone"
    bundle.write_text(json.dumps(document))
    loaded = load(bundle)
    assert (loaded.script.scenario, loaded.script.expected) == (RULES["order.ascending"].scripts[0].scenario, ())


def test_the_bundle_of_a_kernel_that_died_has_the_scenario_the_seed_and_the_console(bundle: Path) -> None:
    scenario = RULES["order.ascending"].scripts[0].scenario
    written = save("explore", scenario, KERNEL, "Kernel panic\n", seed=5)
    assert json.loads(written.read_text())["console"] == "Kernel panic"
    assert load(written) == Bundle("explore", scenario, KERNEL, 5)


def test_a_scenario_is_as_much_of_a_bundle(tmp_path: Path) -> None:
    scenario = RULES["order.ascending"].scripts[0].scenario
    (tmp_path / "mine.json").write_text(dumps(scenario))
    assert load(tmp_path / "mine.json") == Bundle(scenario.name, scenario, {})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"bundle": 2}', '{"bundle": 5}', '{"steps": []}', "[" * 100_000])
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "no-bundle.json"
    file.write_text(text)
    with pytest.raises(UserError):
        load(file)


@pytest.mark.parametrize(("text", "problem"), [("[" * 100_000, "nested too deeply"), ("9" * 5000, "not JSON: Exceeds the limit"),
                                               ("{", "not JSON: Expecting property name")])
def test_why_a_file_is_no_bundle_is_told(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "no-bundle.json"
    file.write_text(text)
    with pytest.raises(UserError, match=problem):
        load(file)


@pytest.mark.parametrize(("place", "value"), [
    (("rule",), []), (("kernel",), []), (("scenario",), 1), (("observed", "steps"), 1), (("observed", "steps", 0, "slots"), []),
    (("observed", "steps", 0, "errno"), 1.5), (("differences",), [1]),
])
def test_a_bundle_that_is_not_whole_is_refused(bundle: Path, place: tuple[str | int, ...], value: object) -> None:
    document = json.loads(bundle.read_text())
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    bundle.write_text(json.dumps(document))
    with pytest.raises(UserError):
        load(bundle)


def test_a_bundle_that_was_cut_short_is_refused(bundle: Path) -> None:
    text = bundle.read_text()
    bundle.write_text(text[:len(text) // 2])
    with pytest.raises(UserError, match="not JSON"):
        load(bundle)


def test_a_bundle_of_another_version_says_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "newer.json").write_text('{"bundle": 6}')
    with pytest.raises(UserError, match="a bundle of version 6, and this nfharness reads version 5") as told:
        load(tmp_path / "newer.json")
    assert told.value.hint == "use the nfharness that wrote it"


def test_a_bundle_that_is_not_there_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "none.json")


def test_there_is_always_room_for_one_guest() -> None:
    assert default_jobs(1) == 1
    assert 1 <= default_jobs(64) <= 64
