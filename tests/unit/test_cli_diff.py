"""``nfharness diff``: what it prints and its page; what is wrong on its command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import diff
from harness.cli.diff import command, show
from harness.cli.diff_page import page
from harness.conformance.contrast import KernelContrast
from tests.unit.test_cli_html import Page
from tests.unit.test_contrast import NEW, OLD, Kernels, accepts, compared, kernel, kernels

__all__ = ("kernels",)

#: A field in which kernels differ, and what stands below it.
NOTE = """
stolen_errno: no → yes
  nf_hook_slow returns the errno that STOLEN carries; 0 before 6.7 and the stable branches that took it.
  seen in stolen.errno (nf_hook_slow)
  stolen.errno: NF_STOLEN with an errno in its upper bits: the loop returns that errno, and sendto() at OUTPUT sees it.
"""


def printed(run: KernelContrast, capsys: pytest.CaptureFixture[str]) -> str:
    show(run, 12)
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())


def test_a_note_says_what_differs_where_it_is_seen_and_what_each_did(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(compared("stolen.errno"), capsys)
    assert told.startswith("old → new  (old → new)\n")
    assert NOTE in told
    rows = [line.split() for line in told.splitlines()]
    assert ["step", "2,", "send", "success", "EHOSTUNREACH"] in rows
    assert ["thief", "STOLEN(EHOSTUNREACH)", "→", "0", "thief", "STOLEN(EHOSTUNREACH)", "→", "-EHOSTUNREACH"] in [row[4:] for row in rows]
    assert told.endswith("\n1 case on 2 kernels in 12 s: 1 explained; 1 field of the profile differs")


def test_a_rule_that_applies_to_one_is_told_below_its_probe(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(compared("path.vlan-bridge", second=kernel("new", replace(OLD, vlan=False))), capsys)
    assert "\nvlan: yes → no\n  VLAN devices can be made.\n  old only: path.vlan-bridge\n" in told


def test_what_nothing_explains_comes_first_with_its_bundle(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    kernels.answers["new", "local-in"] = accepts
    run = compared("local-in", "stolen.errno")
    told = printed(run, capsys)
    assert told.index("\ndifferent scenario.local-in: ") < told.index("\nstolen_errno: ")
    assert "  new: packet 2/fate: predicted dropped (EPERM), observed delivered: " in told
    assert "  nfharness replay " in told
    assert told.endswith(": 1 different, 1 explained; 2 fields of the profile differ")


def test_what_is_inconclusive_or_was_not_run_is_named(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    kernels.answers["old", "local-in"] = lambda one: replace(one, lost_events=3)
    run = compared("local-in", second=kernel("new", OLD))
    run.rules = (*run.rules, compared("ping").rules[0])
    told = printed(run, capsys)
    assert "\ninconclusive scenario.local-in\n  old: 3 times: the tracer lost 3 events\n" in told
    assert "\nnot run: scenario.ping\n" in told
    assert "1 inconclusive, 1 not run; no field of the profile differs" in told


def test_kernels_that_behave_alike_are_told_in_a_line(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(compared("local-in", second=kernel("new", OLD)), capsys)
    assert told == "old → new  (old → new)\n\n1 case on 2 kernels in 12 s: 1 alike; no field of the profile differs"


def test_the_page_has_every_case_with_both_walks_and_needs_nothing_else(kernels: Kernels) -> None:
    kernels.answers["new", "local-in"] = accepts
    run = compared("local-in", "stolen.errno", "output-errno")
    text = page(run, 12.3)
    shown = Page(text)
    assert shown.open == []
    assert [attributes["id"] for tag, attributes in shown.elements if tag == "details"] == [
        "scenario.local-in", "stolen.errno", "scenario.output-errno"]
    links = {attributes["href"] for tag, attributes in shown.elements if tag == "a"}
    assert links == {"#stolen.errno", "#scenario.output-errno"}
    assert "thief STOLEN(EHOSTUNREACH) → -EHOSTUNREACH" in shown.text
    assert "stolen_errno: no → yes" in shown.text
    assert not [word for word in ("https:", "http:", "<link", "src=", "@import") if word in text]


def test_what_a_name_holds_is_text_on_the_page(kernels: Kernels, tmp_path: Path) -> None:
    run = compared("local-in", first=kernel("<b>old</b>", OLD))
    assert "<b>old</b> → new" in Page(page(run, 1)).text


@pytest.mark.parametrize("specs", [[], ["6.12"], ["6.1", "6.12", "7.3"]])
def test_two_kernels_are_compared_and_no_other_number(specs: list[str]) -> None:
    done = CliRunner().invoke(command, [word for spec in specs for word in ("--kernel", spec)])
    assert (done.exit_code, f"--kernel is given {len(specs)} times" in " ".join(done.output.split())) == (2, True), done.output


def test_names_are_completed() -> None:
    def completed(incomplete: str) -> set[str]:
        context: Any = None
        return {one.value for one in diff._complete(context, context, incomplete)}

    assert {"stolen", "stolen.errno"} <= completed("stol")
    assert {"local-in", "profile.stolen_errno"} <= completed("")
    assert completed("./x") == {"./x"}


def test_the_profile_alone_is_told_without_cases(kernels: Kernels, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(compared("profile.stolen_errno", second=kernel("new", NEW)), capsys)
    assert "stolen_errno: no → yes" in told
    assert "no case here shows it" in told
    assert told.endswith("\n0 cases on 2 kernels in 12 s: nothing was run; 1 field of the profile differs")
