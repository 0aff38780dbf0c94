"""``nfharness stress`` on the host: what a guest says becomes a result."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cli.stress import _as_json, _table
from harness.conformance.matrix import NeverUp, Target
from harness.conformance.stress import Stressed, _read, every
from harness.errors import GuestError, KernelDied
from harness.guest import slabs
from harness.guest.stress_tasks import KINDS, TASKS
from harness.images.kernels import Kernel
from harness.vm.channel import Remote

DONE = dict.fromkeys(KINDS, 7)


class _Said:
    """A guest's process that has said something and ended."""

    def __init__(self, *pieces: tuple[int, bytes], status: int = 0) -> None:
        self._pieces, self._status = list(pieces), status

    async def read(self) -> tuple[int, bytes] | None:
        return self._pieces.pop(0) if self._pieces else None

    async def wait(self) -> int:
        return self._status


def _heard(*pieces: tuple[int, bytes], status: int = 0) -> Stressed:
    found = Stressed(cast(Target, SimpleNamespace()))
    asyncio.run(_read(found, cast(Remote, _Said(*pieces, status=status)), lambda: None))
    return found


def _ended(**more: Any) -> bytes:
    return json.dumps({"ended": {"seconds": 9.0, "operations": DONE, "wrong": [], "doubts": [], **more}}).encode() + b"\n"


def test_what_was_done_is_what_the_guest_said_last() -> None:
    line = _ended()
    found = _heard((1, b'{"seconds": 5.0, "operations": {}}\n' + line[:9]), (2, b"noise"), (1, line[9:]))
    assert (found.state, found.seconds, found.operations) == ("conformant", 9.0, DONE)


@pytest.mark.parametrize(("more", "state"), [
    ({"wrong": ["BUG: KASAN"]}, "different"), ({"doubts": ["the log overran"]}, "inconclusive"),
    ({"operations": DONE | {"datagrams sent": 0}}, "inconclusive"), ({"operations": DONE | {"devices deleted": 0}}, "conformant"),
])
def test_what_was_wrong_decides(more: dict[str, Any], state: str) -> None:
    assert _heard((1, _ended(**more))).state == state


def test_a_guest_that_does_not_come_to_an_end_is_an_error() -> None:
    with pytest.raises(GuestError, match="exit status 3"):
        _heard((1, b'{"seconds": 5.0, "operations": {}}\n'), status=3)
    with pytest.raises(GuestError, match="it does not come up"):
        _heard((2, b'{"error": "GuestError", "message": "it does not come up", "hint": null}'), status=120)


def test_a_kernel_that_never_came_up_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Kernel("6.99.0", "1", "6.99", "cloud", ())
    found = Stressed(Target("6.99", kernel, NeverUp(KernelDied("it panicked", console_tail="one\ntwo"))))
    asyncio.run(every([found], 1, 2, lambda _one: None, 1))
    assert (found.state, found.died, found.log) == ("lost", "it never came up: it panicked", ["one", "two"])
    (result,) = _as_json(2, 1, [found])["results"]
    assert (result["state"], result["log"]) == ("lost", ["one", "two"])
    _table(2, 30, [found])
    shown = capsys.readouterr().out
    assert "it never came up: it panicked" in shown
    assert "nfharness stress --kernel 6.99 --time 30 --seed 2" in shown


def test_both_processors_have_work() -> None:
    assert {processor for processor, _ in TASKS.values()} == {0, 1}


def _cache(place: Path, name: str, count: str) -> None:
    (place / name).mkdir()
    (place / name / "shrink").write_text("")
    (place / name / "objects").write_text(count)


def test_caches_that_netfilter_has_objects_in_are_shrunk_and_counted(tmp_path: Path) -> None:
    assert slabs.objects(tmp_path) is None
    for name, count in (("kmalloc-64", "12 N0=12"), (":0000256", "7 N0=7"), ("ext4_inode_cache", "9 N0=9")):
        _cache(tmp_path, name, count)
    (tmp_path / "nf_conntrack").symlink_to(":0000256")
    assert slabs.objects(tmp_path) == {"kmalloc-64": 12, ":0000256": 7}
    assert (tmp_path / "kmalloc-64/shrink").read_text() == "1"
    assert (tmp_path / "ext4_inode_cache/shrink").read_text() == ""


@pytest.mark.parametrize(("before", "after", "found"), [
    ({"a": 1000}, {"a": 1451}, {"a": 451}), ({"a": 1000}, {"a": 1450}, {}), ({}, {"new": 401}, {"new": 401}), ({"gone": 9000}, {}, {}),
])
def test_a_cache_has_grown_by_more_than_programs_explain(before: dict[str, int], after: dict[str, int], found: dict[str, int]) -> None:
    assert slabs.grown(before, after) == found
