"""Private arrays on a real kernel and in the model: the same arrays, calls, return values, ends of the skb and warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest.executor import execute
from harness.guest.health import KernelLog, splats, warn_again
from harness.model import predict, seen
from harness.outcome import KernelProfile, Outcome, RawOutcome, compare
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario import BUILTIN

pytestmark = [pytest.mark.usefixtures("nfharness_ko"), pytest.mark.may_warn("net/netfilter/core.c|hook not found")]


@pytest.fixture(scope="module")
def profile(kernel: RunningKernel) -> KernelProfile:
    return kernel.profile


def observe(name: str, profile: KernelProfile) -> Outcome:
    """Run a built-in scenario; it must be as the model says."""
    scenario = BUILTIN[name]
    observed = execute(scenario)
    comparison = compare(predict(scenario, profile, seen(observed)), observed)
    assert (comparison.verdict, comparison.differences, comparison.reasons) == ("conformant", (), ())
    return observed


@pytest.mark.parametrize("name", [name for name in BUILTIN if name.startswith("raw-")])
def test_the_kernel_does_with_private_arrays_what_the_model_says(name: str, profile: KernelProfile) -> None:
    assert any(step.raw for step in observe(name, profile).steps) or name == "raw-limit"


@pytest.mark.parametrize("name", ["batch", "twice", "absent"])
def test_the_kernel_does_with_batches_what_the_model_says(name: str, profile: KernelProfile) -> None:
    warned = [splat for step in observe(name, profile).steps for splat in step.splats]
    assert bool(warned) == (name != "twice")


@pytest.mark.parametrize("name", ["conntrack", "redirects", "tee"])
def test_the_kernel_does_with_connections_what_the_model_says(name: str, profile: KernelProfile) -> None:
    assert any(step.facts for step in observe(name, profile).steps)


def test_a_verdict_without_a_case_ends_the_loop_with_a_warning_where_core_warns(profile: KernelProfile) -> None:
    steps = observe("raw-verdicts", profile).steps
    (unknown,) = [step for step in steps if step.raw and step.raw.called[-1] == "unknown"]
    assert unknown.raw == RawOutcome(0, ("unknown before", "unknown"), 2)
    assert unknown.splats == (("net/netfilter/core.c",) if profile.unknown_verdict_warns else ())


def test_what_a_run_leaves_in_the_tracer_is_no_packet(profile: KernelProfile) -> None:
    assert observe("raw-start", profile).packets == ()


def test_the_kernels_log_is_read_from_now_on_and_once() -> None:
    Path("/dev/kmsg").write_text("nfharness: before\n")
    with KernelLog() as log:
        Path("/dev/kmsg").write_text("nfharness: during\n")
        (line,) = [line for line in log.lines() if "nfharness" in line.text]
        assert (line.text, log.lines(), log.lost) == ("nfharness: during", [], False)
    warn_again()
    assert (line.kernel, list(splats([line]))) == (False, [])
