"""Hostile requests to ``nfharness.ko`` harm no kernel, with or without privileges (``fuzz.py``)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow

OLDEST, NEWEST = "5.10", "7.3"
_FUZZ = Path(__file__).with_name("fuzz.py")
#: What a guest with two processors answers in half a minute where nothing else is at work.
_HALF_A_MINUTE = 3000
#: What a host that has others at work may take for a request, and for preparing a guest before.
_REQUEST_S, _PATIENCE_S = 0.3, 900


def _fuzz(nfharness: CommandLine, kernel: str, requests: int) -> None:
    seed = str(random.SystemRandom().randrange(1 << 32))
    arguments = ("exec", "--kernel", kernel, "--bare", "--append", "slub_debug=FZP", "--python", "--", "-", str(requests), seed)
    result = nfharness(*arguments, stdin=_FUZZ.read_bytes(), deadline_s=requests * _REQUEST_S + _PATIENCE_S)
    again = f"nfharness {' '.join(arguments)} < {_FUZZ.relative_to(Path(__file__).parents[2])}"
    assert (result.status, result.out.count(b" requests, ")) == (0, 2), f"{again}\n{result.out.decode(errors='replace')}{result.err}"
    assert ("nfharness.ko and its probes are in it" in result.err) is (kernel == OLDEST)


@pytest.mark.parametrize("kernel", [OLDEST, NEWEST])
def test_half_a_minute_of_hostile_requests_harms_no_kernel(nfharness: CommandLine, kernel: str) -> None:
    _fuzz(nfharness, kernel, _HALF_A_MINUTE)


@pytest.mark.long
@pytest.mark.parametrize("kernel", [OLDEST, "6.12", NEWEST])
def test_ten_minutes_of_hostile_requests_harm_no_kernel(nfharness: CommandLine, kernel: str) -> None:
    _fuzz(nfharness, kernel, 20 * _HALF_A_MINUTE)
