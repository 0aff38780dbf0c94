"""Tests for a machine that goes away; :mod:`tests.e2e.test_pytest_ssh` says what must be reported of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from harness.pytest_plugin import Dropped
from harness.pytest_plugin.lab import Lab


def test_a_rule_drops(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", verdict="DROP", errno="EHOSTUNREACH")
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).fate == Dropped(errno="EHOSTUNREACH")


@pytest.mark.kernel
def test_panics() -> None:
    Path("/proc/sysrq-trigger").write_text("c")


@pytest.mark.kernel
def test_comes_after_that() -> None:
    """Run nowhere."""
