"""What the step ``churn`` counts as torn."""

from __future__ import annotations

import pytest

from harness.scenario.steps.churn import passed_by


@pytest.mark.parametrize(("arrived", "seen", "stands", "found"), [
    (200, 200, True, 0),
    (200, 197, True, 3),  # three packets met an empty head
    (150, 200, True, 0),  # fifty were lost behind the point
    (200, 120, False, 0),  # the only hook was not there
    (200, 0, True, 0),  # the point is not on their way
])
def test_a_packet_that_arrives_past_hooks_that_stand_is_torn(arrived: int, seen: int, stands: bool, found: int) -> None:
    assert passed_by(arrived, seen, stands=stands) == found
