"""``nfharness profile``, as it is typed."""

from __future__ import annotations

import json

from harness.netfilter import Family
from harness.outcome import KernelProfile
from tests.e2e.conftest import CommandLine


def test_a_kernel_s_profile_is_what_was_probed_on_it(nfharness: CommandLine) -> None:
    result = nfharness("profile", "--json", "--kernel", "6.12")
    assert result.status == 0, result
    document = json.loads(result.out)
    (kernel,) = document["kernels"]
    values = {field["field"]: field["values"][kernel["kernel"]] for field in document["fields"]}
    assert values == {name: value for name, value in kernel["profile"].items() if name != "release"}
    assert KernelProfile.from_json(kernel["profile"]).release == kernel["release"]
    assert set(values["families"]) == {family.name for family in Family}
    assert not any(field["differs"] for field in document["fields"])


def test_each_field_is_explained(nfharness: CommandLine) -> None:
    lines = nfharness("profile").out.decode().splitlines()
    assert lines[0].split() == ["field", "6.12"]
    assert "stolen_errno: nf_hook_slow returns the errno that STOLEN carries" in "\n".join(lines)
    assert sum(line.strip().startswith("probed: ") for line in lines) == len(KernelProfile().to_json()) - 1


_FRESH = """
from pathlib import Path
from harness.guest import health, netns, raw
from harness.guest.module import HookModule
from harness.trace.kmsg import LogLine
from harness.netfilter import VerdictKind
import json, os
log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
lines = []
while True:
    try:
        lines.append(LogLine.read(os.read(log, 8192).decode()))
    except BlockingIOError:
        break
taint = health.taint()  # before the warning that is asked for next
space = netns.create("fresh")
with health.KernelLog() as said, HookModule(space) as module:
    raw.insert(module, raw.RawHook(1, 1, 0, VerdictKind.REPEAT))
    raw.run(module, 1)
    raw.delete(module, 1)
    warns = bool(said.splats())
print(json.dumps([len(lines), [one.first_line for one in health.splats(lines)], taint, warns]))
"""


def test_a_fresh_guests_log_taint_and_warn_once_are_as_after_a_boot(nfharness: CommandLine) -> None:
    lines, splats, taint, warns = json.loads(nfharness("exec", "--python", "--", "-c", _FRESH).out)
    document = json.loads(nfharness("profile", "--json").out)
    (kernel,) = document["kernels"]
    assert lines > 50
    assert (splats, taint) == ([], 0)
    assert warns == kernel["profile"]["unknown_verdict_warns"]
    assert document["provoked"][kernel["kernel"]]


def test_what_was_provoked_is_told_on_demand(nfharness: CommandLine) -> None:
    without, told = (nfharness("profile", *more).out.decode() for more in ((), ("--how",)))
    assert "net/netfilter/core.c" not in without
    assert told.startswith(without)
    assert [line for line in told.removeprefix(without).splitlines() if "WARNING" in line and "net/netfilter/core.c" in line]
