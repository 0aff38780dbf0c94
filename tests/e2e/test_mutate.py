"""``nfharness mutate``: mutants of a tree that is built, in guests. ``NFHARNESS_BUILT_TREE`` names the tree."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.images import kernel_tree
from tests.e2e.conftest import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.long]

DEADLINE_S = 3600


def _times(tree: Path, source: Path) -> dict[Path, int]:
    watched = (tree / "vmlinux", tree / "net/netfilter/core.o", tree / "include/config/auto.conf", source / "net/netfilter/core.c", tree)
    return {path: path.stat().st_mtime_ns for path in watched}


@pytest.fixture
def built_tree() -> Iterator[str]:
    """A tree with its objects, to which nothing is written."""
    named = os.environ.get("NFHARNESS_BUILT_TREE", "")
    if not named or not (Path(named) / "net/netfilter/core.o").exists():
        pytest.skip("NFHARNESS_BUILT_TREE names no built kernel tree with its objects")
    source = kernel_tree.read(named).source
    before = _times(Path(named), source)
    yield named
    assert _times(Path(named), source) == before


def test_every_mutant_of_a_function_is_caught_and_known_the_next_time(nfharness: CommandLine, built_tree: str, tmp_path: Path) -> None:
    chosen = ("mutate", "--source", built_tree, "--only", "nf_unregister_net_hooks", "--json", "--html", str(tmp_path / "page.html"))
    first = nfharness(*chosen, deadline_s=DEADLINE_S)
    assert first.status == 0, first
    found = json.loads(first.out)
    assert {one["outcome"] for one in found["mutants"]} == {"caught"}
    assert {one["by"] for one in found["mutants"]} <= RULES.keys()
    assert {one["operator"] for one in found["mutants"]} >= {"call", "loop-skipped", "loop-early", "loop-endless"}
    assert "nf_unregister_net_hooks" in (tmp_path / "page.html").read_text()
    again = nfharness(*chosen, deadline_s=300)
    assert json.loads(again.out)["mutants"] == found["mutants"]


def test_a_run_that_was_interrupted_goes_on(nfharness: CommandLine, built_tree: str) -> None:
    chosen = ("mutate", "--source", built_tree, "--only", "nf_hook_slow_list", "--limit", "3", "--jobs", "1")
    nfharness("mutate", "--source", built_tree, "--only", "nf_hook_slow_list", "--limit", "1", deadline_s=DEADLINE_S)
    running = nfharness.start(*chosen, "--again")
    assert running.stderr
    lines = iter(running.stderr.readline, b"")
    next(line for line in lines if b"caught" in line)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=300)
    assert b"2 not run" in out
    assert running.returncode not in (0, 1)
    ended = nfharness(*chosen, "--json", deadline_s=DEADLINE_S)
    assert ended.status == 0
    assert [one["outcome"] for one in json.loads(ended.out)["mutants"]] == ["caught"] * 3
