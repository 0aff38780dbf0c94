"""Guests with Debian packages that the userland lacks: fetched once, there for the command, and nothing of it if it cannot be."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.images import kernels
from tests.e2e.conftest import CHECKOUT, CommandLine
from tests.e2e.test_interrupt import _signals, _stop
from tests.e2e.test_pytest_plugin import run

pytestmark = pytest.mark.slow

_JQ = ("exec", "--with", "jq", "--")
_TEST = """
import subprocess
import pytest

@pytest.mark.kernel
def test_has_jq():
    assert subprocess.run(["jq", "--version"], capture_output=True).stdout.startswith(b"jq-")
"""


@pytest.fixture
def offline(nfharness: CommandLine) -> CommandLine:
    """The command line with the image of jq in the cache, and no way to the archive."""
    assert nfharness(*_JQ, "true").status == 0
    return CommandLine({"NFHARNESS_MIRROR": "http://127.0.0.1:1/debian"})


def test_a_command_has_the_package_beside_all_that_was_there(offline: CommandLine) -> None:
    script = "jq --version && touch /usr/written /etc/written && python3 -c 'import scapy; print(scapy.__file__)'"
    result = offline(*_JQ, "sh", "-c", script, before=("unshare", "--net"))
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(b"jq-")
    assert result.out.endswith(b"\n/usr/local/lib/python3.13/dist-packages/scapy/__init__.py\n")


def test_a_guest_without_it_does_not_have_it(offline: CommandLine) -> None:
    assert offline("exec", "--", "jq", "--version").status == 127


def test_trace_has_it(offline: CommandLine) -> None:
    result = offline("trace", "--json", "--with", "jq", "--", "sh", "-c", "jq --version >&2; ping -c1 -W1 127.0.0.1 >&2")
    assert (result.status, json.loads(result.out)["verdict"]) == (0, "traced")


def test_a_test_has_what_the_configuration_names(offline: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\npackages = ["jq"]\n')
    (tmp_path / "test_jq.py").write_text(_TEST)
    assert "1 passed" in run(tmp_path, "--kernel", kernels.DEFAULT).stdout


def test_a_package_that_there_is_not_is_told_with_the_nearest(nfharness: CommandLine) -> None:
    result = nfharness("exec", "--with", "ethtol", "--", "true")
    assert (result.status, result.error[0]) == (2, "nfharness: error: trixie has no package ethtol")
    assert result.error[1].startswith("  hint: did you mean ethtool")


@_signals
def test_nothing_half_fetched_stays(without_templates: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        without_templates.env = {**without_templates.env, "http_proxy": proxy, "https_proxy": proxy}
        process = without_templates.start(*_JQ, "true")
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            _stop(process, number)
            eventually(lambda: without_templates.processes() == [], "apt has ended")
    remains = [path for path in Path(without_templates.env["NFHARNESS_CACHE"], "packages").iterdir() if path.is_dir()]
    assert len(remains) == (1 if number == signal.SIGKILL else 0)
    if remains:
        assert b"deleted packages unfinished jq_" in without_templates("image", "prune").out


def test_the_programs_that_the_page_lists_are_where_it_says(nfharness: CommandLine) -> None:
    page = (CHECKOUT / "harness/docs/own-kernels.md").read_text()
    table = page[page.index("| program | `--with` |"):page.index("Python's `yaml`")]
    rows = [(re.findall(r"`([^`]+)`", programs), re.findall(r"`([^`]+)`", packages))
            for programs, packages in re.findall(r"^\| (`.*) \| (.*) \|$", table, re.MULTILINE)]
    wanted = [package for _, packages in rows for package in packages]
    assert len(wanted) == 12
    script = "for name in {}; do command -v $name > /dev/null || echo $name; done"
    there = [name for programs, packages in rows if not packages for name in programs]
    lacking = [name for programs, packages in rows if packages for name in programs]
    without = nfharness("exec", "--", "sh", "-c", script.format(" ".join([*there, *lacking])))
    assert (without.status, without.out.decode().split()) == (0, lacking), without
    more = "python3 -c 'import yaml'; ldconfig -p | grep -q libnuma.so.1 || echo libnuma"
    options = [f"--with={package}" for package in (*wanted, "python3-yaml", "libnuma1")]
    done = nfharness("exec", *options, "--", "sh", "-ec", f"{script.format(' '.join([*there, *lacking]))}; {more}")
    assert (done.status, done.out) == (0, b""), done
