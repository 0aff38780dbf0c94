"""Boiling down what a bench has measured."""

from __future__ import annotations

import pytest

from harness.bench.exploration import UNITS as EXPLORED
from harness.bench.guests import UNITS, Metric, memory_mib
from harness.bench.verdicts import UNITS as VERDICTS
from harness.cli.bench import _WHAT

SMAPS = """\
55d0c0000000-7ffd4e7f6000 ---p 00000000 00:00 0                          [rollup]
Rss:              204800 kB
Pss:              153600 kB
Shared_Clean:      61440 kB
Shared_Dirty:       1024 kB
Private_Clean:     40960 kB
Private_Dirty:     92160 kB
Anonymous:         92160 kB
"""


def test_private_and_shared_memory_are_clean_and_dirty_together() -> None:
    assert memory_mib(SMAPS) == (130.0, 61.0)


@pytest.mark.parametrize(("samples", "boiled"), [
    ([0.25], Metric(0.25, 0.25, 0.25, "s")),
    ([3.0, 1.0, 2.0], Metric(2.0, 1.0, 3.0, "s")),
    ([4.0, 1.0, 2.0, 3.0], Metric(2.5, 1.0, 4.0, "s")),
])
def test_samples_become_median_least_and_largest(samples: list[float], boiled: Metric) -> None:
    assert Metric.of("s", samples) == boiled


def test_every_metric_is_explained_to_the_reader() -> None:
    assert list(_WHAT) == [*UNITS, *VERDICTS, *EXPLORED]
