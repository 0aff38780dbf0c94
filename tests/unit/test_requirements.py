"""What the host must have is named, all of it, and what fails for another cause than the network is not blamed on it."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness import bootstrap, requirements
from harness.errors import HostError
from harness.host import process
from harness.host.progress import Progress
from harness.images import archive, kernels, specs
from harness.images.kernels import Kernel

#: Programs that only some commands need: these name them, or doctor does for their backend.
_OTHERS = {"vagrant", "virsh", "qemu-img", "VBoxManage", "ssh", "sudo", "python3", "modprobe", "sysctl", "uname", "cat", "true"}
_RUNNERS = {"run", "bound", "in_namespace", "Popen", "start"}
#: Rooms whose programs run on the host.
_ON_THE_HOST = (
    "host", "images", "vm", "boxes", "backends", "doctor", "bench", "cli", "explore", "conformance", "pytest_plugin/host",
    "bootstrap.py",
)  # fmt: skip


def _programs(tree: ast.AST) -> Iterator[str]:
    """First words of literal command lines: what is given to a function that runs it, directly or by a name in between."""
    for node in ast.walk(tree):
        lists = []
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _RUNNERS:
            lists = node.args
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in {"command", "argv", "copy", "dump", "convert", "step"}:
            lists = [node.value]
        for one in lists:
            first = one.elts[0] if isinstance(one, ast.List) and one.elts else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def test_every_program_that_is_run_is_a_requirement() -> None:
    root = Path(harness.__file__).parent
    files = [path for place in _ON_THE_HOST for path in ([root / place] if place.endswith(".py") else (root / place).rglob("*.py"))]
    run = {name for path in files for name in _programs(ast.parse(path.read_text()))}
    named = {name for one in (*requirements.requirements(), *requirements.build_requirements()) for name in one.name.split(", ")}
    assert {"mke2fs", "cp", "dpkg-deb", "apt-get", "debugfs", "dd", "env", "unshare", "tar"} <= run
    assert run - named - _OTHERS == set()
    # What the scripts of builds start, and what is named by a constant.
    assert {"mount", "chroot", "sh", "setpriv", "setsid", "qemu-system-x86_64", "xz", "/usr/lib/apt/apt-helper"} <= named


def test_a_host_without_the_package_mount_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **found: None if name in ("mount", "debugfs") else which(name, **found))
    found = requirements.requirements()
    assert {"mount", "e2fsprogs"} <= set(requirements.missing_packages(found))
    assert "debugfs" in [one.name for one in found if not one.found]


@pytest.mark.parametrize(("arguments", "installs"), [
    ("run --kernel 6.1", True), ("trace -- prog --backend local", True), ("trace --backend qemu -- true", True), ("", False),
    ("doctor", False), ("trace --backend local --for 10", False), ("check --backend=local", False),
    ("exec --backend ssh=box -- true", False),
])
def test_what_makes_guests_is_installed_where_a_command_makes_some(
    arguments: str, installs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr("sys.argv", ["harness", *arguments.split()])
    monkeypatch.setattr("sys.prefix", "/usr")
    monkeypatch.setattr(requirements, "missing_packages", lambda _: ["qemu-system-x86"])
    monkeypatch.setattr(bootstrap, "_install_packages", done.append)
    monkeypatch.setattr(bootstrap, "_is_ready", lambda: True)
    monkeypatch.setattr(bootstrap, "hold", lambda: None)
    monkeypatch.setattr("os.execv", lambda *_: None)
    bootstrap.main()
    assert done == ([["qemu-system-x86"]] if installs else [])


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("unshare: cannot change root filesystem propagation: Invalid argument", "this chroot's root is no mount point"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "the package index served another file"),
        ("unshare: failed to execute mount: No such file or directory", "apt-get install mount"),
        ("something else", "see "),
    ],
)
def test_what_is_not_the_networks_fault_is_not_blamed_on_it(said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    with pytest.raises(process.ProgramFailed) as caught:
        process.run(["sh", "-c", 'echo "$0"; exit 1', said], what="mmdebstrap", log=tmp_path / "log", timeout=10)
    assert archive.hint(caught.value).startswith(hint)
    assert "check the network" not in archive.hint(caught.value)
    assert f"see {tmp_path}/state/failed/log" in archive.hint(caught.value)


def test_what_is_the_networks_fault_is_blamed_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    said = "Err:1 http://192.0.2.1/debian trixie InRelease\n  Could not connect to 192.0.2.1:80\nE: apt-get failed"
    with pytest.raises(process.ProgramFailed) as caught:
        process.run(["sh", "-c", 'echo "$0"; exit 1', said], what="mmdebstrap", log=tmp_path / "log", timeout=10)
    assert archive.hint(caught.value).startswith("check the network to ")


def test_a_kernel_that_is_here_and_damaged_does_not_stand_in_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel("6.12.118+deb13-cloud-amd64", "6.12.118-1", "6.12", "cloud", ())

    def damaged(*_: object) -> None:
        raise HostError("layer.img is damaged: 1 of 2 bytes", hint="rm -r it")

    monkeypatch.setattr(specs, "resolved", lambda *_: kernel)
    monkeypatch.setattr(specs, "userland", lambda *_: Path())
    monkeypatch.setattr(specs, "layer", damaged)
    monkeypatch.setattr(specs, "_is_here", lambda _kernel: True)
    monkeypatch.setattr(kernels, "newest", lambda *_: kernel)
    monkeypatch.setattr(Progress, "note", lambda _self, text: pytest.fail(text))
    with pytest.raises(HostError, match=r"layer\.img is damaged"):
        specs.made_layer("6.12", Progress())
