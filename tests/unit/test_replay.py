"""``nfharness replay``: what it says of a difference, and of a kernel that dies of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.backends import executor
from harness.cli.replay import command
from harness.conformance import RULES, matrix
from harness.conformance.bundle import save
from harness.conformance.judge import judge
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario
from tests.unit.targets import target as kernel
from tests.unit.test_conformance_matrix import Guests, drops_every_slot, guests, panics

__all__ = ("guests",)

RULE = RULES["stolen"]


@pytest.fixture
def replayed(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Scenario], Outcome]], Any]:
    async def close() -> None:
        pass

    async def target(*_: object) -> matrix.Target:
        on = kernel("k")
        on.source.close = close  # type: ignore[method-assign]
        return on

    monkeypatch.setattr(matrix, "target", target)
    monkeypatch.setattr(executor, "started", guests.begin)

    def run(answer: Callable[[Scenario], Outcome]) -> Any:
        guests.answers["stolen"] = [answer]
        observed = replace(predict(RULE.scripts[0].scenario), steps=())
        bundle: Path = save("stolen", judge(RULE.scripts[0], KernelProfile(), observed), {"release": "k"}, "")
        return CliRunner().invoke(command, ["--kernel", "6.12", str(bundle)])

    return run


def test_a_difference_says_the_promise_and_where_core_keeps_it(replayed: Callable[..., Any]) -> None:
    done = replayed(drops_every_slot)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert RULE.sentence in lines
    assert "the pinned core.c:527-531 nf_hook_slow: STOLEN: 0, since 6.7 the errno it carries" in lines
    assert any(line.startswith("steps[0]/host/IPV4/PREROUTING: predicted before (-1), observed empty") for line in lines)


def test_a_kernel_that_dies_of_it_is_different(replayed: Callable[..., Any]) -> None:
    done = replayed(panics)
    assert (done.exit_code, "Kernel panic - not syncing: test" in done.stderr) == (1, True)


def test_what_is_gone_says_no_promise(replayed: Callable[..., Any]) -> None:
    done = replayed(predict)
    assert (done.exit_code, RULE.sentence in done.stdout) == (0, False)
