"""A guest's clock against the host's."""

from __future__ import annotations

import pytest

from harness.errors import EmulatorFailed
from harness.vm.pace import Reading, must_keep_pace


@pytest.mark.parametrize(("guest_s", "pace"), [(10, 1.0), (9, 0.9), (11.5, 1.15)])
def test_a_clock_that_keeps_pace_but_for_what_an_answer_takes(guest_s: float, pace: float) -> None:
    assert must_keep_pace(Reading(100, 3), Reading(110, 3 + guest_s)) == pytest.approx(pace)


@pytest.mark.parametrize(("guest_s", "said"), [(65, "6.5 times as fast"), (13, "1.3 times as fast"), (5, "0.5 times as fast")])
def test_a_clock_that_runs_away_or_stays_behind(guest_s: float, said: str) -> None:
    with pytest.raises(EmulatorFailed, match=said):
        must_keep_pace(Reading(100, 3), Reading(110, 3 + guest_s))
