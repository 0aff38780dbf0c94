"""What a test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from harness.pytest_plugin.selection import IN_GUEST, PROFILE, why_without_kernel

if TYPE_CHECKING:
    from harness.pytest_plugin.kernel import RunningKernel
    from harness.pytest_plugin.lab import Lab
    from harness.pytest_plugin.vm import VirtualMachines

__all__ = ("kernel", "kernel_spec", "lab", "vm")


@pytest.fixture(scope="session")
def kernel_spec(request: pytest.FixtureRequest) -> str:
    """The kernel that this test is run on, as ``--kernel`` names it."""
    if not os.environ.get(IN_GUEST):
        pytest.fail(why_without_kernel(request.config), pytrace=False)
    return str(request.param)


@pytest.fixture(scope="session")
def kernel(kernel_spec: str, request: pytest.FixtureRequest) -> RunningKernel:
    """The kernel that the test runs on: its release, its configuration, what probing it found."""
    from harness.pytest_plugin.kernel import RunningKernel  # noqa: PLC0415 - a host may lack what it needs

    profile = request.config.stash[PROFILE]
    if profile is None:
        pytest.fail("a bare kernel has no nfharness.ko, which probes it and makes hooks: run this test without --bare", pytrace=False)
    return RunningKernel(kernel_spec, profile)


@pytest.fixture
def lab(kernel: RunningKernel, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Namespaces, hooks, rulesets, traffic and the tracer, all fresh; nothing of it is left after the test."""
    from harness.pytest_plugin.lab import Lab  # noqa: PLC0415

    with Lab(kernel, request.node) as made:
        yield made


@pytest.fixture
def vm(request: pytest.FixtureRequest) -> Iterator[VirtualMachines]:
    """Guests to start and to run commands in, on the host."""
    if os.environ.get(IN_GUEST):
        pytest.fail("vm is for tests of the host; this one runs in a guest", pytrace=False)
    from harness.pytest_plugin.vm import VirtualMachines  # noqa: PLC0415

    with VirtualMachines(request.config) as machines:
        yield machines
