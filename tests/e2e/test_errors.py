"""Every mistake and every obstacle is told in one line with its hint, and its exit code says whose it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote

import pytest

from harness.host.process import in_namespace
from harness.images import kernels
from harness.vm.template import template_path
from tests.e2e.conftest import CHECKOUT, CommandLine

_FULL = "hint: make room there, run 'nfharness image prune', or point NFHARNESS_CACHE at a larger disk"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["frobnicate"], "no such command 'frobnicate'", "see 'nfharness --help'"),
        (["runn"], "no such command 'runn'. Did you mean 'run'?", "see 'nfharness --help'"),
        (["exec"], "missing argument '-- COMMAND [ARGUMENT]...'", "see 'nfharness exec --help'"),
        (["exec", "--kernle", "6.1", "--", "true"], "no such option '--kernle'. Did you mean '--kernel'?", "see 'nfharness exec --help'"),
        (["exec", "--frob", "x", "--", "true"], "no such option '--frob'", "see 'nfharness exec --help'"),
        (["run", "--kernel", "9.9"], "no kernel '9.9' in Debian's suites", "see 'nfharness kernels'"),
        (["exec", "--kernel", "6.12-arm64", "--", "true"], "'6.12-arm64' is a kernel for arm64; nfharness runs amd64 kernels", "6.12"),
        (["run", "no-such"], 'no built-in scenario and no file "no-such"', "router"),
        (["run", "pyproject.toml"], "pyproject.toml: not JSON: Expecting value at line 1, column 2", "correct the file there"),
        (["shell"], "standard input and output are not a terminal", "nfharness exec"),
    ],
)
def test_the_users_mistakes(nfharness: CommandLine, arguments: list[str], message: str, hint: str) -> None:
    result = nfharness(*arguments)
    assert result.status == 2
    said, helped = result.err.splitlines()
    assert said == f"nfharness: error: {message}"
    assert helped.startswith("  hint: ")
    assert hint in helped


def test_no_network_on_first_use(elsewhere: CommandLine) -> None:
    result = elsewhere("exec", "--", "true")
    assert result.status == 125
    assert result.error[0].startswith("nfharness: error: fetching Debian's package indices failed")
    assert "127.0.0.1" in result.error[0]
    assert result.error[1].startswith("  hint: check the network to 127.0.0.1, or set NFHARNESS_MIRROR to another Debian mirror")
    assert len(result.error) == 2


def test_no_network_later(nfharness: CommandLine) -> None:
    nfharness.env = {"NFHARNESS_MIRROR": "http://127.0.0.1:1/debian"}
    assert nfharness("exec", "--", "echo", "fine").out == b"fine\n"


def test_home_without_a_name(nfharness: CommandLine) -> None:
    result = nfharness("exec", "--", "true", before=("env", "-u", "HOME"))
    assert result.status == 0, result


@pytest.mark.parametrize("variable", ["NFHARNESS_CACHE", "NFHARNESS_STATE"])
def test_a_place_that_cannot_be_written(nfharness: CommandLine, variable: str) -> None:
    nfharness.env = {variable: "/proc/nowhere"}
    result = nfharness("exec", "--", "true")
    assert result.status == 125
    assert result.error[0].startswith("nfharness: error: /proc/nowhere")
    assert result.error[1:] == ["  hint: point NFHARNESS_CACHE and NFHARNESS_STATE at directories that you can write"]


@pytest.mark.parametrize(("size", "stage"), [("200k", "modules"), ("40M", "templates")])
def test_a_full_disk(without_templates: CommandLine, size: str, stage: str) -> None:
    cache = Path(without_templates.env["NFHARNESS_CACHE"])
    links = {path.name: path.readlink() for path in cache.iterdir() if path.name != "modules" or stage == "templates"}
    fill = f"mount -t tmpfs -o size={size} tmpfs {quote(str(cache))}\n"
    fill += "".join(f"ln -s {quote(str(target))} {quote(str(cache / name))}\n" for name, target in links.items())
    check = f"find {quote(str(cache))} -name '.*.new' >&2; exit $status"
    script = f'{fill}status=0; "$@" || status=$?; {check}'
    result = without_templates("exec", "--", "true", before=tuple(in_namespace(["sh", "-ec", script, "sh"])))
    assert result.status == 125, result
    assert result.error[0].startswith("nfharness: error: the disk is full: "), result
    # A module that is not there is built while the template's guest boots: whichever of them has no room first says so.
    places = {"/templates"} | ({"/modules"} if stage == "modules" else set())
    assert any(result.error[0].endswith(f" MiB free under {cache}{place} are not enough") for place in places), result
    assert result.error[1:] == [f"  {_FULL}"]
    assert ".new" not in result.err


@pytest.fixture
def damaged(without_templates: CommandLine, monkeypatch: pytest.MonkeyPatch) -> tuple[CommandLine, Path, Path]:
    """A cache with a copy of the default kernel's template: the command line, the template and the copy."""
    kernel = kernels.resolve(kernels.DEFAULT)
    template = template_path(kernel)
    monkeypatch.setenv("NFHARNESS_CACHE", without_templates.env["NFHARNESS_CACHE"])
    copy = template_path(kernel)
    assert template is not None
    assert copy is not None
    copy.mkdir(parents=True)
    for file in template.iterdir():
        (copy / file.name).symlink_to(file)
    return without_templates, template, copy


def test_an_undamaged_template(damaged: tuple[CommandLine, Path, Path]) -> None:
    nfharness, _, _ = damaged
    assert nfharness("exec", "--", "echo", "fine").out == b"fine\n"


@pytest.mark.parametrize("name", ["state", "ram", "template.json"])
def test_a_template_that_was_cut_short(damaged: tuple[CommandLine, Path, Path], name: str) -> None:
    nfharness, template, copy = damaged
    size = (template / name).stat().st_size
    (copy / name).unlink()
    (copy / name).touch()
    os.truncate(copy / name, size // 2)
    result = nfharness("exec", "--", "true")
    assert result.status == 125
    assert result.error == [
        f"nfharness: error: {copy / name} is damaged: {size // 2} of {size} bytes",
        f"  hint: it is built anew once it is gone: rm -r {quote(str(copy))}",
    ]


@pytest.mark.parametrize("content", [bytes, os.urandom])
def test_a_state_that_qemu_refuses(damaged: tuple[CommandLine, Path, Path], content: Callable[[int], bytes]) -> None:
    nfharness, template, copy = damaged
    (copy / "state").unlink()
    (copy / "state").write_bytes(content((template / "state").stat().st_size))
    result = nfharness("exec", "--", "true")
    assert result.status == 125
    assert result.error == [
        f"nfharness: error: {copy / 'state'} is damaged: its content is not what was written, by its checksum",
        "  hint: try again: it is deleted, and built anew",
    ]
    assert not copy.exists()


def test_a_ram_that_was_overwritten(damaged: tuple[CommandLine, Path, Path]) -> None:
    nfharness, template, copy = damaged
    (copy / "ram").unlink()
    subprocess.run(["cp", "--sparse=always", template / "ram", copy / "ram"], check=True)
    with (copy / "ram").open("r+b") as ram:
        for place in range(0, 512 << 20, 4 << 20):
            ram.seek(place)
            ram.write(os.urandom(1 << 20))
    result = nfharness("exec", "--", "true")
    assert result.status == 125
    assert result.error[0] == f"nfharness: error: {copy / 'ram'} is damaged: its content is not what was written, by its checksum"
    assert not copy.exists()


def test_doctor_says_in_json_what_it_says_in_words(nfharness: CommandLine) -> None:
    result = nfharness("doctor", "--json")
    findings = json.loads(result.out)
    assert result.status == (125 if any(finding["state"] == "missing" for finding in findings) else 0)
    assert {"qemu-system-x86_64", "mmdebstrap", "KVM", "disk"} <= {finding["name"] for finding in findings}
    assert all(finding["hint"] for finding in findings if finding["state"] == "missing")


def test_doctor_on_a_host_that_has_nothing_names_each_thing(tmp_path: Path) -> None:
    result = CommandLine({"PATH": str(tmp_path), "NFHARNESS_CACHE": str(tmp_path / "cache")})("doctor", "--json")
    hints = {one["name"]: one["hint"] for one in json.loads(result.out) if one["state"] == "missing"}
    assert result.status == 125
    assert hints["qemu-system-x86_64"] == "apt-get install qemu-system-x86"
    assert hints["mmdebstrap"] == "apt-get install mmdebstrap"
    assert hints["mount"] == "apt-get install mount"


def make_venv(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Start in a checkout with our code and lock, which has no ``.venv`` that is ready."""
    (checkout / "harness").symlink_to(CHECKOUT / "harness")
    for file in ("requirements.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / file, checkout)
    start = "import sys; from pathlib import Path; from harness import bootstrap as b; b._ROOT = Path.cwd(); b._VENV = b._ROOT / '.venv'; "
    command = [getattr(sys, "_base_executable", sys.executable), "-c", f"{start}b._STAMP = b._VENV / 'stamp'; b._make_venv()"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "why", "hint"),
    [("a, b: c", "Refusing to create a venv", "without a colon in its path"), ("a\nb", "has a control character", "another directory")],
)
def test_a_checkout_where_no_venv_can_be(name: str, why: str, hint: str, tmp_path: Path) -> None:
    place = tmp_path / name
    place.mkdir()
    done = make_venv(place)
    said, helped = done.stderr.splitlines()[-2:]
    assert done.returncode == 125
    assert said.startswith("nfharness: error: ")
    assert why in said
    assert helped.startswith("  hint: move the checkout to ")
    assert hint in helped


@pytest.mark.parametrize("stamp", [None, "0123 /another/checkout/.venv (3, 11)\n"])
def test_a_venv_that_a_link_leads_to_and_that_another_checkout_has_is_left_alone(stamp: str | None, tmp_path: Path) -> None:
    checkout, shared = tmp_path / "checkout", tmp_path / "shared"
    for directory in (checkout, shared):
        directory.mkdir()
    (shared / "theirs").write_text("kept")
    if stamp:
        (shared / "stamp").write_text(stamp)
    (checkout / ".venv").symlink_to(shared)
    done = make_venv(checkout)
    said, helped = done.stderr.splitlines()
    assert (done.returncode, (shared / "theirs").read_text()) == (125, "kept")
    assert said == f"nfharness: error: {checkout}/.venv is a link to {shared}, which was not made for this checkout"
    assert helped == f"  hint: remove the link: rm {checkout}/.venv; a .venv of the checkout's is made then"


@pytest.mark.parametrize("arguments", [["kernels"], ["kernels", "--json"], ["run", "--list"], ["image", "list"]])
def test_a_reader_that_has_had_enough(nfharness: CommandLine, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = nfharness(*arguments, stdout=writer)
    os.close(writer)
    assert (result.status, result.err) == (141, "")


@pytest.mark.slow
@pytest.mark.long
def test_a_guest_whose_kernel_measured_its_clock_wrongly(without_templates: CommandLine) -> None:
    """Every time that it tells would be wrong, its deadlines included: none is saved of it, however often it boots so."""
    result = without_templates("exec", "--bare", "--append", "tsc_early_khz=500000", "--", "true")
    assert result.status == 125, result
    assert re.match(r"nfharness: error: the guest's clock runs [\d.]+ times as fast as this host's", result.error[0]), result
    assert not list((Path(without_templates.env["NFHARNESS_CACHE"]) / "templates").glob("*/template.json"))
