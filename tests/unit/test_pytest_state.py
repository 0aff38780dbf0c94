"""What a test left behind in its kernel."""

from __future__ import annotations

from harness.pytest_plugin.state import State, leftovers

OURS = ("init", "IPV4 FORWARD", "nfharness_hook", 5, 1)
EMPTY = State(frozenset(), frozenset(), frozenset(), frozenset())


def state(namespaces: tuple[str, ...] = (), modules: tuple[str, ...] = (), processes: tuple[tuple[int, str], ...] = (),
          hooks: tuple[tuple[str, str, str, int, int], ...] = ()) -> State:
    return State(frozenset(namespaces), frozenset(modules), frozenset(processes), frozenset(hooks))


def test_what_came_is_left_behind() -> None:
    assert leftovers(EMPTY, state(("one", "two"), ("harm",), ((7, "sleep"),), (OURS,))) == [
        "network namespaces are left behind: one, two", "modules are left behind: harm", "a process is left behind: sleep (7)",
        "a hook is left behind in namespace init: nfharness_hook at IPV4 FORWARD, priority 5"]


def test_a_hook_that_went_is_missed() -> None:
    assert leftovers(state(hooks=(OURS,)), EMPTY) == ["a hook is gone in namespace init: nfharness_hook at IPV4 FORWARD, priority 5"]


def test_hooks_of_a_namespace_that_came_or_went_are_not_told_of() -> None:
    there = state(("one",), hooks=(("one", "IPV4 INPUT", "f", 0, 1),))
    assert leftovers(there, EMPTY) == []
    assert leftovers(EMPTY, there) == ["network namespaces are left behind: one"]


def test_what_a_wider_fixture_makes_is_not_the_tests() -> None:
    made = state(("module-wide",), hooks=(OURS,))
    assert leftovers(EMPTY.adopting(EMPTY, made), made) == []
    assert leftovers(EMPTY.adopting(EMPTY, made), state(("module-wide", "other"), hooks=(OURS,))) == [
        "network namespaces are left behind: other"]


def test_a_device_is_left_behind_where_its_namespace_was_there_before() -> None:
    after = State(frozenset(["new"]), frozenset(), frozenset(), frozenset(), frozenset([("init", "veth7"), ("new", "lo")]))
    assert leftovers(EMPTY, after) == ["network namespaces are left behind: new", "a device is left behind in namespace init: veth7"]
