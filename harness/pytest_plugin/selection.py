"""Which kernels, and which tests are for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import pytest

from harness.outcome.profile import KernelProfile

__all__ = ("CANNOT", "COUNTERS", "EXIT", "FLAKY", "IN_GUEST", "KERNEL", "LOST", "MODULES", "PACKETS", "POINTS", "PROFILE", "SPOILT",
           "TREE", "WALKS", "WIDER", "WORN", "Isolation", "backend_of", "exact_keywords", "isolation_of", "kernel_of", "kernels",
           "packages", "why_without_kernel")

Isolation = Literal["worker", "module", "test"]
#: Set in a guest's environment: this side of the plugin is the guest's.
IN_GUEST = "NFHARNESS_IN_GUEST"
#: Where a guest has the tests, under their paths from the host's root directory.
TREE = Path("/run/nfharness/tests")

#: Where a guest has the modules of the setting ``kernel_modules``.
MODULES = Path("/run/nfharness/modules")

#: In a guest: what probing its kernel found; ``None`` for a bare one.
PROFILE = pytest.StashKey[KernelProfile | None]()
#: Property of a report: the kernel that the test ran on.
KERNEL = "kernel"
#: Property of a report: why no other test may have this test's process.
WORN = "nfharness-worn"
#: Properties of a report: why no other test may have this test's kernel; how its guest was lost; the exit status of a run whose
#: tests could not be run at all; why the test wants the run to end.
SPOILT, LOST, CANNOT, EXIT = "nfharness-spoilt", "nfharness-lost", "nfharness-cannot", "nfharness-exit"
#: Property of a report of a test that passed in a second kernel: what it failed with before that.
FLAKY = "nfharness-flaky"
#: Property of a report: that the tracer lost something, so that the test tells nothing.
UNCLEAR = "nfharness-unclear"
#: Property of a report: what failed in the teardown of fixtures of wider scopes, which no other test could have in this guest.
WIDER = "nfharness-wider"
#: Property of a report: the walks of the packets that the test sent.
WALKS = "nfharness-walks"
#: Property of a report: all packets of a test with ``--trace-all``, as JSON.
PACKETS = "nfharness-packets"
#: Property of a report: what gcov counted in a test with ``--coverage``, and before any test; a tar in base 64 each, as JSON.
COUNTERS = "nfharness-counters"
#: Property of a report: the points of a test that speaks TAP or KTAP, as JSON.
POINTS = "nfharness-points"

#: What pytest takes for one name in ``-k`` (``_pytest/mark/expression.py``), and which of them may be a series of kernels.
_WORD, _SERIES = re.compile(r"[\w:+\-.\[\]\\/]+"), re.compile(r"\d+\.\d+")


def kernels(config: pytest.Config) -> list[str]:
    """The kernels to use: the command line's, else the configuration's, each once; on a machine that has one just that."""
    if (backend := backend_of(config)) != "qemu":
        from harness.backends.names import has_its_kernel  # noqa: PLC0415 - a guest has no backends

        if has_its_kernel(backend):
            return list(config.getoption("kernels") or ["unknown"])  # known once pytest is configured
    return list(dict.fromkeys(config.getoption("kernels") or config.getini("kernels")))


def packages(config: pytest.Config) -> list[str]:
    """Debian packages that guests have beside the userland's: the configuration's."""
    return list(config.getini("packages"))


def backend_of(config: pytest.Config) -> str:
    """Where kernel tests run: as :mod:`harness.backends.names` has it."""
    return str(config.getoption("backend"))


def kernel_of(item: pytest.Item) -> str | None:
    """The kernel that a collected test is for; ``None`` for a test of the host's."""
    callspec = getattr(item, "callspec", None)
    spec = callspec.params.get("kernel_spec") if callspec else None
    return None if spec is None else str(spec)


def why_without_kernel(config: pytest.Config) -> str:
    """Why a test that is for a kernel has none."""
    if kernels(config):
        return ("this test is for a kernel, and pytest does not repeat it for each, as it is a method of a unittest.TestCase or a doctest: "
                "make it a function")
    return "this test is for a kernel, and none is named: pytest --kernel 6.12"


def exact_keywords(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Let a kernel's name in ``-k`` mean that kernel: ``6.1`` is part of ``6.12`` for pytest.

    A name of the run's is that kernel; ``6.12`` without one of that name is 6.12-rt and 6.12.118; ``6.1`` is no other series.
    """
    specs = kernels(config)
    for item in items:
        if spec := kernel_of(item):
            item.extra_keyword_matches.add(_keyword(spec))

    def meant(found: re.Match[str]) -> str:
        word = found[0]
        if word in specs:
            return _keyword(word)
        if not any(spec.startswith(word) for spec in specs) or not _SERIES.match(word):
            return word
        builds = [_keyword(spec) for spec in specs if re.match(rf"{re.escape(word)}[^\w]", spec)]
        return f"({' or '.join(builds or [_keyword(word)])})"

    if config.option.keyword:
        config.option.keyword = _WORD.sub(meant, config.option.keyword)


def _keyword(spec: str) -> str:
    """What only a test of that kernel has, in characters that ``-k`` takes."""
    safe = re.sub(r"[^\w.+-]", "_", spec)
    return f"[kernel:{safe}]"


def isolation_of(item: pytest.Item) -> Isolation:
    """How long the test's kernel may have been in use."""
    mark = item.get_closest_marker("isolation")
    return cast(Isolation, mark.args[0] if mark and mark.args else item.config.getoption("isolation"))
