"""A kind of step is one file of the same name in each room, says all that the rooms ask, and does something in each."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.guest import steps as guest
from harness.model import steps as model
from harness.outcome.types import StepOutcome
from harness.scenario.check import admit
from harness.scenario.scope import Scope
from harness.scenario.step import KINDS, Allocates, Facts, Step, by_kind, same_topology
from harness.scenario.steps.hooks import Dump
from harness.scenario.steps.namespaces import AddLink, AddNetns, Keys
from harness.scenario.topology import PAIR
from tests.recorded import recorded

ROOT = Path(harness.__file__).parent

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_every_class_of_a_concern_that_is_a_step_is_a_kind() -> None:
    assert set(Step.__subclasses__()) >= set(KINDS.values())
    assert {kind.concern for kind in KINDS.values()} == {path.stem for path in (ROOT / "scenario/steps").glob("[a-z]*.py")}


@pytest.mark.parametrize(("name", "shared"), [("model", {"handler"}), ("guest", {"handler"}), ("explore", {"faults", "maker"})])
def test_a_room_has_no_file_of_a_concern_that_there_is_not(name: str, shared: set[str]) -> None:
    """:param shared: what its files have in common"""
    concerns = {kind.concern for kind in KINDS.values()}
    assert {path.stem for path in (ROOT / name / "steps").glob("[a-z]*.py")} - shared <= concerns


def test_the_rooms_do_every_kind() -> None:
    assert set(model.HANDLERS) == set(guest.HANDLERS) == set(KINDS.values())
    assert {kind.do for kind in guest.BASELINES} == {"keys"}


def test_a_room_that_lacks_a_kind_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="no function register_otherwise, which does the step 'register'"):
        by_kind("harness.model.steps", "_otherwise")


@pytest.mark.parametrize("name", [field.name for field in fields(Facts)])
def test_no_fact_has_a_default(name: str) -> None:
    said: dict[str, Any] = {field.name: getattr(Dump.facts, field.name) for field in fields(Facts) if field.name != name}
    with pytest.raises(TypeError, match=name):
        Facts(**said)


@pytest.mark.parametrize("name", ["do", "facts", "read", "write", "check"])
def test_a_kind_that_lacks_something_is_an_error_when_it_is_made(name: str) -> None:
    body = {key: value for key, value in vars(Dump).items() if key in ("read", "write", "check")} | {"do": "new", "facts": Dump.facts}
    del body[name]
    with pytest.raises(TypeError, match=f"New has no '{name}'"):
        type("New", (Step,), body)


def test_two_kinds_with_one_name_are_an_error() -> None:
    body = {key: value for key, value in vars(Dump).items() if key in ("do", "facts", "read", "write", "check")}
    with pytest.raises(TypeError, match="New and Dump are both the step 'dump'"):
        type("New", (Step,), body)


def test_data_of_a_common_name_has_its_type() -> None:
    body = {key: value for key, value in vars(Dump).items() if key in ("read", "write", "check")} | {"do": "new", "facts": Dump.facts}
    with pytest.raises(TypeError, match=r"New\.priority is str, and 'priority' is int in every kind"):
        type("New", (Step,), {**body, "__annotations__": {"priority": "str"}})


def test_a_kind_without_data_of_a_common_name_answers_with_its_default() -> None:
    assert (Keys().common("fail"), Keys().common("netns"), AddNetns("later", fail=(0,)).common("fail")) == ((), None, (0,))
    with pytest.raises(KeyError):
        Keys().common("to")


@kinds
def test_what_allocates_can_fail_and_nothing_else(kind: type[Step]) -> None:
    could = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = {name: None for name, default in could.items() if default is MISSING}
    assert ("fail" in could) is (kind.facts.allocates(kind(**values)) is not Allocates.NOTHING)


@kinds
def test_a_step_in_which_allocations_fail_keeps_its_namespaces_from_the_next_scenario(kind: type[Step]) -> None:
    """Two of them fail, since a registration of which one fails leaves nothing."""
    could = {field.name: field.default for field in fields(kind)}
    if "fail" in could:
        values: dict[str, Any] = {name: None for name, default in could.items() if default is MISSING}
        assert not kind.facts.flushed(kind(**{**values, "fail": (0, 1)}))


def verdicts(kind: type[Step]) -> set[str]:
    """What the recorded rules with a kind say of the model, compared with what a real kernel did."""
    with_it = [(script, observed) for rule, outcomes in recorded().rules.items()
               for script, observed in zip(RULES[rule].scripts, outcomes, strict=True)
               if any(isinstance(step, kind) for step in script.scenario.steps)]

    def notice() -> Iterator[str]:
        for script, observed in with_it:
            try:
                yield judge(script, recorded().profile, observed).comparison.verdict
            except (KeyError, ValueError):
                yield "what follows finds nothing"

    assert with_it, f"no recorded rule has the step {kind.do!r}: record one that comes first in a mutant's list"
    return set(notice())


@kinds
def test_model_and_kernel_do_something(kind: type[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in which the kind does nothing departs from what a real kernel did, in a rule that the right model keeps to."""
    assert verdicts(kind) == {"conformant"}, f"the model departs from what was recorded of rules with the step {kind.do!r}"
    monkeypatch.setitem(model.HANDLERS, kind, lambda _run, index, _step: StepOutcome(index))
    monkeypatch.setattr(kind, "facts", replace(kind.facts, leaves=same_topology))
    assert verdicts(kind) != {"conformant"}, f"no recorded rule notices a model in which the step {kind.do!r} does nothing"


@kinds
def test_the_kernels_half_calls_something(kind: type[Step]) -> None:
    """A function that only makes an outcome does nothing to the kernel. What the others do, the rules say in guests: no host can."""
    function = ast.parse(inspect.getsource(guest.HANDLERS[kind]))
    assert {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)} - {"StepOutcome"}


def test_a_topology_that_a_step_does_not_leave_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddLink, "facts", replace(AddLink.facts, leaves=same_topology))
    assert verdicts(AddLink) != {"conformant"}


def test_the_topology_after_a_step_is_that_of_its_facts() -> None:
    scope = Scope(PAIR)
    admit(scope, AddNetns("later"), "steps[0]")
    assert (scope.topology, scope.index) == (AddNetns("later").after(PAIR), 1)


@pytest.mark.parametrize("path", sorted((ROOT / "scenario/steps").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_no_sense_check_sets_the_topology(path: Path) -> None:
    targets = [target for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)
               for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    assert "scope.topology" not in map(ast.unparse, targets), "the fact 'leaves' says what topology a step leaves"
