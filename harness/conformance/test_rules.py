"""The rules as pytest items: ``pytest --pyargs harness.conformance --kernel 6.12``.

An item is a rule on a kernel, judged as ``nfharness check`` judges it; xdist spreads them over processes and machines. A process's items
share a guest of a kernel as long as it can be trusted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from harness.conformance import RULES
from harness.conformance.matrix import Desk, RuleResult, Target, target
from harness.conformance.profiles import compared
from harness.conformance.reference import FIELDS
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT

_LINES = 40
"""Of what is wrong, in a failure: a dead kernel's last words are long, and its bundle has them all."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every item once for each ``--kernel``, the items of a kernel beside each other."""
    config = metafunc.config
    specs = list(dict.fromkeys(config.getoption("kernels") or config.getini("kernels") or [DEFAULT]))
    metafunc.parametrize("checked", specs, indirect=True, scope="module")


class _Checked:
    """A kernel, and the desk at which its rules are judged."""

    def __init__(self, runner: asyncio.Runner, on: Target) -> None:
        self._runner, self.on, self._desk = runner, on, Desk(on)

    def result(self, rule: str) -> RuleResult:
        return self._runner.run(self._desk.judged(RULES[rule]))[0]

    def close(self) -> None:
        self._runner.run(self._desk.close())
        self._runner.run(self.on.source.close())


@pytest.fixture(scope="module")
def checked(request: pytest.FixtureRequest) -> Iterator[_Checked]:
    """The kernel under test; its template is made if it is not there."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with asyncio.Runner() as runner:
        with capture.global_and_fixture_disabled():
            on = runner.run(target(request.param, Progress(), dead=True))
        found = _Checked(runner, on)
        try:
            yield found
        finally:
            found.close()


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, checked: _Checked) -> None:
    """A kernel keeps what the rule promises."""
    result = checked.result(rule)
    if result.state == "not_applicable":
        pytest.skip(result.reason)
    if result.state != "conformant":
        _fail(result)


def test_profile(checked: _Checked) -> None:
    """What the kernel is found to do is as in its reference, or an option of its configuration explains it."""
    for result in compared([checked.on], FIELDS):
        if result.state not in ("conformant", "not_applicable"):
            _fail(result)


def _fail(result: RuleResult) -> None:
    """Fail with what ``check`` says of a result."""
    replay = [f"nfharness replay {result.bundle}"] if result.bundle else []
    lines = [f"{result.state}: {result.reason}", *result.promise, *result.details[:_LINES], *replay]
    pytest.fail("\n".join(lines), pytrace=False)
