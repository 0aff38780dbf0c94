"""``nfharness cost``: instructions that a guest's own clock counts."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow


def test_fresh_guests_count_the_same(nfharness: CommandLine) -> None:
    """The median is known to half of what is to be seen as a difference; one guest at either end may be apart by less than that."""
    done = nfharness("cost", "--kernel", "6.12", "--guests", "5", "--json")
    assert done.status == 0, done
    (kernel,) = json.loads(done.out)["kernels"]
    for figure in kernel["figures"].values():
        samples = sorted(figure["samples"])
        assert (len(samples), figure["instructions"]) == (5, samples[2])
        assert samples[1] > 0
        assert samples[3] - samples[1] < 0.005 * samples[2], samples
        assert figure["spread"] < 0.01, samples
