"""The faults of a real core.c: what they say of themselves, and how they come to stand beside what is right."""

from __future__ import annotations

import pytest

from harness.conformance import RULES
from harness.conformance.coverage import FUNCTIONS
from harness.mutate.schemata import with_mutants
from tests.mutants.kernel import FAULTS
from tests.mutants.kernel.claims import NOT_CHOSEN, without_fault
from tests.mutants.kernel.fault import fault, mutant

SOURCE = '#include "nf_internals.h"\n\nint f(int a)\n{\n\tif (a > 1)\n\t\treturn 2;\n\tg(a);\n\treturn a;\n}\n'


def body(*faults: str | tuple[str, str]) -> str:
    made = [fault(str(number), *one, breaks="f") for number, one in enumerate(faults)]
    return with_mutants(SOURCE, [mutant(SOURCE, one).changes for one in made]).partition("int f")[2]


def test_a_fault_has_a_name_of_its_own_and_a_rule_that_tells_or_a_reason() -> None:
    assert len({one.name for one in FAULTS}) == len(FAULTS) >= 80
    for one in FAULTS:
        assert bool(one.rules) or bool(one.why), one.name
        assert set(one.rules) <= RULES.keys(), one.name


def test_a_fault_stands_for_each_branch_that_a_rule_claims() -> None:
    assert [f"{function.name} {branch}: {branch.what}" for function, branch in without_fault(FAULTS)] == []


def test_a_branch_that_cannot_be_chosen_is_one_of_the_table() -> None:
    assert {(function.name, branch.lines[0]) for function in FUNCTIONS for branch in function.branches} >= NOT_CHOSEN.keys()


def test_an_expression_is_chosen_where_it_stands() -> None:
    assert "if ((NFH_FAULT(1) ? (a >= 1) : (a > 1)))" in body(("if («a > 1»)", "a >= 1"))


def test_statements_are_chosen_as_a_block() -> None:
    assert "{ if (NFH_FAULT(1)) { ; } else { g(a); } }" in body(("\t«g(a);»\n", ";"))


def test_two_faults_of_the_same_text_stand_side_by_side() -> None:
    text = body(("\t«g(a);»\n", ";"), ("\t«g(a);»\n", "h(a);"))
    assert "if (NFH_FAULT(1)) { ; } else if (NFH_FAULT(2)) { h(a); } else { g(a); }" in text


def test_a_fault_may_be_within_what_another_replaces() -> None:
    text = body(("\t«if (a > 1)\n\t\treturn 2;»", ";"), ("if («a > 1»)", "0"))
    assert "if (NFH_FAULT(1)) { ; } else { if ((NFH_FAULT(2) ? (0) : (a > 1)))\n\t\treturn 2; }" in text


def test_faults_that_share_some_of_their_text_are_refused() -> None:
    with pytest.raises(ValueError, match=r"faults \[.*\] share"):
        body(("\t«if (a > 1)\n\t\treturn 2;»", ";"), ("\t\t«return 2;\n\tg(a);»", ";"))


@pytest.mark.parametrize("text", ["h(a);", "a"])
def test_a_text_that_is_not_there_once_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"0: found \d+ times"):
        body((text, ";"))
