"""What doctor says of the Vagrant backend where something is missing: what, and the mend."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.vm import examine_vagrant
from harness.vm.examine import Finding

Host = Callable[..., dict[str, Finding]]
PLUGINS = "vagrant-libvirt (0.11.2, system)"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Findings on a host that has the given programs and nothing else. :param plugins: what ``vagrant plugin list`` says"""
    def examined(*programs: str, plugins: str = PLUGINS) -> dict[str, Finding]:
        for name in programs:
            said = f"case $1 in --version) echo Vagrant 2.3.4;; plugin) echo '{plugins}';; esac"
            (tmp_path / name).write_text(f"#!/bin/sh\n{said}\n")
            (tmp_path / name).chmod(0o755)
        return {one.name: one for one in examine_vagrant.examine_vagrant()}

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(examine_vagrant, "_SBIN", str(tmp_path))
    monkeypatch.setattr(examine_vagrant, "_SOCKET", tmp_path / "socket")
    return examined


def test_a_host_with_nothing_is_told_of_each_thing_and_its_package(host: Host) -> None:
    mends = {name: one.mend for name, one in host().items() if one.state == "missing"}
    assert mends == {
        "vagrant": "apt-get install vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base",
        "libvirtd": "apt-get install vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base",
        "qemu-img": "apt-get install qemu-utils",
        "dnsmasq": "apt-get install dnsmasq-base",
        "rsync": "apt-get install rsync",
        "ssh": "apt-get install openssh-client",
    }


def test_vagrant_without_a_provider_is_told_which_plugin(host: Host) -> None:
    found = host("vagrant", plugins="No plugins installed.")
    assert found["vagrant"].found == "2.3.4"
    assert (found["Vagrant's provider"].state, found["Vagrant's provider"].mend) == ("missing", "apt-get install vagrant-libvirt")


def test_a_daemon_that_does_not_run_is_to_be_started(host: Host) -> None:
    found = host("vagrant", "libvirtd")["libvirtd"]
    assert (found.state, found.found.startswith("not running")) == ("missing", True)
    assert "systemctl start libvirtd" in found.mend
    assert "virtlogd -d; libvirtd -d" in found.mend


def test_whoever_may_not_talk_to_the_daemon_joins_its_group(host: Host, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        daemon.listen()
        (tmp_path / "socket").chmod(0)
        if os.geteuid() != 0:
            found = host("vagrant")["libvirtd"]
        else:
            host("vagrant")
            os.seteuid(65534)
            try:
                found = examine_vagrant.libvirtd()
            finally:
                os.seteuid(0)
    assert (found.state, found.found) == ("missing", f"no permission to connect to {tmp_path / 'socket'}")
    assert found.mend.startswith("sudo usermod --append --groups libvirt ")


def test_a_host_with_all_of_it_lacks_nothing(host: Host, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        daemon.listen()
        found = host("vagrant", "libvirtd", "qemu-img", "dnsmasq", "rsync", "ssh")
    assert [one.name for one in found.values() if one.state != "ok"] == []
    assert found["Vagrant's provider"].found == "vagrant-libvirt 0.11.2"


def test_vagrant_qemu_needs_no_libvirt(host: Host) -> None:
    found = host("vagrant", plugins="vagrant-qemu (0.4.1, global)")
    assert found["Vagrant's provider"].found == "vagrant-qemu 0.4.1"
    assert "libvirtd" not in found
    assert "dnsmasq" not in found
