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
