"""Tests for a Vagrant machine's kernel; :mod:`tests.e2e.test_vagrant` says what must be reported of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from harness.pytest_plugin import Dropped
from harness.pytest_plugin.lab import Lab

_MARK = Path("/run/netns/mark")


def test_a_rule_drops(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", verdict="DROP", errno="EHOSTUNREACH")
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).fate == Dropped(errno="EHOSTUNREACH")


@pytest.mark.kernel
def test_panics() -> None:
    _MARK.touch()
    Path("/proc/sysrq-trigger").write_text("c")


@pytest.mark.kernel
def test_after_a_panic_there_is_a_new_kernel() -> None:
    assert not _MARK.exists()
