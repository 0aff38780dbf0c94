"""``nfharness explore`` and ``nfharness minimise``: nothing is found where nothing is, and what is planted is found, shrunk and kept."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.backends.executor import Executor
from harness.cli import minimise
from harness.conformance.bundle import load
from harness.conformance.matrix import target
from harness.explore.engine import Plan
from harness.explore.hunt import Hunt, Limits, explore
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.netfilter import Family
from harness.outcome import Outcome
from harness.scenario import Scenario, dumps
from harness.scenario.steps.bpf import BpfLink
from harness.scenario.steps.hooks import Dump, Register
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR
from harness.vm.channel import Request
from tests.e2e.conftest import DEADLINE_S, CommandLine
from tests.mutants import MUTANTS

pytestmark = pytest.mark.slow

LONG = Scenario("long", "", PAIR, (
    Dump("peer", Family.IPV4, "OUTPUT"),
    Register("older", "host", Family.IPV4, "INPUT", 7),
    Register("other", "peer", Family.IPV6, "INPUT"),
    Register("newer", "host", Family.IPV4, "INPUT", 7),
    Send("peer", "host", 1, size=100),
    Dump("host", Family.IPV4, "INPUT"),
))


@pytest.fixture
def nfharness(ready: None, tmp_path: Path) -> CommandLine:
    """The command line with a warm cache, and nothing found before."""
    return CommandLine({"NFHARNESS_STATE": str(tmp_path)})


@pytest.fixture
def oldest_first(ready: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is wrong: of hooks with equal priority the oldest runs first."""
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    MUTANTS["equal priorities oldest first"].apply(monkeypatch)


def test_nothing_is_found_on_the_default_kernel(nfharness: CommandLine) -> None:
    done = nfharness("explore", "--steps", "300", "--seed", "11", "--json")
    assert done.status == 0, done
    document = json.loads(done.out)
    (result,) = document["results"]
    assert (document["seed"], result["state"], result["finding"], result["inconclusive"]) == (11, "conformant", None, 0)
    assert result["steps"] >= 300
    assert result["packets"] > 0
    assert {"release", "config_hash", "module_hash", "profile"} <= document["kernels"][0].keys()


def test_a_planted_difference_is_found_shrunk_and_kept(oldest_first: None, nfharness: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def explored(seed: int) -> Hunt:
        hunts: list[Hunt] = []
        await explore([await target(DEFAULT, Progress(quiet=True))], Plan(seed, "direct"), Limits(seconds=DEADLINE_S), hunts)
        return hunts[0]

    hunt = asyncio.run(explored(1))
    assert hunt.state == "different"
    assert hunt.finding is not None and hunt.finding.bundle is not None
    # Two hooks of equal priority at a point are all that it takes, whether in one step or in two.
    assert len(hunt.finding.scenario.steps) <= 2
    assert (hunt.finding.shortest.before, hunt.finding.shortest.whole) == ((), True)
    bundle = load(hunt.finding.bundle)
    assert (bundle.rule, bundle.seed, bundle.scenario) == ("explore", 1, hunt.finding.scenario)
    assert "another order" in bundle.differences[0].explanation

    again = asyncio.run(explored(2))
    assert again.finding is not None
    assert again.finding.first == hunt.finding.scenario, "what was found is tried first"
    assert len(again.finding.scenario.steps) == len(hunt.finding.scenario.steps)

    monkeypatch.undo()
    replayed = nfharness("replay", str(hunt.finding.bundle))
    assert (replayed.status, b": changed, conformant" in replayed.out) == (0, True), replayed


@pytest.mark.parametrize("planted", [
    # Each with a seed that comes upon it within some ten scenarios.
    ("a BPF link shares priorities", Plan(4, "all"), BpfLink), ("a list is called hook by hook elsewhere", Plan(4, "packets"), Send),
], ids=["links", "lists"])
def test_what_differs_in_links_and_in_lists_is_found(ready: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     planted: tuple[str, Plan, type]) -> None:
    mutant, plan, drawn = planted
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    MUTANTS[mutant].apply(monkeypatch)
    hunts: list[Hunt] = []

    async def explored() -> None:
        await explore([await target(DEFAULT, Progress(quiet=True))], plan, Limits(seconds=DEADLINE_S), hunts)

    asyncio.run(explored())
    assert (hunts[0].state, hunts[0].finding is not None) == ("different", True)
    finding = hunts[0].finding
    assert finding is not None
    assert any(isinstance(step, drawn) for step in finding.scenario.steps)
    assert len(finding.scenario.steps) <= 2


def test_a_difference_is_minimised(oldest_first: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.json"
    file.write_text(dumps(LONG))
    assert asyncio.run(minimise._minimise(load(file), None, as_json=True)) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rule"], answer["from_steps"], answer["to_steps"]) == ("long", 6, 2)
    smallest = load(Path(answer["bundle"])).scenario
    assert smallest.steps == (Register("older", "host", Family.IPV4, "INPUT"), Register("newer", "host", Family.IPV4, "INPUT"))
    assert smallest.topology.namespaces == ("host",)


def test_a_kernel_that_dies_is_minimised(ready: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    observe = Executor.observe

    async def crashing(executor: Executor, scenario: Scenario, deadline_s: float) -> Outcome:
        if any(isinstance(step, Register) and step.id == "older" for step in scenario.steps):
            await executor.guest.open(Request(["sh", "-c", "echo c > /proc/sysrq-trigger"]))
        return await observe(executor, scenario, deadline_s)

    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    monkeypatch.setattr(Executor, "observe", crashing)
    file = tmp_path / "long.json"
    file.write_text(dumps(LONG))
    assert asyncio.run(minimise._minimise(load(file), None, as_json=True)) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["from_steps"], answer["whole"]) == ("lost", 6, True)
    assert "sysrq triggered crash" in answer["differences"][0]
    assert load(Path(answer["bundle"])).scenario.steps == (Register("older", "host", Family.IPV4, "INPUT"),)


def test_what_does_not_differ_is_not_minimised(nfharness: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "long.json"
    file.write_text(dumps(LONG))
    done = nfharness("minimise", str(file))
    assert (done.status, done.out.decode().splitlines()[0]) == (0, "long: conformant; nothing to shrink"), done


def test_a_scenario_s_file_is_replayed(nfharness: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "long.json"
    file.write_text(dumps(LONG))
    done = nfharness("replay", str(file), "--json")
    answer = json.loads(done.out)
    assert (done.status, answer["outcome"], answer["verdict"]) == (0, None, "conformant"), done


def test_an_interruption_reports_what_was_found_so_far(nfharness: CommandLine, eventually: Callable[..., None], tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = nfharness.start("explore", "--time", "600", "--seed", "3", "--only", "direct", stderr=stderr)
    eventually(lambda: b" scenarios " in errors.read_bytes(), "a line of progress", by=process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, errors.read_text()
    assert out.decode().splitlines()[-1].startswith("seed 3, ")
    assert "nfharness: interrupted" in errors.read_text()
    eventually(lambda: not nfharness.processes(), "no process is left")


@pytest.mark.parametrize("arguments", [
    ("--time", "0"), ("--time", "nan"), ("--time", "inf"), ("--steps", "0"), ("--seed", "-1"), ("--only", "nothing"),
])
def test_what_makes_no_sense_is_refused(nfharness: CommandLine, arguments: tuple[str, ...]) -> None:
    done = nfharness("explore", *arguments)
    assert (done.status, done.out) == (2, b"")
