"""Tests for a kernel that cannot be made anew; :mod:`tests.e2e.test_pytest_local` says what must be reported of each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from harness.errors import Inconclusive
from harness.pytest_plugin import Dropped
from harness.pytest_plugin.lab import Lab


def test_a_rule_drops(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", verdict="DROP", errno="EHOSTUNREACH")
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).fate == Dropped(errno="EHOSTUNREACH")


@pytest.mark.kernel
@pytest.mark.isolation("test")
def test_wants_a_fresh_kernel() -> None:
    """Run nowhere."""


@pytest.mark.kernel
def test_fails_and_leaves_nothing() -> None:
    raise AssertionError("as it should")


@pytest.mark.kernel
def test_changes_its_process() -> None:
    os.umask(0o77)


@pytest.mark.kernel
def test_has_a_process_as_it_was() -> None:
    assert os.umask(0o22) == 0o22


@pytest.mark.kernel
def test_is_unclear_once() -> None:
    if not (mark := Path("/run/unclear")).exists():
        mark.touch()
        raise Inconclusive("inconclusive: the first time")


@pytest.mark.kernel
def test_leaves_a_namespace() -> None:
    subprocess.run(["ip", "netns", "add", "forgotten"], check=True)


@pytest.mark.kernel
def test_comes_after_that() -> None:
    """Run nowhere."""
