"""The box for VirtualBox, as far as it can be tried without: Vagrant takes it, and it boots on QEMU's like of that hardware."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from harness.boxes.box import VagrantBox, box_of
from harness.boxes.virtualbox import DISK_FILE
from harness.doctor.vagrant import examine_vagrant
from tests.e2e.conftest import CHECKOUT

pytestmark = pytest.mark.slow

_DEADLINE_S = 300
_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


@pytest.fixture(scope="module")
def box() -> VagrantBox:
    needed = ("vagrant", "qemu-img", "ssh")
    lacking = [f"{one.name}: {one.found}" for one in examine_vagrant("virtualbox") if one.state == "missing" and one.name in needed]
    if lacking:
        pytest.skip("; ".join(lacking))
    command = [sys.executable, "-m", "harness", "vagrant", "box", "--provider", "virtualbox"]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=_DEADLINE_S)
    return box_of(Path(done.stdout.strip()).parent)


@pytest.fixture(scope="module")
def vagrant(tmp_path_factory: pytest.TempPathFactory) -> Vagrant:
    return Vagrant(tmp_path_factory.mktemp("vagrant"))


class Vagrant:
    """Vagrant with its own home."""

    def __init__(self, own: Path) -> None:
        self.home = own / "home"
        self._env = {**os.environ, "VAGRANT_HOME": str(self.home), "VAGRANT_DOTFILE_PATH": str(own / "dot"), "VAGRANT_NO_COLOR": "1",
                     "VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_DEFAULT_PROVIDER": "virtualbox"}  # fmt: skip

    def __call__(self, *argv: str) -> str:
        done = subprocess.run(["vagrant", *argv], cwd=CHECKOUT / "vagrant", env=self._env, capture_output=True, text=True, check=False,
                              timeout=_DEADLINE_S)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def unpacked(box: VagrantBox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("box")
    with tarfile.open(box.file) as archive:
        archive.extractall(place, filter="data")
    yield place
    shutil.rmtree(place)


def test_vagrant_takes_it(box: VagrantBox, vagrant: Vagrant) -> None:
    vagrant("box", "add", str(box.catalogue))
    assert f"{box.name} (virtualbox, {box.version})" in vagrant("box", "list")


def test_its_vagrantfile_is_valid_with_the_projects(box: VagrantBox, vagrant: Vagrant) -> None:
    # What is read of the box's own then is what VirtualBox's provider is told.
    assert "validated successfully" in vagrant("validate", "--ignore-provider")
    (own,) = (vagrant.home / "boxes").glob("*/*/virtualbox/Vagrantfile")
    assert '"--nictype1", "virtio"' in own.read_text()


def test_the_descriptor_has_the_disk_that_lies_beside_it(unpacked: Path) -> None:
    root = ET.parse(unpacked / "box.ovf").getroot()  # noqa: S314 - our own
    file, disk = root.find(f"{_OVF}References/{_OVF}File"), root.find(f"{_OVF}DiskSection/{_OVF}Disk")
    assert file is not None
    assert disk is not None
    assert (unpacked / file.attrib[f"{_OVF}href"]).stat().st_size == int(file.attrib[f"{_OVF}size"])
    shown = json.loads(subprocess.run(["qemu-img", "info", "--output=json", unpacked / DISK_FILE], capture_output=True, check=True).stdout)
    assert shown["virtual-size"] == int(disk.attrib[f"{_OVF}capacity"])
    assert shown["format-specific"]["data"]["create-type"] == "streamOptimized"


@pytest.fixture(scope="module")
def machine(unpacked: Path) -> Iterator[Machine]:
    """A machine of the box's disk, beginning to boot."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-cpu", "max", "-m", "1024",
               "-no-reboot", "-drive", f"if=ide,file={unpacked / DISK_FILE},format=vmdk,snapshot=on",
               "-netdev", f"user,id=nat,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=nat,disable-modern=on",
               "-serial", f"file:{unpacked / 'console'}", "-monitor", "stdio"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as qemu:
        try:
            yield Machine(qemu, port)
        finally:
            qemu.kill()


class Machine(NamedTuple):
    """:ivar qemu: takes its monitor's commands on standard input
    :ivar port: of ssh, on this host
    """

    qemu: subprocess.Popen[bytes]
    port: int


def test_it_boots_from_an_ide_disk_and_answers_over_a_virtio_device_of_old(machine: Machine, vagrant: Vagrant) -> None:
    seen = _said_over_ssh(machine, vagrant.home / "insecure_private_key", "sudo findfs LABEL=nfharness; cat /proc/modules")
    assert "/dev/sda1" in seen
    assert {"nfharness", "ata_piix", "virtio_net"} <= set(seen.split())


def test_it_halts_when_its_power_button_is_pressed(machine: Machine, vagrant: Vagrant) -> None:
    _said_over_ssh(machine, vagrant.home / "insecure_private_key", "until pgrep -f 'busybox acpi[d]'; do sleep 1; done")
    machine.qemu.communicate(b"system_powerdown\n", timeout=_DEADLINE_S)
    assert machine.qemu.returncode == 0


def _said_over_ssh(machine: Machine, key: Path, script: str) -> str:
    own = key.with_name("key")
    shutil.copy(key, own)
    own.chmod(0o600)
    options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "ConnectTimeout=20", "BatchMode=yes"]
    command = ["ssh", "-F", "/dev/null", "-p", str(machine.port), "-i", str(own), *(part for one in options for part in ("-o", one)),
               "vagrant@127.0.0.1", script]  # fmt: skip
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
        if done.returncode != 255:  # ssh's own
            return done.stdout
        assert machine.qemu.poll() is None, "the machine has ended"
        assert time.monotonic() < deadline, f"ssh: {done.stderr}"
        time.sleep(1)
