"""What the Vagrant backend makes of what it is told, without any Vagrant."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path

import pytest

from harness.backends.observer import ends_of
from harness.backends.vagrant import Ssh
from harness.boxes.box import box_of, disk_header
from harness.boxes.vagrantfile import machine_name, unused
from harness.host.paths import package_file
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


def test_a_command_reaches_the_machine_whole_and_says_which_connection_it_is_on() -> None:
    argv = Ssh(Path(), Path("config"), "kernel-6.12").command(["sh", "-c", "echo 'a b'"])
    assert argv[:3] == ["ssh", "-F", "config"]
    assert re.fullmatch(r"""sudo -n -- env "SSH_CONNECTION=\$SSH_CONNECTION" sh -c 'echo '"'"'a b'"'"''""", argv[-1])


def test_a_trace_knows_both_ends_of_its_own_connection() -> None:
    assert ends_of("192.168.121.1 57738 192.168.121.55 22") == {"192.168.121.1:57738", "192.168.121.55:22"}


def test_a_trace_that_goes_over_no_connection_leaves_nothing_out() -> None:
    assert ends_of("") == frozenset()
