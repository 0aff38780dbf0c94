"""What every guest offers."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest


def test_root_is_an_overlay_whose_lower_layers_cannot_be_written() -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    assert next(kind for _, where, kind, *_ in mounts if where == "/") == "overlay"
    marker = Path("/usr/nfharness-marker")
    marker.write_text("gone with this guest")
    assert marker.read_text()


@pytest.mark.isolation("test")  # the module dummy, which another test may have loaded, brings one
def test_there_is_no_network_device_but_loopback() -> None:
    assert [device.name for device in Path("/sys/class/net").iterdir()] == ["lo"]


@pytest.mark.parametrize("name", ["scapy", "pyroute2", "bcc", "capstone"])
def test_slow_imports_are_there(name: str) -> None:
    __import__(name)


def test_modules_of_the_running_kernel_are_there() -> None:
    assert Path("/lib/modules", platform.release(), "modules.dep").exists()
