"""A ruleset that the kernel does not take: the scenario's mistake, or what the kernel did."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from harness.errors import UserError
from harness.guest.steps import hooks
from harness.scenario.steps.hooks import Nft

CHAIN = "table ip t { chain c { type filter hook input priority 0; }; }"


def refused(monkeypatch: pytest.MonkeyPatch, why: str, ruleset: str) -> int | None:
    """The step's errno."""
    def refuses(*_arguments: Any) -> None:
        raise UserError(f"nft does not take the ruleset for host: Error: Could not process rule: {why}", hint="correct it")

    monkeypatch.setattr(hooks, "load_ruleset", refuses)
    return hooks.nft(None, 3, Nft("host", ruleset)).errno  # type: ignore[arg-type]


def test_a_chain_for_which_core_is_busy_is_what_the_kernel_did(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(monkeypatch, "Device or resource busy", CHAIN) == errno.EBUSY


@pytest.mark.parametrize(("why", "ruleset"), [("Device or resource busy", "delete table ip t"), ("No such file or directory", CHAIN)])
def test_any_other_is_the_scenarios_mistake(monkeypatch: pytest.MonkeyPatch, why: str, ruleset: str) -> None:
    with pytest.raises(UserError, match=why):
        refused(monkeypatch, why, ruleset)
