"""A kernel that ``nfharness kernel build`` built, end to end: coverage, and ten mutants of its core.c. ``.ci/long`` builds it first."""

from __future__ import annotations

import json

import pytest

from harness.conformance import RULES
from harness.images.kernel_tree import built_specs
from tests.e2e.built import SPEC, tree
from tests.e2e.conftest import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.long]

MUTANTS = 10
DEADLINE_S = 3600


@pytest.fixture
def built() -> str:
    """The kernel's name."""
    if SPEC not in built_specs():
        pytest.skip(f"no {SPEC} is built here: nfharness kernel build --source 6.12 --flavour gcov")
    return SPEC


def test_its_rules_hold_and_reach_lines(nfharness: CommandLine, built: str) -> None:
    done = nfharness("coverage", "--kernel", built, "order", "drop", "--jobs", "1", "--json", deadline_s=DEADLINE_S)
    assert done.status == 0, done
    found = json.loads(done.out)
    assert set(found["rules"]) == {name for name in RULES if name.startswith(("order.", "drop."))}
    assert found["lines"]["reached"] > 100


def test_ten_mutants_are_caught_or_proved_equivalent(nfharness: CommandLine, built: str) -> None:
    chosen = ("--only", "nf_unregister_net_hooks", "--only", "nf_hook_slow_list", "--limit", str(MUTANTS))
    done = nfharness("mutate", "--source", str(tree()), *chosen, "--jobs", "1", "--json", deadline_s=DEADLINE_S)
    assert done.status == 0, done
    outcomes = [one["outcome"] for one in json.loads(done.out)["mutants"]]
    assert len(outcomes) == MUTANTS
    assert set(outcomes) <= {"caught", "equivalent"}
