"""What the Vagrant backend makes of what it is told, without any Vagrant."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.backends import vagrant
from harness.backends.attached import AttachedGuest, Unreachable
from harness.backends.machine import running_kernel
from harness.backends.observer import ends_of
from harness.backends.ssh import Ssh, SshMachine
from harness.boxes.box import box_of, disk_header
from harness.boxes.vagrantfile import machine_name, unused
from harness.host.paths import package_file
from harness.host.progress import Progress
from harness.images.guest_packages import command_line

BASE = "nfharness-VAGRANTSLASH-6.12.118-deb13-cloud-amd64_vagrant_box_image_1.42_box.img"
OTHER = BASE.replace("1.42", "1.43")


def volume(on: str | None) -> str:
    return "<volume><target/>" + (f"<backingStore>\n<path>/var/lib/libvirt/images/{on}</path></backingStore>" if on else "") + "</volume>"


def test_a_volume_that_a_machine_lies_on_stays() -> None:
    assert unused({BASE: volume(None), OTHER: volume(None), "machine.img": volume(OTHER)}) == [BASE]


def test_volumes_of_others_stay() -> None:
    assert unused({"debian-VAGRANTSLASH-trixie_vagrant_box_image_1_box.img": volume(None), "disk.img": volume(None)}) == []


def test_the_boot_sector_has_the_partitions_and_grub_the_rest() -> None:
    header = disk_header(b"\xeb" * 512, b"core", [(1 << 20, 2 << 20), (3 << 20, 1 << 20)])
    assert header[:446] == b"\xeb" * 446
    assert header[510:516] == b"\x55\xaacore"
    assert [struct.unpack_from("<II", header, 446 + 16 * number + 8) for number in (0, 1, 2)] == [(2048, 4096), (6144, 2048), (0, 0)]


def test_a_boot_loader_that_would_overwrite_a_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        disk_header(bytes(512), bytes(1 << 20), [(1 << 20, 1 << 20)])


def test_a_box_gets_all_that_the_project_depends_on() -> None:
    project = tomllib.loads(package_file("pyproject.toml").read_text())["project"]
    assert command_line() == [name.replace(".", "-") for name in project["dependencies"]]


def test_another_content_is_another_version_of_a_box() -> None:
    one, other = (box_of(Path("/boxes") / f"6.12.118+deb13-cloud-amd64_libvirt_{key}") for key in ("0a", "0b"))
    assert (one.name, one.version, other.version) == ("nfharness/6.12.118-deb13-cloud-amd64", "1.10", "1.11")
    assert other.name == one.name


@pytest.mark.parametrize(("spec", "name"), [("6.12", "kernel-6.12"), ("6.1-rt", "kernel-6.1-rt"), ("/src/linux", "kernel-src-linux")])
def test_a_machine_is_called_after_its_kernel(spec: str, name: str) -> None:
    assert machine_name(spec) == name


def test_a_command_reaches_the_machine_whole_and_says_which_connection_it_is_on(tmp_path: Path) -> None:
    argv = Ssh("kernel-6.12", "", "", Path("config")).command(["sh", "-c", "echo 'a b' $SSH_CONNECTION"])
    assert argv[:3] == ["ssh", "-F", "config"]
    assert argv[-2] == "kernel-6.12"
    # Its shell there makes words of that again; root is found by a sudo that has nothing to do here.
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift 2\nunset SSH_CONNECTION\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    assert subprocess.check_output(["sh", "-c", argv[-1]], env=environment, text=True) == "a b 10.0.0.1 1 10.0.0.2 22\n"


def test_a_trace_knows_both_ends_of_its_own_connection() -> None:
    assert ends_of("192.168.121.1 57738 192.168.121.55 22") == {"192.168.121.1:57738", "192.168.121.55:22"}


def test_a_trace_that_goes_over_no_connection_leaves_nothing_out() -> None:
    assert ends_of("") == frozenset()


@pytest.mark.parametrize(("kind", "tries"), [(vagrant.VagrantMachine, 3), (SshMachine, 1)])
def test_a_machine_of_vagrants_may_be_booting_and_one_that_ssh_reaches_answers_at_once(
        kind: type[SshMachine], tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    @asynccontextmanager
    async def attached(argv: list[str], gone: str) -> AsyncIterator[AttachedGuest]:
        said.append((argv[0], gone))
        if len(said) < 3:
            raise Unreachable("Connection refused", hint="wait")
        yield AttachedGuest(argv, gone)

    async def reach() -> Any:
        machine = kind(running_kernel("6.12.1", "#1"), Ssh("box", "", "look there"), Progress(quiet=True))
        async with machine._attached() as guest:
            return guest.networked

    monkeypatch.setattr("harness.backends.ssh.attached", attached)
    monkeypatch.setattr(vagrant, "_RETRY_S", 0)
    if tries == 3:
        assert asyncio.run(reach())
    else:
        with pytest.raises(Unreachable, match="Connection refused"):
            asyncio.run(reach())
    assert said == [("ssh", "look there")] * tries
