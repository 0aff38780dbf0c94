"""What doctor says of the Vagrant backend where something is missing: what, and the hint."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.doctor import vagrant
from harness.doctor.examine import Finding

Host = Callable[..., dict[str, Finding]]
PLUGINS = "vagrant-libvirt (0.11.2, system)"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def host(place: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Findings on a host that has the given programs and nothing else.

    :param plugins: what ``vagrant plugin list`` says
    :param refusal: what ``virsh`` says if libvirt does not let it in
    """
    def examined(*programs: str, plugins: str = PLUGINS, refusal: str = "") -> dict[str, Finding]:
        for name in programs:
            said = f"case $1 in --version) echo Vagrant 2.3.4;; plugin) echo '{plugins}';; --connect) echo qemu:///system;; esac"
            refused = f"echo 'error: {refusal}' >&2; exit 1"
            (place / name).write_text(f"#!/bin/sh\n{refused if refusal and name == 'virsh' else said}\n")
            (place / name).chmod(0o755)
        return {one.name: one for one in vagrant.examine_vagrant()}

    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("VAGRANT_DEFAULT_PROVIDER", raising=False)
    monkeypatch.setattr(vagrant, "_SBIN", str(place))
    monkeypatch.setattr(vagrant, "_SOCKET", place / "socket")
    return examined


@contextmanager
def _as_a_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_host_with_nothing_is_told_of_each_thing_and_its_package(host: Host) -> None:
    hints = {name: one.hint for name, one in host().items() if one.state == "missing"}
    assert hints == {
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
    assert (found["Vagrant's provider"].state, found["Vagrant's provider"].hint) == ("missing", "apt-get install vagrant-libvirt")


def test_a_daemon_that_does_not_run_is_to_be_started(host: Host) -> None:
    found = host("vagrant", "libvirtd", "virsh", refusal="Failed to connect socket")["libvirtd"]
    assert (found.state, found.found) == ("missing", "not running: Failed to connect socket")
    assert "systemctl start libvirtd" in found.hint
    assert "virtlogd -d; libvirtd -d" in found.hint


# With polkit, as on Debian, everybody may connect, and is refused only then.
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_whoever_the_daemon_refuses_joins_its_group(mode: int, host: Host, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(place / "socket"))
        daemon.listen()
        (place / "socket").chmod(mode)
        host("libvirtd", "virsh", refusal="access denied")
        with _as_a_user():
            found = vagrant.libvirtd()
    assert (found.state, found.found) == ("missing", "lets root and the group libvirt in: access denied")
    assert found.hint.startswith("sudo usermod --append --groups libvirt ")


def test_a_host_with_all_of_it_lacks_nothing(host: Host) -> None:
    found = host("vagrant", "libvirtd", "virsh", "qemu-img", "dnsmasq", "rsync", "ssh")
    assert [one.name for one in found.values() if one.state != "ok"] == []
    assert found["Vagrant's provider"].found == "vagrant-libvirt 0.11.2"
    assert found["libvirtd"].found == "answers as qemu:///system"


def test_vagrant_qemu_needs_no_libvirt(host: Host) -> None:
    found = host("vagrant", plugins="vagrant-qemu (0.4.1, global)")
    assert found["Vagrant's provider"].found == "vagrant-qemu 0.4.1"
    assert not {"libvirtd", "dnsmasq"} & set(found)


def test_virtualbox_needs_neither_a_plugin_nor_libvirt(host: Host) -> None:
    found = host("vagrant", "VBoxManage", plugins="No plugins installed.")
    assert found["VirtualBox"].state == "ok"
    assert not {"Vagrant's provider", "libvirtd", "dnsmasq"} & set(found)


def test_the_provider_that_vagrant_is_told_is_the_one_to_be_examined(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"qemu": ("no plugin vagrant-qemu", "vagrant plugin install vagrant-qemu"),
            "docker": ("there is no box for docker", "unset VAGRANT_DEFAULT_PROVIDER")}  # fmt: skip
    for provider, (found, hint) in told.items():
        monkeypatch.setenv("VAGRANT_DEFAULT_PROVIDER", provider)
        finding = host("vagrant")["Vagrant's provider"]
        assert (finding.state, finding.found, finding.hint) == ("missing", found, hint)
    monkeypatch.setenv("VAGRANT_DEFAULT_PROVIDER", "virtualbox")
    assert host("vagrant")["VirtualBox"].found == "VBoxManage is not in the PATH"
