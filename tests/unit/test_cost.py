"""``nfharness cost`` on the host: figures of kernels side by side, and the exit status that git bisect reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.bench import cost
from harness.bench.cost import FIGURES, Cost, Costs
from harness.cli.cost import command
from harness.images.kernels import Kernel
from harness.vm.qemu import COUNTING, KVM, TCG, Machine


def _costs(name: str, **more: tuple[float, ...]) -> Costs:
    figures = {figure: Cost(more.get(figure, (100.0, 100.0, 100.0))) for figure in FIGURES}
    return Costs(name, Kernel(f"{name}.0", "1", name, "cloud", ()), figures)


def test_a_figure_is_the_median_of_guests() -> None:
    figure = Cost((99.0, 101.0, 100.0))
    assert (figure.median, figure.spread) == (100.0, 0.02)


def test_one_kernel_is_compared_with_another() -> None:
    assert _costs("6.1").to(_costs("6.12", hook_call=(101.0,))) == pytest.approx({**dict.fromkeys(FIGURES, 0), "hook_call": 0.01})


@pytest.mark.parametrize(("hook_call", "worse", "status"), [(101.0, "1", 1), (100.9, "1", 0), (150.0, None, 0), (50.0, "1", 0)])
def test_the_status_says_whether_it_is_worse(
    hook_call: float, worse: str | None, status: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def measured(*_: object) -> list[Costs]:
        return [_costs("6.1"), _costs("6.12", hook_call=(hook_call,))]

    monkeypatch.setattr(cost, "costs", measured)
    done = CliRunner().invoke(command, ["--kernel", "6.1", "--kernel", "6.12", *(["--worse", worse] if worse else [])])
    assert done.exit_code == status, done.output
    assert f"{hook_call - 100:+.1f}%" in done.output


def test_what_is_worse_is_asked_of_two_kernels() -> None:
    done = CliRunner().invoke(command, ["--kernel", "6.1", "--worse", "1"])
    assert done.exit_code == 2
    assert "--worse compares the last kernel with the first" in done.output


def test_only_a_guest_that_counts_has_a_clock_of_instructions() -> None:
    for accelerator, counts in ((COUNTING, True), (TCG, False), (KVM, False)):
        arguments = Machine(Path("k"), Path("i"), (), accelerator).arguments()
        assert ("-icount" in arguments) is counts
