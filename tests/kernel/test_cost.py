"""What hooks cost, measured in a guest whose clock is the host's: here the figures are only there."""

from __future__ import annotations

import json

import pytest

from harness.guest import cost


def test_every_figure_is_measured(nfharness_ko: None, capsys: pytest.CaptureFixture[str]) -> None:
    cost.main(5)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"packet", "hook_call", "registration", "slot"}
    assert found["packet"] > 0
    assert found["registration"] > 0
