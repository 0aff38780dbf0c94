"""``nfharness check`` and ``nfharness replay``, as they are typed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.backends.executor import Executor
from harness.conformance import RULES, matrix
from harness.conformance.bundle import load, save
from harness.conformance.judge import judge
from harness.conformance.matrix import RuleResult, target
from harness.conformance.selection import chosen
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario
from harness.vm.channel import Request
from tests.e2e.conftest import DEADLINE_S, CommandLine

#: An interrupt, or a program that runs, is met as well.
_LOOKS = 20
#: It is in the kernel nearly always from its first word on, and no page is missing.
READER = "file, space = open('/dev/zero', 'rb', 0), bytearray(b'x') * (1 << 28)\nprint(flush=True)\nwhile True: file.readinto(space)"
SOME = ("order.equal-newest-first", "drop.errno", "inet.rollback")


def test_rules_hold_on_the_default_kernel(nfharness: CommandLine, tmp_path: Path) -> None:
    report, page = tmp_path / "report.xml", tmp_path / "report.html"
    done = nfharness("check", "--json", "--junit", str(report), "--html", str(page), *SOME)
    assert done.status == 0, done.err
    document = json.loads(done.out.decode())
    (kernel,) = document["kernels"]
    assert [(one["rule"], one["kernel"], one["state"], one["reason"], one["bundle"]) for one in document["results"]] == [
        (rule, kernel["release"], "conformant", "", None) for rule in RULES if rule in SOME]
    assert document["results"][0]["core_lines"] == [[146, 151]]
    assert {"release", "version", "accelerator", "profile", "config_hash", "module_hash"} <= kernel.keys()
    cases = [case.get("name") for case in ElementTree.parse(report).iter("testcase")]  # noqa: S314 - our own
    assert cases == [rule for rule in RULES if rule in SOME]
    assert all(f'<span class="rule">{rule}</span>' in page.read_text() for rule in SOME)


def test_a_table_and_totals_are_printed_and_files_are_collected(nfharness: CommandLine, tmp_path: Path) -> None:
    done = nfharness("check", "order.stable", "--collect", "/proc/version", str(tmp_path))
    assert [path.read_text().split()[:2] for path in tmp_path.rglob("version")] == [["Linux", "version"]]
    lines = [line.split() for line in done.out.decode().splitlines()]
    assert (lines[0], lines[1]) == (["rule", "6.12"], ["order.stable", "conformant"])
    assert done.out.decode().splitlines()[-1].endswith(": 1 conformant")
    assert "order.stable  conformant" in done.err


def test_ktap(nfharness: CommandLine) -> None:
    done = nfharness("check", "--ktap", "key.off")
    lines = done.out.decode().splitlines()
    assert (lines[0], lines[1], lines[5].strip(), lines[-1]) == (
        "KTAP version 1", "1..1", "ok 1 key.off", "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0")


def test_an_unknown_rule_is_the_user_s_mistake(nfharness: CommandLine) -> None:
    done = nfharness("check", "order.acsending")
    assert (done.status, done.out) == (2, b"")
    assert "did you mean \"order.ascending\"?" in done.err


def test_a_profile_is_compared_with_its_reference(nfharness: CommandLine) -> None:
    assert nfharness("check", "profile.stolen_errno").status == 0
    done = nfharness("check", "stolen.errno", "--like", "5.10", "--json")
    found = {one["rule"]: (one["state"], one["reason"]) for one in json.loads(done.out)["results"]}
    assert done.status == 1
    assert found["profile.stolen_errno"] == ("different", "5.10 has it not, this kernel has")
    assert nfharness("check", "stolen.errno", "--like", "5.10", "--allow-profile", "stolen_errno").status == 0
    assert nfharness("check", "netdev.egress-absent").status == 125, "nothing applies"


def test_the_list_has_every_function_and_says_what_is_uncovered(nfharness: CommandLine) -> None:
    done = nfharness("check", "--list")
    assert done.status == 0
    assert "nf_hook_entries_grow  l.103-162" in done.out.decode().splitlines()
    assert "uncovered: " in done.out.decode()
    document = json.loads(nfharness("check", "--list", "--json").out)
    assert {one["rule"] for one in document["rules"]} == RULES.keys()
    grow = next(one for one in document["functions"] if one["function"] == "nf_hook_entries_grow")
    assert "order.equal-newest-first" in grow["rules"]


def test_a_rule_is_explained(nfharness: CommandLine) -> None:
    done = nfharness("check", "--explain", "order.equal-newest-first")
    assert done.out.decode().startswith("order.equal-newest-first: Of hooks with equal priority the newest registration runs first.\n")
    assert "  l.146-151  nf_hook_entries_grow: before the first of no smaller priority" in done.out.decode().splitlines()
    assert "      expects host INPUT: newest older oldest → 1; delivered" in done.out.decode().splitlines()


@pytest.mark.parametrize("options", [["--junit", "/proc/report"], ["--html", "/nowhere/report"], ["--junit", "r", "--html", "r"]])
def test_a_report_that_cannot_be_written_is_told_before_the_work(nfharness: CommandLine, options: list[str]) -> None:
    done = nfharness("check", *options, "stop")
    assert (done.status, done.out, len(done.error), "conformant" in done.err) == (2, b"", 2, False), done


def test_a_full_disk_costs_the_file_alone(nfharness: CommandLine, tmp_path: Path) -> None:
    done = nfharness("check", "--junit", "/dev/full", "--html", str(tmp_path / "page"), "stop")
    assert (done.status, done.out.decode().splitlines()[-1].endswith(": 1 conformant")) == (125, True), done
    assert done.error[0] == "nfharness: error: /dev/full: No space left on device"
    assert "conformant" in (tmp_path / "page").read_text()


def test_an_interruption_reports_what_was_found_so_far(nfharness: CommandLine, tmp_path: Path, eventually: Callable[..., None]) -> None:
    errors, junit = tmp_path / "stderr", tmp_path / "junit"
    with errors.open("wb") as stderr:
        process = nfharness.start("check", "--json", "--junit", str(junit), stderr=stderr)
    eventually(lambda: b"conformant" in errors.read_bytes(), "a result", by=process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, errors.read_text()
    results = json.loads(out)["results"]
    assert [one["rule"] for one in results] == list(RULES)
    assert {one["reason"] for one in results if one["state"] == "inconclusive"} == {"not run: interrupted"}
    assert any(one["state"] == "conformant" for one in results)
    root = ElementTree.parse(junit).getroot()  # noqa: S314 - our own
    assert (root.get("tests"), root.get("errors")) == (str(len(RULES)), str(sum(one["state"] == "inconclusive" for one in results)))
    assert errors.read_text().splitlines()[-1] == "nfharness: interrupted"


def test_a_kernel_that_dies_costs_one_rule_and_its_last_words_are_kept(
    ready: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    observe = Executor.observe

    async def crashing(executor: Executor, scenario: Scenario, deadline_s: float) -> Outcome:
        if scenario.name == "stop":
            await executor.guest.open(Request(["sh", "-c", "echo c > /proc/sysrq-trigger"]))
        return await observe(executor, scenario, deadline_s)

    async def checked() -> list[RuleResult]:
        return await matrix.run(chosen(["drop.eperm", "stop", "unknown"]), [await target(DEFAULT, Progress(quiet=True))], print, jobs=1)

    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    monkeypatch.setattr(Executor, "observe", crashing)
    results = {result.rule: result for result in asyncio.run(checked())}
    lost = results["stop"]
    assert {rule: result.state for rule, result in results.items()} == {"drop.eperm": "conformant", "stop": "lost", "unknown": "conformant"}
    assert "sysrq triggered crash" in lost.reason
    assert lost.bundle is not None
    assert (load(lost.bundle).script, "Call Trace" in json.loads(lost.bundle.read_text())["console"]) == (RULES["stop"].scripts[0], True)


def test_a_hang_shows_what_its_processors_do_in_the_kernel(ready: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(executor: Executor, scenario: Scenario, _deadline_s: float) -> Outcome:
        reader = await executor.guest.open(Request(["python3", "-c", READER]))
        await reader.read()
        await asyncio.sleep(0.3)
        raise await executor.guest.hangs(f"end the scenario {scenario.name}")

    async def checked() -> list[RuleResult]:
        return await matrix.run(chosen(["stop"]), [await target(DEFAULT, Progress(quiet=True))], print, jobs=1)

    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    monkeypatch.setattr(Executor, "observe", hanging)
    said: list[str] = []
    for _ in range(_LOOKS):
        (lost,) = asyncio.run(checked())
        assert (lost.state, lost.reason) == ("lost", "the guest did not end the scenario stop")
        said += lost.details
        if any("vfs_read+" in line for line in said):
            break
    assert any("processor" in line for line in said)
    assert any("vfs_read+" in line for line in said), said


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A difference that no kernel here has: every array was empty."""
    one = RULES["order.stable"].scripts[0]
    observed = Outcome((), predict(one.scenario).packets)
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return save("order.stable", judge(one, KernelProfile(), observed), {"release": "6.12"}, "")


def test_a_difference_that_is_gone_is_changed_and_conformant(nfharness: CommandLine, bundle: Path) -> None:
    done = nfharness("replay", str(bundle))
    assert (done.status, done.out.decode().partition(": ")[2].partition(" (")[0]) == (0, "changed, conformant"), done.err


def test_what_is_no_bundle_is_refused(nfharness: CommandLine, tmp_path: Path) -> None:
    done = nfharness("replay", str(tmp_path / "none.json"))
    assert (done.status, done.out) == (2, b"")
