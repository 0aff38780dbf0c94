"""Which tests are for a kernel, in which order, in how many guests, with which files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.cli.test import exit_status
from harness.errors import UserError
from harness.pytest_plugin.host import controller, files
from harness.pytest_plugin.host.controller import capped

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


@pytest.mark.parametrize(("keyword", "selected"), [
    ("6.1", ["6.1"]), ("6.12", ["6.12"]), ("not 6.1", ["6.12", "6.16-rt", "6.16.3"]), ("6.16", ["6.16-rt", "6.16.3"]),
    ("6.16-rt", ["6.16-rt"]), ("6.1 or 6.16.3", ["6.1", "6.16.3"]), ("test_a and 6.12", ["6.12"]), ("6.11", []),
    ("6", ["6.1", "6.12", "6.16-rt", "6.16.3"]),
])
def test_k_with_a_kernel_means_no_other(pytester: pytest.Pytester, keyword: str, selected: list[str]) -> None:
    pytester.makepyfile("def test_a(lab): pass")
    arguments = [part for spec in ("6.1", "6.12", "6.16-rt", "6.16.3") for part in ("--kernel", spec)]
    assert collected(pytester, *arguments, "-k", keyword) == [f"test_a[{spec}]" for spec in selected]


def test_k_with_a_kernel_that_the_run_lacks_selects_no_longer_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('x', ['10.25'])\ndef test_a(lab, x): pass")
    assert collected(pytester, "--kernel", "6.12", "-k", "6.1") == []
    assert collected(pytester, "--kernel", "6.12", "-k", "10.2") == ["test_a[6.12-10.25]"]


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
    with tarfile.open(fileobj=io.BytesIO(files.archive(config, [pytester.path / "kernel/test_k.py"]))) as tar:
        assert sorted(tar.getnames()) == ["conftest.py", "extra/lib.py", "kernel/conftest.py", "kernel/data/rules.nft", "kernel/test_k.py",
                                          "tox.ini"]


def test_a_package_that_there_is_not_ends_the_run_before_any_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(names: list[str], *_: object) -> None:
        raise UserError(f"trixie has no package {names[0]}", hint="did you mean jq?")

    monkeypatch.setattr(controller, "_check", lambda _specs: None)
    monkeypatch.setattr("harness.images.userland.userland", lambda _progress: Path())
    monkeypatch.setattr("harness.images.packages.packages", refuse)
    pytester.makeini("[pytest]\npackages = jqq")
    pytester.makepyfile("import pytest\n@pytest.mark.kernel\ndef test_a(): pass")
    done = pytester.runpytest_inprocess("--kernel", "6.12")
    assert "ERROR: packages: trixie has no package jqq\n  hint: did you mean jq?" in done.stderr.str()
    assert done.ret == 4
    assert pytester.runpytest_inprocess().ret == 1  # without a kernel nothing is asked


@pytest.mark.parametrize(("marker", "said"), [
    ("isolation('tset')", 'no level of isolation "tset"; did you mean "test"?'),
    ("isolation", "the marker isolation has no argument"),
    ("deadline('soon')", "the deadline is 'soon'; seconds, more than 0"),
    ("may_warn('(')", "may_warn('(')"),
    ("known_bug()", "the marker known_bug has no argument"),
    ("known_bug('0123', unles='stolen_errno')", 'no argument of the marker known_bug "unles"; did you mean "unless"?'),
    ("isolation('test', 'module')", "the marker isolation has 2 arguments and takes one"),
    ("deadline(5, 6)", "the marker deadline has 2 arguments and takes one"),
    ("may_warn(3)", "may_warn's pattern is 3"),
    ("known_bug('0123', unless='stolen_erno')", 'no probe "stolen_erno"; did you mean "stolen_errno"?'),
])
def test_a_marker_that_means_nothing_is_the_tests_error(pytester: pytest.Pytester, marker: str, said: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.kernel\n@pytest.mark.{marker}\ndef test_a(): pass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controller, "_check", lambda _specs: None)  # whether there is such a kernel is not asked here
        done = pytester.runpytest_inprocess("--kernel", "6.12")
    done.assert_outcomes(errors=1)
    assert said.replace("; ", "\n  hint: ") in done.stdout.str() or said in done.stdout.str()
    assert done.ret == 4


def test_files_that_a_guest_cannot_hold_are_refused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LIMIT", 3)
    path = pytester.makepyfile(test_k="pass")
    with pytest.raises(UserError, match=r"test_k\.py the most of it"):
        files.archive(pytester.parseconfigure(), [Path(path)])


@pytest.mark.parametrize(("status", "ours"), [(0, 0), (1, 1), (2, 130), (3, 125), (4, 2), (5, 2), (125, 125), (-9, 137)])
def test_pytests_exit_status_becomes_ours(status: int, ours: int) -> None:
    assert exit_status(status) == ours
