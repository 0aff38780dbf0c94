"""Every kind of step has all that a step needs."""

from __future__ import annotations

import pkgutil
from types import ModuleType
from typing import get_args

import pytest

from harness.guest import steps as guest
from harness.model import steps as model
from harness.scenario import forms, steps

KINDS = set(get_args(steps.Step))


def modules(package: ModuleType) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__)}


@pytest.mark.parametrize("table", [forms.BY_STEP, guest.HANDLERS, model.HANDLERS], ids=["JSON", "guest", "model"])
def test_every_kind_of_step_is_in_the_table(table: dict[type, object]) -> None:
    assert set(table) == KINDS


def test_no_two_kinds_of_step_have_the_same_name() -> None:
    assert len(forms.BY_NAME) == len(KINDS)


def test_a_concern_has_a_module_of_the_same_name_in_each_room() -> None:
    assert modules(steps) == modules(guest) - {"handler"} == modules(model) - {"handler"} <= modules(forms)
