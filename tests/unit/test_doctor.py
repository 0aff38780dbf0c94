"""What doctor prints."""

from __future__ import annotations

import resource

import pytest

from harness.cli import doctor
from harness.doctor import examine
from harness.doctor.examine import Finding


def test_the_columns_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._print([Finding("one", "why one", "ok", "here"), Finding("two", "why two", "slow", "late", "hurry"),
                   Finding("three", "why three", "missing", "not found", "get it")])  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-2] == [
        "ok       one: here",
        "         why one",
        "slow     two: late",
        "         why two",
        "         hint: hurry",
        "missing  three: not found",
        "         why three",
        "         hint: get it",
    ]


@pytest.mark.parametrize(("limit", "state", "found"), [
    (resource.RLIM_INFINITY, "ok", "unlimited"), (4 << 30, "ok", "limited to 4096 MiB"), (500000 << 10, "missing", "limited to 488 MiB"),
])
def test_a_limit_that_qemu_meets_is_told(limit: int, state: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_AS: (limit, resource.RLIM_INFINITY)}.get)
    finding = examine._address_space()
    assert (finding.state, finding.found) == (state, found)
    assert finding.state == "ok" or finding.hint == "raise the limit: ulimit -v unlimited"
