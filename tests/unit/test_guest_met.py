"""What a step meets in the kernel is its outcome; what a namespace leaves in procfs is told by the numbers of the next one."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from harness.guest import leaks, procs
from harness.guest.met import met
from harness.guest.module import ArrayBooks
from harness.guest.netns import Namespace
from harness.outcome.types import StepOutcome
from harness.scenario.steps.namespaces import AddNetns

STEP = AddNetns("later")


def run(**more: Any) -> Any:
    return SimpleNamespace(failed=set(), doubts=[], **more)


def raising(error: Exception) -> Any:
    def handler(_run: Any, _index: int, _step: Any) -> StepOutcome:
        raise error
    return handler


def test_an_answer_is_the_outcome() -> None:
    under_way = run()
    assert met(under_way, 1, STEP, lambda _run, index, _step: StepOutcome(index, 0)) == StepOutcome(1, 0)
    assert under_way.failed == set()


def test_an_errno_that_a_step_of_ours_meets_is_the_outcome() -> None:
    under_way = run()
    assert met(under_way, 2, STEP, raising(FileExistsError(errno.EEXIST, "it is there"))) == StepOutcome(2, errno.EEXIST)
    assert under_way.failed == {2}


def test_what_an_earlier_step_should_have_made_is_missing() -> None:
    under_way = run()
    met(under_way, 0, STEP, raising(OSError(errno.ENOMEM, "")))
    assert met(under_way, 1, STEP, raising(KeyError("later"))) == StepOutcome(1, errno.ENOENT)


def test_a_fault_of_the_tool_s_own_stays_one() -> None:
    with pytest.raises(KeyError):
        met(run(), 0, STEP, raising(KeyError("later")))


def numbers(monkeypatch: pytest.MonkeyPatch, found: dict[str, tuple[set[int], int]]) -> None:
    monkeypatch.setattr(procs, "_numbers", lambda namespace: (frozenset(found[namespace.name][0]), found[namespace.name][1]))


@pytest.mark.parametrize(("later", "left"), [({10, 11, 12}, 0), ({10, 12, 13}, 1), ({4, 5, 6}, 0)])
def test_a_directory_whose_number_is_passed_by_is_there_still(monkeypatch: pytest.MonkeyPatch, later: set[int], left: int) -> None:
    numbers(monkeypatch, {"a": ({10, 11, 12}, 11), "b": (later, min(later))})
    seen, (a, b) = procs.Procs(), (Namespace("a", 1), Namespace("b", 2))
    assert seen.left(a) == 0
    seen.died(a)
    assert seen.left(b) == left


def test_a_number_that_another_namespace_has_is_no_directory_s(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers(monkeypatch, {"a": ({10, 11}, 11), "b": ({11, 12}, 12), "c": ({10, 13}, 13)})
    seen, spaces = procs.Procs(), [Namespace(name, 1) for name in "abc"]
    seen.saw(spaces[0])
    seen.died(spaces[0])
    assert [seen.left(one) for one in spaces[1:]] == [0, 0]


def test_a_number_that_a_module_took_meanwhile_is_no_directory_s(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers(monkeypatch, {"a": ({10, 11}, 11), "b": ({12, 13}, 12)})
    seen, (a, b) = procs.Procs(), (Namespace("a", 1), Namespace("b", 2))
    seen.saw(a)
    seen.died(a)
    assert seen.left(b) == 1
    monkeypatch.setattr(procs, "_elsewhere", lambda: {10, 11})
    assert seen.left(b) == 0


@pytest.mark.parametrize(("now", "told"), [
    (ArrayBooks(9, 5, 0, 3, 0, 0, ()), ()),
    (ArrayBooks(9, 5, 0, 3, 0, 0, (2, 2)), (("arrays that nobody has and nobody frees", 2),)),
    (ArrayBooks(9, 5, 4, 3, 0, 0, ()), (("arrays freed before a grace period", 4),)),
    (ArrayBooks(9, 5, 0, 900, 0, 0, ()), (("arrays that RCU was given and that are not freed", 900),)),
])
def test_arrays_that_are_lost_or_freed_too_soon_are_told(monkeypatch: pytest.MonkeyPatch, now: ArrayBooks, told: object) -> None:
    monkeypatch.setattr(leaks, "_books", lambda _run, **_settle: now)
    monkeypatch.setattr(leaks, "await_quiet", lambda _module, _seconds: True)
    assert leaks.found(run(memory=ArrayBooks(2, 1, 0, 1, 0, 0, ()), modules={"host": None})) == told


def test_arrays_that_were_not_followed_make_the_run_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_books", lambda _run, **_settle: ArrayBooks(9, 5, 0, 3, 7, 0, ()))
    under_way = run(memory=ArrayBooks(2, 1, 0, 1, 0, 0, ()), modules={"host": None})
    assert leaks.found(under_way) == ()
    assert under_way.doubts == ["7 arrays were not followed, for want of room"]
