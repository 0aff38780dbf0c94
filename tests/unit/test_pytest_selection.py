"""Which tests are for a kernel, in which order, in how many guests, with which files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.cli.test import exit_status
from harness.errors import UserError
from harness.pytest_plugin import tree
from harness.pytest_plugin.controller import capped

pytest_plugins = ["pytester"]

FILE = """
import pytest

def test_host(): pass

@pytest.mark.kernel
@pytest.mark.parametrize("x", [1, 2])
def test_marked(x): pass

def test_with_lab(lab): pass

@pytest.fixture
def mine(kernel): pass

def test_through_a_fixture_of_its_own(mine): pass
"""


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest("--collect-only", "-q", *arguments)
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_a_kernel_test_is_collected_once_for_each_kernel(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FILE)
    assert sorted(collected(pytester, "--kernel", "6.1", "--kernel", "7.3")) == sorted([
        "test_host", "test_marked[6.1-1]", "test_marked[6.1-2]", "test_marked[7.3-1]", "test_marked[7.3-2]", "test_with_lab[6.1]",
        "test_with_lab[7.3]", "test_through_a_fixture_of_its_own[6.1]", "test_through_a_fixture_of_its_own[7.3]"])


def test_a_kernel_that_is_named_twice_is_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(lab): pass")
    assert collected(pytester, "--kernel", "6.1", "--kernel", "6.1") == ["test_a[6.1]"]


def test_the_configuration_names_kernels_where_the_command_line_does_not(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkernels = 6.1 7.3")
    pytester.makepyfile("def test_a(lab): pass")
    assert collected(pytester) == ["test_a[6.1]", "test_a[7.3]"]
    assert collected(pytester, "--kernel", "5.10") == ["test_a[5.10]"]


def test_kernels_are_not_mixed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="def test_a(lab): pass", test_b="def test_b(lab): pass")
    assert collected(pytester, "--kernel", "6.1", "--kernel", "7.3") == ["test_a[6.1]", "test_b[6.1]", "test_a[7.3]", "test_b[7.3]"]


def test_k_selects_a_kernel(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(lab): pass")
    assert collected(pytester, "--kernel", "6.1", "--kernel", "7.3", "-k", "7.3") == ["test_a[7.3]"]


def test_a_random_order_is_repeated_by_its_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="\n".join(f"def test_{number}(): pass" for number in range(20)))
    first, again, other = (collected(pytester, "--random-order-seed", seed) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_a_random_order_says_its_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    pytester.runpytest("--random-order").stdout.re_match_lines([r"random order: --random-order-seed \d+"])


@pytest.mark.parametrize(("wanted", "available", "given"), [(4, 16384, 4), (64, 16384, 16), (4, 100, 1)])
def test_there_are_no_more_workers_than_memory_for_their_guests(wanted: int, available: int, given: int) -> None:
    assert capped(wanted, available) == given


def test_a_number_of_workers_that_memory_does_not_hold_is_capped_and_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(lab): pass")
    said = pytester.runpytest("--collect-only", "-n", "100000", "--kernel", "6.12").stderr
    said.re_match_lines([r"nfharness: -n 100000 is more guests than this host's memory holds; using -n \d+"])


def test_guests_get_what_lies_beside_their_tests(pytester: pytest.Pytester) -> None:
    for name in ("conftest.py", "other/test_o.py", "kernel/conftest.py", "kernel/test_k.py", "kernel/data/rules.nft", "kernel/.hidden",
                 "kernel/__pycache__/x.pyc", "extra/lib.py"):
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pytester.makeini("[pytest]\nkernel_files = extra")
    config = pytester.parseconfigure()
    with tarfile.open(fileobj=io.BytesIO(tree.archive(config, [pytester.path / "kernel/test_k.py"]))) as tar:
        assert sorted(tar.getnames()) == ["conftest.py", "extra/lib.py", "kernel/conftest.py", "kernel/data/rules.nft", "kernel/test_k.py",
                                          "tox.ini"]


def test_files_that_a_guest_cannot_hold_are_refused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_LIMIT", 3)
    path = pytester.makepyfile(test_k="pass")
    with pytest.raises(UserError, match=r"test_k\.py the most of it"):
        tree.archive(pytester.parseconfigure(), [Path(path)])


@pytest.mark.parametrize(("status", "ours"), [(0, 0), (1, 1), (2, 130), (3, 125), (4, 2), (5, 2), (125, 125), (-9, 137)])
def test_pytests_exit_status_becomes_ours(status: int, ours: int) -> None:
    assert exit_status(status) == ours
