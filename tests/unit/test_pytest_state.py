"""What a test left behind in its kernel."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.guest.inventory import InventoryEntry
from harness.pytest_plugin.guest import standing
from harness.pytest_plugin.guest.standing import missing
from harness.pytest_plugin.guest.state import State, cgroups, changed_process, leftovers

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
    assert leftovers(EMPTY.changed(EMPTY, made), made) == []
    assert leftovers(EMPTY.changed(EMPTY, made), state(("module-wide", "other"), hooks=(OURS,))) == [
        "network namespaces are left behind: other"]


def test_a_device_is_left_behind_where_its_namespace_was_there_before() -> None:
    after = State(frozenset(["new"]), frozenset(), frozenset(), frozenset(), frozenset([("init", "veth7"), ("new", "lo")]))
    assert leftovers(EMPTY, after) == ["network namespaces are left behind: new", "a device is left behind in namespace init: veth7"]


def test_what_stands_in_the_first_namespace_is_left_behind_where_its_device_was_there_before() -> None:
    lo = frozenset([("init", "lo")])
    rule, own = InventoryEntry("IPv4 rule", "5: from all prohibit"), InventoryEntry("address", "192.0.2.9/32 of lo", "lo")
    other = InventoryEntry("address", "192.0.2.8/32 of new", "new")
    before = replace(EMPTY, devices=lo)
    after = replace(before, devices=lo | {("init", "new")}, network=frozenset([rule, own, other]))
    assert leftovers(before, after) == [
        "a device is left behind in namespace init: new", "an IPv4 rule is left behind in namespace init: 5: from all prohibit",
        "an address is left behind in namespace init: 192.0.2.9/32 of lo"]
    assert leftovers(before.changed(before, after), after) == []


def test_a_cgroup_is_left_behind(tmp_path: Path) -> None:
    for name in ("tests/mine", "user.slice/session-1.scope"):
        (tmp_path / name).mkdir(parents=True)
    found = frozenset(cgroups(tmp_path))
    assert found == {f"{tmp_path}/tests", f"{tmp_path}/tests/mine"}
    assert leftovers(replace(EMPTY, cgroups=frozenset([f"{tmp_path}/tests"])), replace(EMPTY, cgroups=found)) == [
        f"a cgroup is left behind: {tmp_path}/tests/mine"]


def test_a_mount_is_left_behind() -> None:
    after = State(frozenset(), frozenset(), frozenset(), frozenset(), mounts=frozenset(["tmpfs at /usr/share"]))
    assert leftovers(EMPTY, after) == ["a mount is left behind: tmpfs at /usr/share"]


def test_what_the_next_test_needs_is_missed_and_what_is_more_is_not() -> None:
    before = frozenset([("the module nfharness", ""), ("the device lo (its flags)", "0x8"), ("/tmp", "")])  # noqa: S108
    after = frozenset([("the device lo (its flags)", "0x9"), ("/tmp", ""), ("/tmp/more", "")])  # noqa: S108
    assert missing(before, after) == ["the device lo (its flags) is 0x9, and was 0x8", "the module nfharness is gone"]


def test_what_a_test_changed_in_its_process_is_told() -> None:
    before = replace(EMPTY, process=frozenset([("the environment variable HOME", "/root"), ("the environment variable PATH", "/bin"),
                                               ("the umask", "0o22")]))
    after = replace(EMPTY, process=frozenset([("the environment variable PATH", "/nowhere"), ("the umask", "0o777"),
                                              ("the environment variable NEW", "of an import")]))
    assert changed_process(before, after) == [
        "the environment variable HOME is gone, and was '/root'",
        "the environment variable PATH is '/nowhere' now, and was '/bin'",
        "the umask is '0o777' now, and was '0o22'",
    ]
    assert leftovers(before, before) == []


def test_a_kernel_lacks_kinds_of_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of 'kernel build' has neither CONFIG_CGROUPS nor CONFIG_USER_NS."""
    monkeypatch.setattr(standing, "_NAMESPACES", ("net", "cgroup of another kernel"))
    names = [what for what, _ in standing._own() if what.endswith(" namespace")]
    assert names == ["the worker's net namespace"]


@pytest.mark.parametrize(("change", "name", "value"), [
    ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "the handling of SIGUSR1", "ignored"),
    ("signal.signal(signal.SIGRTMIN, print)", "the handling of SIGRTMIN", "print"),
    ("signal.setitimer(signal.ITIMER_VIRTUAL, 1000)", "the timer ITIMER_VIRTUAL", "running"),
    ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "the limit RLIMIT_CORE", "0, at most 0"),
    ("directory = tempfile.mkdtemp(); os.chdir(directory); os.rmdir(directory)", "the working directory", ""),
    ("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))", "the scheduling policy", "3, priority 0"),
    ("os.umask(0o123)", "the umask", "0123"),
])
def test_what_a_process_hands_on_is_read_anew(change: str, name: str, value: str) -> None:
    script = f"""
import os, resource, signal, tempfile
from harness.pytest_plugin.guest.process import process_limits, process_state
process_state(process_limits())
{change}
print(dict(process_state(process_limits()))[{name!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{value}\n"
