"""``nfharness stress``: from the command line to what was done, and what was wrong."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "6.12", "7.3"])
def test_a_kernel_that_is_right_stands_a_few_seconds(nfharness: CommandLine, kernel: str) -> None:
    done = nfharness("stress", "--kernel", kernel, "--time", "8", "--seed", "1", "--json")
    assert done.status == 0, done
    document = json.loads(done.out)
    (result,) = document["results"]
    assert (document["seed"], result["state"], result["wrong"]) == (1, "conformant", [])
    assert result["operations"]["hooks registered"] > 0
    assert result["memory"]["grown"] == {}

