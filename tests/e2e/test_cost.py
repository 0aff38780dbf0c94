"""``nfharness cost``: instructions that a guest's own clock counts."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow


def test_fresh_guests_count_the_same(nfharness: CommandLine) -> None:
    done = nfharness("cost", "--kernel", "6.12", "--json")
    assert done.status == 0, done
    (kernel,) = json.loads(done.out)["kernels"]
    for figure in kernel["figures"].values():
        assert len(figure["samples"]) == 3
        assert figure["instructions"] > 0
        assert figure["spread"] < 0.005  # half of what must be seen as a difference
