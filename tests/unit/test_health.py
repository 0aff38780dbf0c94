"""Splats in a kernel's log, as several kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.guest.health import Splat, leaks_in, memory_leaks, splats, taint_names
from harness.trace.kmsg import LogLine

CUT = "------------[ cut here ]------------"
CORE = "net/netfilter/core.c"


def logged(*lines: str) -> list[LogLine]:
    """A log in which all lines are the kernel's."""
    return [LogLine(number, line) for number, line in enumerate(lines)]


@pytest.mark.parametrize(("lines", "kind", "summary"), [
    ([CUT, "WARNING: CPU: 0 PID: 131 at net/netfilter/core.c:612 nf_hook_slow+0xa3/0xc0"], "WARNING", CORE),
    ([CUT, "WARNING: net/netfilter/core.c:637 at nf_hook_slow+0xa3/0xc0, CPU#0: python3/131"], "WARNING", CORE),
    ([CUT, "hook not found, pf 2 num 1", "WARNING: CPU: 1 PID: 7 at net/netfilter/core.c:480 __nf_unregister_net_hook+0x1/0x2"],
     "WARNING", "hook not found, pf 2 num 1"),
    (["BUG: kernel NULL pointer dereference, address: 0000000000000008"], "BUG",
     "BUG: kernel NULL pointer dereference, address: 0000000000000008"),
    (["Oops: 0000 [#1] PREEMPT SMP NOPTI"], "Oops", "Oops: 0000 [#1] PREEMPT SMP NOPTI"),
    (["INFO: rcu_preempt detected stalls on CPUs/tasks:"], "INFO", "INFO: rcu_preempt detected stalls on CPUs/tasks:"),
], ids=["warning to 7.0", "warning later", "message", "bug", "oops", "stall"])
def test_a_splat_is_told_by_its_message_or_its_place(lines: list[str], kind: str, summary: str) -> None:
    log = ["eth0: renamed", *lines, "Modules linked in: nfharness", "Call Trace:", "---[ end trace 0 ]---"]
    assert list(splats(logged(*log))) == [Splat(kind, summary, lines[-1])]


@pytest.mark.parametrize("line", ["INFO: lockdep is turned off.", "nfharness: loading out-of-tree module taints kernel.", "warning: x",
                                  "DEBUG: y"])
def test_what_is_no_splat(line: str) -> None:
    assert list(splats(logged(line))) == []


def test_splats_in_one_log_keep_their_order_and_their_own_messages() -> None:
    log = [CUT, "first", "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x0/0x1", CUT, "WARNING: CPU: 0 PID: 1 at lib/b.c:2 g+0x0/0x1"]
    assert [splat.summary for splat in splats(logged(*log))] == ["first", "lib/b.c"]


@pytest.mark.parametrize("said", [CUT, "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x0/0x1", "BUG: kernel NULL pointer dereference, address: 0"])
def test_what_a_process_writes_to_the_log_is_no_splat_and_parts_none(said: str) -> None:
    records = (f"4,1,0,-;{CUT}\n", f"12,2,0,-;{said}\n SUBSYSTEM=x\n", "4,3,0,-;first\n",
               "4,4,0,-;WARNING: CPU: 0 PID: 1 at b.c:2 g+0x0/0x1\n")
    log = [LogLine.read(record) for record in records]
    assert [(line.sequence, line.kernel) for line in log] == [(1, True), (2, False), (3, True), (4, True)]
    assert [splat.summary for splat in splats(log)] == ["first"]


@pytest.mark.parametrize("line", [
    "BUG: KASAN: slab-use-after-free in nf_hook_slow+0x1/0x2",
    "BUG: KFENCE: use-after-free read in f+0x1/0x2",
    "BUG: KCSAN: data-race in f / g",
    "UBSAN: array-index-out-of-bounds in net/netfilter/core.c:1:2",
    "WARNING: possible circular locking dependency detected",
    "WARNING: suspicious RCU usage",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "INFO: task insmod:17 blocked for more than 120 seconds.",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:17]",
    "refcount_t: underflow; use-after-free.",
    "kernel BUG at lib/list_debug.c:56!",
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "unregister_netdevice: waiting for veth0 to become free. Usage count = 2",
    "general protection fault, probably for non-canonical address",
])
def test_every_checker_of_the_kernel_is_heard(line: str) -> None:
    assert [splat.first_line for splat in splats(logged(line))] == [line]


def test_kmemleaks_report_becomes_a_line_for_each_object() -> None:
    report = """unreferenced object 0xffff888003a1c000 (size 64):
  comm "insmod", pid 170, jiffies 4294894652
  hex dump (first 32 bytes):
"""
    assert leaks_in(report) == ["64 bytes that insmod allocated"]


def test_a_kernel_without_kmemleak_has_no_leaks_to_tell_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    assert memory_leaks(tmp_path / "kmemleak") == []
    assert memory_leaks(tmp_path / "debug" / "kmemleak") == []  # nor does one without debugfs


def test_without_debugfs_mounted_it_cannot_be_told_whether_memory_leaks(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="whether the kernel has kmemleak cannot be told"):
        memory_leaks(tmp_path / "kmemleak")


def test_taint_is_told_by_letters() -> None:
    assert taint_names(1 << 9 | 1 << 7) == "DW"
