"""Which kernels, and which tests are for them."""

from __future__ import annotations

import pytest

from harness.outcome.profile import KernelProfile

__all__ = ("CANNOT", "IN_GUEST", "KERNEL", "LOST", "PROFILE", "SPOILT", "WALKS", "backend_of", "isolation_of", "kernel_of", "kernels")

#: Set in a guest's environment: this side of the plugin is the guest's.
IN_GUEST = "NFHARNESS_IN_GUEST"

#: In a guest: what probing its kernel found; ``None`` for a bare one.
PROFILE = pytest.StashKey[KernelProfile | None]()
#: Property of a report: the kernel that the test ran on.
KERNEL = "kernel"
#: Properties of a report: why no other test may have this test's kernel; how its guest was lost; the exit status of a run whose
#: tests could not be run at all.
SPOILT, LOST, CANNOT = "nfharness-spoilt", "nfharness-lost", "nfharness-cannot"
#: Property of a report: the walks of the packets that the test sent.
WALKS = "nfharness-walks"


def kernels(config: pytest.Config) -> list[str]:
    """The kernels to use: the command line's, else the configuration's; each once."""
    return list(dict.fromkeys(config.getoption("kernels") or config.getini("kernels")))


def backend_of(config: pytest.Config) -> str:
    """Where kernel tests run: ``qemu`` or ``vagrant``."""
    return str(config.getoption("backend"))


def kernel_of(item: pytest.Item) -> str | None:
    """The kernel that a collected test is for; ``None`` for a test of the host's."""
    callspec = getattr(item, "callspec", None)
    spec = callspec.params.get("kernel_spec") if callspec else None
    return None if spec is None else str(spec)


def isolation_of(item: pytest.Item) -> str:
    """``worker``, ``module`` or ``test``."""
    mark = item.get_closest_marker("isolation")
    return str(mark.args[0] if mark and mark.args else item.config.getoption("isolation"))
