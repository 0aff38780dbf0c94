"""``nfharness check`` and ``nfharness replay``, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.conformance import RULES
from harness.conformance.bundle import save
from harness.conformance.judge import judge
from harness.model import predict
from harness.outcome import KernelProfile, Outcome

DEADLINE_S = 600
SOME = ("order.equal-newest-first", "drop.errno", "inet.rollback")


def nfharness(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_rules_hold_on_the_default_kernel(tmp_path: Path) -> None:
    report, page = tmp_path / "report.xml", tmp_path / "report.html"
    done = nfharness("check", "--json", "--junit", str(report), "--html", str(page), *SOME)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (kernel,) = document["kernels"]
    assert [(one["rule"], one["kernel"], one["state"], one["reason"], one["bundle"]) for one in document["results"]] == [
        (rule, kernel["release"], "conformant", "", None) for rule in RULES if rule in SOME]
    assert document["results"][0]["seed_lines"] == [[146, 151]]
    assert {"release", "version", "accelerator", "profile", "config_hash", "module_hash"} <= kernel.keys()
    cases = [case.get("name") for case in ElementTree.parse(report).iter("testcase")]  # noqa: S314 - our own
    assert cases == [rule for rule in RULES if rule in SOME]
    assert all(f'<span class="rule">{rule}</span>' in page.read_text() for rule in SOME)


def test_a_table_and_totals_are_printed() -> None:
    done = nfharness("check", "order.stable")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert (lines[0], lines[1]) == (["rule", "6.12"], ["order.stable", "conformant"])
    assert done.stdout.splitlines()[-1].endswith(": 1 conformant")
    assert "order.stable  conformant" in done.stderr


def test_ktap() -> None:
    done = nfharness("check", "--ktap", "key.off")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[1], lines[5].strip(), lines[-1]) == (
        "KTAP version 1", "1..1", "ok 1 key.off", "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0")


def test_an_unknown_rule_is_the_user_s_mistake() -> None:
    done = nfharness("check", "order.acsending")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean \"order.ascending\"?" in done.stderr


def test_the_list_has_every_function_and_says_what_is_uncovered() -> None:
    done = nfharness("check", "--list")
    assert done.returncode == 0
    assert "nf_hook_entries_grow  l.103-162" in done.stdout.splitlines()
    assert "uncovered: " in done.stdout
    document = json.loads(nfharness("check", "--list", "--json").stdout)
    assert {one["rule"] for one in document["rules"]} == RULES.keys()
    grow = next(one for one in document["functions"] if one["function"] == "nf_hook_entries_grow")
    assert "order.equal-newest-first" in grow["rules"]


def test_a_rule_is_explained() -> None:
    done = nfharness("check", "--explain", "order.equal-newest-first")
    assert done.stdout.startswith("order.equal-newest-first: Of hooks with equal priority the newest registration runs first.\n")
    assert "  l.146-151  nf_hook_entries_grow: before the first of no smaller priority" in done.stdout.splitlines()
    assert "      expects host INPUT: newest older oldest → 1; delivered" in done.stdout.splitlines()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A difference that no kernel here has: every array was empty."""
    one = RULES["order.stable"].scripts[0]
    observed = Outcome((), predict(one.scenario).packets)
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return save("order.stable", judge(one, KernelProfile(), observed), {"release": "6.12"}, "")


def test_a_difference_that_is_gone_is_changed_and_conformant(bundle: Path) -> None:
    done = nfharness("replay", str(bundle))
    assert (done.returncode, done.stdout.partition(": ")[2].partition(" (")[0]) == (0, "changed, conformant"), done.stderr


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    done = nfharness("replay", str(tmp_path / "none.json"))
    assert (done.returncode, done.stdout) == (2, "")
